"""A real model of real trips and its int8 edge model, explained; and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from explain_referees import needs_referees, shap_values
from panel import cut_in_panel

from edgeline import artifacts
from edgeline.artifacts import examples, models
from edgeline.components.explain import agreement, gradients
from edgeline.components.explain import sides as both
from edgeline.components.explain.explain import ExplainPlan, explain
from edgeline.components.measured import meaning
from edgeline.errors import EdgelineError
from edgeline.runtimes import shapley

pytestmark = pytest.mark.slow

ROWS = 60
FEATURES = 14  # raw ones that the prediction takes


@pytest.fixture(scope="module")
def made(converted_taxi, tmp_path_factory):
    """What the face gives and writes."""
    from kfp import dsl

    from edgeline.components.explain.component import explain as face

    folder = tmp_path_factory.mktemp("explained")
    outputs = {
        "explanation": dsl.Artifact(uri=str(folder / "explanation")),
        "explanation_report": dsl.HTML(uri=str(folder / "explain.html")),
        "explanation_metrics": dsl.Metrics(),
    }
    given = converted_taxi.folder
    [agrees] = face.python_func(
        model=dsl.Model(uri=str(given / "model")),
        edge_model=dsl.Model(uri=str(given / "int8")),
        examples=dsl.Dataset(uri=str(given / "examples")),
        explained_rows=ROWS,
        explained_slices=["payment_type"],
        background_rows=20,
        min_agreement=0.8,
        **outputs,
    )
    return SimpleNamespace(
        folder=folder,
        agrees=agrees,
        told=json.loads((folder / "explanation" / "explanation.json").read_text()),
        metrics=outputs["explanation_metrics"].metadata,
        metadata=outputs["explanation"].metadata,
        page=(folder / "explain.html").read_text(),
    )


def parts(made, name):
    table = pq.read_table(made.folder / "explanation" / f"{name}.parquet")
    values = np.stack(table["attributions"].to_numpy(zero_copy_only=False))
    return table, values


def test_cloud_and_int8_edge_explain_trips_nearly_alike(made):
    assert made.agrees is True
    assert 0.8 < made.told["agreement"] <= 1
    assert made.told["compared"]["rows"] == ROWS
    assert made.metrics["agreement_median"] == pytest.approx(made.told["agreement"], abs=1e-6)
    assert made.metadata["edgeline_schema"] == "explanation/v1"
    assert made.metadata["agrees"] is True
    assert [name for name in made.metrics if not meaning("explain", name)] == []
    assert made.told["methods"]["median"] > 0.5  # two methods and two models


def test_what_the_features_of_a_row_add_is_its_score(made):
    artifacts.read(made.folder / "explanation", "explanation/v1")
    for name in ("edge", "cloud", "gradients"):
        table, values = parts(made, name)
        assert values.shape == (ROWS, FEATURES)
        whole = table["base"].to_numpy() + values.sum(axis=1)
        np.testing.assert_allclose(whole, table["score"].to_numpy(), atol=1e-5)
    assert set(made.told["features"]) >= {"fare", "trip_miles", "payment_type", "company"}


def test_integrated_gradients_are_complete_and_go_back_to_raw_features(made):
    assert made.told["completeness_error"] <= 1e-3
    told = made.told["integrated_gradients"]
    assert told["incomplete_rows"] == 0
    by_name = {each["feature"]: each for each in told["features"]}
    assert by_name["fare"]["at"] == "itself" and by_name["fare"]["made_of"] == ["fare"]
    assert by_name["company"]["at"] == "its embedding"
    assert by_name["company"]["made_of"] == ["company"]
    assert by_name["company"]["importance"] > 0


def test_payment_and_not_the_month_is_what_tips_rest_on(made):
    order = [each["feature"] for each in made.told["importance"]]
    assert order[0] == "payment_type"  # tips in cash are not recorded
    for each in made.told["importance"]:
        assert each["lower"] <= each["value"] <= each["upper"]
    slices = {each["value"]: each for each in made.told["slices"]}
    assert {"Cash", "Credit Card"} <= slices.keys()
    assert sum(each["rows"] for each in made.told["slices"]) <= ROWS
    curves = {each["feature"]: each for each in made.told["partial_dependence"]["features"]}
    paid = dict(zip(curves["payment_type"]["values"], curves["payment_type"]["edge"], strict=True))
    assert paid["Credit Card"] > paid["Cash"]


def test_a_change_of_recorded_values_turns_the_decision(made):
    assert made.told["counterfactuals"]
    for each in made.told["counterfactuals"]:
        assert each["before"] != each["after"]
        assert 1 <= len(each["changes"]) <= each["differing"]


def test_the_page_is_whole_and_fits_kubeflow_s_panel(made, tmp_path):
    for words in (
        *("What the predictions rest on", "Do cloud and edge explain alike?", "By slice"),
        *("Partial dependence", "What would change the decision", "Integrated gradients"),
    ):
        assert words in made.page
    assert not re.search(r'(?:src|href)="http', made.page)
    assert cut_in_panel({"explain": made.page}, tmp_path) == {}


@pytest.fixture(scope="module")
def asked(converted_taxi):
    """Both models with rows of eval and a background of train."""
    return ask(converted_taxi.folder / "model", converted_taxi.folder / "int8", converted_taxi)


def ask(model, edge_model, run):
    sides = both.load(str(model), str(edge_model))
    features = models.raw_features(sides.original.artifact)

    def read(split, count):
        return examples.read_spread(run.examples, split, features, count)

    return SimpleNamespace(sides=sides, read=read)


def with_shap(asked, rows, background, **options):
    """What each feature adds to each row by the edge model's answers: ours, and shap's."""
    given, others = asked.read("eval", rows), asked.read("train", background)
    targets, edge = np.zeros(rows, np.int64), asked.sides.edge.models
    own = shapley.attribute(edge, given, np.arange(rows), targets, others, **options).values
    wanted = shap_values(edge[0], given, targets, others)
    np.testing.assert_allclose(own.sum(axis=1), wanted.sum(axis=1), atol=1e-5)
    return own, wanted


@needs_referees
def test_the_edge_model_is_explained_as_by_shap(asked):
    # of int8 and so little training many features add less than both resolve: all at once
    own, wanted = with_shap(asked, 8, 20, evaluations=10_000)
    assert agreement.spearman(own.reshape(1, -1), wanted.reshape(1, -1))[0] >= 0.95


@needs_referees
@pytest.mark.long
def test_500_trips_are_explained_as_by_shap(transformed_taxi, tmp_path):
    from kfp import dsl

    from edgeline.components.convert.convert import convert
    from edgeline.components.train.component import train

    given, made = transformed_taxi.folder, tmp_path / "model"
    train.python_func(
        transformed_examples=dsl.Dataset(uri=str(given / "transformed")),
        transform_graph=dsl.Artifact(uri=str(given / "graph")),
        module="edgeline.pipelines.taxi.module",
        label="big_tip",
        steps=1000,
        model=dsl.Model(uri=str(made)),
        training_metrics=dsl.Metrics(),
        training_report=dsl.HTML(uri=str(tmp_path / "train.html")),
    )
    places = (made, given / "examples", tmp_path / "edge", tmp_path / "edge.html")
    convert(*map(str, places), "float")
    own, wanted = with_shap(ask(made, tmp_path / "edge", transformed_taxi), 500, 50)
    found = agreement.spearman(own, wanted)
    assert found.mean() >= 0.95 and np.median(found) >= 0.95


def test_a_baseline_of_missing_values_is_complete_too(asked):
    rows, background = asked.read("eval", 10), asked.read("train", 10)
    model, targets = asked.sides.original.artifact, np.zeros(10, np.int64)
    mean, missing = (
        gradients.integrate(len, model, rows, targets, background, each)
        for each in gradients.BASELINES
    )
    assert missing.error.max() <= 1e-3 and mean.error.max() <= 1e-3
    assert np.ptp(missing.base) < 1e-6
    assert not np.allclose(missing.raw, mean.raw, atol=1e-3)


def refused(run, tmp_path, plan=None, **changed):
    arguments = {
        "model_path": str(run.folder / "model"),
        "edge_model_path": str(run.folder / "int8"),
        "examples_path": str(run.folder / "examples"),
        "explanation_path": tmp_path / "explanation",
        "explanation_report_path": tmp_path / "page.html",
        "plan": plan or ExplainPlan(explained_rows=5),
    }
    with pytest.raises(EdgelineError) as error:
        explain(**(arguments | changed))
    assert not Path(tmp_path / "explanation").exists()
    return str(error.value)


def test_what_cannot_be_explained_is_refused_before_any_work(converted_taxi, tmp_path):
    said = refused(converted_taxi, tmp_path, ExplainPlan(explained_slices=("colour",)))
    assert "explained_slices has column 'colour'" in said and "payment_type" in said
    said = refused(converted_taxi, tmp_path, split="test")
    assert "has no split 'test': it has" in said
    said = refused(converted_taxi, tmp_path, background_split="more")
    assert "has no split 'more'" in said
    said = refused(converted_taxi, tmp_path, model_path=str(converted_taxi.folder / "graph"))
    assert "graph" in said


def test_gradients_are_those_of_the_rows_that_were_explained(converted_taxi, tmp_path, monkeypatch):
    attribute = shapley.attribute

    def half(*given):
        made = attribute(*given)
        made.done[1::2] = False  # as where the time ended
        return made

    monkeypatch.setattr(shapley, "attribute", half)
    # so large a row that 8 are held
    monkeypatch.setattr("edgeline.components.explain.explain.AT_ONCE_BYTES", 8 * 8 * FEATURES)
    result = explain(
        *(str(converted_taxi.folder / each) for each in ("model", "int8", "examples")),
        tmp_path / "explanation",
        tmp_path / "page.html",
        ExplainPlan(explained_slices=("payment_type",), gradient_baseline="missing"),
    )
    edge, slopes = (
        pq.read_table(tmp_path / "explanation" / f"{name}.parquet")
        for name in ("edge", "gradients")
    )
    assert slopes["row"].to_pylist() == edge["row"].to_pylist() and len(edge) == 4
    [held, no_slices] = result.metadata["notes"][:2]
    assert re.match(r"8 of the [\d,]+ rows are explained, whatever explained_rows says", held)
    assert no_slices.startswith("Of explained_slices, 'payment_type' has no slice here")
    assert any("time for 4 of 8 rows" in each for each in result.metadata["warnings"])


def test_one_row_and_little_time_give_a_whole_page(converted_taxi, tmp_path):
    folder = converted_taxi.folder
    result = explain(
        str(folder / "model"),
        str(folder / "int8"),
        str(folder / "examples"),
        tmp_path / "explanation",
        tmp_path / "page.html",
        ExplainPlan(explained_rows=1, background_rows=1, max_seconds=1, min_agreement=1.0),
    )
    assert result.metadata["rows"] == 1
    assert result.agrees == (result.metrics["agreement_median"] >= 1.0)
    assert "Explain: the int8 edge model" in (tmp_path / "page.html").read_text()
