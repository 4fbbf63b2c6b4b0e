"""Make `loop.tflite`: x, halved until it is at most 1, which infinity never is. Needs TensorFlow,
once."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf


class Loop(tf.Module):
    """The model, as one function."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def serve(self, x):
        (y,) = tf.while_loop(lambda v: tf.reduce_max(v) > 1.0, lambda v: (v / 2.0,), (x,))
        return {"y": y}


if __name__ == "__main__":
    model = Loop()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [model.serve.get_concrete_function()], model
    )
    Path(__file__).with_name("loop.tflite").write_bytes(converter.convert())
