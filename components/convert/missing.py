"""Missing numbers through a network of integers, which have no NaN.

The trained model answers NaN where a number that its network needs is missing; one that computes
with integers would answer some number. Which outputs become NaN is found by asking the floating
network, and a small graph of floats behind the quantised one makes them so. What a network does
with NaN otherwise (a test within it, say) is left to `verify`, which asks the whole model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from edgeline.components.convert import running
from edgeline.components.convert.replay import Lowered
from edgeline.components.convert.running import Arrays
from edgeline.formats.dtypes import Array

INPUT, OUTPUT = "input_", "output_"  # before a network's names, in the graph behind it
_RANK = 3  # batch, steps, channels; pictures have no missing values


def reaching(front: Lowered | None, network: Lowered, rows: Arrays) -> dict[str, list[str]]:
    """Inputs of a network whose missing values make all of an output NaN, by output.

    Args:
        front: what comes before the network; None where it takes what is given.
        network: in floating numbers.
        rows: what the front, or without one the network, takes, [rows, ...] each.
    """
    row = {name: values[:1] for name, values in rows.items()}
    if front is not None:
        asked = running.call(front.function, _one_missing(row))
        row = running.call(front.function, row)
    else:
        asked = _one_missing(row)
    known = {name: np.nan_to_num(v) if _is_feature(v) else v for name, v in row.items()}
    found: dict[str, list[str]] = {}
    for name in known:
        if _is_feature(asked[name]) and np.isnan(asked[name]).any():
            answers = running.call(network.function, _partly_missing(known, name))
            for output, values in answers.items():
                if values.dtype == np.float32 and values.ndim and np.isnan(values).all():
                    found.setdefault(output, []).append(name)
    return found


def carrying(network: Lowered, reaching: Mapping[str, Sequence[str]]) -> Lowered:
    """A graph that makes outputs of a network NaN in the rows where its inputs are."""
    takes = network.function.structured_input_signature[1]
    gives = network.function.structured_outputs
    names = sorted({name for inputs in reaching.values() for name in inputs})
    specs = {
        **{INPUT + name: takes[name] for name in names},
        **{OUTPUT + name: gives[name] for name in reaching},
    }

    def carry(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = {}
        for output, inputs in reaching.items():
            value = given[OUTPUT + output]
            missing = tf.add_n([_any_missing(given[INPUT + name]) for name in inputs])
            missing = tf.reshape(missing, [-1] + [1] * (value.shape.rank - 1))
            answers[output] = tf.where(tf.less(0.0, missing), np.float32(np.nan), value)
        return answers

    module = tf.Module()
    module.function = tf.function(carry, autograph=False)
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}
    return Lowered(module, module.function.get_concrete_function(**specs))


def _any_missing(x: tf.Tensor) -> tf.Tensor:
    """1.0 for rows with NaN, 0.0 for others; [rows]."""
    missing = tf.cast(tf.not_equal(x, x), tf.float32)
    return tf.reduce_max(missing, list(range(1, x.shape.rank)))


def _is_feature(values: Array) -> bool:
    return values.dtype == np.float32 and 1 <= values.ndim <= _RANK


def _one_missing(row: Arrays) -> dict[str, Array]:
    """A row again and again, in each another feature missing, and all of them in the last."""
    floats = [name for name, values in row.items() if _is_feature(values)]
    again = {name: np.repeat(values, len(floats) + 1, 0) for name, values in row.items()}
    for place, name in enumerate(floats):
        again[name][[place, len(floats)]] = np.nan
    return again


def _partly_missing(row: Arrays, name: str) -> dict[str, Array]:
    """A row three times, an input's first number, its last, and all of them missing."""
    again = {each: np.repeat(values, 3, 0) for each, values in row.items()}
    numbers = again[name].reshape(3, -1)
    numbers[0, 0] = numbers[1, -1] = numbers[2] = np.nan
    return again
