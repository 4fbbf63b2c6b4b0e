"""A transform is cut where text ends: host operations and the edge model give what it gives."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS = {
    "text": [b"", b"ab,cd", b" AB", b"12", b"\xc3\xa9,", b"none,,x", b"\xff\xfe\x80", b"cd" * 5000],
    "when": [
        *(b"2024-03-01 12:34:56.789+01:00", b"", b"x", b"1969-12-31T23:59Z", b"2024-02-30"),
        *(b"2024-02-29", b"\xff", b"2024-03-01 12:34:56 UTC"),
    ],
    "number": [0.5, float("nan"), -1.0, 3e38, 1e-45, 0.0, 2.0, float("inf")],
    "count": [10, -(2**63), 0, 10, 5, 2**63 - 1, -1, 7],
}
DTYPES = {"text": "string", "when": "string", "number": "float32", "count": "int64"}


def arrays():
    kinds = {"string": object}
    return {
        name: np.array(values, kinds.get(DTYPES[name], DTYPES[name])).reshape(-1, 1)
        for name, values in ROWS.items()
    }


@pytest.fixture(scope="module")
def signature_of(tmp_path_factory):
    """`signature_of(function)`: as a SavedModel's, with a table of some words."""
    import tensorflow as tf

    loaded = []

    def make(function):
        module = tf.Module()
        words = tf.constant(["ab", "cd", "none", "10"])
        values = tf.range(4, dtype=tf.int64)
        initializer = tf.lookup.KeyValueTensorInitializer(words, values)
        module.table = tf.lookup.StaticHashTable(initializer, -1)
        specs = {name: tf.TensorSpec([None, 1], dtype, name) for name, dtype in DTYPES.items()}
        traced = tf.function(lambda **x: function(x, module.table.lookup), autograph=False)
        module.function = traced
        folder = str(tmp_path_factory.mktemp("transform"))
        signature = traced.get_concrete_function(**specs)
        tf.saved_model.save(module, folder, signatures={"transform": signature})
        loaded.append(tf.saved_model.load(folder))
        return loaded[-1].signatures["transform"]

    return make


def whole(x, lookup):
    import tensorflow as tf

    from edgeline.preprocessing import day_of_week, fill_missing, hour_of_day, parse_datetime

    strings = tf.strings
    low = strings.lower(strings.strip(x["text"]))
    time = parse_datetime(x["when"])
    parts = strings.split(tf.squeeze(x["text"], 1), ",").to_tensor("none", shape=[None, 3])
    digits = strings.regex_replace(strings.substr(low, 0, 0), "[^0-9]+", "")
    return {
        "word": lookup(strings.substr(fill_missing(low, "none"), 0, 2)),
        "filled": lookup(fill_missing(x["text"], "none")),
        "hour": hour_of_day(time),
        "day": day_of_week(time),
        "time": time,
        "bucket": strings.to_hash_bucket_fast(low, 17),
        "joined": strings.to_hash_bucket_strong(
            strings.join([strings.as_string(x["count"]), x["text"]], "-"), 7, [3, 4]
        ),
        "length": tf.cast(strings.length(x["text"]), tf.float32) * x["number"],
        "parts": lookup(parts),
        "counted": lookup(strings.as_string(x["count"])),
        "number": strings.to_number(strings.join([digits, "12.5"])),
        "digits": tf.cast(strings.regex_full_match(x["text"], r"\d+"), tf.float32),
        "chosen": strings.length(tf.where(x["number"] > 0, x["text"], "small")),
        "told": strings.to_hash_bucket_fast(
            tf.where(tf.math.is_nan(x["number"]), "none", strings.as_string(x["number"] <= 2)), 97
        ),
    }


def test_the_edge_model_and_host_operations_give_what_the_transform_gives(signature_of):
    from edgeline.components.convert import building, hosting, replay, running
    from edgeline.runtimes.host.program import Program

    transform = signature_of(whole)
    wanted = running.call(transform, arrays())
    cut = hosting.cut(transform)
    assert cut.operations.reads == ("count", "number", "text", "when")
    model = running.load(building.floating(len, replay.lower(cut.transform, raw=True)))
    found = model(Program(cut.operations, model.signature.inputs)(arrays()))
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, name)


def test_a_table_of_words_and_numbers_needs_no_host_operations(signature_of):
    import tensorflow as tf

    from edgeline.components.convert import hosting
    from edgeline.preprocessing import fill_missing

    def plain(x, lookup):
        return {
            "word": lookup(fill_missing(x["text"], "none")),
            "count": lookup(tf.strings.as_string(x["count"])),
            "bucket": tf.strings.to_hash_bucket_fast(x["text"], 1),
        }

    assert hosting.cut(signature_of(plain)) is None


def test_what_is_not_proven_stays_in_the_graph_and_all_else_is_cut(signature_of):
    import tensorflow as tf

    from edgeline.components.convert import hosting

    def some(x, _):
        named = tf.strings.regex_replace(x["text"], "(?i)ab", "")
        parts = tf.strings.split(tf.squeeze(x["when"], 1), "-")
        return {
            "named": tf.strings.length(named),
            "parts": tf.expand_dims(tf.cast(parts.row_lengths(), tf.int64), 1),
            "length": tf.strings.length(x["when"]),
        }

    cut = hosting.cut(signature_of(some))
    assert cut.operations.operators == ("StringLength",)
    assert cut.operations.reads == ("when",)
    assert [each.name for each in cut.operations.inputs] == ["StringLength_1", "text", "when"]
