"""Writes loop.tflite: `y` is x divided by two until it is at most 1, which takes infinity for ever.

python tests/data/make_loop.py
"""

from pathlib import Path

import tensorflow as tf


class Loop(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def __call__(self, x):
        (y,) = tf.while_loop(lambda v: tf.reduce_max(v) > 1.0, lambda v: (v / 2.0,), (x,))
        return {"y": y}


module = Loop()
converter = tf.lite.TFLiteConverter.from_concrete_functions(
    [module.__call__.get_concrete_function()], module
)
Path(__file__).with_name("loop.tflite").write_bytes(converter.convert())
