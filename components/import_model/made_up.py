"""Made-up rows, by which a converted file is compared with the one that it was made of.

Of a file that came from elsewhere nobody knows what its inputs may be: numbers in several ranges
are tried, and the file as it came says which of them it takes. Rows of real data are compared
later, by `verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.formats.dtypes import Array

ROWS, MOST_BYTES = 6, 32 << 20  # of a batch
REAL = ((-1, 1), (0.05, 1), (-4, 4), (1, 10))  # within the domains of log, asin, acosh, …
WIDE = ((0, 255), (-1e3, 1e3), (-1e6, 1e6))  # pixels, and what overflows in an exp
CAST = (-1e10, 1e10)  # beyond the 32 bits in which LiteRT keeps what was cast to whole numbers
WHOLE = ((0, 1), (0, 4), (-3, 3), (-200, 200), (1, 40))
BEYOND = (
    *(255, 1 << 15, 1 << 24, (1 << 31) - 1, (1 << 31) + 5, (1 << 32) + 3, (1 << 40) + 7),
    *(-(1 << 31) - 5, -(1 << 32) - 3, -(1 << 40) - 7, -(1 << 63), (1 << 63) + 5),
)
SEED = 24
CLIPPED = " (where inputs are never so large, let a Clip in the file say so)"
NARROW = " (where inputs fit into 32 bits, let the file take int32)"
Make = Callable[[Tensor], Array]


@dataclass(frozen=True)
class MadeUpBatch:
    """Named arrays [rows, ...] of a model's dtypes, some rows each; open sizes but the first are 1.

    Attributes:
        words: what is in it, for people.
        wide: whether its numbers are larger than a network's usually are: how much rounding changes
            answers has to be asked, and answers that are not finite say nothing.
        gaps: whether it has values that are not finite; answers that are not finite say nothing.
    """

    rows: dict[str, Array]
    words: str
    wide: bool = False
    gaps: bool = False


def batches(
    signature: Signature, bounds: Sequence[int] = (), casts: bool = False, everywhere: bool = False
) -> Iterator[MadeUpBatch]:
    """Batches of rows for a model.

    Args:
        bounds: whole numbers at which the model may behave otherwise, such as sizes of tables.
        casts: whether it makes whole numbers of more than 32 bits of floats.
        everywhere: whether pictures have NaN and infinities, too, which pixels never are.
    """
    random = np.random.default_rng(SEED)
    fixed = signature.inputs[0].shape[0]
    size = sum(_bytes(tensor) for tensor in signature.inputs)
    rows = fixed if fixed > 0 else max(1, min(ROWS, MOST_BYTES // max(size, 1)))
    one = fixed if fixed > 0 else 1

    def of(make: Make) -> dict[str, Array]:
        return {tensor.name: make(tensor) for tensor in signature.inputs}

    def ranges(real: Sequence[float], whole: Sequence[int], count: int = rows) -> Make:
        return lambda tensor: _values(random, tensor, count, real, whole)

    for place, whole in enumerate(WHOLE):
        real = REAL[place % len(REAL)]
        words = (
            f"floats from {real[0]} to {real[1]} and whole numbers from {whole[0]} to {whole[1]}"
        )
        yield MadeUpBatch(of(ranges(real, whole)), words)
    # ties of rounding and of comparing, which numbers drawn at random do not have
    yield MadeUpBatch(of(lambda tensor: _ties(random, tensor, rows)), "halves")
    if rows > 1 and fixed < 0:
        yield MadeUpBatch(of(ranges(REAL[0], WHOLE[0], 1)), "one row")
    dtypes = {np.dtype(tensor.dtype) for tensor in signature.inputs}
    if any(dtype.kind == "f" for dtype in dtypes):
        for real in (*WIDE, *((CAST,) if casts else ())):
            words = f"floats from {real[0]:g} to {real[1]:g}{CLIPPED}"
            yield MadeUpBatch(of(ranges(real, WHOLE[1])), words, wide=True)
        gapped = [each.name for each in signature.inputs if everywhere or len(each.shape) < 4]
        for words, gaps in (("NaN", (np.nan,)), ("infinities", (np.inf, -np.inf))):
            rows_ = of(ranges(REAL[0], WHOLE[0]))
            for name in gapped:
                rows_[name] = _with_gaps(random, rows_[name], gaps)
            if gapped:
                yield MadeUpBatch(rows_, words, gaps=True)
    limits = [np.iinfo(dtype) for dtype in dtypes if dtype.kind in "iu"]
    for low, high in (*_around(bounds), *((value, value) for value in BEYOND)):
        if any(each.min <= low and high <= each.max for each in limits):
            words = f"the number {low}" if low == high else f"whole numbers from {low} to {high}"
            words += NARROW if abs(low) >= 1 << 31 else ""
            yield MadeUpBatch(of(ranges(REAL[0], (low, high), one)), words)


def nudged(rows: dict[str, Array]) -> dict[str, Array]:
    """The same with floats changed by a millionth: how far rounding alone may change answers."""
    random = np.random.default_rng(SEED)
    return {
        name: (array * (1 + random.choice((-1e-6, 1e-6), array.shape))).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in rows.items()
    }


def _around(bounds: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of whole numbers: up to each bound, each bound, and beyond it."""
    found = dict.fromkeys(bounds)
    yield from ((0, bound - 1) for bound in found if bound > 1)
    near = (side * bound + step for bound in found for side in (1, -1) for step in (-1, 0, 1))
    yield from ((value, value) for value in dict.fromkeys(near))


def _values(
    random: np.random.Generator,
    tensor: Tensor,
    rows: int,
    real: Sequence[float],
    whole: Sequence[int],
) -> Array:
    shape = (rows, *(max(size, 1) for size in tensor.shape[1:]))
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        low, high = (min(max(each, bounds.min), bounds.max) for each in whole)
        return random.integers(low, high, shape, dtype, endpoint=True)
    with np.errstate(over="ignore"):  # of 16 bits
        return random.uniform(real[0], real[1], shape).astype(dtype)


def _ties(random: np.random.Generator, tensor: Tensor, rows: int) -> Array:
    values = _values(random, tensor, rows, (-6, 6), (0, 1))
    return np.round(values) / values.dtype.type(2) if values.dtype.kind == "f" else values


def _with_gaps(random: np.random.Generator, values: Array, gaps: Sequence[float]) -> Array:
    if values.dtype.kind == "f":
        chosen = random.integers(0, 6, values.shape)
        for place, gap in enumerate(gaps):
            values[chosen == place] = gap
    return values


def _bytes(tensor: Tensor) -> int:
    return int(np.prod(np.abs(tensor.shape[1:]), dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
