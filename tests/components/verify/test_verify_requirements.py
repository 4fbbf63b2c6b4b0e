"""Devices' requirements on a real model: one line each, and what is not met is not approved."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline import artifacts
from edgeline.artifacts import device_profile, models, outcomes
from edgeline.artifacts.folder import sha256
from edgeline.components.compile.compile import compile_edge_model
from edgeline.components.convert.convert import convert
from edgeline.components.publish.publish import publish
from edgeline.components.verify.findings import Limits
from edgeline.components.verify.verify import verify as work
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow


@pytest.fixture
def verify(workplace, edge_model, tmp_path):
    def run(asked: dict[str, Any]) -> Any:
        return work(
            model_path=workplace.model,
            edge_model_path=edge_model,
            examples_path=workplace.examples,
            verification_path=tmp_path / "verification",
            verification_report_path=tmp_path / "report.html",
            limits=Limits(),
            requirements=asked,
        )

    return run


def test_what_a_device_must_reach_is_judged_and_what_is_not_met_is_not_published(
    verify, edge_model, tmp_path
) -> None:
    slices = {"metric": "accuracy", "at_least": 0.0, "by": ["payment_type"], "min_rows": 50}
    good = {"target": "litert", "size_kb": 1e3, "memory_mb": 1e4, "p99_ms": 1e4, "energy_mj": 5}
    asked = {"hub": {**good, "changed_decisions": 0, "metrics": [slices]}}
    other = {"npu": {"target": "ethos-u55", "size_kb": 1e-3}}
    result = verify({"devices": {**asked, **other}})
    assert result.approved, result.metadata["reasons"]
    found = outcomes.of(artifacts.read(tmp_path / "verification", "verification/v1").metadata)
    assert [(each.what, each.state) for each in found] == [
        ("hub: accuracy of each payment_type", "met"),
        ("hub: 99th percentile of latency", "met"),
        ("hub: memory", "met"),
        ("hub: size of the model", "met"),
        ("hub: energy of a prediction", "not measured"),
        ("hub: changed decisions", "met"),
    ]
    assert "hub: size of the model" in (tmp_path / "report.html").read_text()

    cash = {"metric": "accuracy", "at_least": 1.0, "where": {"payment_type": "Credit Card"}}
    result = verify({"devices": {"hub": {"target": "litert", "metrics": [cash]}}})
    assert not result.approved
    [reason] = result.metadata["reasons"]
    assert reason.startswith("hub: accuracy of payment_type: Credit Card is 0.")
    assert "at least 1 is required: 0." in reason and reason.endswith(" short.")
    with pytest.raises(EdgelineError, match="does not meet the requirements: hub: accuracy of pay"):
        publish(
            edge_model_path=edge_model,
            verification_path=tmp_path / "verification",
            bundle_path=tmp_path / "bundle",
            name="taxi",
            destination=str(tmp_path / "store"),
        )
    assert not (tmp_path / "store").exists() and not (tmp_path / "bundle").exists()


def test_a_slice_by_a_column_that_the_rows_lack_is_refused(verify) -> None:
    asked = {"metric": "auc", "at_least": 0.5, "by": ["colour"]}
    with pytest.raises(EdgelineError, match="slices by 'colour', which the examples do not have"):
        verify({"devices": {"litert": {"metrics": [asked]}}})


def test_convert_tells_what_the_file_says_and_verify_tells_the_same_line(
    workplace, tmp_path
) -> None:
    asked = {
        "devices": {
            "hub": {"target": "litert", "size_kb": 1, "p99_ms": 1e4},
            "other": {"target": "litert", "quantisation": "int8", "size_kb": 1e6},
            "npu": {"target": "ethos-u55", "size_kb": 1e6},
        }
    }
    edge, page = tmp_path / "edge", tmp_path / "page.html"
    converted = convert(
        str(workplace.model),
        str(workplace.examples),
        str(edge),
        str(page),
        quantisation="float",
        representative_split="eval",
        requirements=asked,
    )
    [told] = outcomes.of(converted.metadata)
    assert told.what == "hub: size of the model" and told.fails
    assert told.sentence.endswith(" kB over.") and told.what in page.read_text()
    judged = work(
        model_path=workplace.model,
        edge_model_path=edge,
        examples_path=workplace.examples,
        verification_path=tmp_path / "verification",
        verification_report_path=tmp_path / "report.html",
        limits=Limits(),
        requirements=asked,
    )
    assert not judged.approved and told in outcomes.of(judged.metadata)


def test_what_was_measured_on_the_device_counts_in_place_of_this_machine(
    verify, edge_model, tmp_path
) -> None:
    """A device's latency, too slow, keeps the model back; that of another graph says nothing."""
    model = models.edge_model_path(artifacts.read(edge_model, models.EDGE_SCHEMA))
    figures = {
        "device": "Raspberry Pi 5",
        "measured_at": "2026-01-31T12:00:00Z",
        "model_sha256": "0" * 64,
        "graph": device_profile.graph_of(model),
        "p99_ms": 7.5,
        "peak_bytes": 50_000_000,
        "energy_mj": 3.0,
    }
    asked = {"target": "litert", "p99_ms": 5, "memory_mb": 60, "energy_mj": 2, "profile": figures}
    result = verify({"devices": {"pi": asked}})
    on = "(on Raspberry Pi 5, 2026-01-31, with other weights)"
    assert result.metadata["reasons"] == [
        f"pi: 99th percentile of latency is 7.5 ms {on}, at most 5 ms is required: 2.5 ms over.",
        f"pi: energy of a prediction is 3 mJ {on}, at most 2 mJ is required: 1 mJ over.",
    ]
    asked["profile"] = {**figures, "graph": "0" * 64}
    result = verify({"devices": {"pi": asked}})
    assert result.approved
    found = outcomes.of(artifacts.read(tmp_path / "verification", "verification/v1").metadata)
    assert {(each.state, each.note) for each in found} == {
        ("not measured", "its profile, on Raspberry Pi 5, is of a model with another graph")
    }


@pytest.mark.long
def test_a_profile_is_of_what_is_compiled_where_that_is_what_runs(
    workplace, edge_model, tmp_path
) -> None:
    compile_edge_model("litert", str(tmp_path / "compiled"), str(edge_model))
    compiled = artifacts.read(tmp_path / "compiled", "compiled_model/v1")
    figures = {
        "device": "Raspberry Pi 5",
        "measured_at": "2026-01-31T12:00:00Z",
        "model_sha256": sha256(compiled.path / compiled.metadata["model"]),
        "graph": "0" * 64,
        "p99_ms": 7.5,
    }
    result = work(
        model_path=workplace.model,
        edge_model_path=edge_model,
        examples_path=workplace.examples,
        verification_path=tmp_path / "verification",
        verification_report_path=tmp_path / "report.html",
        limits=Limits(),
        compiled_model_path=compiled.path,
        requirements={"devices": {"litert": {"p99_ms": 8, "profile": figures}}},
    )
    assert result.approved, result.metadata["reasons"]
    [found] = outcomes.of(result.metadata)
    assert (found.value, found.note) == (7.5, "on Raspberry Pi 5, 2026-01-31")
