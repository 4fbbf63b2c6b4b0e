"""Facts as KFP's metadata store takes them."""

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

from edgeline.artifacts.metadata import DEEPEST, MOST, record
from edgeline.components import catalogue
from edgeline.errors import EdgelineError


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


SCALARS = [
    (np.longdouble("1.5"), 1.5),
    (np.longdouble("nan"), None),
    (np.longdouble("1e4000"), None),  # more than a double holds
    (np.array([1.5, np.inf], np.longdouble), [1.5, ""]),
    (np.float16(0.5), 0.5),
    (np.uint8(7), 7),
    (np.str_("a"), "a"),
    (np.bytes_(b"a"), "a"),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (np.datetime64("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
    (np.array(["2026-01-02"], "M8[ns]"), ["2026-01-02T00:00:00.000000000"]),
    (np.timedelta64(5, "D"), "5 days"),
    (np.array((1, 0.5), [("a", "i4"), ("b", "f4")])[()], [1, 0.5]),
    (np.ma.masked_array([1, 2], [False, True]), [1, ""]),
    (np.array({"a": np.longdouble(1)}, object), {"a": 1.0}),
    (b"caf\xe9", "caf\ufffd"),
    (datetime(2026, 1, 2, tzinfo=timezone.utc), "2026-01-02T00:00:00+00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (timedelta(days=1), "1 day, 0:00:00"),
    (Path("a") / "b", "a/b"),
    (frozenset(("b", "a", "c")), ["a", "b", "c"]),
    ({1: "a", None: "b", (2, 3): "c"}, {"1": "a", "None": "b", "(2, 3)": "c"}),
    ("a\0b", "a?b"),
    (HTTPStatus.OK, 200),
]


@pytest.mark.parametrize(
    ("value", "stored"), SCALARS, ids=[type(value).__name__ for value, _ in SCALARS]
)
def test_what_has_a_value_in_json_is_told_as_that(value: object, stored: object) -> None:
    found = recorded(a=value, b=[value], c={"d": value})
    assert found.get("a") == stored
    assert found["b"] == ["" if stored is None else stored]
    assert found["c"].get("d") == stored
    launched = {"metadata": found, "name": "1"}
    message = pipeline_spec_pb2.ExecutorOutput()
    json_format.ParseDict({"artifacts": {"x": {"artifacts": [launched]}}}, message)
    assert pipeline_spec_pb2.ExecutorOutput.FromString(message.SerializeToString()) == message


def test_a_name_that_is_no_text_becomes_one() -> None:
    artifact = dsl.Artifact()
    record(artifact, {3: 0.5})  # type: ignore[dict-item]
    assert artifact.metadata == {"3": 0.5}


@pytest.mark.parametrize(
    "value", [1j, np.clongdouble(1 + 2j), object(), Decimal(1), range(3), iter([])]
)
def test_what_json_does_not_know_is_a_sentence(value: object) -> None:
    kind = type(value).__name__ if not hasattr(value, "tolist") else "complex"
    said = rf"^Fact scores\.list\[1\] of an artifact's metadata is of the type {kind}, "
    with pytest.raises(EdgelineError, match=said):
        recorded(scores={"list": [0, value]})


def test_what_contains_itself_is_a_sentence_and_what_is_deep_is_read_again() -> None:
    cycle: dict[str, Any] = {"list": []}
    cycle["list"].append(cycle)
    with pytest.raises(
        EdgelineError, match=r"^Fact scores\.list\[0\]\.list\[0\].* contains itself"
    ):
        recorded(scores=cycle)
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = {"a": deep}
    message = pipeline_spec_pb2.ExecutorOutput()
    artifact = {"metadata": recorded(a=deep), "name": "1"}
    json_format.ParseDict({"artifacts": {"x": {"artifacts": [artifact]}}}, message)
    assert pipeline_spec_pb2.ExecutorOutput.FromString(message.SerializeToString()) == message
    with pytest.raises(EdgelineError, match="more than 24 levels deep"):
        recorded(a=[deep])


@pytest.mark.parametrize("name", catalogue.names())
def test_every_face_records_what_it_found(name: str) -> None:
    """No other way to an artifact's metadata, and no Optional, of which a cluster makes nothing."""
    source = Path(catalogue.load(name).python_func.__code__.co_filename).read_text()
    assert not re.search(r"\.metadata(\.update|\[)|log_metric", source)
    assert "Optional[" not in source
