"""Infinite constants, which TensorFlow's converter writes as the largest floats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from edgeline.formats.dtypes import Array
from edgeline.formats.packing import packed, unpacked

_LARGEST = np.finfo(np.float32).max


def has_infinities(graph: tf.Graph, computed: Mapping[str, Array]) -> bool:
    """Whether a graph has infinite constants, or divides by a constant 0, which gives them.

    Args:
        computed: what it computes of constants alone, by operator.
    """
    if any(value.dtype == np.float32 and np.isinf(value).any() for value in computed.values()):
        return True
    for operator in graph.get_operations():
        if operator.type == "Const" and operator.outputs[0].dtype == tf.float32:
            if np.isinf(tf.make_ndarray(operator.get_attr("value"))).any():
                return True
        elif operator.type == "RealDiv" and operator.inputs[1].dtype == tf.float32:
            divisor = computed.get(operator.inputs[1].op.name)
            if divisor is None:
                divisor = tf.get_static_value(operator.inputs[1])
            if divisor is not None and not np.all(divisor):
                return True
    return False


def below_largest(value: Any) -> Any:
    """Constants with the largest float made the one below it: `with_infinities` needs that one."""
    smaller = np.nextafter(_LARGEST, np.float32(0))
    return np.clip(value, -smaller, smaller, where=np.isfinite(value), out=value.copy())


def with_infinities(model: bytes) -> bytes:
    """A LiteRT file whose largest floats are infinite: the converter writes infinity as these."""
    found = unpacked(model)
    buffers = {
        tensor.buffer
        for graph in found.subgraphs
        for tensor in graph.tensors
        if tensor.type == schema.TensorType.FLOAT32
    }
    for number in sorted(buffers):
        buffer = found.buffers[number]
        if buffer.data is not None and len(buffer.data):
            values = np.frombuffer(bytes(buffer.data), np.float32).copy()
            values[values == _LARGEST] = np.inf
            values[values == -_LARGEST] = -np.inf
            buffer.data = values.view(np.uint8)
    return packed(found, len(model))
