"""What a quantised network usually gets, beyond which it is known to answer otherwise.

Integers are scaled to the values that calibration meets, which far rarer ones exceed, and what the
rounding of weights does to an answer grows with what these are multiplied by. So a difference on a
value beyond the split has a reason that can be named where it takes a transformed feature out of
what 99 of 100 rows give. Where it does not (it was clipped, put into a bucket, looked up), the
network gets what it is made for, and the difference counts as that on any row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np

from edgeline.artifacts import Artifact, examples, models
from edgeline.components.verify.probes import ProbeRows
from edgeline.formats.dtypes import Array
from edgeline.runtimes.original import Original

ROWS = 2000  # of the split, evenly spread, that tell what is usual
USUAL = (0.005, 0.995)  # quantiles

Arrays = Mapping[str, Array]


def because(
    original: Original, rows: Artifact, split: str, made: ProbeRows
) -> Callable[[int], str]:
    """Why a quantised network may answer a probe otherwise; "" where there is no reason.

    The split is read when the first one is asked.
    """

    @functools.cache
    def usual() -> UsualValues:
        transform = original.feed
        if not original.imported:
            transform, _ = original.signature(models.TRANSFORM)
        return UsualValues(transform, examples.read_spread(rows, split, original.takes, ROWS))

    return lambda row: usual().beyond(*made.before_and_after(row))


class UsualValues:
    """The usual range of each value of the transformed features.

    Args:
        transform: raw rows to what the network takes.
        rows: raw, [rows, ...] each.
    """

    def __init__(self, transform: Callable[[Arrays], Arrays], rows: Arrays) -> None:
        self._transform = transform
        self._ranges: dict[str, tuple[Array, Array]] = {}
        for name, array in transform(rows).items():
            if array.dtype.kind not in "iufb":
                continue
            values = array.astype(np.float64)
            values = np.where(np.isfinite(values), values, np.nan)
            filled = np.where(np.isnan(values).all(axis=0), 0.0, values)
            low, high = np.nanquantile(filled, USUAL, axis=0)
            self._ranges[name] = (low, high)

    def beyond(self, before: Arrays, after: Arrays) -> str:
        """Which transformed feature a probe takes out of its range, in words; "" where none.

        Args:
            before, after: a raw row of the split, [1, ...] each, and what a probe made of it.
        """
        given, made = self._transform(before), self._transform(after)
        for name, (low, high) in self._ranges.items():
            old, new = (side[name][0].astype(np.float64) for side in (given, made))
            same = (old == new) | (np.isnan(old) & np.isnan(new))
            out = ~same & ~((new >= low) & (new <= high))
            if out.any():
                place = int(np.argmax(out.reshape(-1)))
                value, least, most = (each.reshape(-1)[place] for each in (new, low, high))
                return (
                    f"{name!r} becomes {value:.6g}, and a network of integers is made for what 99 "
                    f"of 100 rows give it, {least:.6g} to {most:.6g}"
                )
        return ""
