"""What a graph computes of constants alone, computed beforehand by TensorFlow.

The converter folds such operators too, but by rules of its own: an infinity that comes of a
division or an exp is its largest float. And a lowering has to see a constant as one, however it
was reshaped.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from edgeline.formats.dtypes import Array

MOST_BYTES = 1 << 16  # of a constant; the converter folds what is larger
DTYPES = (tf.bool, tf.float32, tf.int32, tf.int64)
# for training, and for TensorFlow's own shape inference
LEFT_OUT = ("_gradient_op_type", "_output_shapes")


def folded(graph: tf.Graph) -> dict[str, Array]:
    """Values of operators with one output that are made of constants alone, by their names.

    Args:
        graph: frozen; `Const` operators themselves are left out, and what draws random numbers.
    """
    constant: list[tf.Operation] = []
    known: set[str] = set()
    for operator in graph.get_operations():
        if _is_small_constant(operator) or _is_computed(operator, known):
            constant.append(operator)
            known.add(operator.outputs[0].name)
    computed = [operator for operator in constant if operator.type != "Const"]
    if not computed:
        return {}
    with tf.init_scope(), tf.Graph().as_default() as alone:
        built: dict[str, tf.Tensor] = {}
        for operator in constant:
            inputs = [built[tensor.name] for tensor in operator.inputs]
            (built[operator.outputs[0].name],) = copied(operator, inputs)
        wanted = [built[operator.outputs[0].name] for operator in computed]
        with tf.compat.v1.Session(graph=alone) as session:
            values = session.run(wanted)
    return {
        operator.name: np.asarray(value)
        for operator, value in zip(computed, values, strict=True)
        if value.nbytes < MOST_BYTES
    }


def copied(operator: tf.Operation, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The outputs of an operator's copy in the current graph."""
    attributes = {
        name: value for name, value in operator.node_def.attr.items() if name not in LEFT_OUT
    }
    copy = tf.compat.v1.get_default_graph().create_op(
        operator.type, list(inputs), name=operator.name, attrs=attributes
    )
    return list(copy.outputs)


def _is_small_constant(operator: tf.Operation) -> bool:
    return (
        operator.type == "Const"
        and operator.outputs[0].dtype in DTYPES
        and operator.get_attr("value").ByteSize() < MOST_BYTES
    )


def _is_computed(operator: tf.Operation, known: set[str]) -> bool:
    """Whether all that it takes is known; not of what runs a function, or keeps a state."""
    return (
        bool(operator.inputs)
        and len(operator.outputs) == 1
        and operator.outputs[0].dtype in DTYPES
        and not operator.op_def.is_stateful
        and not any(attribute.type == "func" for attribute in operator.op_def.attr)
        and all(tensor.name in known for tensor in operator.inputs)
        and operator.outputs[0].shape.is_fully_defined()
        and operator.outputs[0].shape.num_elements() * operator.outputs[0].dtype.size < MOST_BYTES
    )
