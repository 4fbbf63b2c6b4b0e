"""The worker as a user meets it: verdict, report, errors, the same bytes twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from edgeline import artifacts
from edgeline.components.analyze import predict, vectorised_engine
from edgeline.components.analyze.analyze import SCHEMA, analyze
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow


@pytest.fixture
def evaluate(tmp_path, taxi, tips):
    """Evaluate the taxi rows, with some parameters of the test's own."""

    def run(**given):
        given = {"examples_path": taxi, "model_path": tips, **given}
        paths = {
            "evaluation_path": str(tmp_path / "evaluation"),
            "evaluation_report_path": str(tmp_path / "r.html"),
        }
        return analyze(**paths, **given), tmp_path / "evaluation"

    return run


def auc_with(**threshold) -> dict:
    return {"metrics_specs": [{"metrics": [{"class_name": "AUC", **threshold}]}]}


def at_least(value: float) -> dict:
    return {"value_threshold": {"lower_bound": value}}


def failures(folder: Path) -> list[str]:
    return json.loads((folder / "validation.json").read_text())["failures"]


def test_defaults_give_metrics_curves_and_a_report(evaluate, tmp_path):
    result, folder = evaluate()
    assert result.blessed
    artifact = artifacts.read(folder, SCHEMA)
    assert artifact.metadata["rows"] == 1501
    assert result.overall.keys() >= {"auc", "auc_tfma", "accuracy", "recall", "calibration"}
    assert artifact.metadata["metrics"] == result.overall
    (note,) = artifact.metadata["notes"]
    assert note.startswith("No threshold is set")

    fpr, tpr, levels = result.roc
    assert len(levels) < 60 and np.isfinite([fpr, tpr, levels]).all()
    assert (fpr[0], tpr[0], levels[0]) == (0, 0, 1) and (fpr[-1], tpr[-1], levels[-1]) == (1, 1, 0)
    assert np.trapezoid(tpr, fpr) == pytest.approx(result.overall["auc"], abs=0.02)
    names, matrix = result.confusion
    assert names == ["0", "1"] and np.sum(matrix) == 1501
    assert np.trace(matrix) / 1501 == pytest.approx(result.overall["accuracy"])

    page = (tmp_path / "r.html").read_text()
    assert "No threshold is set" in page and "<svg" in page


def test_thresholds_are_proposed_where_none_is_set_and_can_be_pasted(evaluate, tmp_path):
    given = {"slicing_specs": [{"feature_keys": ["payment_type"]}]}
    first, folder = evaluate(eval_config=given)
    page = (tmp_path / "r.html").read_text()
    assert "Proposed thresholds" in page and "&#34;lower_bound&#34;" in page
    proposed = json.loads((folder / "proposed_eval_config.json").read_text())
    assert proposed["slicing_specs"] == given["slicing_specs"]
    [spec] = proposed.pop("metrics_specs")
    bounds = {n: t["value_threshold"]["lower_bound"] for n, t in spec["thresholds"].items()}
    assert 0.5 < bounds["auc"] < first.overall["auc_tfma"]
    assert bounds.keys() <= {"auc", "binary_accuracy", "recall", "precision"}
    held, folder = evaluate(eval_config={"metrics_specs": [spec]})
    assert held.blessed and json.loads((folder / "validation.json").read_text())["notes"] == []
    assert not (folder / "proposed_eval_config.json").exists()
    spec["thresholds"]["auc"]["value_threshold"]["lower_bound"] = 0.999
    failed, _ = evaluate(eval_config={"metrics_specs": [spec]})
    assert not failed.blessed


def test_the_auc_of_all_rows_is_exact_and_that_of_tfma_is_called_so(evaluate, weak_tips):
    from scipy import stats

    rows, seen = [], vectorised_engine.exact.counted

    def counted(task, label, predictions, weights):
        rows.append((label, predictions))
        return seen(task, label, predictions, weights)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vectorised_engine.exact, "counted", counted)
        result, folder = evaluate(baseline_model_uri=weak_tips)
    [(label, predictions)] = rows

    def auc(scores):
        good, bad = (scores[label == side].astype(np.float64) for side in (1, 0))
        return stats.mannwhitneyu(good, bad).statistic / (len(good) * len(bad))

    candidate, baseline = map(auc, predictions.values())
    assert result.overall["auc"] == pytest.approx(candidate, abs=1e-12)
    assert result.overall["auc_tfma"] == pytest.approx(candidate, abs=1e-4)
    overall = json.loads((folder / "metrics.json").read_text())["slices"][0]
    assert overall["baseline"]["auc"]["value"] == pytest.approx(baseline, abs=1e-12)
    assert overall["change"]["auc"]["value"] == pytest.approx(candidate - baseline, abs=1e-12)


def test_what_is_not_the_usual_metric_keeps_its_own_name(evaluate):
    def metrics(*given):
        specs = [{"class_name": name, "config": config} for name, config in given]
        return {"metrics_specs": [{"metrics": specs}]}

    def found(*given):
        result, _ = evaluate(eval_config=metrics(*given), confidence_intervals=False)
        return result.overall.keys() - {"example_count"}

    assert found(("BinaryAccuracy", {}), ("AUC", {})) == {"accuracy", "auc", "auc_tfma"}
    assert found(("BinaryAccuracy", {"threshold": 0.5})) == {"accuracy"}
    assert found(("BinaryAccuracy", {"threshold": 0.7})) == {"binary_accuracy"}
    assert found(("AUC", {"name": "own"}), ("Recall", {})) == {"own", "recall"}
    assert found(("AUC", {"curve": "PR"})) == {"auc_tfma"}  # there is no exact one of this


def test_the_same_input_gives_the_same_bytes(evaluate, tmp_path):
    config = {"slicing_specs": [{"feature_keys": ["payment_type"]}]}
    first, folder = evaluate(eval_config=config, seed=7)
    digest, page = artifacts.read(folder, SCHEMA).digest, (tmp_path / "r.html").read_bytes()
    second, folder = evaluate(eval_config=config, seed=7)
    assert artifacts.read(folder, SCHEMA).digest == digest
    assert (tmp_path / "r.html").read_bytes() == page
    assert first == second
    _, folder = evaluate(eval_config=config, seed=8)
    assert artifacts.read(folder, SCHEMA).digest != digest


def test_small_batches_change_no_value(evaluate, monkeypatch):
    config = {"slicing_specs": [{"feature_keys": ["payment_type"]}]}
    values = []
    for batch in (8192, 100):
        monkeypatch.setattr(predict, "BATCH_ROWS", batch)
        monkeypatch.setattr(vectorised_engine, "CHUNK_ROWS", batch)
        _, folder = evaluate(eval_config=config, confidence_intervals=False)
        found = json.loads((folder / "metrics.json").read_text())
        values.append(
            {
                (one["name"], name): entry["value"]
                for one in found["slices"]
                for name, entry in one["metrics"].items()
            }
        )
    assert values[0].keys() == values[1].keys()
    for key, value in values[0].items():
        # a batch of another size rounds scores otherwise, and two that were a tie no longer are
        relative = 1e-5 if key[1] == "auc" else 1e-6
        assert values[1][key] == (value if value is None else pytest.approx(value, rel=relative)), (
            key
        )


def test_a_threshold_that_holds_blesses(evaluate):
    result, folder = evaluate(eval_config=auc_with(threshold=at_least(0.8)))
    assert result.blessed and failures(folder) == []


def test_a_threshold_that_fails_tells_why(evaluate, tmp_path):
    result, folder = evaluate(eval_config=auc_with(threshold=at_least(0.99)))
    assert not result.blessed
    [reason] = failures(folder)
    assert reason.startswith("auc of all rows is 0.8")
    assert reason.endswith("below the lower bound 0.99 (as TFMA estimates it: auc_tfma).")
    assert reason in (tmp_path / "r.html").read_text()


def test_thresholds_by_slice(evaluate):
    card, nobody = {"payment_type": "Credit Card"}, {"payment_type": "Nobody"}
    per_slice = [
        {"slicing_specs": [{"feature_values": card}], "threshold": at_least(0.9)},
        {"slicing_specs": [{"feature_values": nobody}], "threshold": at_least(0.1)},
    ]
    config = auc_with(per_slice_thresholds=per_slice)
    config["slicing_specs"] = [{"feature_values": card}, {"feature_values": nobody}]
    result, folder = evaluate(eval_config=config)
    assert not result.blessed
    low, missing = failures(folder)
    assert low.startswith("auc of slice payment_type: Credit Card is 0.")
    assert "payment_type: Nobody has a threshold, but no row is in it" in missing


def test_thresholds_by_name_and_on_fairness(evaluate):
    name = "fairness_indicators_metrics/false_positive_rate@0.5"
    spec = {
        "metrics": [{"class_name": "AUC"}, {"class_name": "FairnessIndicators"}],
        "thresholds": {"auc": at_least(0.5), name: {"value_threshold": {"upper_bound": 0.01}}},
    }
    result, folder = evaluate(eval_config={"metrics_specs": [spec]})
    assert not result.blessed
    [reason] = failures(folder)
    assert reason.startswith(f"{name} of all rows is 0.") and "above the upper bound" in reason
    spec["thresholds"] = {"auk": at_least(0.5)}
    _, folder = evaluate(eval_config={"metrics_specs": [spec]})
    assert "auk of all rows has a threshold, but eval_config does not" in failures(folder)[0]


def test_change_threshold_against_the_baseline(evaluate, tips, weak_tips):
    change = {"change_threshold": {"absolute": -0.01, "direction": "HIGHER_IS_BETTER"}}
    config = auc_with(threshold=change)
    better, _ = evaluate(eval_config=config, baseline_model_uri=weak_tips)
    assert better.blessed
    worse, folder = evaluate(eval_config=config, model_path=weak_tips, baseline_model_uri=tips)
    assert not worse.blessed
    [reason] = failures(folder)
    assert reason.startswith("auc of all rows changes by -0.") and "at least -0.01" in reason
    alone, folder = evaluate(eval_config=config)
    assert alone.blessed
    assert "no baseline" in json.loads((folder / "validation.json").read_text())["notes"][0]


def test_relative_change_where_lower_is_better(evaluate, tips, weak_tips):
    change = {"relative": -0.1, "direction": "LOWER_IS_BETTER"}
    metric = {"class_name": "BinaryCrossentropy", "threshold": {"change_threshold": change}}
    config = {"metrics_specs": [{"metrics": [metric]}]}
    better, _ = evaluate(eval_config=config, baseline_model_uri=weak_tips)
    same, folder = evaluate(eval_config=config, baseline_model_uri=tips)
    assert better.blessed and not same.blessed
    assert "at most -10% of the baseline" in failures(folder)[0]


def test_a_slice_of_one_class_is_no_crash(evaluate, tmp_path):
    config = {"slicing_specs": [{"feature_values": {"payment_type": "No Charge"}}]}
    _, folder = evaluate(eval_config=config)
    overall, free = json.loads((folder / "metrics.json").read_text())["slices"]
    assert free["metrics"]["auc_tfma"]["value"] == 0
    assert free["metrics"]["calibration"]["value"] is None
    assert "undefined" in (tmp_path / "r.html").read_text()
    assert math.isfinite(overall["metrics"]["auc_tfma"]["upper"])


@pytest.mark.parametrize("further", [{}, {"beam_options": ["--runner=DirectRunner"]}])
def test_a_requirement_on_a_slice_finds_floats_and_texts_of_digits(
    evaluate, write_examples, taxi_rows, further
) -> None:
    few = taxi_rows.slice(0, 40)
    odd = [row % 2 for row in range(len(few))]
    few = few.append_column("share", pa.array([(0.1, 0.3)[each] for each in odd], pa.float32()))
    few = few.append_column("zip", pa.array([("01234", "1234")[each] for each in odd]))
    one = {"metric": "accuracy", "at_least": 0.0}
    wanted = [{**one, "where": {"share": 0.1}}, {**one, "where": {"zip": "01234", "share": 0.1}}]
    result, folder = evaluate(
        examples_path=write_examples(few),
        requirements={"metrics": [*wanted, {**one, "where": {"zip": "1234"}}]},
        confidence_intervals=False,
        **further,
    )
    assert result.blessed, failures(folder)
    found = json.loads((folder / "metrics.json").read_text())["slices"]
    assert [each["examples"] for each in found] == [40, 20, 20, 20]


def test_eval_config_as_text_proto(evaluate):
    config = """metrics_specs { metrics { class_name: "Recall" config: '"thresholds": 0.9' } }"""
    result, _ = evaluate(eval_config=config)
    assert result.overall.keys() == {"recall", "example_count"}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"slicing_specs": [{"feature_keys": ["colour"]}]}, ["'colour'", "payment_type, company"]),
        ({"metric_specs": []}, ["eval_config", "metric_specs"]),
        ("{", ["eval_config is not JSON"]),
        ("metrics_specs { metric {} }", ["text proto", '"metric"']),
        (auc_with(config={"treshold": 1}), ["metrics_specs[0].metrics[0].config", "treshold"]),
        ({"metrics_specs": [{"metrics": [{"class_name": "Auk"}]}]}, ["'Auk'", "class_name"]),
        ({"metrics_specs": [{"metrics": [{"class_name": "NDCG"}]}]}, ["NDCG"]),
        (auc_with(config={"class_id": 1}), ["AUC", "beam_options"]),
        ({"slicing_specs": [{"slice_keys_sql": "SELECT 1"}]}, ["slice_keys_sql"]),
        ({"model_specs": [{"example_weight_key": "w"}]}, ["'w'", "no such column", "payment_type"]),
        ({"model_specs": [{"example_weight_key": "company"}]}, ["'company'", "holds string"]),
        ({"model_specs": [{"example_weight_keys": {"tip": "fare"}}]}, ["'tip'", "'prediction'"]),
        ({"metrics_specs": [{"output_names": ["tip"]}]}, ["'tip'", "'prediction'"]),
        ({"metrics_specs": [{"example_weights": {"weighted": True}}]}, ["there are no weights"]),
    ],
)
def test_a_wrong_config_names_the_field(evaluate, config, words, tmp_path):
    with pytest.raises(EdgelineError) as caught:
        evaluate(eval_config=config)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "evaluation").exists()


def test_threads_of_beam_are_refused(evaluate):
    with pytest.raises(EdgelineError, match="multi_threading, which loses rows"):
        evaluate(beam_options=["--direct_running_mode=multi_threading"])


def test_nan_predictions_are_refused(evaluate, write_model):
    def broken(raw):
        return {"prediction": raw["trip_miles"] / 0.0, "label": raw["tips"] * 0}

    takes = {"trip_miles": "float32", "tips": "float32"}
    model = write_model(broken, takes, "binary_classification")
    with pytest.raises(EdgelineError, match=r"predicts \[(nan|inf)\] for row \d+ .*part-00000"):
        evaluate(model_path=model)


def test_labels_that_are_no_class_are_refused(evaluate, write_model):
    def wrong(raw):
        return {"prediction": raw["tips"] * 0, "label": raw["tips"] * 0 + 2}

    model = write_model(wrong, {"tips": "float32"}, "binary_classification")
    with pytest.raises(EdgelineError, match=r"label of row 0 .* is 2, but must be 0 or 1"):
        evaluate(model_path=model)


def test_an_empty_split_and_an_unknown_one(evaluate, write_examples, taxi_rows):
    with pytest.raises(EdgelineError, match=r"Split 'eval' .* has no rows"):
        evaluate(examples_path=write_examples(taxi_rows.slice(0, 0)))
    with pytest.raises(EdgelineError, match="no split 'test'"):
        evaluate(split="test")


def test_too_many_slices_are_refused(evaluate, monkeypatch):
    monkeypatch.setattr("edgeline.components.analyze.slices.MOST_SLICES", 100)
    with pytest.raises(EdgelineError, match=r"Slicing by fare gives \d+ slices"):
        evaluate(eval_config={"slicing_specs": [{"feature_keys": ["fare"]}]})


def test_a_baseline_of_another_task_is_refused(evaluate, write_model):
    def regression(raw):
        return {"prediction": raw["tips"], "label": raw["tips"]}

    other = write_model(regression, {"tips": "float32"}, "regression")
    with pytest.raises(EdgelineError, match="baseline_model_uri holds a model for regression"):
        evaluate(baseline_model_uri=other)


def test_slices_of_every_kind_of_column(evaluate, write_examples, taxi_rows):
    rows = taxi_rows.slice(0, 100)
    kinds = {
        "flag": pa.array([True, False, None, True] * 25),
        "half": pa.array([0.5, float("nan")] * 50),
        "word": pa.array([b"x", None, b"", b"y"] * 25, pa.binary()).dictionary_encode(),
    }
    for name, column in kinds.items():
        rows = rows.append_column(name, column)
    config = {"slicing_specs": [{"feature_keys": [name]} for name in kinds]}
    _, folder = evaluate(examples_path=write_examples(rows), eval_config=config)
    found = json.loads((folder / "metrics.json").read_text())["slices"]
    assert {one["name"]: one["examples"] for one in found} == {
        "Overall": 100,
        "flag: 0": 25,
        "flag: 1": 50,
        "flag: (missing)": 25,
        "half: 0.5": 50,
        "half: (missing)": 50,
        "word: (missing)": 50,
        "word: x": 25,
        "word: y": 25,
    }


@pytest.mark.parametrize("beam_options", [[], ["--runner=DirectRunner"]])
def test_a_goal_chooses_the_threshold_and_report_and_table_tell_it(
    evaluate, tmp_path, beam_options
):
    result, folder = evaluate(
        decision_goal="recall>=0.9", beam_options=beam_options, confidence_intervals=False
    )
    found = artifacts.read(folder, SCHEMA).metadata
    assert result.blessed
    assert found["decision_goal"] == "recall>=0.9"
    assert found["decision_threshold"] == result.decision_threshold != 0.5
    told = result.overall
    assert told["decision_threshold"] == result.decision_threshold
    assert told["decision_recall"] >= 0.9
    assert told["decision_recall_at_0.5"] == pytest.approx(told["recall"])  # TFMA's
    assert told["decision_precision_at_0.5"] == pytest.approx(told["precision"])
    _, ((tn, fp), (fn, tp)) = result.confusion
    assert tn + fp + fn + tp == 1501
    assert tp / (tp + fn) == pytest.approx(told["decision_recall"])
    proposed = json.loads((folder / "decisions.json").read_text())
    assert [each["goal"] for each in proposed] == ["", "recall>=0.9", "f1", "precision>=0.9"]
    page = (tmp_path / "r.html").read_text()
    assert "Decision threshold" in page and "<b>recall&gt;=0.9</b>, used" in page
    if beam_options:  # workers, each of which has seen some slices, find the same rows
        evaluate(decision_goal="recall>=0.9", confidence_intervals=False)
        assert most_wrong(page) == most_wrong((tmp_path / "r.html").read_text())
        assert most_wrong(page).count("<tr>") == 1 + 16


def most_wrong(page: str) -> str:
    return page[page.index("<h2>Most confident errors") :].partition("</section>")[0]


def test_without_a_goal_the_threshold_stays_and_others_are_proposed(evaluate, tmp_path):
    result, folder = evaluate(confidence_intervals=False)
    assert result.decision_threshold == 0.5
    assert "decision_threshold" not in artifacts.read(folder, SCHEMA).metadata
    assert not any(name.startswith("decision") for name in result.overall)
    assert "<b>none: 0.5</b>, used" in (tmp_path / "r.html").read_text()


def test_a_goal_that_is_not_reached_is_a_reason_against_the_model(evaluate, weak_tips):
    result, folder = evaluate(
        model_path=weak_tips, decision_goal="precision>=0.999", confidence_intervals=False
    )
    (failure,) = failures(folder)
    assert failure.startswith("No decision threshold reaches precision>=0.999 on eval: the highest")
    assert (result.blessed, result.decision_threshold) == (False, 0.5)
    assert artifacts.read(folder, SCHEMA).metadata["notes"] == []


def test_a_goal_for_another_task_is_refused(evaluate, write_model):
    def predict(raw):
        return {"prediction": raw["fare"], "label": raw["tips"]}

    model = write_model(predict, {"fare": "float32", "tips": "float32"}, "regression")
    with pytest.raises(EdgelineError, match="'f1', but the model's task is regression, which has"):
        evaluate(model_path=model, decision_goal="f1")
    with pytest.raises(EdgelineError, match="is not a goal"):
        evaluate(decision_goal="best")
