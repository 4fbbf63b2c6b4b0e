"""A case of each lowered operator; it imports TensorFlow, so tests import it in their bodies."""

import numpy as np
import tensorflow as tf

from edgeline.components.convert import replay
from edgeline.runtimes import interpreter

INT = np.iinfo(np.int64)
RANDOM = np.random.default_rng(7)
FLOATS = np.concatenate(
    [
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, np.nextafter(np.float32(1.5), np.float32(0))],
        [1.2e-38, -1.2e-38, 3.4e38],  # no denormals: TensorFlow takes them for 0
        RANDOM.normal(0, 2, 200),
    ]
).astype(np.float32)[:, None]
INTS = np.concatenate(
    [[INT.min, INT.max, 0, -1, 1, 7, 2**31, -(2**31)], RANDOM.integers(-20, 20, 200)]
).astype(np.int64)[:, None]
WORDS = [
    b"",
    b"red",
    b"green",
    b"blue",
    b"7",
    b"07",
    b"-1",
    b"+7",
    b" 7",
    b"1_0",
    b"\xff",
    b"x\x00y",
]
STRINGS = np.array([*WORDS, *RANDOM.choice(np.array(WORDS, object), 100)], object)[:, None]
VALUES = {tf.float32: FLOATS, tf.int64: INTS, tf.string: STRINGS}


def both(function, dtype, folder, values=None):
    """What TensorFlow and LiteRT make of a function of one tensor [batch, 1]."""
    values = VALUES[dtype] if values is None else values
    module = tf.Module()
    module.function, module.kept = function, getattr(function, "kept", None)
    wrapped = tf.function(lambda x: {"y": function(x)}, autograph=False)
    signature = wrapped.get_concrete_function(tf.TensorSpec([None, 1], dtype, "x"))
    tf.saved_model.save(module, str(folder / "given"), {"serving_default": signature})
    loaded = tf.saved_model.load(str(folder / "given"))
    cloud = loaded.signatures["serving_default"](x=tf.constant(values, dtype))["y"].numpy()
    lowered = replay.lower(loaded.signatures["serving_default"])
    tf.saved_model.save(
        lowered.module, str(folder / "lowered"), {"serving_default": lowered.function}
    )
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "lowered"), signature_keys=["serving_default"]
    )
    (folder / "model.tflite").write_bytes(converter.convert())
    edge = interpreter.load(folder / "model.tflite")({"x": values})["y"]
    return cloud, edge, set(lowered.replaced)


def table(keys, values, default=-1, oov=0, dtype=tf.int64):
    """A lookup as tf.Transform makes it, and the table it needs."""
    key = tf.string if isinstance(keys[0], bytes) else tf.int64
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(keys, key), tf.constant(values, dtype)
    )
    kept = (
        tf.lookup.StaticVocabularyTable(initializer, oov, lookup_key_dtype=key)
        if oov
        else tf.lookup.StaticHashTable(initializer, default)
    )

    def find(x):
        return kept.lookup(x)

    find.kept = kept
    return find


def keeping(lookup, function):
    function.kept = lookup.kept
    return function


def bound(op, boundaries, dtype, out=tf.int64):
    sorted_inputs = tf.constant([boundaries], dtype)

    def function(x):
        row = tf.reshape(x, [1, -1])
        return tf.reshape(op(sorted_inputs=sorted_inputs, values=row, out_type=out), [-1, 1])

    return function


def dilated(shape):
    """Differences of neighbours, which are exact, two apart."""
    kernel = np.zeros([2] * (len(shape) - 1) + [1, 1], np.float32)
    kernel.reshape(-1)[[0, -1]] = 1.0, -1.0

    def function(x):
        finite = tf.clip_by_value(x, -1e3, 1e3)
        pixels = tf.reshape(finite * tf.range(12, dtype=tf.float32), [-1, *shape])
        return tf.nn.convolution(pixels, kernel, padding="SAME", dilations=2)[..., 0]

    return function


COLOURS = table([b"red", b"green", b"blue"], [2, 0, 1])
COLOURS_OOV = table([b"red", b"green", b"", b"7"], [0, 1, 2, 3], oov=1)
NUMBERS = table([7, -1, INT.min, 3], [0, 1, 2, 3])
NUMBERS_OOV = table([7, -1, 0, 3], [0, 1, 2, 3], oov=1)
MEANS = table([b"red", b"green", b""], [1.5, float("nan"), -2e30], 0.25, dtype=tf.float32)
CODES = table([7, -1, INT.min], [30, -(2**31), 5], 2, dtype=tf.int32)
DECIMALS = table([b"7", b"-1", b"07", b"red", b"+3", b"9223372036854775808"], [0, 1, 2, 3, 4, 5])

BOUNDARIES = [-2.0, -0.0, 1.5, 1.5, 3.0]
CASES = {
    "UpperBound": (bound(tf.raw_ops.UpperBound, BOUNDARIES, tf.float32), tf.float32),
    "UpperBound int32": (bound(tf.raw_ops.UpperBound, [1.5], tf.float32, tf.int32), tf.float32),
    "UpperBound int64": (bound(tf.raw_ops.UpperBound, [INT.min, 0, 7, 7], tf.int64), tf.int64),
    "UpperBound no boundary": (bound(tf.raw_ops.UpperBound, [], tf.float32), tf.float32),
    "LowerBound": (bound(tf.raw_ops.LowerBound, BOUNDARIES, tf.float32), tf.float32),
    "LowerBound int64": (bound(tf.raw_ops.LowerBound, [-3, 0, 7, 7], tf.int64), tf.int64),
    "LookupTableFindV2": (NUMBERS, tf.int64),
    "LookupTableFindV2 string": (COLOURS, tf.string),
    "LookupTableFindV2 of one bucket": (COLOURS_OOV, tf.string),
    "LookupTableFindV2 of floats": (MEANS, tf.string),
    "LookupTableFindV2 of int32": (CODES, tf.int64),
    "LookupTableSizeV2": (NUMBERS_OOV, tf.int64),
    "StringToHashBucketFast": (lambda x: tf.strings.to_hash_bucket_fast(x, 1), tf.string),
    "StringToHashBucket": (lambda x: tf.raw_ops.StringToHashBucket(
        string_tensor=x, num_buckets=1), tf.string),
    "StringToHashBucketStrong": (
        lambda x: tf.strings.to_hash_bucket_strong(x, 1, [1, 2]), tf.string),
    "BatchToSpaceND": (dilated([12, 1]), tf.float32),
    "BatchToSpaceND of pictures": (dilated([3, 4, 1]), tf.float32),
    "AsString": (keeping(DECIMALS, lambda x: DECIMALS(tf.strings.as_string(x))), tf.int64),
    "SelectV2": (
        keeping(COLOURS, lambda x: COLOURS(tf.where(tf.equal(x, ""), "red", x))), tf.string),
    "SelectV2 with a bucket": (
        keeping(COLOURS_OOV, lambda x: COLOURS_OOV(tf.where(tf.equal(x, ""), "none", x))),
        tf.string),
    "SelectV2 twice": (
        keeping(COLOURS, lambda x: COLOURS(
            tf.where(tf.equal(x, "7"), tf.where(tf.equal(x, ""), "red", x), "blue"))), tf.string),
    "Select": (
        keeping(COLOURS, lambda x: COLOURS(tf.raw_ops.Select(
            condition=tf.equal(x, "7"), x=x, y=x))), tf.string),
    "Squeeze": (
        keeping(COLOURS, lambda x: COLOURS(tf.squeeze(tf.where(tf.equal(x, ""), "red", x), 1))),
        tf.string),
    "ExpandDims": (
        keeping(COLOURS, lambda x: COLOURS(tf.expand_dims(tf.where(x == "", "red", x), 1))),
        tf.string),
    "Reshape": (
        keeping(DECIMALS, lambda x: DECIMALS(tf.reshape(tf.strings.as_string(x), [-1]))),
        tf.int64),
    "Equal": (
        lambda x: tf.cast(tf.equal(tf.where(tf.equal(x, ""), "red", x), "red"), tf.int64),
        tf.string),
    "NotEqual": (
        lambda x: tf.cast(tf.not_equal("7", tf.where(tf.equal(x, ""), x, tf.where(
            tf.equal(x, "red"), "7", x))), tf.int64), tf.string),
    "Abs": (tf.abs, tf.int64),
    "Sign": (tf.sign, tf.int64),
    "ClipByValue": (
        lambda x: tf.raw_ops.ClipByValue(
            t=x, clip_value_min=tf.constant(-3, tf.int64), clip_value_max=tf.constant(5, tf.int64)),
        tf.int64),
}  # fmt: skip
