"""An inference request of the Open Inference Protocol over HTTP: JSON, binary, or a raw body.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeline.artifacts import pixels
from edgeline.artifacts.bundle import Tensor
from edgeline.artifacts.transformed import RAW
from edgeline.formats.dtypes import BY_NAME, BY_V2, Array, v2_of
from edgeline.server.digits import whole
from edgeline.server.errors import invalid, shown
from edgeline.server.http.messages import JSON, HttpRequest, HttpResponse
from edgeline.server.models.model import Arrays, Description, Instance
from edgeline.server.protocols.meaning import decisions
from edgeline.server.tensors import pictures
from edgeline.server.tensors.binary import MOST_DIMENSIONS, elements, from_bytes, to_bytes
from edgeline.server.tensors.json import Large, dumps, loads, to_array
from edgeline.server.watching import tracing

_HEADER_LENGTH = b"inference-header-content-length"
_IDS = (str, int, float, type(None))


def infer(body: bytes, request: HttpRequest, instance: Instance) -> HttpResponse:
    """Run an inference request, in the JSON or the binary form that it has.

    Raises:
        ServingError: the request is malformed or does not fit the model.
    """
    description = instance.description
    length = request.headers.get(_HEADER_LENGTH)
    asked: dict[str, Any] = {}
    binary = False
    if pictures.is_image_type(request.headers.get(b"content-type", b"")):
        arrays = pictures.from_body(
            body, description.name, description.signature, description.takes
        )
    elif length is None:
        asked = _document(loads(body))
        arrays = _inputs(asked, memoryview(b""), description)
    else:
        size = whole(length)
        if size is None or size > len(body):
            raise invalid("Inference-Header-Content-Length is not a length within the body.")
        if size:
            asked = _document(loads(body[:size]))
            arrays = _inputs(asked, memoryview(body)[size:], description)
        else:
            arrays, binary = _raw_input(body, description), True
    tracing.name(asked.get("id"))
    answers = instance.ask(arrays)
    del arrays
    return _response(asked, answers, description, binary, instance.outside.parameters)


def requested(
    names: Sequence[tuple[str, Mapping[str, object]]], answers: Arrays, description: Description
) -> list[tuple[str, Array, Mapping[str, object]]]:
    """The outputs that a client asks for (all, if none), each with its parameters.

    With a parameter `classification: n` an output becomes the n largest values of each row, as
    strings `value:index[:label]` (Triton's extension); of a binary model with a decision threshold
    the decided class comes first. Else such an output has the parameters of `decision_parameters`.

    Raises:
        ServingError: the model has no such output.
    """
    names = names or [(tensor.name, {}) for tensor in description.signature.outputs]
    outputs = []
    for name, parameters in names:
        if name not in answers:
            known = ", ".join(map(repr, answers))
            raise invalid(f"There is no output {name[:100]!r}: the model gives {known}.")
        array = answers[name]
        if count := parameters.get("classification"):
            array = _classified(array, count, name, description)
        outputs.append((name, array, parameters))
    return outputs


def decision_parameters(
    array: Array, name: str, description: Description
) -> dict[str, float | str]:
    """What an output is told with: the threshold of a binary model, and the class of each row.

    `decision_threshold` is there where the model's bundle has one, with `decisions`, 0 or 1 for
    each row with commas between: the protocol's parameters are not lists.
    """
    decided = decisions(array, name, description)
    if decided is None:
        return {}
    return {
        "decision_threshold": decided.threshold,
        "decisions": ",".join("1" if yes else "0" for yes in decided.yes.tolist()),
    }


def takes_encoded(tensor: Tensor | None, datatype: str) -> bool:
    """Whether an input of this datatype is encoded images for a tensor of pixels.

    Raises:
        ServingError: the tensor is of another datatype, and takes no pictures.
    """
    if tensor is None or BY_NAME[tensor.dtype].v2 == datatype:
        return False
    if datatype == "BYTES" and pixels.takes_images(tensor):
        return True
    wanted = BY_NAME[tensor.dtype].v2
    raise invalid(f"Input {tensor.name!r} is {datatype}, but the model takes {wanted}.")


def _document(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise invalid("The body is not a JSON object: give {'inputs': [...]}.")
    if not isinstance(value.get("id"), _IDS) or isinstance(value.get("id"), bool):
        raise invalid(f"The request's 'id' is {shown(value['id'])}: give text.")
    if not isinstance(value.get("parameters"), dict | None):
        raise invalid(
            f"The request's 'parameters' are {shown(value['parameters'])}: give an object."
        )
    return value


def _inputs(
    asked: dict[str, object], binary: memoryview, description: Description
) -> dict[str, Array]:
    entries = asked.get("inputs")
    if not isinstance(entries, list) or not entries:
        raise invalid("The request has no 'inputs': give a list of tensors.")
    tensors = {tensor.name: tensor for tensor in description.asked.inputs}
    arrays: dict[str, Array] = {}
    place = 0
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise invalid("An input has no name.")
        if name in arrays:
            raise invalid(f"Input {name[:100]!r} is given twice.")
        datatype, shape = entry.get("datatype"), _shape(entry.get("shape"), name)
        if not isinstance(datatype, str) or datatype not in BY_V2:
            raise invalid(f"Input {name[:100]!r} has no datatype of this protocol.")
        encoded = takes_encoded(tensors.get(name), datatype)
        parameters = entry.get("parameters")
        if not isinstance(parameters, dict | None):
            raise invalid(f"Input {name[:100]!r} has parameters that are not objects.")
        parameters = parameters or {}
        size = parameters.get("binary_data_size")
        if size is not None:
            if type(size) is not int or size < 0 or place + size > len(binary):
                raise invalid(f"Input {name[:100]!r} has a binary_data_size beyond the body's end.")
            arrays[name] = from_bytes(binary[place : place + size], datatype, shape, name)
            place += size
        elif "data" in entry:
            arrays[name] = _from_json(entry["data"], datatype, shape, name, description)
        else:
            raise invalid(f"Input {name[:100]!r} has no data.")
        if encoded:
            files = arrays[name].reshape(-1)
            arrays[name] = pictures.decode(files, tensors[name], description.takes_of(name))
    if place != len(binary):
        raise invalid(f"The body has {len(binary) - place} bytes after its last tensor.")
    return arrays


def _from_json(
    value: object, datatype: str, shape: list[int], name: str, description: Description
) -> Array:
    if datatype == "FP16":
        raise invalid(f"Input {name!r} is FP16, which has no JSON form: send it as binary data.")
    what = f"Input {name!r}"
    raw = description.takes_of(name) == RAW
    array = to_array(value, BY_V2[datatype].name, what, raw)
    if list(array.shape) == shape:
        return array
    if array.ndim != 1 or array.size != elements(shape, name):
        raise invalid(f"{what} has data of shape {list(array.shape)}, but says {shape}.")
    return array.reshape(shape)


def _shape(value: object, name: str) -> list[int]:
    shape = value
    if isinstance(value, Large):  # enough of it to be refused where it is too long
        shape = [value[place] for place in range(min(len(value), MOST_DIMENSIONS + 1))]
    if not isinstance(shape, list):
        raise invalid(f"Input {name[:100]!r} has no shape: give a list of sizes.")
    elements(shape, name[:100])
    return shape


def _raw_input(body: bytes, description: Description) -> dict[str, Array]:
    """A body that is nothing but the bytes of a model's only input; its rows are counted."""
    inputs = description.asked.inputs
    if len(inputs) != 1:
        raise invalid(
            f"Model {description.name!r} has {len(inputs)} inputs, and a raw body is for one: "
            "send a JSON header."
        )
    tensor = inputs[0]
    if tensor.dtype == "string":
        array = np.empty(1, object)
        array[0] = bytes(body)
        return {tensor.name: array.reshape((1,) * len(tensor.shape))}
    dtype = BY_NAME[tensor.dtype]
    row = dtype.numpy.itemsize * abs(math.prod(tensor.shape[1:]))
    if any(size < 0 for size in tensor.shape[1:]) or not row or len(body) % row or not body:
        raise invalid(
            f"The raw body has {len(body)} bytes, but a row of input {tensor.name!r} has {row}."
        )
    return {
        tensor.name: from_bytes(body, dtype.v2, [len(body) // row, *tensor.shape[1:]], tensor.name)
    }


def _response(
    asked: dict[str, object],
    answers: Arrays,
    description: Description,
    binary: bool,
    of_request: Mapping[str, str],
) -> HttpResponse:
    common = asked.get("parameters")
    if isinstance(common, dict):
        binary = common.get("binary_data_output") is True
    entries: list[dict[str, object]] = []
    parts: list[bytes] = []
    for name, array, parameters in requested(_asked_outputs(asked), answers, description):
        datatype = v2_of(array.dtype)
        entry: dict[str, object] = {"name": name, "datatype": datatype, "shape": array.shape}
        told: dict[str, object] = dict(decision_parameters(array, name, description))
        if parameters.get("binary_data", binary):
            data = to_bytes(array)
            parts.append(data)
            told["binary_data_size"] = len(data)
        else:
            entry["data"] = _to_json(array, name, datatype)
        if told:
            entry["parameters"] = told
        entries.append(entry)
    document: dict[str, object] = {
        "model_name": description.name,
        "model_version": str(description.version),
        "outputs": entries,
    }
    if of_request:
        document["parameters"] = of_request
    if (identity := asked.get("id")) is not None:
        document["id"] = identity if isinstance(identity, str) else str(identity)
    header = dumps(document)
    if not parts:
        return HttpResponse(200, header, JSON)
    return HttpResponse(
        200,
        b"".join((header, *parts)),
        b"application/octet-stream",
        (b"Inference-Header-Content-Length: %d" % len(header),),
    )


def _asked_outputs(asked: dict[str, object]) -> list[tuple[str, Mapping[str, object]]]:
    entries = asked.get("outputs")
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise invalid("'outputs' is not a list of tensors.")
    names: list[tuple[str, Mapping[str, object]]] = []
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise invalid("An entry of 'outputs' has no name.")
        parameters = entry.get("parameters")
        if not isinstance(parameters, dict | None):
            raise invalid(f"Output {name[:100]!r} has parameters that are not objects.")
        names.append((name, parameters or {}))
    return names


def _to_json(array: Array, name: str, datatype: str) -> object:
    if datatype == "FP16":
        raise invalid(f"Output {name!r} is FP16, which has no JSON form: ask for binary data.")
    if datatype != "BYTES":
        return array.reshape(-1)
    try:
        return [v if isinstance(v, str) else bytes(v).decode() for v in array.flat]
    except UnicodeDecodeError:
        raise invalid(f"Output {name!r} is not text: ask for binary data.") from None


def _classified(array: Array, count: object, name: str, description: Description) -> Array:
    if type(count) is not int or count < 1 or array.dtype.kind not in "iuf" or array.ndim < 1:
        raise invalid("Classification is for numbers, and takes how many classes to give.")
    labels: tuple[str, ...] | None = description.labels
    if decided := decisions(array, name, description):
        rows, best, labels = decided.scores, decided.order[:, :count], decided.labels
    else:
        rows = array.reshape(len(array), -1)
        best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    answer = np.empty(best.shape, object)
    for place, index in np.ndenumerate(best):
        text = f"{rows[place[0], index]}:{index}"
        if labels is not None and index < len(labels):
            text += ":" + labels[index]
        answer[place] = text.encode()
    return answer
