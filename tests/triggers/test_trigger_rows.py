"""Rows that a server kept and labels that came later, added to a base, and read by ingest."""

from __future__ import annotations

import gzip
import json
import os
from datetime import datetime, timezone
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
    again = row("a", 8.5, "2027-01-15T08:00:01.000+00:00")
    kept.write("taxi", 4, [row("c", [1.0, 2.0]), again, {"fare": 1.0}])  # a list; an id again
    kept.write("birds", 1, [row("d", 1.0)])
    kept.close(1.0)
    (tmp_path / "labels").mkdir()
    said = [{"id": each, "tips": 1.5} for each in ("old", "a", "c", "d", "nobody")]
    said += [{"id": "a", "row": "0", "tips": 9}, {"id": "a", "row": 0.0, "tips": 9}, {"tips": 9}]
    said += [{"id": 7, "tips": 9}, {"id": "a", "row": -1, "tips": 9}, {"id": "b", "tips": 9}]
    text = "".join(json.dumps(each) + "\n" for each in said) + "{damaged\n"
    (tmp_path / "labels" / "monday.jsonl").write_text(text)
    (tmp_path / "labels" / "tuesday.jsonl").write_text('{"id": "b", "row": 0, "tips": 0}\n')
    return tmp_path


def stamped(folder: Path, at: float) -> None:
    for file in folder.rglob("*.*"):
        os.utime(file, (at, at))


def test_rows_with_a_label_are_added_and_read(places):
    target = places / "rows.csv"
    names = (places / "base.csv", places / "payloads", places / "labels", target)
    joined = join(*names, "taxi", 0.0)
    # the last answer under an id, and the last label
    assert sorted(target.read_text().splitlines()) == [
        ',"New, Cab",0',
        '1.0,"New, Cab",1.5',
        '8.5,"New, Cab",1.5',
        "fare,company,tips",
    ]
    assert dict(joined.facts) == {
        "since": None,
        "rows": 3,
        "emptied": [],
        "rarer": [],
        "stale": 0,
        "ahead": 0,
        "too_early": 0,
        "without_label": 1,
        "repeated_rows": 1,
        "rows_without_key": 1,
        "with_lists": 1,
        "repeated_labels": 1,
        "labels_without_key": 5,
        "labels_beyond_most": 0,
        "labels_without_row": 2,
        "damaged_lines": 1,
        "damaged_files": [],
        "columns_never_filled": [],
    }
    ingest(
        data=f"{places / 'base.csv'},{target}",
        examples_path=str(places / "examples"),
        examples_report_path=str(places / "report.html"),
    )
    facts = json.loads((places / "examples" / "artifact.json").read_text())
    assert sum(split["rows"] for split in facts["metadata"]["splits"].values()) == 5


def test_rows_that_are_stale_or_of_a_time_to_come_are_left_out_and_counted(tmp_path):
    (tmp_path / "base.csv").write_text(BASE)
    times = {"old": "2026-01-01T00:00:00Z", "new": "2027-01-15T08:00:00Z"}
    times |= {"to come": "2099-01-01T00:00:00Z", "never": "yesterday"}
    (tmp_path / "payloads" / "taxi" / "1").mkdir(parents=True)
    lines = [json.dumps(row(key, 2.5, time)) for key, time in times.items()]
    (tmp_path / "payloads" / "taxi" / "1" / "a.jsonl").write_text("\n".join(lines))
    said = [json.dumps({"id": key, "tips": 1}) for key in times]
    (tmp_path / "labels.jsonl").write_text("\n".join(said))
    names = [tmp_path / name for name in ("base.csv", "payloads", "labels.jsonl", "rows.csv")]
    now = datetime(2027, 1, 15, 9, tzinfo=timezone.utc).timestamp()
    joined = join(*names, "taxi", 0.0, now - 86400, now + 300)
    assert (joined.rows, joined.stale, joined.ahead) == (1, 2, 1)
    assert (tmp_path / "rows.csv").read_text() == 'fare,company,tips\n2.5,"New, Cab",1\n'
    assert (joined.facts["stale"], joined.facts["ahead"]) == (2, 1)


@pytest.mark.parametrize("nothing", [None, "", " NaN", float("nan"), float("-inf")])
def test_a_column_that_is_mostly_empty_is_emptied_though_not_wholly(tmp_path, nothing):
    (tmp_path / "base.csv").write_text("fare,tips\n" + "1.5,1\n" * 20 + "nan,1\n" * 5)
    (tmp_path / "payloads" / "taxi" / "1").mkdir(parents=True)
    file, labels = tmp_path / "payloads" / "taxi" / "1" / "a.jsonl", tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps({"id": str(n), "tips": 1}) + "\n" for n in range(100)))
    names = [tmp_path / name for name in ("base.csv", "payloads", "labels.jsonl", "rows.csv")]
    for filled, emptied, rarer in ((7, ("fare",), []), (9, (), ["fare"]), (41, (), [])):
        met = [row(str(n), 2.5 if n < filled else nothing) for n in range(100)]
        file.write_text("".join(json.dumps(each) + "\n" for each in met))
        joined = join(*names, "taxi", 0.0)
        assert (joined.emptied, joined.facts["rarer"]) == (emptied, rarer), filled


def test_a_text_that_is_not_unicode_is_written_with_its_escape(places):
    file = places / "payloads" / "taxi" / "3" / "x.jsonl"
    file.write_text(json.dumps(row("odd", 2.5, company="\ud800")) + "\n")
    (places / "labels" / "odd.jsonl").write_text('{"id": "odd", "tips": 1}\n')
    target = places / "rows.csv"
    join(places / "base.csv", places / "payloads", places / "labels", target, "taxi", 0.0)
    assert "2.5,\\ud800,1" in target.read_text()


def test_a_label_that_came_late_is_new_and_what_was_there_before_is_counted(places):
    names = (places / "base.csv", places / "payloads", places / "labels", places / "rows.csv")
    stamped(places / "payloads", 1000.0)
    stamped(places / "labels", 1000.0)
    os.utime(places / "labels" / "tuesday.jsonl", (3000.0, 3000.0))
    joined = join(*names, "taxi", 2000.0)
    assert (places / "rows.csv").read_text() == 'fare,company,tips\n,"New, Cab",0\n'
    assert (joined.facts["since"], joined.facts["too_early"]) == ("1970-01-01T00:33:20Z", 3)
    stamped(places / "payloads", 3000.0)
    assert join(*names, "taxi", 2000.0).rows == 3


def test_the_last_labels_are_held_where_there_are_too_many(places, monkeypatch):
    monkeypatch.setattr("edgeline.triggers.rows.MOST", 2)
    names = (places / "base.csv", places / "payloads", places / "labels", places / "rows.csv")
    facts = join(*names, "taxi", 0.0).facts
    assert (facts["rows"], facts["labels_without_row"], facts["labels_beyond_most"]) == (1, 1, 4)


def test_damaged_files_are_named_and_the_others_are_read(places):
    names = (places / "base.csv", places / "payloads", places / "labels", places / "rows.csv")
    folder = places / "payloads" / "taxi" / "3"
    whole = bytearray(gzip.compress(json.dumps(row("nobody", 2.5)).encode() * 100 + b"\n"))
    (folder / "cut.jsonl.gz").write_bytes(whole[:-9])
    whole[25] ^= 0xFF
    whole[30] ^= 0xFF
    (folder / "bits.jsonl.gz").write_bytes(whole)
    (folder / "other.jsonl.gz").write_bytes(b"no gzip")
    joined = join(*names, "taxi", 0.0)
    assert joined.rows >= 3
    found = {Path(each).name for each in joined.facts["damaged_files"]}
    assert found == {"cut.jsonl.gz", "bits.jsonl.gz", "other.jsonl.gz"}


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
    (places / "payloads" / "taxi" / "3" / "x.jsonl.gz").mkdir()
    (places / "base.csv").write_text(BASE)
    with pytest.raises(EdgelineError, match=r"x\.jsonl\.gz cannot be read"):
        join(*names, target, "taxi", 0.0)
