"""Integrated gradients of networks whose parts are known by hand."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts.features import Feature
from edgeline.components.explain import gradients
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

RAW = [Feature("a", "float32"), Feature("b", "float32"), Feature("day", "int64")]


def saved(folder, transform, predict, specs):
    """A `model/v1` of the raw features above."""
    import tensorflow as tf

    raw = {f.name: tf.TensorSpec([None, 1], f.dtype, name=f.name) for f in RAW}
    module = tf.Module()
    module.transform = tf.function(lambda a, b, day: transform(a, b, day), autograph=False)
    module.predict = tf.function(lambda **given: {"prediction": predict(**given)}, autograph=False)
    signatures = {
        "transform": module.transform.get_concrete_function(**raw),
        "predict_transformed": module.predict.get_concrete_function(
            **{
                name: tf.TensorSpec([None, *shape], dtype, name=name)
                for name, (dtype, shape) in specs.items()
            }
        ),
    }
    with artifacts.writing(folder, "model/v1") as draft:
        tf.saved_model.save(module, str(draft.path / "saved_model"), signatures=signatures)
        draft.metadata["features"] = [feature.to_json() for feature in RAW]
    return artifacts.read(folder, "model/v1")


def rows_of(count, seed):
    random = np.random.default_rng(seed)
    return {
        "a": random.normal(size=(count, 1)).astype(np.float32),
        "b": random.normal(size=(count, 1)).astype(np.float32),
        "day": random.integers(0, 7, (count, 1)),
    }


def integrate(model, rows, background, **options):
    targets = np.zeros(len(rows["a"]), np.int64)
    return gradients.integrate(len, model, rows, targets, background, **options)


WEIGHTS = np.array([0.0, 1.0, -2.0, 3.0, 0.5, -0.5, 4.0], np.float32)


def test_what_is_made_of_several_raw_features_is_shared_and_indices_have_their_embedding(tmp_path):
    import tensorflow as tf

    def transform(a, b, day):
        return {"sum": a + b, "double": 2 * a, "day": tf.clip_by_value(day, 0, 6)}

    def predict(sum, double, day):  # noqa: A002
        embedded = tf.gather(tf.constant(WEIGHTS[:, None]), tf.squeeze(day, 1))
        return 3.0 * sum + double + embedded

    specs = {"sum": ("float32", [1]), "double": ("float32", [1]), "day": ("int64", [1])}
    model = saved(tmp_path / "model", transform, predict, specs)
    rows, background = rows_of(20, 1), rows_of(50, 2)
    found = integrate(model, rows, background, is_probability=False)
    a, b, day = (rows[name][:, 0] for name in rows)
    means = [background["a"].mean(), background["b"].mean()]
    parts = 3 * (a - means[0] + b - means[1])  # of the sum, which is shared in equal parts
    wanted = [
        parts / 2 + 2 * (a - means[0]),
        parts / 2,
        WEIGHTS[day] - WEIGHTS[background["day"]].mean(),
    ]
    np.testing.assert_allclose(found.raw, np.stack(wanted, axis=1), atol=1e-4)
    assert found.made_of == {"sum": ("a", "b"), "double": ("a",), "day": ("day",)}
    assert found.at == {"sum": "itself", "double": "itself", "day": "its embedding"}
    assert found.error.max() <= 1e-3
    whole = found.base + found.raw.sum(axis=1)
    np.testing.assert_allclose(whole, 3 * (a + b) + 2 * a + WEIGHTS[day], atol=1e-4)


def test_steps_are_doubled_until_the_parts_add_up(tmp_path):
    import tensorflow as tf

    def transform(a, b, day):
        return {"a": a, "b": b, "day": tf.cast(day, tf.float32)}

    def predict(a, b, day):
        steep = tf.sigmoid(80.0 * tf.nn.relu(a - 0.2) - 40.0 * tf.abs(b) + day)
        return tf.concat([steep, 1 - steep], axis=1)

    specs = {name: ("float32", [1]) for name in ("a", "b", "day")}
    model = saved(tmp_path / "model", transform, predict, specs)
    found = integrate(model, rows_of(30, 1), rows_of(30, 2))
    assert found.error.max() <= 1e-3
    assert found.steps.max() > found.steps.min() >= gradients.FIRST_STEPS


def test_a_network_that_rounds_is_not_complete_and_says_so(tmp_path):
    import tensorflow as tf

    def transform(a, b, day):
        return {"a": a, "b": b, "day": tf.cast(day, tf.float32)}

    specs = {name: ("float32", [1]) for name in ("a", "b", "day")}
    rounds = saved(
        tmp_path / "model", transform, lambda a, b, day: tf.round(a) + b + 0 * day, specs
    )
    found = integrate(rounds, rows_of(10, 1), rows_of(30, 2))
    assert found.error.max() > 0.1
    assert found.steps.max() == gradients.MOST_STEPS


def test_rows_for_which_there_is_no_time_are_left_out_and_the_others_are_whole(
    tmp_path, monkeypatch
):
    import tensorflow as tf

    def transform(a, b, day):
        return {"a": a, "b": b, "day": tf.cast(day, tf.float32)}

    specs = {name: ("float32", [1]) for name in ("a", "b", "day")}
    model = saved(tmp_path / "model", transform, lambda a, b, day: 3 * a - b + day, specs)
    rows, background = rows_of(20, 1), rows_of(9, 2)
    whole = integrate(model, rows, background, is_probability=False)
    assert whole.rows.tolist() == list(range(20)) and whole.asked == 20
    # 8 of the 32 points of a way fit at once, and the clock ticks each time
    monkeypatch.setattr(gradients, "AT_ONCE_BYTES", 8 * 3 * 4)
    monkeypatch.setattr(gradients, "time", SimpleNamespace(monotonic=itertools.count().__next__))
    found = integrate(model, rows, background, is_probability=False, until=17)
    assert (len(found.rows), found.asked) == (4, 20)
    assert np.ptp(found.rows) > 8
    np.testing.assert_allclose(found.raw, whole.raw[found.rows], atol=1e-5)
    np.testing.assert_allclose(found.base, whole.base[found.rows])
    with pytest.raises(gradients.NotDifferentiableError, match="There was no time for them"):
        integrate(model, rows, background, until=-1)


def test_what_is_not_finite_is_said(tmp_path):
    import tensorflow as tf

    def transform(a, b, day):
        return {"a": a, "b": b, "day": tf.cast(day, tf.float32)}

    specs = {name: ("float32", [1]) for name in ("a", "b", "day")}

    def root(a, b, day):
        return tf.sqrt(tf.square(tf.nn.relu(a))) + b + day

    model = saved(tmp_path / "model", transform, root, specs)
    rows, background = rows_of(20, 1), rows_of(9, 2)
    with pytest.raises(gradients.NotDifferentiableError, match=r"A row of missing values.* of nan"):
        integrate(model, rows, background, baseline="missing")
    with pytest.raises(gradients.NotDifferentiableError, match=r"of 20 rows have gradients that"):
        integrate(model, rows, background)
    rows["b"][3] = np.nan
    with pytest.raises(gradients.NotDifferentiableError, match=r"^1 of 20 rows have a score"):
        integrate(model, rows, background)


def test_a_network_that_computes_with_whole_numbers_alone_is_refused_in_a_sentence(tmp_path):
    import tensorflow as tf

    def predict(a, b, day):
        return tf.cast(day % 3, tf.float32) + a + b

    def transform(a, b, day):
        return {"a": a, "b": b, "day": day}

    specs = {"a": ("float32", [1]), "b": ("float32", [1]), "day": ("int64", [1])}
    model = saved(tmp_path / "cast", transform, predict, specs)
    found = integrate(model, rows_of(5, 1), rows_of(9, 2))
    assert found.at["day"] == "behind Cast" and found.error.max() <= 1e-3
    whole = saved(
        tmp_path / "whole", transform, lambda a, b, day: day + 0 * tf.cast(a + b, tf.int64), specs
    )
    with pytest.raises(gradients.NotDifferentiableError, match=r"cannot be asked|has no gradient"):
        integrate(whole, rows_of(5, 1), rows_of(9, 2))
    assert issubclass(gradients.NotDifferentiableError, EdgelineError)
