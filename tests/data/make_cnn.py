"""Write cnn_*.tflite: a small Keras network in four forms, for the tests of compile targets.

Any batch, a reshape that reads it (so SHAPE, STRIDED_SLICE and PACK), random weights. `odd` has
operators in its middle that no accelerator takes. Run: python tests/data/make_cnn.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent


def network(odd: bool) -> Any:
    keras.utils.set_random_seed(1)
    image = keras.Input((28, 28, 1), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = keras.layers.DepthwiseConv2D(3, activation="relu6")(x)
    x = keras.layers.Conv2D(16, 1, activation="relu")(x)
    if odd:
        x = keras.layers.Lambda(lambda v: tf.math.cumsum(tf.math.sin(v), axis=1))(x)
    x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Reshape((25, 16))(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))


def convert(model: Any, quantisation: str) -> bytes:
    spec = tf.TensorSpec([None, 28, 28, 1], tf.float32, "image")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", lambda image: {"prediction": model(image)}, [spec])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantisation != "float":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantisation == "int8":
            random = np.random.default_rng(0)
            rows = random.random((20, 1, 28, 28, 1), np.float32)
            converter.representative_dataset = lambda: ({"image": row} for row in rows)
            kinds = tf.lite.OpsSet
            converter.target_spec.supported_ops = [
                kinds.TFLITE_BUILTINS_INT8,
                kinds.TFLITE_BUILTINS,
            ]
            converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())


if __name__ == "__main__":
    plain = network(odd=False)
    for quantisation in ("float", "dynamic", "int8"):
        (HERE / f"cnn_{quantisation}.tflite").write_bytes(convert(plain, quantisation))
    (HERE / "cnn_odd.tflite").write_bytes(convert(network(odd=True), "int8"))
