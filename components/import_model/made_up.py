"""Made-up rows, by which a converted file is compared with the one that it was made of.

Of a file that came from elsewhere nobody knows what its inputs may be: numbers in several ranges
are tried, and the file as it came says which of them it takes. Rows of real data are compared
later, by `verify`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.formats.dtypes import Array

ROWS, MOST_BYTES = 6, 32 << 20  # of a batch
REAL = ((-1, 1), (0.05, 1), (-4, 4), (1, 10))  # within the domains of log, asin, acosh, …
WHOLE = ((0, 1), (0, 4), (-3, 3), (-200, 200), (1, 40))
SEED = 24


def batches(signature: Signature, not_finite: bool = False) -> Iterator[dict[str, Array]]:
    """Named arrays [rows, ...] of a model's dtypes, some rows each; open sizes but the first are 1.

    Args:
        not_finite: whether a last batch has NaN and infinities, too.
    """
    fixed = signature.inputs[0].shape[0]
    size = sum(_bytes(tensor) for tensor in signature.inputs)
    rows = fixed if fixed > 0 else max(1, min(ROWS, MOST_BYTES // max(size, 1)))
    random = np.random.default_rng(SEED)
    kinds = [(REAL[place % len(REAL)], WHOLE[place]) for place in range(len(WHOLE))]
    for real, whole in kinds:
        yield {
            tensor.name: _values(random, tensor, rows, real, whole) for tensor in signature.inputs
        }
    # ties of rounding and of comparing, which numbers drawn at random do not have
    yield {tensor.name: _ties(random, tensor, rows) for tensor in signature.inputs}
    if rows > 1 and fixed < 0:
        yield {
            tensor.name: _values(random, tensor, 1, REAL[0], WHOLE[0])
            for tensor in signature.inputs
        }
    if not_finite:
        yield {tensor.name: _gaps(random, tensor, rows) for tensor in signature.inputs}


def _values(
    random: np.random.Generator,
    tensor: Tensor,
    rows: int,
    real: tuple[float, float],
    whole: tuple[int, int],
) -> Array:
    shape = (rows, *(max(size, 1) for size in tensor.shape[1:]))
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype)
        low, high = max(whole[0], bounds.min), min(whole[1], bounds.max)
        return random.integers(low, high, shape, endpoint=True).astype(dtype)
    return random.uniform(*real, shape).astype(dtype)


def _ties(random: np.random.Generator, tensor: Tensor, rows: int) -> Array:
    values = _values(random, tensor, rows, (-6, 6), (0, 1))
    return np.round(values) / values.dtype.type(2) if values.dtype.kind == "f" else values


def _gaps(random: np.random.Generator, tensor: Tensor, rows: int) -> Array:
    values = _values(random, tensor, rows, REAL[0], WHOLE[0])
    if values.dtype.kind == "f":
        chosen = random.integers(0, 6, values.shape)
        for place, gap in enumerate((np.nan, np.inf, -np.inf)):
            values[chosen == place] = gap
    return values


def _bytes(tensor: Tensor) -> int:
    return int(np.prod(np.abs(tensor.shape[1:]), dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
