"""Host operations that cut, join and hash text give TensorFlow's bytes."""

import random

import numpy as np
import pytest
from same import check, texts

from edgeline.runtimes.host import text
from edgeline.runtimes.host.elements import RefusedElementError, UnfitError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("unit", ["BYTE", "UTF8_CHAR"])
def test_parts_and_lengths(unit):
    import tensorflow as tf

    drawn, given = random.Random(1), texts(800)
    least = -8 if unit == "BYTE" else 0
    starts, lengths = ([drawn.randint(least, 9) for _ in given] for _ in range(2))
    check(
        text.substr({"unit": unit}),
        lambda t, p, n: tf.strings.substr(t, p, n, unit),
        given,
        starts,
        lengths,
    )
    check(text.length({"unit": unit}), lambda t: tf.strings.length(t, unit), given)


@pytest.mark.parametrize("encoding", ["", "utf-8"])
def test_blanks_and_case(encoding):
    import tensorflow as tf

    given = [value for value in texts(600, 2) if "Σ".encode() not in value]  # see below
    check(text.strip({}), tf.strings.strip, given)
    check(text.lower({"encoding": encoding}), lambda t: tf.strings.lower(t, encoding), given)
    check(text.upper({"encoding": encoding}), lambda t: tf.strings.upper(t, encoding), given)


@pytest.mark.parametrize("around", ["{}", "a{}Σ", "Σ{}", "A.{}Σ b"])
def test_every_letter_has_the_case_that_tensorflow_gives_it_or_is_refused(around):
    import tensorflow as tf

    codes = (range(0x3100), range(0xA600, 0xAC00), range(0x10400, 0x10600), range(0x1F300, 0x1F700))
    letters = [chr(code) for part in codes for code in part]
    given = [around.format(letter).encode() for letter in letters]
    refused = 0
    for ours, theirs in ((text.lower, tf.strings.lower), (text.upper, tf.strings.upper)):
        change = ours({"encoding": "utf-8"})
        for value, wanted in zip(given, theirs(tf.constant(given), "utf-8").numpy(), strict=True):
            try:
                assert change(np.array([value], object))[0] == wanted, value
            except RefusedElementError:
                refused += 1
    assert refused < 500 or "Σ" in around


def test_joined_and_split():
    import tensorflow as tf

    given = texts(300, 3)
    check(text.join({"separator": "-é"}), lambda t: tf.strings.join([t, t], "-é"), [])
    found = text.join({"separator": "-é"})(np.array(given, object), np.array(b"\xff", object))
    assert found.tolist() == tf.strings.join([given, b"\xff"], "-é").numpy().tolist()
    table = np.array(given, object).reshape(-1, 3)
    found = text.reduce_join({"separator": ",", "keep_dims": True})(table, np.array([1]))
    wanted = tf.strings.reduce_join(table.tolist(), 1, keepdims=True, separator=",")
    assert found.tolist() == wanted.numpy().tolist()
    for sign, most in ((b"", -1), (b",", -1), (b",", 1), (b" ", 2), (b"ab", 0)):
        found = text.split({"maxsplit": most})(np.array(given, object), np.array(sign, object))
        wanted = tf.raw_ops.StringSplitV2(input=given, sep=sign, maxsplit=most)
        for ours, theirs in zip(found, wanted, strict=True):
            assert np.array_equal(ours, theirs.numpy()), (sign, most)
    with pytest.raises(UnfitError, match="white space"):
        text.split({"maxsplit": 1})(np.array(given, object), np.array(b"", object))


def test_buckets_of_texts_of_every_length():
    import tensorflow as tf

    drawn = random.Random(4)
    given = [drawn.randbytes(size) for size in (*range(300), *range(300), 1000, 100_000)]
    buckets, key = 2**62 + 12345, [123456789, 987654321]
    pairs = [
        (
            text.fingerprint_bucket({"num_buckets": buckets}),
            tf.strings.to_hash_bucket_fast(given, buckets),
        ),
        (text.hash_bucket({"num_buckets": buckets}), tf.strings.to_hash_bucket(given, buckets)),
        (
            text.siphash_bucket({"num_buckets": buckets, "key": key}),
            tf.strings.to_hash_bucket_strong(given, buckets, key),
        ),
    ]
    for ours, wanted in pairs:
        assert np.array_equal(ours(np.array(given, object)), wanted.numpy())
