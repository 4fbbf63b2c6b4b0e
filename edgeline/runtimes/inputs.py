"""What a model takes, checked before a runtime sees it: bad input never reaches native code.

One check for every way in: an edge model that is called in Python, and the server's protocols. Its
sentences name the input and what to give instead. Needs only numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import missing
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import BY_NAME, Array

MAX_ROWS = 1 << 20  # of one call
NAMED = 10  # rows and features that a sentence names
UNPROVEN = "without which no answer of this model was proven"

Arrays = Mapping[str, Array]


def check(arrays: Arrays, signature: Signature) -> int:
    """Check that named numpy arrays are what a model takes, and count their rows.

    Strings are object arrays; what these hold is not looked at (see `check_strings`). An input
    whose shape is () has no rows.

    Returns:
        The rows; 1 where no input has any.

    Raises:
        EdgelineError: an input is missing, unknown, or not of the signature's dtype and shape
            with as many rows as the others, at least 1 and at most `MAX_ROWS`.
    """
    check_names(arrays, signature)
    return check_tensors(arrays, signature)


def check_tensors(arrays: Arrays, signature: Signature) -> int:
    """As `check`, of arrays whose names are checked."""
    rows, first = 1, ""
    for tensor in signature.inputs:
        _check_tensor(arrays[tensor.name], tensor)
        if not tensor.shape:
            continue
        count = len(arrays[tensor.name])
        if first and count != rows:
            raise EdgelineError(
                f"Input {tensor.name!r} has {count} rows, but {first!r} has {rows}: "
                "give all inputs the same rows."
            )
        rows, first = count, first or tensor.name
    return rows


def check_names(arrays: Mapping[str, object], signature: Signature) -> None:
    """Check that each input is there and nothing else.

    Raises:
        EdgelineError: some are missing, which are all named, or one is unknown.
    """
    if len(arrays) == len(signature.inputs) and all(t.name in arrays for t in signature.inputs):
        return
    names = sorted(tensor.name for tensor in signature.inputs)
    takes = f"the model takes {', '.join(names)}."
    if unknown := [name for name in arrays if name not in names]:
        raise EdgelineError(f"There is no input {unknown[0]!r}: {takes}")
    missing = [name for name in names if name not in arrays]
    raise EdgelineError(f"Input{'s' * (len(missing) > 1)} {_are_missing(missing)}: {takes}")


def lacking(arrays: Arrays, never: Sequence[str]) -> dict[int, list[str]]:
    """Which features each row lacks of those of which no missing value was proven, by row.

    Args:
        never: names of features; those that are not input are not looked at. An input without rows
            is row 0.
    """
    found: dict[int, list[str]] = {}
    for name in never:
        gone = missing(arrays[name]) if name in arrays else None
        if gone is None or not gone.any():
            continue
        rows = np.flatnonzero(gone.reshape(len(gone), -1).any(axis=1)) if gone.ndim else [0]
        for row in map(int, rows):
            found.setdefault(row, []).append(name)
    return dict(sorted(found.items()))


def check_missing(arrays: Arrays, never: Sequence[str]) -> None:
    """Check that no row lacks a feature of which no missing value was proven.

    Args:
        never: as in `lacking`.

    Raises:
        EdgelineError: some rows do; all are named, so that the others can be asked without.
    """
    if not (found := lacking(arrays, never)):
        return
    by_names: dict[tuple[str, ...], list[int]] = {}
    for row, names in found.items():
        by_names.setdefault(tuple(names), []).append(row)
    told = "; ".join(
        f"{_instances(rows)}: {_are_missing(names)}" for names, rows in by_names.items()
    )
    sizes = [len(array) for array in arrays.values() if array.ndim]
    others = "; ask for the others without" if sizes and len(found) < sizes[0] else ""
    raise EdgelineError(f"{told}, {UNPROVEN}: give {_it(sum(by_names, ()))}{others}.")


def refusal(row: int, names: Sequence[str]) -> str:
    """What is said of one row alone that lacks features, as `check_missing` says it of all."""
    return f"{_instances([row])}: {_are_missing(names)}, {UNPROVEN}: give {_it(names)}."


def _instances(rows: Sequence[int]) -> str:
    listed = ", ".join(map(str, rows[:NAMED]))
    listed += f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
    return f"Instance{'s' * (len(rows) > 1)} {listed} (from 0)"


def _are_missing(names: Sequence[str]) -> str:
    listed = " and ".join(map(repr, names[:NAMED])) + (" …" if len(names) > NAMED else "")
    return f"{listed} {'is' if len(names) == 1 else 'are'} missing"


def _it(names: Sequence[str]) -> str:
    return "it" if len({*names}) == 1 else "them"


def check_strings(arrays: Arrays, signature: Signature) -> None:
    """Check that arrays of strings hold bytes.

    Raises:
        EdgelineError: one holds something else.
    """
    for tensor in signature.inputs:
        if tensor.dtype != "string":
            continue
        for value in arrays[tensor.name].flat:
            if type(value) is not bytes:
                raise EdgelineError(
                    f"Input {tensor.name!r} holds a {type(value).__name__}: "
                    "give bytes (text as UTF-8)."
                )


def _check_tensor(array: object, tensor: Tensor) -> None:
    name = tensor.name
    if not isinstance(array, np.ndarray):
        raise EdgelineError(f"Input {name!r} is a {type(array).__name__}: give a numpy array.")
    wanted = BY_NAME[tensor.dtype].numpy if tensor.dtype in BY_NAME else np.dtype(tensor.dtype)
    if array.dtype != wanted:
        give = "an object array of bytes" if tensor.dtype == "string" else tensor.dtype
        raise EdgelineError(f"Input {name!r} has dtype {array.dtype}: give {give}.")
    given, row = array.shape[1:], tensor.shape[1:]
    if array.ndim != len(tensor.shape) or (
        given != row
        and any(
            size != want if want != -1 else size == 0 for size, want in zip(given, row, strict=True)
        )
    ):
        sizes = ["rows", *tensor.shape[1:]] if tensor.shape else []
        shape = ", ".join("any" if size == -1 else str(size) for size in sizes)
        raise EdgelineError(f"Input {name!r} has shape {list(array.shape)}: give [{shape}].")
    if tensor.shape and not 1 <= len(array) <= MAX_ROWS:
        raise EdgelineError(f"Input {name!r} has {len(array)} rows: give 1 to {MAX_ROWS:,}.")
