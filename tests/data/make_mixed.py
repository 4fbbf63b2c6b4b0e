"""Make `mixed.tflite`: string, float and integer inputs, no state. Needs TensorFlow, once.

score = 2 * sum(amount) + count, next = count + 1, echo = name; the batch is free.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf


class Mixed(tf.Module):
    """The model, as one function."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "amount"),
            tf.TensorSpec([None, 1], tf.int64, "count"),
            tf.TensorSpec([None, 1], tf.string, "name"),
        ]
    )
    def serve(self, amount, count, name):
        total = tf.reduce_sum(amount, 1, keepdims=True)
        return {
            "score": total * 2.0 + tf.cast(count, tf.float32),
            "next": count + 1,
            "echo": tf.identity(tf.reshape(name, [-1, 1])),
        }


if __name__ == "__main__":
    model = Mixed()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures={"serving_default": model.serve})
        edge = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    Path(__file__).with_name("mixed.tflite").write_bytes(edge)
