"""Two numbers, one beyond the other, never read alike."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeline.formats.told_apart import told_apart

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@pytest.mark.parametrize(
    ("value", "limit", "form", "texts"),
    [
        (0.25, 0.1, ".3g", ("0.25", "0.1")),
        (0.0100004, 0.01, ".4g", ("0.0100004", "0.01")),
        (0.050001, 0.05, ".2%", ("5.0001%", "5.0000%")),
        (512.4, 512.0, ",.0f", ("512.4", "512.0")),
        (0.9, 0.9, ".4g", ("0.9", "0.9")),
    ],
)
def test_as_many_digits_as_it_takes(
    value: float, limit: float, form: str, texts: tuple[str, str]
) -> None:
    assert told_apart(value, limit, form) == texts


@given(NUMBERS, st.integers(1, 5))
def test_neighbours_are_told_apart_in_their_order(limit: float, steps: int) -> None:
    value = limit
    for _ in range(steps):
        value = math.nextafter(value, math.inf)
    above, at = told_apart(value, limit)
    assert above != at and float(above) >= float(at)
