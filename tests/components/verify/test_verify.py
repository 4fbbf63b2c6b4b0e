"""Verify on real rows: what is approved, what is not, and why."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from taxi_rows import ROWS, save_rows

from edgeline import artifacts
from edgeline.artifacts import calibration
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.malformed import KINDS
from edgeline.components.verify.verify import verify as work
from edgeline.errors import EdgelineError
from edgeline.runtimes import original as originals

pytestmark = pytest.mark.slow


@pytest.fixture
def verify(workplace, tmp_path):
    def run(edge, limits=Limits(), **parameters):  # noqa: B008
        folders = {"model_path": workplace.model, "examples_path": workplace.examples} | parameters
        return work(
            edge_model_path=edge,
            verification_path=tmp_path / "verification",
            verification_report_path=tmp_path / "report.html",
            limits=limits,
            **folders,
        )

    return run


@pytest.fixture
def sabotaged(workplace, flatbuffer):
    """The good model with its last layer's weights changed."""
    weights = workplace.module.output.numpy().tobytes()
    assert flatbuffer.count(weights) == 1
    wrong = (-workplace.module.output.numpy()).tobytes()
    return workplace.edge("sabotaged", flatbuffer.replace(weights, wrong))


def test_an_equal_model_is_approved_on_every_row(verify, edge_model, tmp_path):
    result = verify(edge_model)
    assert result.approved
    assert result.metadata["rows"] == ROWS
    assert result.metadata["changed_decisions"] == 0
    assert result.metadata["max_difference"] < 1e-5
    probes = result.metadata["probes"]
    assert (probes["asked"] > 60, probes["at_fault"], probes["not_proven_missing"]) == (True, 0, [])
    assert set(result.metadata["metrics"]) == {"auc", "accuracy"}
    assert result.metadata["timing"]["p99_ms"] >= result.metadata["timing"]["p50_ms"] > 0
    assert 10e6 < result.metadata["timing"]["peak_bytes"] < 200e6  # no TensorFlow in it
    artifact = artifacts.read(tmp_path / "verification", "verification/v1")
    files = {"verification.json", "timing.json", "test_vectors.json", "reference.json"}
    assert set(artifact.files) == {*files, calibration.FILE}
    held_out = calibration.read(tmp_path / "verification" / calibration.FILE)
    details = json.loads((tmp_path / "verification/verification.json").read_text())
    assert held_out.rows.sum() == details["labelled_rows"]
    told = result.metadata["metrics"]
    assert held_out.metrics == {name: told[name]["edge"] for name in ("accuracy", "auc")}
    assert "timing" not in artifact.metadata


def test_every_malformed_kind_is_in_the_report_and_none_crashes(verify, edge_model, tmp_path):
    verify(edge_model)
    assert len(KINDS) >= 30
    cases = json.loads((tmp_path / "verification/verification.json").read_text())["malformed_cases"]
    assert {case["kind"] for case in cases} == {kind.name for kind in KINDS}
    assert {case["outcome"] for case in cases} == {"answered", "refused"}
    page = (tmp_path / "report.html").read_text()
    assert all(kind.name in page for kind in KINDS)


def test_the_same_models_give_the_same_bytes(verify, edge_model, tmp_path):
    first = verify(edge_model)
    names = ("verification.json", "test_vectors.json", calibration.FILE)
    before = [(tmp_path / "verification" / name).read_bytes() for name in names]
    second = verify(edge_model)
    assert before == [(tmp_path / "verification" / name).read_bytes() for name in names]
    first.metadata.pop("timing"), second.metadata.pop("timing")
    assert first.metadata == second.metadata


def test_changed_weights_are_not_approved_and_the_reasons_name_numbers(verify, sabotaged, tmp_path):
    result = verify(sabotaged)
    assert not result.approved
    found = result.metadata
    reasons = " ".join(found["reasons"])
    assert f"{found['changed_decisions']:,} of 5,000 decisions change" in reasons
    assert f"difference is {found['max_difference']:.3g}" in reasons
    assert "accuracy goes from" in reasons
    assert "not approved" in (tmp_path / "report.html").read_text()
    assert not artifacts.read(tmp_path / "verification", "verification/v1").metadata["approved"]


def test_a_quantised_model_goes_by_its_metrics(verify, workplace):
    edge = workplace.edge("dynamic", workplace.convert(dynamic=True), "dynamic_range")
    result = verify(edge)
    assert result.approved
    assert result.metadata["max_difference"] > 0
    strict = verify(edge, Limits(max_difference=1e-7))
    assert not strict.approved
    assert "above the limit of 1e-07" in strict.metadata["reasons"][0]


def test_a_model_of_transformed_features_is_fed_by_the_cloud_transform(verify, workplace):
    edge = workplace.edge(
        "transformed", workplace.convert("predict_transformed"), takes="transformed"
    )
    result = verify(edge)
    assert result.approved, result.metadata["reasons"]
    assert result.metadata["rows"] == ROWS


def test_a_missing_value_that_no_row_has_is_asked(verify, nan_hour, tmp_path):
    model, edge = nan_hour
    result = verify(edge, model_path=model)
    assert not result.approved
    assert result.metadata["max_difference"] < 1e-5  # on the rows
    (reason,) = result.metadata["reasons"]
    assert reason.startswith("With trip_start_hour missing (else row 0 of the split) the cloud")
    assert "answers 0." in reason
    assert "and the edge model answers 0." in reason
    page = (tmp_path / "report.html").read_text()
    assert "trip_start_hour missing" in page
    assert re.search(r"\d+ of \d+ differ", page)
    sure = verify(edge, model_path=model, never_missing=["trip_start_hour"])
    assert sure.approved, sure.metadata["reasons"]
    assert sure.metadata["probes"]["not_proven_missing"] == ["trip_start_hour"]
    assert "Not proven missing: trip_start_hour." in (tmp_path / "report.html").read_text()
    with pytest.raises(EdgelineError, match="never_missing lists 'tips', but the model takes fare"):
        verify(edge, model_path=model, never_missing=["tips"])


def test_a_latency_limit_is_held(verify, edge_model):
    result = verify(edge_model, Limits(max_p99_ms=1e-6, max_memory_mb=1e-3))
    assert [reason.split(" is ")[0] for reason in result.metadata["reasons"]] == [
        "The 99th percentile of latency",
        "Peak memory",
    ]


def test_nan_on_the_edge_is_a_reason(verify, workplace, flatbuffer):
    weights = workplace.module.output.numpy()
    nan = np.full_like(weights, np.nan).tobytes()
    edge = workplace.edge("nan", flatbuffer.replace(weights.tobytes(), nan))
    result = verify(edge, Limits(1.0, 1.0, 1.0))
    assert result.metadata["reasons"] == [
        "5,000 of 5,000 rows have NaN or infinity on one side only."
    ]


def test_a_split_with_other_rows_than_listed(verify, edge_model, tmp_path):
    data = save_rows(tmp_path, rows=200, listed=300)
    with pytest.raises(EdgelineError, match="200 rows were compared, but the split has 300"):
        verify(edge_model, examples_path=data)
    assert not (tmp_path / "verification").exists()


def test_a_split_that_is_not_there(verify, edge_model):
    with pytest.raises(EdgelineError, match="has no split 'test': it has eval"):
        verify(edge_model, split="test")


def test_a_model_that_fails_on_rows_is_told_with_the_rows(
    verify, workplace, edge_model, monkeypatch
):
    load = originals.load

    def failing(*arguments):
        found = load(*arguments)

        def evaluate(_raw):
            raise ValueError("indices[3] = 9 is not in [0, 4)\n  in a graph")

        evaluate.loaded = found.evaluate.loaded
        return replace(found, evaluate=evaluate)

    monkeypatch.setattr(originals, "load", failing)
    place = re.escape(str(workplace.model))
    said = rf"^{place} cannot evaluate rows 0 to .* of split 'eval' \(indices\[3\] = 9 is .*: fix"
    with pytest.raises(EdgelineError, match=said):
        verify(edge_model)


def test_a_damaged_flatbuffer_is_one_sentence(verify, workplace, flatbuffer):
    edge = workplace.edge("damaged", flatbuffer[: len(flatbuffer) // 2])
    with pytest.raises(EdgelineError, match="is not a model that LiteRT can run") as caught:
        verify(edge)
    assert "\n" not in str(caught.value)


def test_a_threshold_out_of_range(verify, edge_model):
    with pytest.raises(EdgelineError, match=r"decision_threshold is 1\.5"):
        verify(edge_model, decision_threshold=1.5)


def test_decisions_are_by_the_threshold_that_convert_kept(verify, workplace, flatbuffer):
    edge = workplace.edge("decided", flatbuffer, decision_threshold=0.3)
    kept, given = verify(edge), verify(edge, decision_threshold=0.5)
    assert kept.approved and given.approved
    assert kept.metadata["decision_threshold"] == 0.3
    assert given.metadata["decision_threshold"] == 0.5
    accuracies = [each.metadata["metrics"]["accuracy"]["cloud"] for each in (kept, given)]
    assert accuracies[0] != accuracies[1]


def test_the_face_gives_the_verdict_and_the_metrics(workplace, edge_model, tmp_path):
    from kfp.dsl import HTML, Artifact, Dataset, Metrics, Model

    from edgeline.components.verify.component import verify as face

    verification = Artifact(uri=str(tmp_path / "verification"))
    metrics = Metrics(uri=str(tmp_path / "metrics"))
    outputs = face.python_func(
        model=Model(uri=str(workplace.model)),
        edge_model=Model(uri=str(edge_model)),
        examples=Dataset(uri=str(workplace.examples)),
        verification=verification,
        verification_report=HTML(uri=str(tmp_path / "report.html")),
        verification_metrics=metrics,
    )
    assert outputs == (True,)
    assert verification.metadata["edgeline_schema"] == "verification/v1"
    assert metrics.metadata["edge_auc"] == pytest.approx(metrics.metadata["cloud_auc"], abs=1e-5)
