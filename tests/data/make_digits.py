"""Write the models of `edgeline init --example pictures`: a small network trained on the digits.

It takes pixels from 0 to 255. Run: python3.10 tests/data/make_digits.py;
Keras for Python 3.10 (3.12) does not read what later ones write.
"""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
from make_cnn import convert
from PIL import Image

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "edgeline" / "starter" / "pictures"

if __name__ == "__main__":
    table = pq.read_table(ROOT / "pipelines" / "digits" / "digits.parquet").to_pydict()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in table["image"]])
    keras.utils.set_random_seed(0)
    image = keras.Input((28, 28, 1), name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(pixels[..., None].astype(np.float32), np.array(table["label"]), 64, 4)
    model.save(FOLDER / "digits.keras")
    (FOLDER / "digits.tflite").write_bytes(convert(model, "float"))
