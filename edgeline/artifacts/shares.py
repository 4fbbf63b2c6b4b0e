"""How large a share may be where only some rows were seen."""

from __future__ import annotations

import math

CONFIDENCE = 0.95
DEVIATIONS = 1.6448536269514722  # of a normal distribution, below which 95 % lie
MOST_EXACT = 1000


def at_most(found: int, rows: int) -> float:
    """The share below which the true one lies, with a confidence of 95 %.

    The upper end of Clopper and Pearson's interval, one-sided: the share at which so few of the
    rows, or fewer, would be found once in 20 times. Of 0 in n rows it is about 3 / n. Of more than
    `MOST_EXACT` found it is Wilson's, which is within 0.1 % of it.

    Args:
        found: in how many rows it was found, 0 to `rows`.
        rows: how many there are, at least 1.
    """
    if found > MOST_EXACT:
        share, square = found / rows, DEVIATIONS**2
        spread = DEVIATIONS * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
        return min(1.0, (share + square / (2 * rows) + spread) / (1 + square / rows))
    low, high = found / rows, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _chance(found, rows, middle) > 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _chance(found: int, rows: int, share: float) -> float:
    """The chance of at most `found` in `rows`, each with `share`."""
    if share >= 1:
        return float(found >= rows)
    if found >= rows:
        return 1.0
    logarithm = rows * math.log1p(-share)  # of the chance of none, then of one more each time
    odds, terms = math.log(share) - math.log1p(-share), [logarithm]
    for count in range(1, found + 1):
        logarithm += math.log(rows - count + 1) - math.log(count) + odds
        terms.append(logarithm)
    return math.fsum(map(math.exp, terms))
