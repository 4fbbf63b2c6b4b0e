"""TFMA as the referee: the same rows, metrics and slices through both engines."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from edgeline.components.analyze.analyze import analyze

pytestmark = pytest.mark.slow

METRICS = (
    "ExampleCount AUC AUCPrecisionRecall BinaryAccuracy Precision Recall F1Score Specificity "
    "BalancedAccuracy MatthewsCorrelationCoefficient TruePositives BinaryCrossentropy "
    "BinaryCrossEntropy MeanLabel MeanPrediction Calibration SquaredPearsonCorrelation "
    "MeanSquaredError MeanAbsoluteError Prevalence RootMeanSquaredError"
)
CONFIG = {
    "slicing_specs": [
        {},
        {"feature_keys": ["payment_type"]},
        {"feature_keys": ["pickup_community_area"], "feature_values": {"trip_start_day": "6"}},
        {"feature_values": {"payment_type": "Cash", "trip_start_month": "5"}},
    ],
    "metrics_specs": [
        {
            "metrics": [{"class_name": name} for name in METRICS.split()]
            + [
                {"class_name": "AUC", "config": {"name": "auc_200", "num_thresholds": 200.0}},
                {"class_name": "RecallAtPrecision", "config": {"precision": 0.3}},
                {"class_name": "ConfusionMatrixAtThresholds", "config": {"thresholds": [0.2, 0.7]}},
                {"class_name": "FairnessIndicators", "config": {"thresholds": [0.25, 0.5]}},
            ]
        }
    ],
}
WEIGHTED = (
    "ExampleCount AUC BinaryAccuracy Recall BinaryCrossentropy Calibration MeanSquaredError "
    "SquaredPearsonCorrelation"
)
BEAM = ["--runner=DirectRunner"]


def run(folder: Path, name: str, **options) -> tuple[dict, str]:
    """metrics.json and the folder of an evaluation."""
    output = folder / name / "evaluation"
    analyze(
        evaluation_path=str(output),
        evaluation_report_path=str(folder / name / "report.html"),
        **options,
    )
    return json.loads((output / "metrics.json").read_text()), str(output)


def compare(ours: dict, theirs: dict, relative: float = 1e-6) -> int:
    """Every metric of every slice agrees; how many numbers were compared."""
    assert [one["name"] for one in ours["slices"]] == [one["name"] for one in theirs["slices"]]
    compared = 0
    for own, other in zip(ours["slices"], theirs["slices"], strict=True):
        for group in own.keys() & {"metrics", "baseline", "change"}:
            assert own[group].keys() == other[group].keys()
            for name in own[group]:
                a, b = own[group][name]["value"], other[group][name]["value"]
                where = f"{own['name']} {group} {name}: {a} {b}"
                if isinstance(a, float):
                    # Keras sums in float32
                    tolerance = 1e-5 if "crossentropy" in name or "root" in name else relative
                    assert b is not None and math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-7), (
                        where
                    )
                else:
                    assert a == b, where
                compared += 1
    return compared


@pytest.fixture(scope="module")
def both(tmp_path_factory, taxi, tips, weak_tips):
    folder = tmp_path_factory.mktemp("referee")
    given = {
        "examples_path": taxi,
        "model_path": tips,
        "baseline_model_uri": weak_tips,
        "eval_config": CONFIG,
        "confidence_intervals": False,
    }
    return run(folder, "ours", **given), run(folder, "tfma", **given, beam_options=BEAM)


@pytest.mark.long
def test_every_metric_on_every_slice_is_that_of_tfma(both):
    (ours, _), (theirs, _) = both
    assert len(ours["slices"]) > 20
    assert compare(ours, theirs) > 3000


@pytest.mark.long
def test_both_engines_have_the_exact_auc_of_all_rows(both):
    own, other = (found["slices"][0] for (found, _) in both)
    for group in ("metrics", "baseline", "change"):
        assert own[group]["auc"]["value"] == pytest.approx(other[group]["auc"]["value"], abs=1e-9)
    assert own["metrics"]["auc"]["value"] != own["metrics"]["auc_tfma"]["value"]


@pytest.mark.long
def test_tfma_reads_the_result_of_both_engines(both):
    import tensorflow_model_analysis as tfma

    for _, folder in both:
        result = tfma.load_eval_result(folder, model_name="candidate")
        metrics = dict(result.slicing_metrics)[()][""][""]
        assert 0.7 < metrics["auc"]["doubleValue"] < 1
        assert result.config.metrics_specs[0].metrics[1].class_name == "AUC"
        assert tfma.load_validation_result(folder).missing_thresholds


@pytest.mark.long
def test_intervals_are_distributed_as_those_of_tfma(tmp_path, write_examples, taxi_rows, tips):
    names = ["MeanPrediction", "AUC", "BinaryAccuracy"]
    given = {
        "examples_path": write_examples(taxi_rows.slice(0, 300)),
        "model_path": tips,
        "eval_config": {"metrics_specs": [{"metrics": [{"class_name": name} for name in names]}]},
    }
    theirs, _ = run(tmp_path, "tfma", **given, beam_options=BEAM, seed=3)
    widths = [_widths(run(tmp_path, str(seed), **given, seed=seed)[0]) for seed in range(8)]
    # the standard deviation of 20 resamples is itself uncertain by a factor of about 1.4
    ratio = _widths(theirs) / np.mean(widths, axis=0)
    assert ratio.min() > 0.45 and ratio.max() < 1.9
    overall = theirs["slices"][0]["metrics"]
    assert "lower" not in overall["example_count"]
    score = overall["mean_prediction"]
    assert score["lower"] < score["value"] < score["upper"]


def _widths(found: dict) -> np.ndarray:
    overall = found["slices"][0]["metrics"]
    entries = (overall[name] for name in ("mean_prediction", "auc_tfma", "accuracy"))
    return np.array([entry["upper"] - entry["lower"] for entry in entries])


WEIGHING = {
    "slicing_specs": [{"feature_keys": ["payment_type"]}],
    "metrics_specs": [
        {
            "metrics": [{"class_name": name} for name in WEIGHTED.split()]
            + [{"class_name": "FairnessIndicators", "config": {"thresholds": [0.5]}}]
        },
        {"metrics": [{"class_name": "MeanLabel"}], "example_weights": {"unweighted": True}},
    ],
}


@pytest.fixture
def weighted(write_examples, taxi_rows, tips, weak_tips):
    """Some rows of taxis, their weights, and what `run` takes of them, weighted by a column."""
    rows = taxi_rows.slice(0, 240)
    weights = np.random.default_rng(3).choice([0.0, 1.0, 4.0], len(rows))
    by = {"model_specs": [{"example_weight_keys": {"prediction": "w"}}]}
    given = {
        "examples_path": write_examples(rows.append_column("w", pa.array(weights))),
        "model_path": tips,
        "baseline_model_uri": weak_tips,
        "eval_config": {**WEIGHING, **by},
        "confidence_intervals": False,
    }
    return rows, weights, given


def test_weighted_metrics_are_those_of_tfma(weighted, tmp_path):
    _, weights, given = weighted
    ours, folder = run(tmp_path, "ours", **given)
    theirs, _ = run(tmp_path, "tfma", **given, beam_options=BEAM)
    assert compare(ours, theirs) > 200
    overall = ours["slices"][0]["metrics"]
    assert overall["example_count"]["value"] == 240 == ours["slices"][0]["examples"]
    assert overall["weighted_example_count"]["value"] == weights.sum()
    assert "mean_label[unweighted]" in overall and "mean_label" not in overall
    notes = json.loads((Path(folder) / "validation.json").read_text())["notes"]
    assert notes[-1] == "Weighted by w."


def test_a_row_of_weight_4_counts_as_four_rows(weighted, tmp_path, write_examples):
    rows, weights, given = weighted
    ours, folder = run(tmp_path, "ours", **given)
    often = write_examples(rows.take(np.repeat(np.arange(len(rows)), weights.astype(int))))
    asked = {**given, "examples_path": often, "eval_config": WEIGHING}
    theirs, other = run(tmp_path, "repeated", **asked)
    there = {one["name"]: one for one in theirs["slices"]}
    for one in ours["slices"]:
        for group in ("metrics", "baseline", "change") if one["name"] in there else ():
            for name in one[group].keys() - {"example_count", "mean_label[unweighted]"}:
                a = one[group][name]["value"]
                b = there[one["name"]][group][name.removeprefix("weighted_")]["value"]
                same = a == b if None in (a, b) else math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
                assert same, f"{one['name']} {group} {name}: {a} {b}"
    decided = [json.loads((Path(each) / "decisions.json").read_text()) for each in (folder, other)]
    assert decided[0] == decided[1]


def test_multiclass_agrees(tmp_path, write_examples, write_model):
    random = np.random.default_rng(5)
    rows = pa.table(
        {
            "x": random.normal(size=200).astype(np.float32),
            "y": random.integers(0, 3, 200),
            "kind": random.choice(["a", "b", None], 200),
        }
    )

    def evaluate(raw):
        import tensorflow as tf

        logits = raw["x"] * tf.constant([[1.0, -1.0, 0.3]])
        return {"prediction": tf.nn.softmax(logits), "label": raw["y"]}

    given = {
        "examples_path": write_examples(rows),
        "model_path": write_model(
            evaluate, {"x": "float32", "y": "int64"}, "multiclass_classification"
        ),
        "eval_config": {"slicing_specs": [{"feature_keys": ["kind"]}]},
        "confidence_intervals": False,
    }
    ours, _ = run(tmp_path, "ours", **given)
    theirs, _ = run(tmp_path, "tfma", **given, beam_options=BEAM)
    names = [one["name"] for one in ours["slices"]]
    assert names == ["Overall", "kind: (missing)", "kind: a", "kind: b"]
    assert compare(ours, theirs) == 16


def test_regression_agrees(tmp_path, write_examples, write_model):
    random = np.random.default_rng(6)
    x = random.normal(10, 4, 200).astype(np.float32)
    rows = pa.table({"x": x, "y": x * 2 + random.normal(size=200).astype(np.float32)})

    def evaluate(raw):
        return {"prediction": raw["x"] * 1.9, "label": raw["y"]}

    given = {
        "examples_path": write_examples(rows),
        "model_path": write_model(evaluate, {"x": "float32", "y": "float32"}, "regression"),
        "confidence_intervals": False,
    }
    ours, _ = run(tmp_path, "ours", **given)
    theirs, _ = run(tmp_path, "tfma", **given, beam_options=BEAM)
    assert compare(ours, theirs) == 7
