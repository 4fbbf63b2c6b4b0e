"""Make `line.tflite`: prediction = 2 * x + 1, one number in and out. Needs TensorFlow, once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf


class Line(tf.Module):
    """The model, as one function."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
    def serve(self, x):
        return {"prediction": 2.0 * x + 1.0}


if __name__ == "__main__":
    model = Line()
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures={"serving_default": model.serve})
        edge = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    Path(__file__).with_name("line.tflite").write_bytes(edge)
