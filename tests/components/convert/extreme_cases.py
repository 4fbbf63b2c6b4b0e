"""Operators that the converter accepts, as functions of one column; it imports TensorFlow, so
tests import it in their bodies."""

from __future__ import annotations

import tempfile

import numpy as np
import tensorflow as tf

from edgeline.components.convert import building, hosting, replay, running
from edgeline.components.convert.settings import Settings
from edgeline.runtimes.host.program import Program

# missing, infinite, zeros, small and large ones, around the bounds of integers; [rows, 1]
FLOATS = np.array(
    [
        *(np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 88.0, 89.0, 150.0, -88.0),
        *(-89.0, -150.0, 7.5, 2.5, 3.5, 1e18, -1e18, 300.0, -300.0, 1025.0, 1e8, 1.7e9, 1e20),
        *(2147483648.0, 2147483520.0, -2147483648.0, -2147483904.0, 9.3e18, -9.3e18, 3.4e38),
        *(-3.4e38, np.pi, 2 * np.pi, 12345.678, -1.7e9, 1e30, 255.0, 256.0, 127.5, -129.0),
    ],
    np.float32,
)[:, None]
INTEGERS = np.array(
    [
        *(-(2**63), -(2**63) + 1, -(2**31) - 1, -(2**31), -5, -4, -3, -1, 0, 1, 2, 3, 4, 5, 7),
        *(2**31 - 1, 2**31, 2**32 + 3, 2**62, 2**63 - 1),
    ],
    np.int64,
)[:, None]


def _three(x):
    return tf.concat([x, tf.ones_like(x), 2 * tf.ones_like(x)], 1)


def _series(x):
    """[rows, 5, 1], the value between others."""
    one = tf.ones_like(x)
    return tf.expand_dims(tf.concat([one, -one, x, 2 * one, 0 * one], 1), 2)


def _of_places(x, function):
    one = tf.ones_like(x)
    columns = [[x, one, -one], [one, x, -one], [one, -one, x], [x, x, one]]
    return tf.stack([function(tf.concat(each, 1), 1) for each in columns], 1)


def _dense(x):
    return tf.matmul(_three(x), KERNEL) + tf.constant([0.5, -1.0])


def _number(condition):
    return tf.cast(condition, tf.int32)


def _eight(x):
    return tf.reshape(x, [-1, 8])


def _of_two(function):
    """Of each value and another of the column."""
    return lambda x: function(x, tf.reverse(x, [0]))


INFINITY = np.float32(np.inf)
KERNEL = np.array([[1.0, -2.0], [0.5, 1.0], [-1.0, 0.25]], np.float32)
OF_FLOATS = {
    # what the converter folds: `not a > b` to `a <= b`, numbers made of booleans to constants
    "not, and the comparison": lambda x: tf.where(x > 1, 1.0, 0.0) + tf.where(~(x > 1), 4.0, 0.0),
    "not alone": lambda x: tf.where(~(x > 1), x, 4.0),
    "not twice": lambda x: tf.where(~(x > 1), 1.0, 0.0) + tf.where(~(x > 1), x, 4.0),
    "flag below 0": lambda x: tf.cast(tf.cast(x > 1, tf.int64) < 0, tf.float32),
    "flag in another shape": lambda x: tf.cast(
        tf.reshape(tf.cast(x > 1, tf.int32), [-1]) >= 0, tf.float32
    ),
    "flag divided": lambda x: tf.cast(tf.cast(x > 1, tf.int64) / -3, tf.float32),
    "small flag": lambda x: tf.cast(tf.equal(tf.cast(x > 1, tf.uint8), 1), tf.float32),
    **{
        f"cast to {to}": lambda x, to=to: tf.cast(tf.cast(x, to), tf.int64)
        for to in ("int64", "int32", "int16", "int8", "uint8")
    },
    "cast to bool": lambda x: _number(tf.cast(x, tf.bool)),
    "exp": tf.exp,
    "expm1": tf.math.expm1,
    "selu": tf.nn.selu,
    "elu": tf.nn.elu,
    "softplus": tf.nn.softplus,
    "log sigmoid": tf.math.log_sigmoid,
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "leaky relu": lambda x: tf.nn.leaky_relu(x, 0.2),
    "swish": tf.nn.silu,
    "gelu": tf.nn.gelu,
    "softsign": tf.nn.softsign,
    "sqrt": tf.sqrt,
    "rsqrt": tf.math.rsqrt,
    "log": tf.math.log,
    "log1p": tf.math.log1p,
    "abs": tf.abs,
    "negative": tf.negative,
    "sign": tf.sign,
    "floor": tf.floor,
    "ceil": tf.math.ceil,
    "round": tf.round,
    "square": tf.square,
    "reciprocal": tf.math.reciprocal,
    "sin": tf.sin,
    "cos": tf.cos,
    "is nan": lambda x: _number(tf.math.is_nan(x)),
    "is inf": lambda x: _number(tf.math.is_inf(x)),
    "is finite": lambda x: _number(tf.math.is_finite(x)),
    "maximum": lambda x: tf.maximum(x, 1.0),
    "minimum": lambda x: tf.minimum(1.0, x),
    "clip": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    **{
        f"{name} of two": _of_two(function)
        for name, function in {
            "maximum": tf.maximum,
            "minimum": tf.minimum,
            "add": tf.add,
            "subtract": tf.subtract,
            "multiply": tf.multiply,
            "divide": tf.divide,
            "divide no nan": tf.math.divide_no_nan,
            "squared difference": tf.math.squared_difference,
            "floordiv": tf.math.floordiv,
            "floormod": tf.math.floormod,
            "pow": tf.pow,
            "atan2": tf.atan2,
            "less": lambda x, y: _number(x < y),
            "not less": lambda x, y: _number(x >= y),
            "equal": lambda x, y: _number(tf.equal(x, y)),
            "where": lambda x, y: tf.where(x < y, x, y),
        }.items()
    },
    "divided by 0": lambda x: x / 0.0,
    "divided by -0": lambda x: x / -0.0,
    "divided by 0 and 2": lambda x: _three(x) / tf.constant([0.0, 2.0, -0.0]),
    "1 divided by": lambda x: 1.0 / x,
    "divide no nan": lambda x: tf.math.divide_no_nan(x, 0.0 * x),
    "squared": lambda x: tf.pow(x, 2.0),
    "cubed": lambda x: tf.pow(x, 3.0),
    "root": lambda x: tf.pow(x, 0.5),
    "inverse root": lambda x: tf.pow(x, -0.5),
    **{f"to the {n}": lambda x, n=n: tf.pow(x, float(n)) for n in (-4, -3, 1.5, 4, 7, 65)},
    "2 to the": lambda x: tf.pow(2.0, x),
    "minus itself": lambda x: x - x,
    "and minus itself": lambda x: tf.maximum(x, 1.0) + (x - x),
    "1 over the negative": lambda x: tf.ones_like(x) / -x,
    "1 over 0 less": lambda x: tf.ones_like(x) / (0.0 - x),
    "by itself": lambda x: x / x,
    "dense and relu": lambda x: tf.nn.relu(_dense(x)),
    "dense and relu6": lambda x: tf.nn.relu6(_dense(x)),
    "sum and relu": lambda x: tf.nn.relu(x + tf.reverse(x, [0])),
    "product and relu": lambda x: tf.nn.relu(x * tf.reverse(x, [0])),
    "all masked": lambda x: tf.nn.softmax(tf.where(x > 1, _three(x), -INFINITY)),
    "count": lambda x: tf.math.count_nonzero(_three(x), 1),
    "floordiv": lambda x: tf.math.floordiv(x, 3.0),
    "floormod": lambda x: tf.math.floormod(x, 3.0),
    "less than infinity": lambda x: _number(x < INFINITY),
    "equals infinity": lambda x: _number(tf.equal(x, INFINITY)),
    "not below -infinity": lambda x: _number(x >= -INFINITY),
    "plus infinity": lambda x: x + INFINITY,
    "times -infinity": lambda x: x * -INFINITY,
    "capped to infinity": lambda x: tf.where(x > 1, INFINITY, x),
    "largest float": lambda x: tf.where(x > 1, tf.float32.max, x),
    "masked": lambda x: tf.nn.softmax(_three(x) + tf.constant([0.0, -np.inf, 0.0])),
    "is positive": lambda x: _number(x > 0),
    "is not 0": lambda x: _number(tf.not_equal(x, 0)),
    "reduce max": lambda x: tf.reduce_max(_three(x), 1, keepdims=True),
    "reduce min": lambda x: tf.reduce_min(_three(x), 1),
    "reduce sum": lambda x: tf.reduce_sum(_three(x), 1),
    "reduce mean": lambda x: tf.reduce_mean(_three(x), 1),
    "reduce prod": lambda x: tf.reduce_prod(_three(x), 1),
    "logsumexp": lambda x: tf.reduce_logsumexp(_three(x), 1),
    "argmax": lambda x: tf.argmax(_three(x), 1),
    "softmax": lambda x: tf.nn.softmax(_three(x)),
    "log softmax": lambda x: tf.nn.log_softmax(_three(x)),
    "cumsum": lambda x: tf.cumsum(_three(x), 1),
    "matmul": lambda x: tf.matmul(_three(x), tf.constant([[1.0], [2.0], [0.0]])),
    "top 2": lambda x: tf.math.top_k(_three(x), 2).values,
    "sort": lambda x: tf.sort(_three(x), 1),
    "max pool": lambda x: tf.squeeze(tf.nn.max_pool1d(_series(x), 3, 1, "SAME"), 2),
    "max pool of pictures": lambda x: tf.nn.max_pool2d(
        tf.reshape(tf.repeat(_three(x), 3, 1), [-1, 3, 3, 1]), [3, 1], 1, "VALID"
    ),
    "reduce max of a series": lambda x: tf.reduce_max(_series(x), 1),
    "argmax of places": lambda x: _of_places(x, tf.argmax),
    "argmin of places": lambda x: _of_places(x, tf.argmin),
}
OF_FLOATS |= {  # constants that are made of constants
    "over an expanded 0": lambda x: x / tf.constant([0.0])[None],
    "times an inverse of 0": lambda x: x * tf.math.reciprocal(tf.constant([0.0])),
    "plus a log of 0": lambda x: x + tf.math.log(tf.constant([0.0])),
    "times an exp of 100": lambda x: x * tf.exp(tf.constant([100.0])),
    "to the power [3]": lambda x: x ** tf.constant([3.0]),
    "to the power [[0.5]]": lambda x: x ** tf.constant([[0.5]]),
    "double cast to int64": lambda x: tf.cast(tf.cast(x, tf.float64), tf.int64),
    "double cast to int32": lambda x: tf.cast(tf.cast(x, tf.float64), tf.int32),
    "half cast to int64": lambda x: tf.cast(tf.cast(x, tf.float16), tf.int64),
}
OF_INTEGERS = {
    "as text is": lambda x: _number(tf.equal(tf.strings.as_string(x), "3")),
    "as text is not": lambda x: _number(tf.not_equal(tf.strings.as_string(x), "03")),
    "as text is one of": lambda x: _number(
        tf.reduce_any(tf.equal(tf.strings.as_string(x), ["-1", "2", "x"]), 1, keepdims=True)
    ),
    "int8 below": lambda x: tf.cast(tf.cast(x, tf.int8) < 2, tf.float32),
    "uint8 at least": lambda x: tf.cast(tf.cast(x, tf.uint8) >= 2, tf.float32),
    "uint32 above": lambda x: tf.cast(tf.cast(x, tf.uint32) > 2, tf.float32),
    "uint16 differs": lambda x: tf.cast(tf.not_equal(tf.cast(x, tf.uint16), 2), tf.float32),
    "one hot": lambda x: _eight(tf.one_hot(x[:, 0], 8)),
    "one hot of 5 and -1": lambda x: _eight(tf.one_hot(x[:, 0], 8, 5, -1, dtype=tf.int64)),
    "one hot down": lambda x: tf.transpose(tf.one_hot(x[:, 0], 8, axis=0)),
    "equal to a range": lambda x: tf.cast(tf.equal(x, tf.range(8, dtype=tf.int64)), tf.float32),
    "a range equal to": lambda x: tf.cast(tf.equal(tf.range(8, dtype=tf.int64), x), tf.float32),
    "equal": lambda x: _number(tf.equal(x, 2**32 + 3)),
    "not equal": lambda x: _number(tf.not_equal(x, 3)),
    "equal to an expanded range": lambda x: _number(x // 3 == tf.range(5, dtype=tf.int64)[None]),
    "equal to a list of 0": lambda x: _number(x == tf.constant([0], tf.int64)),
    "less": lambda x: _number(x < 3),
    "not less": lambda x: _number(x >= 3),
    "floormod": lambda x: x % 3,
    "floormod of a negative": lambda x: x % -3,
    "add": lambda x: x + 5,
    "subtract": lambda x: 5 - x,
    "multiply": lambda x: x * 3,
    "negative": tf.negative,
    "abs": tf.abs,
    "sign": tf.sign,
    "maximum": lambda x: tf.maximum(x, 3),
    "clip": lambda x: tf.clip_by_value(x, 0, 5),
    "where": lambda x: tf.where(x > 3, x, -x),
    "cast to float": lambda x: tf.cast(x, tf.float32),
    "cast to int32": lambda x: tf.cast(x, tf.int32),
    "cast to int8": lambda x: tf.cast(tf.cast(x, tf.int8), tf.int32),
    "cast to bool": lambda x: _number(tf.cast(x, tf.bool)),
    "gather": lambda x: tf.gather(tf.constant([1.0, 2.0, 3.0]), tf.clip_by_value(x, 0, 2)),
    "reduce sum": lambda x: tf.reduce_sum(tf.concat([x, x], 1), 1),
    "reduce max": lambda x: tf.reduce_max(tf.concat([x, tf.ones_like(x)], 1), 1),
}
# where LiteRT differs, at which values, and why that may be
UNDEFINED = "what TensorFlow makes of a number that does not fit depends on its place in the batch"
PLACE = "where TensorFlow sorts NaN to depends on its place among the others"
MAY_DIFFER = {
    "cast to int16": (2.0**15, UNDEFINED),
    "cast to int8": (2.0**7, UNDEFINED),
    "cast to uint8": (2.0**7, UNDEFINED),
    "top 2": (np.nan, PLACE),
    "sort": (np.nan, PLACE),
    "max pool of pictures": (np.nan, "pictures have no missing values, and a test is a map each"),
}
# the same, on some processors: a limit around each sigmoid would cost more than it is worth
AVX512 = "XNNPACK's kernel for AVX-512 gives NaN far beyond where a sigmoid is 0 or 1"
MAY_DIFFER_SOMEWHERE = {"sigmoid": (1e27, AVX512), "swish": (1e27, AVX512)}


def both(functions, values, raw=False):
    """What TensorFlow and LiteRT make of functions of columns, [rows, ...] by name."""
    return of_features(
        {name: lambda features, f=f: f(features["x"]) for name, f in functions.items()},
        {"x": values},
        raw,
    )


def of_features(functions, values, raw=False, kept=None):
    """What TensorFlow and LiteRT make of functions of features by name, [rows, ...] by name.

    `raw` features are those of a transform; `kept` is what the functions look things up in.
    """
    return converted(functions, values, raw, kept)[0]


def converted(functions, values, raw=False, kept=None):
    """The same, and the LiteRT file."""
    names = {f"y{place}": name for place, name in enumerate(functions)}
    specs = {
        name: tf.TensorSpec(
            [None, *each.shape[1:]], tf.string if each.dtype == object else each.dtype, name
        )
        for name, each in values.items()
    }

    @tf.function(autograph=False)
    def serve(**features):
        return {key: functions[name](features) for key, name in names.items()}

    module = tf.Module()
    module.serve, module.kept = serve, kept
    with tempfile.TemporaryDirectory() as folder:
        signature = serve.get_concrete_function(**specs)
        signatures = {"serving_default": signature}
        if raw:
            signatures |= {"transform": signature, "predict_transformed": signature}
        tf.saved_model.save(module, folder, signatures=signatures)
        loaded = tf.saved_model.load(folder)
        cloud = running.call(loaded.signatures["serving_default"], values)
        model, given = _edge(loaded, values, raw)
        edge = running.answers(running.load(model), given)
    found = {name: (np.asarray(cloud[key]), np.asarray(edge[key])) for key, name in names.items()}
    return found, model


def _edge(loaded, values, raw):
    """The LiteRT file, and what its host operations, if there are any, make of features for it."""
    cut = hosting.cut(loaded.signatures["transform"]) if raw else None
    if cut is None:
        built = building.build(lambda _: None, loaded.signatures, Settings("float"), values)
        return built.model, values
    model = building.floating(lambda _: None, replay.lower(cut.transform, raw=True))
    return model, Program(cut.operations, running.load(model).signature.inputs)(values)
