"""Rows, columns and examples of TensorFlow Serving's REST protocol: their JSON and their arrays.

https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeline.artifacts import pixels
from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.transformed import RAW
from edgeline.formats.dtypes import Array
from edgeline.server.errors import ServingError, invalid, shown
from edgeline.server.models.model import Arrays, Description
from edgeline.server.tensors import pictures
from edgeline.server.tensors.json import (
    Large,
    b64,
    decode,
    dumps,
    dumps_not_finite,
    loads,
    to_array,
)

SHOWN = 10  # inputs that one refusal names
_SERVING = ("", "serving_default")


def asked_of(body: bytes) -> dict[str, object]:
    """What a request's body asks for.

    Raises:
        ServingError: it is not a JSON object, or asks for a signature that no model has.
    """
    asked = loads(body)
    if not isinstance(asked, dict):
        raise invalid("The body is not a JSON object: give {'instances': [...]}.")
    signature = asked.get("signature_name")
    if signature is not None and signature not in _SERVING:
        raise invalid(f"There is no signature {shown(signature)}: leave it out.")
    return asked


def from_rows(rows: object, description: Description) -> dict[str, Array]:
    if not isinstance(rows, list | Large):
        raise invalid("'instances' is not a list.")
    if not len(rows):
        raise invalid("'instances' is empty: give at least one.")
    first: dict[str, object] = {}
    if named := isinstance(rows, list) and isinstance(rows[0], dict):
        first = rows[0]
    inputs = description.asked_inputs(first)
    names = {tensor.name for tensor in inputs}
    if isinstance(rows, Large) or not named or (rows[0].keys() == {"b64"} and "b64" not in names):
        if len(inputs) != 1:
            raise invalid(
                f"Model {description.name!r} has {len(inputs)} inputs: give each instance as an "
                "object with their names."
            )
        return {inputs[0].name: _array(rows, inputs[0], description)}
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"Instance {place} is not an object, as the first is.")
        if row.keys() != names:
            raise _misnamed(place, row, names)
    return {
        tensor.name: _array([row[tensor.name] for row in rows], tensor, description)
        for tensor in inputs
    }


def _misnamed(place: int, row: dict[str, object], names: set[str]) -> ServingError:
    """Of an instance with other inputs than the model's: the first unknown one, or all it lacks."""
    if unknown := sorted(row.keys() - names):
        return invalid(f"Instance {place} has an unknown input {unknown[0][:100]!r}.")
    lacking = sorted(names - row.keys())
    listed = ", ".join(map(repr, lacking[:SHOWN])) + (" …" if lacking[SHOWN:] else "")
    plural = "s" if lacking[1:] else ""
    return invalid(
        f"Instance {place} lacks input{plural} {listed}: give null for a value that is missing."
    )


def from_columns(columns: object, description: Description) -> dict[str, Array]:
    inputs = {tensor.name: tensor for tensor in description.asked.inputs}
    if not isinstance(columns, dict) or (columns.keys() == {"b64"} and "b64" not in inputs):
        if len(inputs) != 1:
            raise invalid(f"Model {description.name!r} has {len(inputs)} inputs: name them.")
        columns = {next(iter(inputs)): columns}
    arrays = {}
    for name, value in columns.items():
        if name not in inputs:
            known = ", ".join(map(repr, sorted(inputs)))
            raise invalid(f"There is no input {name[:100]!r}: the model takes {known}.")
        arrays[name] = _array(value, inputs[name], description)
    return arrays


def from_examples(asked: dict[str, object], description: Description) -> dict[str, Array]:
    examples, context = asked.get("examples"), asked.get("context")
    if not isinstance(examples, list) or not examples or not isinstance(context, dict | None):
        raise invalid("Give 'examples': a list of objects with features.")
    context = context or {}
    rows = []
    for place, example in enumerate(examples):
        if not isinstance(example, dict):
            raise invalid(f"Example {place} is not an object.")
        if clash := example.keys() & context.keys():
            raise invalid(f"Feature {min(clash)[:100]!r} is in the context and in example {place}.")
        rows.append({**context, **example})
    return from_rows(rows, description)


def _array(value: object, tensor: Tensor, description: Description) -> Array:
    if isinstance(value, list):  # a column, put together from rows
        value = [item.as_list() if isinstance(item, Large) else item for item in value]
    if pixels.takes_images(tensor) and _is_b64(value):
        files = to_array(value, "string", f"Input {tensor.name!r}").reshape(-1)
        return pictures.decode(files, tensor, description.takes_of(tensor.name))
    raw = description.takes_of(tensor.name) == RAW
    array = to_array(value, tensor.dtype, f"Input {tensor.name!r}", raw)
    return array if array.ndim else array.reshape(1)


def _is_b64(value: object) -> bool:
    first = value[0] if isinstance(value, list) and value else value
    return isinstance(first, dict) and first.keys() == {"b64"}


def to_rows(answers: Arrays) -> object:
    if len(answers) == 1:
        name, array = next(iter(answers.items()))
        return plain(name, array)
    columns = {name: plain(name, array) for name, array in answers.items()}
    rows = {len(array) for array in columns.values()}
    if len(rows) != 1:
        raise invalid("The model's outputs have no common rows: ask with 'inputs' (columns).")
    return [{name: array[row] for name, array in columns.items()} for row in range(rows.pop())]


def with_refused(answers: Any, fit: Arrays, refused: Mapping[int, str]) -> Any:
    """Answers of the instances that were fit, and between them why the others are refused.

    An object, since what is not a number breaks a client that does not look for it, where null
    would be 0 in some languages.
    """
    if not refused:
        return answers
    if len(answers) != len(next(iter(fit.values()))):
        raise invalid(f"{' '.join(refused.values())} The model answers all instances together.")
    given = iter(answers)
    rows = range(len(answers) + len(refused))
    return [{"error": refused[row]} if row in refused else next(given) for row in rows]


def plain(name: str, array: Array) -> Any:
    """An output as JSON takes it; strings of an output named *_bytes always as base64."""
    if array.dtype.kind not in "OSU":
        return array
    if name.endswith("_bytes"):
        return _as_b64(array)
    return _text(array)


def _as_b64(array: Array) -> object:
    if array.ndim:
        return [_as_b64(row) for row in array]
    value = array.item()
    return b64(value.encode() if isinstance(value, str) else bytes(value))


def _text(array: Array) -> object:
    return [_text(row) if isinstance(row, np.ndarray) else decode(row) for row in array]


def write(
    key: str, value: object, answers: Arrays, parameters: Mapping[str, str] | None = None
) -> bytes:
    return write_all({key: value}, answers, parameters)


def write_all(
    document: dict[str, object], answers: Arrays, parameters: Mapping[str, str] | None = None
) -> bytes:
    """A document of several answers as JSON; `answers` are what may not be finite in it."""
    if parameters:
        document = {**document, "parameters": parameters}
    finite = all(
        array.dtype.kind not in "f" or bool(np.isfinite(array).all()) for array in answers.values()
    )
    return dumps(document) if finite else dumps_not_finite(document)
