"""Two numbers for people, of which one lies beyond the other: rounding must not make them equal."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"\.(\d+)")
EXACT = 17  # digits that tell any double from its neighbours


def told_apart(value: float, limit: float, form: str = ".4g") -> tuple[str, str]:
    """A value and its limit as texts, with more digits than usual where they would read alike.

    Args:
        form: as `format` takes it, with the number of digits that usually does: `.4g`, `.2%`.
    """
    usual = _DIGITS.search(form)
    if usual is None:
        raise ValueError(f"{form} has no number of digits")
    for digits in range(int(usual[1]), EXACT + 1):
        own = _DIGITS.sub(f".{digits}", form)
        texts = format(value, own), format(limit, own)
        if texts[0] != texts[1]:
            return texts
    return format(value, form), format(limit, form)
