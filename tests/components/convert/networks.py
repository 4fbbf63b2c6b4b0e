"""Networks of many kinds with random weights, narrow for the tests and whole for the benchmark; it
imports Keras, so tests import it in their bodies."""

import keras
import tensorflow as tf
from keras import layers
from keras.src.applications import convnext, efficientnet_v2, mobilenet_v3

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.train.export import variables

PIXELS = 32
STEPS = 24  # of a series


def _convolution(x, filters, kernel=3, strides=1):
    x = layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False)(x)
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def u_net(pixels, filters, depth):
    given = keras.Input([pixels, pixels, 3])
    x, skips = given, []
    for level in range(depth):
        x = _convolution(x, filters << level)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(_convolution(x, filters << depth))
    for level in reversed(range(depth)):
        x = layers.Conv2DTranspose(filters << level, 2, 2, padding="same")(x)
        x = _convolution(layers.Concatenate()([x, skips[level]]), filters << level)
    return keras.Model(given, layers.Conv2D(1, 1, activation="sigmoid")(x))


def _attended(x, width, heads):
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.MultiHeadAttention(heads, width // heads, dropout=0.1)(y, y)
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    y = layers.Dense(2 * width, activation="gelu")(y)
    return x + layers.Dropout(0.1)(layers.Dense(width)(y))


class Positions(layers.Layer):
    """Adds a trained vector for each place of a sequence."""

    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], initializer="random_normal")

    def call(self, x):
        return x + self.table


def vit(pixels, patch, width, blocks):
    given = keras.Input([pixels, pixels, 3])
    x = layers.Conv2D(width, patch, patch)(given)
    x = Positions()(layers.Reshape([-1, width])(x))
    for _ in range(blocks):
        x = _attended(x, width, 2)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(given, layers.Dense(10, activation="softmax")(x))


def attention(steps, width):
    given = keras.Input([steps, 4])
    x = _attended(layers.Dense(width)(given), width, 4)
    return keras.Model(given, layers.Dense(2)(layers.GlobalMaxPooling1D()(x)))


def tcn(steps, filters, blocks):
    given = keras.Input([steps, 4])
    x = layers.Dense(filters)(given)
    for level in range(blocks):
        y = x
        for _ in range(2):
            y = layers.Conv1D(filters, 3, padding="causal", dilation_rate=1 << level)(y)
            y = layers.SpatialDropout1D(0.2)(layers.LayerNormalization()(layers.ReLU()(y)))
        x = layers.ReLU()(x + y)
    return keras.Model(given, layers.Dense(1)(x[:, -1]))


def recurrent(layer, steps, width):
    given = keras.Input([steps, 4])
    x = layer(width, return_sequences=True)(given)
    return keras.Model(given, layers.Dense(2)(layer(width)(x)))


class Recomputed(layers.Layer):
    """A dense layer that is computed again for its gradient."""

    def build(self, _):
        self.dense = layers.Dense(16)

    def call(self, x):
        if not self.dense.built:
            self.dense.build(x.shape)
        return tf.recompute_grad(lambda y: tf.nn.silu(self.dense(y)))(x)


class Bounded(layers.Layer):
    """Its gradient holds on to what it computed."""

    def call(self, x):
        @tf.custom_gradient
        def bounded(x):
            y = tf.tanh(x)
            return y, lambda g: g * (1 - y * y)

        return bounded(x)


def own_gradients(width):
    given = keras.Input([width])
    x = Bounded()(Recomputed()(layers.Dense(16, activation="silu")(given)))
    return keras.Model(given, layers.Dense(2, activation="softmax")(x))


def efficient_net_v2(pixels):
    """One block of each kind: a fused one, and one that squeezes and excites."""
    every = efficientnet_v2.DEFAULT_BLOCKS_ARGS["efficientnetv2-b0"]
    return efficientnet_v2.EfficientNetV2(
        *(0.1, 0.1, pixels),
        name="efficientnetv2-b0",
        blocks_args=[every[1], every[3]],
        weights=None,
        input_shape=(pixels, pixels, 3),
        classes=10,
    )


def mobilenet_v3_narrow(pixels):
    """A block with a ReLU, and a wider one with a hard swish."""

    def blocks(x, kernel, activation, se_ratio):
        x = mobilenet_v3._inverted_res_block(x, 1, 8, 3, 2, se_ratio, mobilenet_v3.relu, 0)
        return mobilenet_v3._inverted_res_block(x, 4, 8, kernel, 1, se_ratio, activation, 1)

    return mobilenet_v3.MobileNetV3(
        blocks, 16, input_shape=(pixels, pixels, 3), weights=None, classes=10, name="narrow"
    )


def convnext_narrow(pixels):
    return convnext.ConvNeXt(
        [1, 1, 1, 1], [4, 8, 12, 16], 0.1, input_shape=(pixels, pixels, 3), classes=10
    )


class Checked(layers.Layer):
    """Asserts and prints, as one does while a network is made."""

    def call(self, x):
        tf.debugging.assert_less(tf.reduce_max(x), 1e9)
        tf.print("largest", tf.reduce_max(x))
        return tf.debugging.check_numerics(x, "not a number")


def augmented(pixels):
    """What is done to pictures and activations in training alone."""
    given = x = keras.Input([pixels, pixels, 3])
    for layer in (
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomContrast(0.1),
        layers.RandomBrightness(0.1),
        layers.GaussianNoise(0.1),
        Checked(),
        layers.Conv2D(4, 3, activation="relu"),
        layers.SpatialDropout2D(0.2),
        layers.GaussianDropout(0.2),
        layers.AlphaDropout(0.2),
        layers.ActivityRegularization(0.1),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(0.3),
        layers.Dense(2),
    ):
        x = layer(x)
    return keras.Model(given, x)


FOLDED = {
    "convolution": (lambda: layers.Conv2D(4, 3), [12, 12, 3]),
    "convolution without bias": (lambda: layers.Conv2D(4, 3, use_bias=False), [12, 12, 3]),
    "depthwise": (lambda: layers.DepthwiseConv2D(3), [12, 12, 3]),
    "separable": (lambda: layers.SeparableConv2D(4, 3), [12, 12, 3]),
    "transposed": (lambda: layers.Conv2DTranspose(4, 3, 2), [12, 12, 3]),
    "dilated": (lambda: layers.Conv2D(4, 3, dilation_rate=2), [12, 12, 3]),
    "of a series": (lambda: layers.Conv1D(4, 3, dilation_rate=2, padding="causal"), [12, 3]),
    "dense": (lambda: layers.Dense(4), [8]),
}


def normalised(name):
    """A layer and the batch norm that belongs into it, with statistics of their own."""
    make, shape = FOLDED[name]
    given = keras.Input(shape)
    norm = layers.BatchNormalization(
        beta_initializer="random_normal",
        gamma_initializer="random_uniform",
        moving_mean_initializer="random_normal",
    )
    return keras.Model(given, layers.ReLU()(norm(make()(given))))


NARROW = {
    "efficientnet_v2": lambda: efficient_net_v2(PIXELS),
    "convnext": lambda: convnext_narrow(PIXELS),
    "mobilenet_v3": lambda: mobilenet_v3_narrow(PIXELS),
    "attention": lambda: attention(STEPS, 8),
    "vit": lambda: vit(PIXELS, 8, 16, 1),
    "u_net": lambda: u_net(PIXELS, 4, 1),
    "tcn": lambda: tcn(STEPS, 8, 2),
    "own_gradients": lambda: own_gradients(8),
}


def save(folder, networks):
    """A `model/v1` with `serving_default` alone: an input and an output for each network."""
    module = tf.Module()
    module.networks = networks
    module.states = [variables(network) for network in networks.values()]
    specs = {
        f"of_{name}": tf.TensorSpec([None, *network.input_shape[1:]], tf.float32, f"of_{name}")
        for name, network in networks.items()
    }

    @tf.function(autograph=False)
    def serve(**given):
        return {name: networks[name](given[f"of_{name}"], training=False) for name in networks}

    with artifacts.writing(folder, models.SCHEMA) as draft:
        signature = serve.get_concrete_function(**specs)
        tf.saved_model.save(module, str(draft.path / "saved_model"), {models.SERVING: signature})
        draft.metadata["features"] = [
            {"name": name, "dtype": "float32", "shape": list(spec.shape[1:])}
            for name, spec in specs.items()
        ]
    return folder
