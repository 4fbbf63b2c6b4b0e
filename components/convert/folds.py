"""Lowerings of what the converter would fold into something else.

It makes `a <= b` of `not a > b`, which differs where one of them is missing (NaN), and a constant
of a comparison with 0 that a number made of a boolean decides, in a dtype that LiteRT's kernel does
not take.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

SHAPES = ("ExpandDims", "Identity", "Reshape", "Squeeze")  # change no value
ORDERED = ("Greater", "GreaterEqual", "Less", "LessEqual")


def negation(operator: tf.Operation, x: tf.Tensor) -> Any:
    """`not a > b` as TensorFlow has it when it serves.

    TensorFlow's own optimiser makes `a <= b` of it as well, but only where nothing else takes the
    comparison (LogicalNotStage in grappler/optimizers/arithmetic_optimizer.cc), after equal
    operators have become one.
    """
    comparison = operator.inputs[0].op
    if comparison.type not in ORDERED or not comparison.inputs[0].dtype.is_floating:
        return None
    takers = [taker for each in _equal_to(comparison) for taker in each.outputs[0].consumers()]
    shared = any(taker.type != operator.type for taker in takers)
    return tf.not_equal(x, True) if shared else None


def number(operator: tf.Operation, x: tf.Tensor, comparing: Collection[str]) -> Any:
    """A boolean as a number, where something that takes it compares."""
    to = operator.get_attr("DstT")
    if to not in (tf.float32, tf.int32, tf.int64):
        return None
    if not any(each.type in comparing for each in _takers(operator)):
        return None
    return tf.where(x, tf.constant(1, to), tf.constant(0, to))


def _takers(operator: tf.Operation) -> Iterator[tf.Operation]:
    """What takes an operator's output, also in another shape."""
    for taker in operator.outputs[0].consumers():
        if taker.type in SHAPES:
            yield from _takers(taker)
        else:
            yield taker


def _equal_to(comparison: tf.Operation) -> list[tf.Operation]:
    """The operator itself, and those that compare the same."""
    others = [each for each in comparison.inputs[0].consumers() if each.type == comparison.type]
    return [each for each in others if all(map(_same, each.inputs, comparison.inputs))]


def _same(one: tf.Tensor, other: tf.Tensor) -> bool:
    if one is other:
        return True
    values = tf.get_static_value(one), tf.get_static_value(other)
    return all(each is not None for each in values) and (
        values[0].shape == values[1].shape and bool((values[0] == values[1]).all())
    )
