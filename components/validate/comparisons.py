"""How far the values of one split are from those of another, from their statistics alone.

The control is what is expected (the training split, the baseline), the treatment what is
judged. Categorical values are strings, and integers with at most 100 distinct values in
the control; their distribution is taken from the counts of the 1,000 most frequent values.
All other numbers are compared over the deciles of the control (see `binned`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.components.validate import statistics as stats

CATEGORICAL_INTEGERS = 100
Floats = npt.NDArray[np.float64]


def l_infinity(control: Mapping[str, float], treatment: Mapping[str, float]) -> tuple[float, str]:
    """Greatest difference of a value's share, max |p(v) - q(v)|, in [0, 1], and that value."""
    value = max(
        sorted(control.keys() | treatment.keys()),
        key=lambda v: abs(control.get(v, 0.0) - treatment.get(v, 0.0)),
    )
    return abs(control.get(value, 0.0) - treatment.get(value, 0.0)), value


def jensen_shannon(p: Floats, q: Floats) -> float:
    """Jensen-Shannon divergence of two distributions over the same bins, in bits, in [0, 1].

    JS(p, q) = (KL(p, m) + KL(q, m)) / 2 with m = (p + q) / 2 and
    KL(p, m) = sum of p log2(p / m) (Lin, Divergence Measures Based on the Shannon
    Entropy, IEEE Transactions on Information Theory 37(1), 1991).
    """
    middle = (p + q) / 2
    halves = [
        float(np.sum(side[side > 0] * np.log2(side[side > 0] / middle[side > 0])))
        for side in (p, q)
    ]
    return min(max(sum(halves) / 2, 0.0), 1.0)


def divergence(
    control: statistics_pb2.FeatureNameStatistics, treatment: statistics_pb2.FeatureNameStatistics
) -> float | None:
    """Jensen-Shannon divergence of two `FeatureNameStatistics`; None if they cannot be compared."""
    p, q = shares(control), shares(treatment)
    if categorical(control) and p and q:
        values = sorted(p.keys() | q.keys())
        return jensen_shannon(
            np.array([p.get(value, 0.0) for value in values]),
            np.array([q.get(value, 0.0) for value in values]),
        )
    bins = binned(control, treatment)
    return jensen_shannon(*bins) if bins else None


def divergence_of(
    control: statistics_pb2.FeatureNameStatistics,
    treatment: statistics_pb2.FeatureNameStatistics,
    kind: str,
) -> float | None:
    """Jensen-Shannon divergence over strings, or over the buckets of two histograms.

    Args:
        kind: `STANDARD` or `QUANTILES`, the histograms that numbers are read off.

    Returns:
        None where they cannot be compared.
    """
    numeric = [each.WhichOneof("stats") == "num_stats" for each in (control, treatment)]
    if not any(numeric):
        return divergence(control, treatment)
    first, second = stats.histogram(control, kind), stats.histogram(treatment, kind)
    if not all(numeric) or first is None or second is None:
        return None
    p, q = _aligned(first, second)
    return jensen_shannon(p / p.sum(), q / q.sum()) if p.sum() and q.sum() else None


def categorical(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    """Whether a feature's values are compared one by one."""
    if feature.WhichOneof("stats") == "string_stats":
        return True
    unique, _ = stats.distinct(feature)
    return unique is not None and unique <= CATEGORICAL_INTEGERS


def shares(feature: statistics_pb2.FeatureNameStatistics) -> dict[str, float] | None:
    """Share of each listed value among all values, or None where values were not counted."""
    if stats.ranked(feature) is None:
        return None
    values = stats.listed(feature)
    return {value: count / (values.total or 1) for value, count in values.counts}


def normalized_difference(
    control: statistics_pb2.FeatureNameStatistics, treatment: statistics_pb2.FeatureNameStatistics
) -> tuple[float, str] | None:
    """Greatest difference of a value's counts, max |x(v) - y(v)| / sum of all x and y; that value.

    In [0, 1], as tensorflow_metadata defines `NormalizedAbsoluteDifference`; None where the values
    of either were not counted.
    """
    first, second = stats.listed(control), stats.listed(treatment)
    if not first.counts or not second.counts:
        return None
    x, y = dict(first.counts), dict(second.counts)
    value = max(sorted(x.keys() | y.keys()), key=lambda v: abs(x.get(v, 0.0) - y.get(v, 0.0)))
    total = first.total + second.total
    return abs(x.get(value, 0.0) - y.get(value, 0.0)) / total, value


def binned(
    control: statistics_pb2.FeatureNameStatistics, treatment: statistics_pb2.FeatureNameStatistics
) -> tuple[Floats, Floats] | None:
    """Both distributions over bins made of the control's deciles; None without numbers.

    The bins are (below the minimum], the ten tenths, (above the maximum), and NaN. A value
    that fills a tenth of the control or more has its own bin, so that mass moving off it
    shows. Shares are read off the quantile histograms, a hundredth apart, so each is
    within 1% of the exact one. Where the control has fewer quantiles, as TFDV's statistics, the
    treatment is read off as many: else a value that many rows have would lie elsewhere in it.
    """
    first, second = stats.histogram(control, "QUANTILES"), stats.histogram(treatment, "QUANTILES")
    if not (first and second and first.buckets and second.buckets):
        return None
    second = _coarsened(second, len(first.buckets))
    edges = np.array([first.buckets[0].low_value] + [bucket.high_value for bucket in first.buckets])
    deciles = edges[np.round(np.linspace(0, len(edges) - 1, 11)).astype(int)]
    atoms = deciles[1:][deciles[1:] == deciles[:-1]]
    below = np.nextafter(np.concatenate([deciles[:1], atoms]), -np.inf)
    points = np.unique(np.concatenate([below, deciles[1:]]))
    return _bins(first, points), _bins(second, points)


def _coarsened(histogram: statistics_pb2.Histogram, count: int) -> statistics_pb2.Histogram:
    """A histogram of quantiles with fewer buckets, where these are whole numbers of its own."""
    step, rest = divmod(len(histogram.buckets), count)
    if step < 2 or rest:
        return histogram
    made = type(histogram)(num_nan=histogram.num_nan, num_undefined=histogram.num_undefined)
    for start in range(0, len(histogram.buckets), step):
        together = histogram.buckets[start : start + step]
        made.buckets.add(
            low_value=together[0].low_value,
            high_value=together[-1].high_value,
            sample_count=sum(bucket.sample_count for bucket in together),
        )
    return made


def cumulative(histogram: statistics_pb2.Histogram, points: Floats) -> Floats:
    """Share of a histogram's finite values at or below each point.

    Values are taken to lie evenly within a bucket; a bucket of no width is one value.
    """
    low = np.array([bucket.low_value for bucket in histogram.buckets])
    high = np.array([bucket.high_value for bucket in histogram.buckets])
    count = np.array([bucket.sample_count for bucket in histogram.buckets])
    point = points[:, None]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # halves, because the difference of two huge numbers is infinite
        within = np.clip((point / 2 - low / 2) / (high / 2 - low / 2), 0.0, 1.0)
    within = np.where(point >= high, 1.0, np.where(point < low, 0.0, within))
    share: Floats = (np.nan_to_num(within) * count).sum(axis=1) / count.sum()
    return share


def _aligned(
    first: statistics_pb2.Histogram, second: statistics_pb2.Histogram
) -> tuple[Floats, Floats]:
    """Counts of two histograms over the bounds of both, then over their buckets of one value, NaN.

    Values are taken to lie evenly within a bucket, as TFDV does.
    """
    pairs = []
    for histogram in (first, second):
        wide = statistics_pb2.Histogram()
        apart: dict[tuple[float, float], float] = {}
        for bucket in histogram.buckets:
            if 0 < bucket.high_value - bucket.low_value < np.inf:
                wide.buckets.append(bucket)
            else:
                key = bucket.low_value, bucket.high_value
                apart[key] = apart.get(key, 0.0) + bucket.sample_count
        pairs.append((wide, apart, histogram.num_nan))
    points = np.unique(
        [b.low_value for wide, _, _ in pairs for b in wide.buckets]
        + [b.high_value for wide, _, _ in pairs for b in wide.buckets]
    )
    keys = sorted(pairs[0][1].keys() | pairs[1][1].keys())
    made = []
    for wide, apart, nan in pairs:
        total = sum(bucket.sample_count for bucket in wide.buckets)
        within = np.diff(cumulative(wide, points)) * total if total else np.zeros(len(points[1:]))
        made.append(np.concatenate([within, [apart.get(key, 0.0) for key in keys], [nan]]))
    return made[0], made[1]


def _bins(histogram: statistics_pb2.Histogram, points: Floats) -> Floats:
    finite = sum(bucket.sample_count for bucket in histogram.buckets)
    share = np.diff(cumulative(histogram, points), prepend=0.0, append=1.0)
    counts = np.append(np.maximum(share, 0.0) * finite, histogram.num_nan)
    bins: Floats = counts / counts.sum()
    return bins
