"""Running signatures and LiteRT models on rows, in pieces: memory does not grow with the rows."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeline.formats.dtypes import Array
from edgeline.runtimes import interpreter
from edgeline.runtimes.pieces import pieces

if TYPE_CHECKING:
    import tensorflow as tf

Arrays = Mapping[str, Array]


def call(signature: tf.types.experimental.ConcreteFunction, arrays: Arrays) -> dict[str, Array]:
    """What a signature of a loaded SavedModel gives for arrays [rows, ...]."""
    import tensorflow as tf

    specs = signature.structured_input_signature[1]
    fixed = next(iter(specs.values())).shape[0] or 0
    found = []
    for piece, count in pieces({name: arrays[name] for name in specs}, fixed):
        tensors = {name: tf.constant(piece[name], spec.dtype) for name, spec in specs.items()}
        found.append({name: value[:count] for name, value in signature(**tensors).items()})
    return {name: np.concatenate([answer[name] for answer in found]) for name in found[0]}


def load(model: bytes) -> interpreter.EdgeModel:
    """A LiteRT model in memory as a function."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model)
        return interpreter.load(path)


def answers(edge: interpreter.EdgeModel, features: Arrays) -> dict[str, Array]:
    """What an edge model answers to real values, in real values."""
    inputs, outputs = edge.signature.inputs, edge.signature.outputs
    found = [
        interpreter.dequantise(edge(interpreter.quantise(piece, inputs)), outputs)
        for piece, _ in pieces({tensor.name: features[tensor.name] for tensor in inputs})
    ]
    return {t.name: np.concatenate([answer[t.name] for answer in found]) for t in outputs}
