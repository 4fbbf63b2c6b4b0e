"""What an output's metadata say, as KFP's metadata store and a run's workflow take them."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from kfp import dsl
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline import artifacts
from edgeline.artifacts.metadata import MOST, record, record_metrics
from edgeline.components import catalogue
from edgeline.errors import EdgelineError


def recorded(**facts: Any) -> dict[str, Any]:
    """The metadata of an output with all these facts for a headline."""
    artifact = dsl.Artifact(uri="/nowhere")
    record(artifact, facts, *facts)
    found: dict[str, Any] = json.loads(json.dumps(artifact.metadata, allow_nan=False))
    return found


def test_an_artifact_says_what_it_is_and_no_more(tmp_path: Path) -> None:
    facts = {"columns": {"fare": "double"}, "splits": {"train": {"rows": 6}, "eval": {"rows": 3}}}
    with artifacts.writing(tmp_path / "examples", "examples/v1") as draft:
        draft.metadata |= facts
    artifact = dsl.Dataset(uri=str(tmp_path / "examples"))
    record(artifact, {"edgeline_schema": "examples/v1", **facts, "size": 5}, "size")
    digest = artifacts.read(tmp_path / "examples", "examples/v1").digest
    said = {"edgeline_schema": "examples/v1", "digest": digest[:16], "rows": 9, "size": 5}
    assert artifact.metadata == said


def test_what_has_no_room_is_left_out() -> None:
    found = recorded(edgeline_schema="bundle/v1", name="n" * 250, version=3)
    assert found == {"edgeline_schema": "bundle/v1", "version": 3}
    assert len(json.dumps(recorded(**{f"fact{i}": i for i in range(99)}))) <= MOST


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), np.float32("-inf")])
def test_what_the_store_refuses_is_left_out(value: object) -> None:
    assert recorded(a=value, b=1) == {"b": 1}


SCALARS = [
    ("\u00fc", "\u00fc"),
    (True, True),
    (2**53, 2**53),
    (-(2**53) - 1, str(-(2**53) - 1)),  # a double does not hold it
    (10**400, None),
    (np.int64(2), 2),
    (np.uint64(2**64 - 1), str(2**64 - 1)),
    (np.bool_(True), True),
    (np.longdouble("1.5"), 1.5),
    (np.longdouble("1e4000"), None),
    (np.float16(0.5), 0.5),
    (np.str_("a"), "a"),
    (np.datetime64("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
    (np.timedelta64(5, "D"), "5 days"),
    (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (timedelta(days=1), "1 day, 0:00:00"),
    (Path("a") / "b", "a/b"),
    (Path(b"caf\xe9.csv".decode("utf-8", "surrogateescape")), "caf?.csv"),
    ("a\0b", "a?b"),
    (HTTPStatus.OK, 200),
]


@pytest.mark.parametrize(
    ("value", "stored"), SCALARS, ids=[type(value).__name__ for value, _ in SCALARS]
)
def test_what_is_a_scalar_is_told_as_that(value: object, stored: object) -> None:
    found = recorded(a=value)
    assert found.get("a") == stored
    launched = {"metadata": found, "name": "1"}
    message = pipeline_spec_pb2.ExecutorOutput()
    json_format.ParseDict({"artifacts": {"x": {"artifacts": [launched]}}}, message)
    assert pipeline_spec_pb2.ExecutorOutput.FromString(message.SerializeToString()) == message


@pytest.mark.parametrize("value", [1j, object(), Decimal(1), [1], {"a": 1}, np.arange(3), b"a"])
def test_what_is_no_scalar_is_a_sentence(value: object) -> None:
    with pytest.raises(EdgelineError, match=r"^Fact scores of an artifact's metadata is of the"):
        recorded(scores=value)


def test_metrics_are_all_their_numbers() -> None:
    metrics = dsl.Metrics()
    many = {f"metric{i}": i / 7 for i in range(100)}
    given = {"AUC": np.float32(0.5), "auc": 1, "no": None, "nan": float("nan"), "text": "a", **many}
    record_metrics(metrics, given)
    assert metrics.metadata == {"AUC": 0.5, "auc_2": 1, **many}
    (name,) = _of_one_long_name().metadata
    assert len(name) == 255


def _of_one_long_name() -> dsl.Metrics:
    metrics = dsl.Metrics()
    record_metrics(metrics, {"m" * 300: 1.0})
    return metrics


@pytest.mark.parametrize("name", catalogue.names())
def test_every_face_records_what_it_found(name: str) -> None:
    """No other way to an artifact's metadata, and no Optional, of which a cluster makes nothing.

    Outputs are named by what they are: in a cluster each is a box with its name.
    """
    source = Path(catalogue.load(name).python_func.__code__.co_filename).read_text()
    assert not re.search(r"\.metadata(\.update|\[)|log_metric", source)
    assert "Optional[" not in source
    outputs = catalogue.load(name).component_spec.outputs or {}
    assert not {"report", "metrics", "output"} & outputs.keys()
