"""Test vectors: real rows with the answers an edge model gave, for a check on the device.

`test_vectors.json`:

    {"format": "test_vectors/v1", "tolerance": 1e-05,
     "inputs": {"fare": [[12.5], [null]], "company": [["Yellow"], [{"b64": "/w=="}]]},
     "outputs": {"prediction": [[0.25], [0.75]]}}

Inputs and outputs are nested lists [rows, ...] of what the model itself takes and gives. A
string is text where it is UTF-8, else base64; NaN is null; infinity is "inf" or "-inf". A
device's answer agrees where its difference (see `differences`) is at most the tolerance, that is
|answer - expected| <= tolerance * max(1, |expected|), in real values. Needs only numpy.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.formats.dtypes import Array

FILE = "test_vectors.json"
FORMAT = "test_vectors/v1"

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Vectors:
    """Rows and their expected answers (empty where none were recorded)."""

    inputs: Arrays
    outputs: Arrays
    tolerance: float


@dataclass(frozen=True)
class _File:
    """The JSON."""

    format: str
    tolerance: float
    inputs: Mapping[str, object]
    outputs: Mapping[str, Any]


def write(path: str | Path, vectors: Vectors) -> None:
    """Write test vectors as JSON, the same bytes for the same arrays."""
    value = {
        "format": FORMAT,
        "tolerance": vectors.tolerance,
        "inputs": {name: encoded(array) for name, array in vectors.inputs.items()},
        "outputs": {name: encoded(array) for name, array in vectors.outputs.items()},
    }
    Path(path).write_text(json.dumps(value, sort_keys=True, allow_nan=False) + "\n")


def read(path: str | Path, signature: Signature) -> Vectors:
    """Read test vectors as arrays of the signature's dtypes.

    Raises:
        EdgelineError: the file is not such JSON, or names a tensor that the signature lacks.
    """
    try:
        found: _File = typed.convert(typed.read(path), _File)
        if found.format != FORMAT:
            raise EdgelineError(f"format {found.format[:40]!r} is not {FORMAT}")
        return Vectors(
            _decode(found.inputs, signature.inputs),
            _decode(found.outputs, signature.outputs),
            found.tolerance,
        )
    except EdgelineError as error:
        reason = str(error).removeprefix(f"{path} ").rstrip(".")
        raise EdgelineError(f"{path} is damaged ({reason}): verify and publish again.") from None


def synthetic(signature: Signature) -> Vectors:
    """One row of zeros and empty strings, for a model that comes without vectors."""
    inputs = {}
    for tensor in signature.inputs:
        shape = (1, *(max(1, size) for size in tensor.shape[1:]))
        inputs[tensor.name] = (
            np.full(shape, b"", object)
            if tensor.dtype == "string"
            else np.full(shape, tensor.zero_point or 0, tensor.dtype)
        )
    return Vectors(inputs, {}, 0.0)


def encoded(array: Array) -> object:
    """An array's nested lists, as the file has them."""
    return _encode(array.tolist())


def decoded(name: str, rows: object, dtype: str) -> Array:
    """The array of such lists.

    Args:
        name: of the tensor, for the sentence.

    Raises:
        EdgelineError: they are not rows of this dtype.
    """
    return _array(name, rows, dtype)


def _encode(value: object) -> object:
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value


def _decode(value: Mapping[str, object], tensors: tuple[Tensor, ...]) -> Arrays:
    kinds = {tensor.name: tensor.dtype for tensor in tensors}
    arrays = {}
    for name, rows in value.items():
        if name not in kinds:
            raise EdgelineError(f"it has {name[:100]!r}, which the model does not")
        arrays[name] = _array(name, rows, kinds[name])
    return arrays


def _array(name: str, rows: object, dtype: str) -> Array:
    try:
        return _strings(rows) if dtype == "string" else np.array(rows, object).astype(dtype)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise EdgelineError(f"{name[:100]!r} is not rows of {dtype[:40]}: {error}") from error


def _strings(rows: object) -> Array:
    flat: list[bytes] = []

    def shape_of(item: object) -> tuple[int, ...]:
        if not isinstance(item, list):
            flat.append(_text(item))
            return ()
        shapes = {shape_of(part) for part in item}
        if len(shapes) > 1:
            raise ValueError("its lists differ in length")
        return (len(item), *(shapes.pop() if shapes else ()))

    shape = shape_of(rows)
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape)


def _text(item: object) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and isinstance(item.get("b64"), str):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"its base64 is broken ({error})") from error
    raise ValueError(f"{str(item)[:40]!r} is not a string")
