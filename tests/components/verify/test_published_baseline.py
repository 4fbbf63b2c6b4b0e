"""The baseline is what is published, and the trend is over it: real bundles, on the same rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import outcomes
from edgeline.components.analyze.analyze import analyze
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError, UsageError
from edgeline.repository import actions
from edgeline.runtimes.interpreter import load
from edgeline.stores import store as stores

pytestmark = pytest.mark.slow
CHANGE = {
    "metrics_specs": [
        {
            "metrics": [
                {
                    "class_name": "BinaryAccuracy",
                    "threshold": {
                        "change_threshold": {
                            "absolute": -0.001,
                            "direction": "HIGHER_IS_BETTER",
                        }
                    },
                },
                {"class_name": "AUC"},
            ]
        }
    ]
}
AUC = {"metric": "auc", "at_least": 0.1}


@pytest.fixture
def version(workplace, flatbuffer, signature, bundle_maker):
    """Makes the folder of a bundle: the model with its last layer's weights times a factor.

    With -1 an AUC of a becomes 1 - a, and with 0 it is 0.5.
    """

    def make(factor: float) -> Path:
        folder = bundle_maker(signature)
        weights = workplace.module.output.numpy()
        changed = (factor * weights).astype(np.float32)
        content = flatbuffer.replace(weights.tobytes(), changed.tobytes())
        (folder / "model.tflite").write_bytes(content)
        manifest = folder / "manifest.json"
        told = json.loads(manifest.read_text())
        manifest.unlink()
        made = bundles.Bundle.from_json({**told, "files": artifacts.list_files(folder)})
        approved = replace(made, evaluation={"blessed": True}, verification={"approved": True})
        bundles.write_manifest(folder, approved)
        return folder

    return make


def add(destination: Path, folder: Path) -> int:
    bundle = bundles.read(folder)
    return stores.add(stores.open_store(str(destination)), folder, bundle).version


@pytest.fixture
def evaluate(workplace, tmp_path):
    def run(**given: Any) -> tuple[Any, Any]:
        result = analyze(
            examples_path=str(workplace.examples),
            model_path=str(workplace.model),
            evaluation_path=str(tmp_path / "evaluation"),
            evaluation_report_path=str(tmp_path / "r.html"),
            **given,
        )
        return result, artifacts.read(tmp_path / "evaluation", "evaluation/v1").metadata

    return run


def test_the_latest_that_is_published_is_the_baseline_on_the_same_rows(
    evaluate, version, tmp_path
) -> None:
    store = tmp_path / "store"
    place = f"{store}/taxi/latest"
    result, told = evaluate(eval_config=CHANGE, baseline_model_uri=place)
    assert result.blessed and told["baseline_digest"] is None  # a first run
    assert f"No baseline: no version of taxi is published at {store} yet." in told["notes"]

    add(store, version(1.0))
    assert add(store, version(-1.0)) == 2
    result, told = evaluate(eval_config=CHANGE, baseline_model_uri=f"{store}/taxi/1")
    overall = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["slices"][0]
    assert result.blessed and overall["change"]["accuracy"]["value"] == 0  # the same model
    result, told = evaluate(eval_config=CHANGE, baseline_model_uri=place)
    overall = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())["slices"][0]
    assert overall["change"]["auc"]["value"] == pytest.approx(2 * told["metrics"]["auc"] - 1)
    assert told["published_baseline"]["version"] == 2
    assert f"The baseline is taxi 2 ({store}/taxi/2)." in told["notes"]
    with pytest.raises(UsageError, match=r"There is no taxi 9 at .*: its versions are 1, 2\."):
        evaluate(baseline_model_uri=f"{store}/taxi/9")


def test_a_change_for_the_worse_is_not_blessed(evaluate, version, tmp_path) -> None:
    add(tmp_path / "store", version(1.0))
    worse = {**CHANGE}
    worse["metrics_specs"] = json.loads(
        json.dumps(CHANGE["metrics_specs"]).replace("-0.001", "0.2")
    )
    result, _ = evaluate(eval_config=worse, baseline_model_uri=f"{tmp_path}/store/taxi/latest")
    assert not result.blessed
    failures = json.loads((tmp_path / "evaluation" / "validation.json").read_text())["failures"]
    assert failures[0].startswith("accuracy of all rows changes by +0 from the baseline's")


def test_a_damaged_version_is_no_baseline(evaluate, version, tmp_path) -> None:
    add(tmp_path / "store", version(1.0))
    model = tmp_path / "store" / "taxi" / "1" / "model.tflite"
    model.write_bytes(model.read_bytes()[:-8] + b"12345678")
    with pytest.raises(EdgelineError, match=r"model\.tflite is damaged"):
        evaluate(baseline_model_uri=f"{tmp_path}/store/taxi/latest")


def test_in_a_signed_repository_a_withdrawn_version_is_no_baseline(
    evaluate, version, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("EDGELINE_KEY_PASSPHRASE", "correct-horse")
    fleet, keys = str(tmp_path / "fleet"), tmp_path / "keys"
    actions.init(fleet, {}, keys)
    for factor in (1.0, 0.5, 0.25):
        actions.add(fleet, version(factor), [str(keys)])
    actions.withdraw(fleet, "taxi", 3, [str(keys)])
    _, told = evaluate(baseline_model_uri=f"{fleet}/taxi/approved")
    assert told["published_baseline"]["version"] == 2
    with pytest.raises(UsageError, match="There is no taxi 3"):
        evaluate(baseline_model_uri=f"{fleet}/taxi/3")
    forged = tmp_path / "fleet" / "targets" / "taxi" / "2" / "manifest.json"
    forged.write_text(forged.read_text().replace('"task"', ' "task"'))
    assert bundles.read(forged.parent)  # as good as any, but it is not what was signed
    told = json.loads(forged.read_text())
    forged.write_text(json.dumps({**told, "provenance": {"run": "forged"}}))
    with pytest.raises(EdgelineError, match="is not the version that was signed"):
        evaluate(baseline_model_uri=f"{fleet}/taxi/latest")


def test_a_metric_that_fell_at_each_version_is_named_and_refused(
    evaluate, version, tmp_path
) -> None:
    store = tmp_path / "store"
    over = {"versions": 2, "versions_of": f"{store}/taxi"}
    add(store, version(-1.0))
    result, told = evaluate(requirements={"metrics": [AUC], "trend": over})
    assert result.blessed
    few = f"Trend: 1 of 2 versions of taxi are published at {store}, too few to tell a trend."
    assert few in told["notes"]

    add(store, version(0.0))
    # from 1 - a over 0.5 to a: that is a fall of what is better when lower, or when higher
    auc = told["metrics"]["auc"]
    falls, rises = {"metric": "auc", "at_most": 1.0}, {"metric": "auc", "at_least": 0.0}
    if auc < 0.5:
        falls, rises = rises, falls
    result, told = evaluate(requirements={"metrics": [rises], "trend": over})
    names = [each.what for each in outcomes.of(told)]
    assert result.blessed and names == ["auc of all rows", "trend of auc from 1 on"]
    assert "not worse at each version" in outcomes.of(told)[1].note
    assert "Trend: beside taxi 1, 2 on the same rows." in told["notes"]

    result, told = evaluate(requirements={"metrics": [falls], "trend": over})
    assert not result.blessed
    failures = json.loads((tmp_path / "evaluation" / "validation.json").read_text())["failures"]
    assert failures[0].startswith("trend of auc from 1 on is ")
    assert f"0.5, {auc:.4g}: worse at each version, and by more than chance" in failures[0]
    asked = {"metrics": [falls], "trend": {**over, "refuse": False}}
    result, told = evaluate(requirements=asked)
    assert result.blessed and told["warnings"][-1].startswith("trend of auc from 1 on is ")


def test_a_requirement_on_one_slice_that_is_missed_is_not_blessed(evaluate, tmp_path) -> None:
    asked = {
        "metrics": [
            {"metric": "accuracy", "at_least": 0.0, "by": ["payment_type"]},
            {"metric": "accuracy", "at_least": 1.0, "where": {"payment_type": "Credit Card"}},
        ]
    }
    # a threshold of eval_config without slices is about its own slices alone: all rows here
    config = {
        "metrics_specs": [
            {
                "metrics": [
                    {
                        "class_name": "BinaryAccuracy",
                        "threshold": {"value_threshold": {"lower_bound": 0.3}},
                    }
                ]
            }
        ]
    }
    result, told = evaluate(requirements=asked, eval_config=config)
    assert not result.blessed
    failures = json.loads((tmp_path / "evaluation" / "validation.json").read_text())["failures"]
    [failure] = failures
    assert failure.startswith("accuracy of payment_type: Credit Card is 0.")
    assert [each.state for each in outcomes.of(told)] == ["met", "not met"]
    assert "Requirements" in (tmp_path / "r.html").read_text()


def test_a_model_that_was_compared_with_an_older_version_is_not_published(
    evaluate, version, edge_model, tmp_path
) -> None:
    store = tmp_path / "store"
    add(store, version(0.5))
    evaluate(baseline_model_uri=f"{store}/taxi/latest")
    add(store, version(0.25))  # by another run, meanwhile
    own = tmp_path / "edge"
    with artifacts.writing(own, "edge_model/v1") as draft:
        (draft.path / "model.tflite").write_bytes((edge_model / "model.tflite").read_bytes())
        told = load(edge_model / "model.tflite").signature.to_json()
        (draft.path / "signature.json").write_text(json.dumps(told))
        draft.metadata |= artifacts.read(edge_model, "edge_model/v1").metadata
    with artifacts.writing(tmp_path / "verification", "verification/v1") as draft:
        draft.metadata |= {"approved": True}

    def send(name: str) -> int:
        return publish(
            edge_model_path=own,
            evaluation_path=tmp_path / "evaluation",
            verification_path=tmp_path / "verification",
            bundle_path=tmp_path / "bundle",
            name=name,
            destination=str(store),
        ).version

    for name in ("taxi", "taxi-float"):  # the same model in another form
        with pytest.raises(EdgelineError, match="with taxi 1, and taxi 2 was published since"):
            send(name)
    # as this run publishes it under its name before the other form
    folder = version(0.125)
    told = artifacts.read(tmp_path / "evaluation", "evaluation/v1").metadata
    bundles.write_manifest(folder, replace(bundles.read(folder), evaluation=dict(told)))
    add(store, folder)
    assert send("taxi-float") == 1
