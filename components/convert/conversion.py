"""Convert a SavedModel to LiteRT with TensorFlow's converter. Runs in a child process.

Traps that this module stands clear of:
- `from_concrete_functions` falls back, silently, to a path that leaves READ_VARIABLE in the
  model (and NaN in its outputs) when saving fails. Here the function is frozen, saved and
  converted from the SavedModel.
- Integer quantisation would move the boundaries of buckets and refuses integers and strings at
  the input. Only the network is quantised (see `replay.split` and `joining`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline import interpreter
from edgeline.bundle import Signature
from edgeline.features import Feature
from edgeline.models import PREDICT_TRANSFORMED, SERVING, TRANSFORM

Arrays = Mapping[str, npt.NDArray[Any]]
QUANTISATIONS = ("float", "fp16", "dynamic", "int8", "int16x8")
INTEGER = ("int8", "int16x8")


@dataclass(frozen=True)
class Conversion:
    """A converted model and what it answered beside the cloud's.

    `unsupported` is not None where the transform could not be converted, or nothing at all
    (then `model` is None): TensorFlow operators with the nodes that use them.
    `cloud` and `edge` are outputs by name on the representative rows.
    """

    model: bytes | None
    takes: str
    features: Sequence[Feature]
    signature: Signature | None
    lowered: Mapping[str, int]
    unsupported: Mapping[str, Sequence[str]] | None
    cloud: Arrays
    edge: Arrays


class UnsupportedError(Exception):
    """Operators that LiteRT lacks, by name, with their nodes."""

    def __init__(self, operators: Mapping[str, Sequence[str]]):
        super().__init__(", ".join(operators))
        self.operators = operators


def convert(
    tell: Callable[[str], None], saved_model: str, rows: Arrays, quantisation: str
) -> Conversion:
    """Convert `serving_default`, or `predict_transformed` where the transform does not convert.

    Args:
        tell: is told what comes next, with the operators at hand.
        saved_model: a SavedModel as in `edgeline.models`.
        rows: representative raw features, [rows, n] each.
        quantisation: one of `QUANTISATIONS`.

    Raises:
        Exception: whatever the converter raises that is not about an operator.
    """
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    tell("loading the SavedModel")
    signatures = (loaded := tf.saved_model.load(saved_model)).signatures
    cloud = _call(signatures[SERVING], rows)
    takes, unsupported, features = "raw", None, rows
    try:
        model, lowered = _signature(tell, signatures, quantisation, rows, raw=True)
    except UnsupportedError as error:
        takes, unsupported = "transformed", error.operators
        features = _call(signatures[TRANSFORM], rows)
        try:
            model, lowered = _signature(tell, signatures, quantisation, features, raw=False)
        except UnsupportedError as error:
            return Conversion(None, takes, [], None, {}, error.operators, cloud, {})
    tell("running the converted model")
    contract, edge = _run(model, features)
    specs = signatures[SERVING if takes == "raw" else PREDICT_TRANSFORMED]
    described = [
        Feature(name, spec.dtype.name, tuple(spec.shape[1:]))
        for name, spec in sorted(specs.structured_input_signature[1].items())
    ]
    del loaded  # until here the signatures lived on its variables
    return Conversion(model, takes, described, contract, lowered, unsupported, cloud, edge)


def _run(model: bytes, features: Arrays) -> tuple[Signature, Arrays]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        edge = interpreter.load(path)
    arrays = {tensor.name: features[tensor.name] for tensor in edge.signature.inputs}
    edge({name: values[:1] for name, values in arrays.items()})
    return edge.signature, edge(arrays)


def _signature(
    tell: Callable[[str], None], signatures: Any, quantisation: str, rows: Arrays, raw: bool
) -> tuple[bytes, dict[str, int]]:
    from edgeline.components.convert import joining, replay

    if quantisation not in INTEGER:
        lowered = replay.lower(signatures[SERVING if raw else PREDICT_TRANSFORMED])
        return _convert(tell, lowered, quantisation), lowered.replaced
    transform = signatures[TRANSFORM] if raw else None
    front, network = replay.split(transform, signatures[PREDICT_TRANSFORMED])
    head = _convert(tell, front, "dynamic")
    tail = _convert(tell, network, quantisation, _call(front.function, rows))
    return joining.join(head, tail), front.replaced


def _convert(
    tell: Callable[[str], None], lowered: Any, quantisation: str, rows: Arrays | None = None
) -> bytes:
    import tensorflow as tf

    tell(f"converting {', '.join(sorted(lowered.nodes.keys() - PLAIN))} to {quantisation}")
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(lowered.module, folder, signatures={SERVING: lowered.function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SERVING])
        if quantisation != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantisation == "fp16":
            converter.target_spec.supported_types = [tf.float16]
        if rows is not None:
            kind = tf.lite.OpsSet
            integers = {
                "int8": kind.TFLITE_BUILTINS_INT8,
                "int16x8": kind.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            }
            converter.target_spec.supported_ops = [integers[quantisation], kind.TFLITE_BUILTINS]
            converter.representative_dataset = lambda: _single_rows(rows)
        try:
            return bytes(converter.convert())
        except Exception as error:
            if operators := unsupported_operators(str(error), lowered.nodes):
                raise UnsupportedError(operators) from error
            raise


def unsupported_operators(
    text: str, nodes: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """The TensorFlow operators that a converter's message says it cannot convert.

    A string select or number to string (see `lowering`) is left out where another operator
    made it necessary. Lists of tensors (recurrent layers) are not named in the message.

    Args:
        text: the message.
        nodes: node names by operator; the result has those of the operators found.
    """
    found = set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text))
    for line in re.findall(r"TF (?:Select|Custom) ops: (.*)", text):
        found |= {name.strip() for name in line.split(",")}
    if not found and "tensor list ops" in text:
        found = {name for name in nodes if name.startswith("TensorList")}
    found = found - {"AsString", "Select", "SelectV2"} or found
    return {name: nodes.get(name, []) for name in sorted(found)}


def _single_rows(rows: Arrays) -> Any:
    count = len(next(iter(rows.values())))
    for row in range(count):
        yield SERVING, {name: values[row : row + 1] for name, values in rows.items()}


def _call(signature: Any, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    tensors = {name: tf.constant(arrays[name], spec.dtype) for name, spec in specs.items()}
    return {name: np.asarray(value) for name, value in signature(**tensors).items()}


# never the reason of a crash: left out of what is told
PLAIN = {
    *("Const", "Identity", "Reshape", "Shape", "StridedSlice", "Pack", "Cast", "AddV2", "Sub"),
    *("Mul", "RealDiv", "Equal", "NotEqual", "Less", "SelectV2", "ZerosLike", "Sqrt", "NoOp"),
}
