"""Rows that a server kept and labels that came later, added to a base, and read by ingest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_events import BASE

from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError
from edgeline.server.watching.payload_files import PayloadFiles
from edgeline.triggers.rows import join


def row(key: str, fare: object, time: str = "2027-01-15T08:00:00.000+00:00", **more) -> dict:
    whence = {
        "edgeline_id": key,
        "edgeline_time": time,
        "edgeline_row": 0,
        "edgeline_model": "taxi",
    }
    return {"fare": fare, "company": "New, Cab", "predicted_score": 0.5, **whence, **more}


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "base.csv").write_text(BASE)
    kept = PayloadFiles(str(tmp_path / "payloads"), 1 << 20, 1 << 20, 60)
    old = row("old", 1.0, "2027-01-15T06:59:59.000+00:00")
    kept.write("taxi", 3, [old, row("a", 7.25), row("b", None), row("unlabelled", 3.0)])
    kept.write("taxi", 4, [row("c", [1.0, 2.0]), row("a", 7.25)])  # a list; the same one again
    kept.write("birds", 1, [row("d", 1.0)])
    kept.close(1.0)
    (tmp_path / "labels").mkdir()
    said = [{"id": each, "tips": 1.5} for each in ("old", "a", "c", "d", "nobody")]
    text = "".join(json.dumps(each) + "\n" for each in said) + "{damaged\n"
    (tmp_path / "labels" / "monday.jsonl").write_text(text)
    (tmp_path / "labels" / "tuesday.jsonl").write_text('{"id": "b", "row": 0, "tips": 0}\n')
    return tmp_path


def test_rows_since_the_last_run_with_a_label_are_added_and_read(places):
    target = places / "rows.csv"
    at = 1_800_000_000 - 3600.0  # 2027-01-15T07:00:00Z
    names = (places / "base.csv", places / "payloads", places / "labels", target)
    joined = join(*names, "taxi", at)
    assert target.read_text() == 'fare,company,tips\n7.25,"New, Cab",1.5\n,"New, Cab",0\n'
    assert dict(joined.facts) == {
        "since": "2027-01-15T07:00:00Z",
        "rows": 2,
        "without_label": 2,
        "labels_without_row": 3,
        "with_lists": 1,
        "damaged_lines": 1,
        "columns_never_filled": [],
    }
    ingest(
        data=f"{places / 'base.csv'},{target}",
        examples_path=str(places / "examples"),
        examples_report_path=str(places / "report.html"),
    )
    facts = json.loads((places / "examples" / "artifact.json").read_text())
    assert sum(split["rows"] for split in facts["metadata"]["splits"].values()) == 4


def test_what_cannot_be_joined_is_refused(places):
    names = places / "base.csv", places / "payloads", places / "labels"
    target = places / "rows.csv"
    with pytest.raises(EdgelineError, match=r"labels .* do not exist"):
        join(names[0], names[1], places / "none", target, "taxi", 0.0)
    with pytest.raises(EdgelineError, match=r"payloads .* are not a folder"):
        join(names[0], places / "none", names[2], target, "taxi", 0.0)
    (places / "base.csv").write_text("")
    with pytest.raises(EdgelineError, match="is empty"):
        join(*names, target, "taxi", 0.0)
    (places / "payloads" / "taxi" / "3" / "x.jsonl.gz").write_bytes(b"no gzip")
    (places / "base.csv").write_text(BASE)
    with pytest.raises(EdgelineError, match=r"x\.jsonl\.gz cannot be read"):
        join(*names, target, "taxi", 0.0)
