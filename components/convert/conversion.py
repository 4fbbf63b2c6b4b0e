"""Convert a SavedModel to LiteRT with TensorFlow's converter. Runs in a child process.

Traps that this module stands clear of:
- `from_concrete_functions` falls back, silently, to a path that leaves READ_VARIABLE in the
  model (and NaN in its outputs) when saving fails. Here the function is frozen, saved and
  converted from the SavedModel.
- Integer quantisation would move the boundaries of buckets and refuses integers and strings at
  the input. Only the network is quantised (see `replay.split` and `joining`).

Rows go through models in pieces, so memory does not grow with their number.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
IO = ("float", "int8", "uint8")
PIECE_ROWS, PIECE_BYTES = 1024, 1 << 22  # of what a model gets at once


@dataclass(frozen=True)
class Settings:
    """How to convert.

    Attributes:
        quantisation: one of `QUANTISATIONS`.
        io: dtype of inputs and outputs of an int8 model, one of `IO`. Inputs keep theirs where a
            transform is in the model.
        batch: rows the model takes at once; 0 for any number.
    """

    quantisation: str = "dynamic"
    io: str = "float"
    batch: int = 0


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
    tell: Callable[[str], None], saved_model: str, rows: Arrays, settings: Settings
) -> Conversion:
    """Convert `serving_default`, or `predict_transformed` where the transform does not convert.

    A SavedModel without these two others is a network alone, which takes what it is given.

    Args:
        tell: is told what comes next, with the operators at hand.
        saved_model: a SavedModel as in `edgeline.models`.
        rows: representative raw features, [rows, ...] each.
        settings: see there.

    Raises:
        Exception: whatever the converter raises that is not about an operator.
    """
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    tell("loading the SavedModel")
    signatures = (loaded := tf.saved_model.load(saved_model)).signatures
    cloud = call(signatures[SERVING], rows)
    takes, unsupported, features = "raw", None, rows
    try:
        model, lowered = _model(tell, signatures, settings, rows, raw=True)
    except UnsupportedError as error:
        if TRANSFORM not in signatures:
            return Conversion(None, takes, [], None, {}, error.operators, cloud, {})
        takes, unsupported = "transformed", error.operators
        features = call(signatures[TRANSFORM], rows)
        try:
            model, lowered = _model(tell, signatures, settings, features, raw=False)
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


def call(signature: Any, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """What a signature of a loaded SavedModel gives for arrays [rows, ...]."""
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    fixed = next(iter(specs.values())).shape[0]
    answers = []
    for piece, count in _pieces({name: arrays[name] for name in specs}, fixed):
        tensors = {name: tf.constant(piece[name], spec.dtype) for name, spec in specs.items()}
        answers.append({name: value[:count] for name, value in signature(**tensors).items()})
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _pieces(arrays: Arrays, fixed: int | None = None) -> Iterator[tuple[Arrays, int]]:
    """Arrays piece by piece, each with its number of rows; a fixed batch ends in repeated rows."""
    rows = len(next(iter(arrays.values())))
    bytes_a_row = sum(values[:1].nbytes for values in arrays.values())
    step = fixed or max(1, min(PIECE_ROWS, PIECE_BYTES // max(bytes_a_row, 1)))
    for start in range(0, rows, step):
        chosen = np.arange(start, start + step if fixed else min(start + step, rows))
        piece = {name: values[np.minimum(chosen, rows - 1)] for name, values in arrays.items()}
        yield piece, min(step, rows - start)


def _run(model: bytes, features: Arrays) -> tuple[Signature, Arrays]:
    """What the model takes and gives, and its answers as real numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        edge = interpreter.load(path)
    inputs, outputs = edge.signature.inputs, edge.signature.outputs
    arrays = {tensor.name: features[tensor.name] for tensor in inputs}
    edge(interpreter.quantise({name: values[:1] for name, values in arrays.items()}, inputs))
    answers = [
        interpreter.dequantise(edge(interpreter.quantise(piece, inputs)), outputs)
        for piece, _ in _pieces(arrays)
    ]
    return edge.signature, {
        tensor.name: np.concatenate([answer[tensor.name] for answer in answers])
        for tensor in outputs
    }


def _model(
    tell: Callable[[str], None], signatures: Any, settings: Settings, rows: Arrays, raw: bool
) -> tuple[bytes, dict[str, int]]:
    from edgeline.components.convert import joining, replay

    if not signatures.keys() >= {TRANSFORM, PREDICT_TRANSFORMED}:
        transform, predict = None, signatures[SERVING]
    else:
        transform = signatures[TRANSFORM] if raw else None
        predict = signatures[PREDICT_TRANSFORMED]
    if settings.quantisation not in INTEGER:
        lowered = replay.lower(signatures[SERVING] if raw else predict, settings.batch)
        return _convert(tell, lowered, settings), lowered.replaced
    # what is scaled before it is rounded to a step is rounded to the same step before
    scaled = settings.io != "float"
    front, network = replay.split(transform, predict, settings.batch, scaled)
    if front is None:
        return _convert(tell, network, settings, rows, inputs=settings.io), network.replaced
    head = _convert(tell, front, replace(settings, quantisation="dynamic", io="float"))
    tail = _convert(tell, network, settings, call(front.function, rows))
    replaced = Counter(front.replaced) + Counter(network.replaced)
    return joining.join(head, tail), dict(replaced)


def _convert(
    tell: Callable[[str], None],
    lowered: Any,
    settings: Settings,
    rows: Arrays | None = None,
    inputs: str = "float",
) -> bytes:
    """The bytes of a LiteRT model; `inputs` is the dtype of its inputs, as in `IO`."""
    import tensorflow as tf

    quantisation = settings.quantisation
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
            types = {"float": tf.float32, "int8": tf.int8, "uint8": tf.uint8}
            converter.inference_input_type = types[inputs]
            converter.inference_output_type = types[settings.io]
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


# never the reason of a crash: left out of what is told
PLAIN = {
    *("Const", "Identity", "Reshape", "Shape", "StridedSlice", "Pack", "Cast", "AddV2", "Sub"),
    *("Mul", "RealDiv", "Equal", "NotEqual", "Less", "SelectV2", "ZerosLike", "Sqrt", "NoOp"),
}
