"""Write small.keras, a network of three classes that nobody trained: python3.10 make_keras.py.

Keras for Python 3.10 (3.12) does not read what later ones write.
"""

from pathlib import Path

import keras

keras.utils.set_random_seed(0)
layers = [
    keras.Input((32, 32, 3), name="image"),
    keras.layers.Conv2D(8, 3, activation="relu"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(3, activation="softmax"),
]
keras.Sequential(layers).save(Path(__file__).with_name("small.keras"))
