"""Facts as KFP's metadata store takes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl

from edgeline.artifacts.metadata import MOST, record
from edgeline.components import catalogue


def recorded(**facts: Any) -> dict[str, Any]:
    artifact = dsl.Artifact()
    record(artifact, facts)
    found: dict[str, Any] = json.loads(json.dumps(artifact.metadata, allow_nan=False))
    return found


def test_what_the_store_takes_stays_as_it_is() -> None:
    facts = {
        "text": "ü",
        "whole": 3,
        "share": 0.5,
        "yes": True,
        "list": [1, [2]],
        "deep": {"a": {}},
    }
    assert recorded(**facts) == facts


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), np.float32("-inf")])
def test_what_it_refuses_is_left_out_at_any_depth(value: object) -> None:
    assert recorded(a=value, b={"c": value, "d": 1}, e=[1, value, 2]) == {
        "b": {"d": 1},
        "e": [1, "", 2],
    }


def test_numbers_and_arrays_of_numpy_are_told_as_their_values() -> None:
    assert recorded(a=np.int64(2), b=np.bool_(True), c=np.arange(3), d=np.float32(0.5)) == {
        "a": 2, "b": True, "c": [0, 1, 2], "d": 0.5,
    }  # fmt: skip


def test_a_whole_number_that_a_double_does_not_hold_is_text() -> None:
    held, not_held = 2**53, 2**53 + 1
    assert recorded(a=held, b=-not_held, c=np.uint64(2**64 - 1), d=[10**400, 10**5000]) == {
        "a": held, "b": str(-not_held), "c": str(2**64 - 1), "d": [str(10**400), ""],
    }  # fmt: skip


def test_a_name_that_is_not_utf8_becomes_text() -> None:
    name = Path(b"caf\xe9.csv".decode("utf-8", "surrogateescape")).name
    found = recorded(sources=[{"name": name}], **{name: 1})
    assert json.dumps(found, ensure_ascii=False).encode()
    assert found["sources"] == [{"name": "caf?.csv"}]


def test_names_that_a_database_takes_for_one_are_told_apart() -> None:
    assert recorded(AUC=1.0, auc=2.0) == {"AUC": 1.0, "auc_2": 2.0}
    (name,) = recorded(**{"m" * 300: 1.0})
    assert len(name) == 255


def test_a_long_fact_is_told_by_its_size() -> None:
    labels = [f"class {number}" for number in range(1000)]
    found = recorded(labels=labels, few=labels[:9])
    size = len(json.dumps(labels))
    assert found["labels"] == f"1,000 entries, {size:,} bytes as JSON: see artifact.json"
    assert found["few"] == labels[:9]
    assert len(json.dumps(found)) < MOST


def test_what_json_does_not_know_is_an_error_of_ours() -> None:
    with pytest.raises(TypeError, match="a set cannot be put"):
        recorded(a={1})


@pytest.mark.parametrize("name", catalogue.names())
def test_every_face_records_what_it_found(name: str) -> None:
    """No other way to an artifact's metadata, and no Optional, of which a cluster makes nothing."""
    source = Path(catalogue.load(name).python_func.__code__.co_filename).read_text()
    assert not re.search(r"\.metadata(\.update|\[)|log_metric", source)
    assert "Optional[" not in source
