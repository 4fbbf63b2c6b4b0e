"""What a model is asked beyond its rows, and what the answers mean."""

import math

import numpy as np
import pytest

from edgeline.artifacts.features import MISSING_INT, Feature
from edgeline.components.verify import probes, probing, probing_reasons
from edgeline.components.verify.probes import Sample, SeenValues
from edgeline.components.verify.probing import Judge, Probing, Sides, Tolerance
from edgeline.components.verify.saturation import UsualValues
from edgeline.errors import EdgelineError
from edgeline.formats import quantisation

FARE, HOUR, PAY = Feature("fare", "float32"), Feature("hour", "int64"), Feature("pay", "string")
ROWS = {
    "fare": np.float32([[3.5], [12.0], [-2.0], [8.0]]),
    "hour": np.int64([[7], [0], [23], [7]]),
    "pay": np.array([[b"Cash"], [b"Card"], [b"Cash"], [b"None"]], object),
}
FLOAT = Tolerance.of(1e-5, 0.0, quantisation.FLOAT, 0.0)


def made(*features, rows=ROWS, **more):
    seen = SeenValues(features)
    seen.add(rows)
    sample = Sample(rows, range(len(next(iter(rows.values())))))
    return probes.make(features, sample, seen, **more)


def asked(found):
    """The words of all probes, and what each gave its first feature."""
    ((_, arrays),) = found.pieces()
    return {
        probe.words: arrays[probe.features[0]][row].reshape(-1)[0]
        for row, probe in enumerate(found.probes)
    }


def test_numbers_are_asked_beyond_what_the_split_holds():
    fares = list(asked(made(FARE)).values())
    for value in (math.inf, -math.inf, -1.0, -20.0, 120.0, -2.0, 12.0, np.float32(1e-45)):
        assert value in fares
    zeros = [fare for fare in fares if fare == 0.0]
    assert sorted(map(math.copysign, [1, 1], zeros)) == [-1, 1]
    assert sum(map(math.isnan, fares)) == 1
    hours = list(asked(made(HOUR)).values())
    for value in (MISSING_INT, -1, 24, 230, 2**31, -(2**31) - 1, 2**32, 23 - 2**32, 2**63 - 1):
        assert value in hours
    assert {0, 7, 23} <= set(hours)  # each category
    beyond = {probe.words for probe in made(HOUR).probes if probe.beyond}
    assert "hour = 24 (above the largest)" in beyond
    assert not beyond & {"hour = 0", "hour = 7", "hour missing"}
    ends = {probe.words for probe in made(FARE).probes if probe.beyond}
    assert {"fare = 12 (largest)", "fare = 120 (largest x 10)", "fare = inf"} <= ends
    assert not ends & {"fare = 0", "fare missing"}


def test_words_are_asked_with_those_of_the_models_vocabularies():
    found = asked(made(PAY, vocabularies={"pay": [b"Cash", b"Dispute"], "place": [b"red"]}))
    words = list(found.values())
    assert {b"", b"Cash", b"Card", b"None", b"Dispute", b"no such category"} <= set(words)
    assert b"red" not in words
    assert max(map(len, words)) >= 10_000
    assert any(not word.isascii() for word in words)


def test_a_large_vocabulary_is_asked_in_part_which_is_said(monkeypatch):
    monkeypatch.setattr(probes, "MOST_VALUES", 6)
    found = made(PAY, vocabularies={"pay": [b"Cash", *(b"%03d" % n for n in range(100))]})
    words = [p.values[0] for p in found.probes if p.kind == probes.CATEGORY]
    assert words == [b"Cash", b"Card", b"None", b"000", b"049", b"099"]
    assert found.left_out == ("97 of 100 words of vocabularies for pay",)


def test_numbers_are_asked_with_their_vocabulary_however_many_there_are():
    many = {"hour": np.arange(200, dtype=np.int64)[:, None]}
    categories = [p for p in made(HOUR, rows=many).probes if p.kind == probes.CATEGORY]
    assert not categories
    asked_of = made(HOUR, rows=many, vocabularies={"hour": [b"7", b"4711", b"red"]}).probes
    assert [p.what for p in asked_of if p.kind == probes.CATEGORY] == ["= 4711"]


@pytest.mark.slow
def test_the_vocabularies_of_a_model_are_its_tables_and_what_it_compares_with(tmp_path):
    import tensorflow as tf

    from edgeline.components.verify import vocabularies

    def table(keys, values, default):
        initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
        return tf.lookup.StaticHashTable(initializer, default)

    class Model(tf.Module):
        def __init__(self):
            (tmp_path / "words.txt").write_bytes(b"tea\ncoffee\n")
            self.words = tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    str(tmp_path / "words.txt"),
                    *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
                    *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
                ),
                1,
            )
            self.prices = table(tf.constant([3, 1], tf.int64), tf.constant([0.5, 2.5]), 0.0)
            self.weight = tf.Variable([2.0])

    model = Model()

    @tf.function(autograph=False)
    def serve(drink, sort, fare):
        known = tf.cast(model.words.lookup(tf.strings.lower(drink)), tf.float32)
        found = tf.where(tf.equal(drink, "water"), 0.0, known) * model.weight
        return {"prediction": found + model.prices.lookup(sort) + fare}

    model.serve = serve
    kinds = {"drink": tf.string, "sort": tf.int64, "fare": tf.float32}
    specs = {name: tf.TensorSpec([None, 1], kind, name) for name, kind in kinds.items()}
    signature = serve.get_concrete_function(**specs)
    tf.saved_model.save(model, str(tmp_path / "model"), {"serving_default": signature})
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    found = vocabularies.by_feature(loaded.signatures["serving_default"])
    assert {name: sorted(words) for name, words in found.items()} == {
        "drink": [b"coffee", b"tea", b"water"],
        "sort": [b"1", b"3"],
    }


def test_pairs_are_missing_together_and_all_at_once():
    found = made(FARE, HOUR, PAY)
    assert {"fare and hour missing", "hour and pay missing", "every feature missing"} <= {
        probe.words for probe in found.probes
    }
    ((_, arrays),) = found.pieces()
    (row,) = [r for r, p in enumerate(found.probes) if p.words == "fare and pay missing"]
    assert math.isnan(arrays["fare"][row, 0])
    assert arrays["pay"][row, 0] == b""
    assert arrays["hour"][row, 0] == ROWS["hour"][found.rows[row], 0]


def test_what_is_never_missing_is_not_asked_so():
    found = made(FARE, HOUR, PAY, never_missing=["hour"])
    missing = {probe.words for probe in found.probes if "missing" in probe.what}
    assert missing == {"fare missing", "pay missing", "fare and pay missing"}
    with pytest.raises(EdgelineError, match="lists 'tip', but the model takes fare, hour"):
        probes.check_never_missing(["tip"], [FARE, HOUR])
    seen = SeenValues([HOUR])
    seen.add({"hour": np.int64([[1], [2]])})
    seen.add({"hour": np.int64([[3], [MISSING_INT]])})
    with pytest.raises(EdgelineError, match="lists 'hour', but row 3 of split eval has none"):
        seen.refuse_missing(["hour"], "eval")


def test_pictures_are_asked_whole():
    image = Feature("image", "int64", (2, 2, 3))
    rows = {"image": np.arange(24, dtype=np.int64).reshape(2, 2, 2, 3)}
    found = made(image, rows=rows)
    ((_, arrays),) = found.pieces()
    whole = [np.unique(row.reshape(-1, 3), axis=0).tolist() for row in arrays["image"]]
    assert whole[:2] == [[[0, 0, 0]], [[23, 23, 23]]]
    assert len(whole[2]) == 1
    assert probes.unproven([image, HOUR], []) == ["image"]


def test_what_is_too_much_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(probes, "MOST_PAIRS", 2)
    monkeypatch.setattr(probes, "MOST_VALUES", 2)
    found = made(FARE, HOUR, PAY)
    assert "1 of 3 pairs of missing features" in found.left_out
    assert "all but 2 values of pay" in found.left_out
    monkeypatch.setattr(probes, "MOST_BYTES", 400)
    assert any("as rows are large" in text for text in made(FARE, HOUR, PAY).left_out)


def judged(cloud, edge, tolerance=FLOAT):
    """All probes of the hour, with what each model says to one."""
    judge = Judge("regression", 0.5, tolerance)
    found = {p.words: judge.asked(p, 0, cloud(p), edge(p)) for p in made(HOUR).probes}
    return Probing(tuple(found.values()), len(found), (), (), tolerance)


def answer(value):
    return {"prediction": np.float32([[value]])}


def test_a_difference_names_the_feature_the_value_and_both_answers():
    found = judged(
        lambda _: answer(24.685), lambda p: answer(44.661 if p.what == "missing" else 24.685)
    )
    (reason,) = probing_reasons.reasons(found, "the cloud model")
    assert reason.startswith(
        "With hour missing (else row 0 of the split) the cloud model answers 24.685 and the edge "
        "model answers 44.661: fill it in preprocessing_fn"
    )
    assert "never_missing" in reason


def test_nan_is_equal_to_nan_alone():
    nan = answer(math.nan)
    assert not judged(lambda _: nan, lambda _: nan).faults
    assert judged(lambda _: nan, lambda _: answer(1.0)).faults
    assert judged(lambda _: answer(1.0), lambda _: nan).faults


def test_what_one_model_refuses_the_other_may_not_answer():
    both = judged(lambda _: "no such hour", lambda _: "gather index out of bounds")
    assert not both.faults
    assert both.summary()["refused_by_both"] == len(both.asked)
    silent = judged(lambda _: "no such hour", lambda _: answer(1.0))
    assert "refuses it (no such hour)" in probing_reasons.reasons(silent, "the cloud model")[0]
    assert judged(lambda _: answer(1.0), lambda _: "out of bounds").faults
    unasked = judged(lambda _: answer(1.0), lambda _: None)
    assert not unasked.faults
    assert unasked.summary()["cannot_be_given"] == len(unasked.asked)


def test_integers_are_held_to_what_they_differ_by_on_rows_within_the_split():
    int8 = Tolerance.of(math.inf, 1.0, quantisation.INT8, 0.1)
    assert not judged(lambda _: answer(1.0), lambda _: answer(1.15), int8).faults
    far = judged(lambda _: answer(1.0), lambda _: answer(1.3), int8)
    assert {each.probe.beyond for each in far.faults} == {False}
    assert far.summary()["beyond_and_different"] > 0
    assert judged(lambda _: answer(math.nan), lambda _: answer(1.0), int8).faults
    own = Tolerance.of(0.5, 1.0, quantisation.INT8, 0.1)
    assert not judged(lambda _: answer(1.0), lambda _: answer(1.3), own).faults


def test_a_quantised_network_is_excused_where_a_value_takes_it_out_of_what_is_usual(monkeypatch):
    usual = UsualValues(
        lambda rows: {"clipped": np.clip(rows["fare"], -1, 9), "plain": rows["fare"]},
        {"fare": np.linspace(-2, 12, 1000, dtype=np.float32)[:, None]},
    )
    clipped = UsualValues(
        lambda rows: {"bucket": np.digitize(rows["fare"], [0.0, 5.0])},
        {"fare": np.linspace(-2, 12, 1000, dtype=np.float32)[:, None]},
    )
    found = made(FARE)
    monkeypatch.setattr(
        probing, "_put", lambda *_: ([answer(1.0)] * 99, [answer(float(n)) for n in range(99)])
    )
    judge = Judge("regression", 0.5, Tolerance.of(math.inf, 1.0, quantisation.INT8, 0.1))

    def faults(values):
        because = lambda row: values.beyond(*found.before_and_after(row))  # noqa: E731
        return probing.ask(found, None, judge, because=because)

    excused = {each.probe.what: each.because for each in faults(usual).asked if each.because}
    assert excused["= 120 (largest x 10)"].startswith("'plain' becomes 120, and a network of")
    assert "to 11.9" in excused["= inf"]
    assert not {"missing", "= 0", "= -1"} & {*excused}
    assert not any(each.because for each in faults(clipped).asked)
    assert "= inf" in {each.probe.what for each in faults(clipped).faults}


def test_a_refusal_of_some_rows_leaves_the_others_their_answers():
    def model(arrays):
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        return {"y": 2 * arrays["x"]}

    found = probing.answers(model, {"x": np.array([1, -1, 3, 4, -5, 6])}).by_row()
    assert {row: found[row] for row in (1, 4)} == {1: "negative", 4: "negative"}
    assert [found[row]["y"].item() for row in (0, 2, 3, 5)] == [2, 6, 8, 12]


def test_a_crash_is_told_of_the_row_that_brought_it(monkeypatch):
    def child(_sides, _folder, step):
        return ({0: answer(1.0)} if step else {}), "SIGSEGV"

    monkeypatch.setattr(probing, "_child", child)
    model = lambda arrays: {"prediction": arrays["hour"].astype(np.float32)}  # noqa: E731
    sides = Sides(model, lambda arrays: arrays, lambda arrays: arrays, "model.tflite", "litert")
    found = probing.ask(made(HOUR), sides, Judge("regression", 0.5, FLOAT))
    crashed = [each for each in found.faults if isinstance(each.edge, str)]
    (reason,) = probing_reasons.reasons(found, "the cloud model")
    assert [each.edge for each in crashed] == ["crashes the interpreter (SIGSEGV)"]
    assert "crashes the interpreter (SIGSEGV)" in reason or "So it is with" in reason


def test_where_no_row_is_answered_alike_nothing_is_asked():
    judge = Judge("regression", 0.5, FLOAT)
    assert judge.alike(answer(1.0), answer(1.000001)) == [0]
    assert judge.alike({**answer(1.0), "label": np.zeros(1)}, answer(2.0)) == []
    seen = SeenValues([HOUR])
    seen.add(ROWS)
    none = probes.make([HOUR], Sample(ROWS, range(4)).only([]), seen)
    assert not none.probes
    assert not list(none.pieces())
    assert "as no row is answered alike" in none.left_out[0]
