"""What monitor reads, refuses, counts and tells. Its numbers are the server's: see tests/server."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from edgeline import artifacts
from edgeline.artifacts import bundle, calibration, ranges, reference
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import Feature
from edgeline.artifacts.ranges import FeatureRange
from edgeline.components.monitor import payload_rows
from edgeline.components.monitor.monitor import EVENTS, REPORT, MonitoringResult, monitor
from edgeline.errors import EdgelineError, UsageError
from edgeline.monitoring import cloud_events, line_files
from edgeline.monitoring.events import EVENTS as TYPES
from edgeline.pipelines import parameters
from edgeline.pipelines.catalogue import load
from edgeline.schedules import declaration as schedules
from edgeline.server.watching.payload_files import PayloadFiles
from edgeline.stores.objects import ObjectEntry
from edgeline.triggers.dry_run import DryRun
from edgeline.triggers.rules import read as read_rules

NOON = "2020-01-15T12:00:00+00:00"
FIELDS = {each.type: each.data.keys() for each in TYPES}
Monitor = Callable[..., MonitoringResult]


def row(number: int, **more: Any) -> dict[str, Any]:
    """A payload of `cab`, of 11 o'clock; its score is right that often."""
    random = np.random.default_rng(number)
    score = float(np.float32(random.uniform()))
    return {
        "fare": float(np.float32(random.gamma(2, 6))),
        "company": ["Blue", "Red"][number % 2],
        "predicted_prediction": score,
        "edgeline_id": f"trip-{number}",
        "edgeline_row": 0,
        "edgeline_time": "2020-01-15T11:00:00.000+00:00",
        "edgeline_model": "cab",
        "edgeline_version": 3,
        **more,
    }


def is_yes(number: int) -> bool:
    random = np.random.default_rng(number)
    return bool(random.uniform() > np.random.default_rng(number + 10**6).uniform())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `cab` 3, whose reference, ranges and calibration are of rows 10,000 and on."""
    store = tmp_path_factory.mktemp("store")
    folder = store / "cab" / "3"
    folder.mkdir(parents=True)
    rows = [row(number) for number in range(10_000, 12_000)]
    given = {
        "fare": np.array([[x["fare"]] for x in rows], "f4"),
        "company": np.array([[x["company"].encode()] for x in rows], object),
    }
    answers = np.array([[x["predicted_prediction"]] for x in rows], "f4")
    truth = np.array([is_yes(number) for number in range(10_000, 12_000)])
    met = reference.Builder()
    met.add(given, {"prediction": answers})
    held = calibration.CalibrationRows(calibration.BINARY, len(rows))
    held.add(answers, truth.astype(float))
    right = float(((answers[:, 0] > 0.5) == truth).mean())
    (folder / "model.tflite").write_bytes(b"it is not run here")
    (folder / reference.FILE).write_bytes(reference.dumps(met.result()))
    (folder / calibration.FILE).write_bytes(calibration.dumps(held.result({"accuracy": right})))
    allowed = {"fare": FeatureRange(0.0, 200.0), "company": FeatureRange(values=("Blue", "Red"))}
    (folder / ranges.FILE).write_bytes(ranges.dumps(allowed))
    made = bundle.Bundle(
        name="cab", version=3, target="litert", model="model.tflite", task=calibration.BINARY,
        quantisation="float", takes="raw", files=artifacts.list_files(folder),
        features=(Feature("fare", "float32"), Feature("company", "string")),
        signature=Signature(
            (Tensor("fare", "float32", (-1, 1)), Tensor("company", "string", (-1, 1))),
            (Tensor("prediction", "float32", (-1, 1)),),
        ),
    )  # fmt: skip
    bundle.write_manifest(folder, made)
    return store


@pytest.fixture
def run(store: Path, tmp_path: Path) -> Monitor:
    """Monitor the payloads of the 24 hours before noon."""

    def run(**more: Any) -> MonitoringResult:
        return monitor(
            **{
                "payloads_uri": str(tmp_path / "payloads"),
                "bundle_uri": str(store / "cab"),
                "monitoring_path": tmp_path / "monitoring",
                "monitoring_report_path": tmp_path / "page.html",
                "until": NOON,
                **more,
            }
        )

    return run


def kept(folder: Path, rows: list[dict[str, Any]], model: str = "cab", version: int = 3) -> None:
    """Rows as a server keeps them."""
    files = PayloadFiles(str(folder / "payloads"), 1 << 30, 1 << 30, 300)
    files.write(model, version, rows)
    files.close(1.0)


def document(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "monitoring" / REPORT).read_text())


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "monitoring" / EVENTS).read_text().splitlines()
    return [json.loads(line) for line in lines]


def kinds(folder: Path) -> list[str]:
    return [each["type"].removeprefix("io.edgeline.") for each in events(folder)]


def test_a_quiet_window_is_told_to_be_quiet(run, tmp_path):
    kept(tmp_path, [row(number) for number in range(1000)])
    found = run()
    assert (found.drifting, found.decayed, found.metadata["rows"]) == (False, False, 1000)
    assert kinds(tmp_path) == ["drift.resolved", "decay.estimated"]
    assert [each["data"].get("decayed") for each in events(tmp_path)] == [None, []]
    told = document(tmp_path)
    assert told["labels"] is None and told["drift"]["not_compared"] == {}
    page = (tmp_path / "page.html").read_text()
    assert "No column that is compared drifts." in page and "no labels_uri is given" in page
    assert found.metrics["estimated_accuracy"] == pytest.approx(0.75, abs=0.05)


def test_drift_ranges_and_decay_are_told_as_by_a_server(run, tmp_path):
    rows = [row(n, company="<b>Green", fare=30.0 + n) for n in range(600)]
    kept(tmp_path, rows)
    labels = [{"id": f"trip-{n}", "label": not is_yes(n)} for n in range(600)]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, labels)))
    found = run(labels_uri=str(tmp_path / "labels.jsonl"), decay_slices=["company"])
    assert (found.drifting, found.decayed) == (True, True)
    assert kinds(tmp_path) == [
        "drift.detected", "decay.estimated", "decay.measured", "decay.concept",
        "range.detected", "range.detected",
    ]  # fmt: skip
    for each in events(tmp_path):
        assert each["data"].keys() == FIELDS[each["type"]]
        assert each["source"] == "/monitor/models/cab/versions/3"
    by_feature = {each["data"]["feature"]: each["data"] for each in events(tmp_path)[4:]}
    assert by_feature["company"]["rows"] == 600 and by_feature["company"]["value"] == "<b>Green"
    assert by_feature["fare"]["rows"] == 429  # above 200
    measured = document(tmp_path)["decay"]["measured"]
    assert measured["rows"] == 600 and measured["decayed"] == ["accuracy"]
    assert measured["slices"][0]["value"] == "(other)"
    assert found.metrics["concept_drift"] == 1 and found.metrics["columns_out_of_range"] == 2
    page = (tmp_path / "page.html").read_text()
    assert (
        "<b>Green" not in page
        and "Drift in fare, company." in page
        and "train on new labels" in page
    )


def test_triggers_rehearse_what_was_kept(run, tmp_path):
    kept(tmp_path, [row(n, company="Green") for n in range(600)])
    run()
    (tmp_path / "triggers.yaml").write_text(
        "rules:\n  - {name: again, model: cab, signals: [drift], run: {pipeline: taxi}}\n"
    )
    dry = DryRun(read_rules(tmp_path / "triggers.yaml"))
    log = (tmp_path / "monitoring" / EVENTS).read_bytes().splitlines()
    assert [len(each.fired) for each in dry.replay(log)] == [1, 0, 0]


def test_an_empty_window_is_not_green(run, tmp_path):
    kept(tmp_path, [row(1, edgeline_time="2020-01-14T11:59:59Z")])
    kept(tmp_path, [row(2, edgeline_version=2)], version=2)
    with pytest.raises(EdgelineError) as refused:
        run()
    said = str(refused.value)
    assert said.startswith(
        "No row of cab 3 from 2020-01-14T12:00:00Z to 2020-01-15T12:00:00Z in "
        f"{tmp_path / 'payloads'}, and min_rows is 1. Other rows: 1 before the window, 1 of other "
        "versions; 2 files were read, and 0 were written before the window."
    )
    found = run(min_rows=0)
    assert found.metadata["rows"] == 0 and events(tmp_path) == []
    assert "Nothing is judged, as that takes 500 rows." in (tmp_path / "page.html").read_text()
    assert document(tmp_path)["drift"]["not_compared"].keys() == {"fare", "company", "prediction"}


def test_what_is_left_out_is_counted_and_named(run, tmp_path):
    rows = [row(n) for n in range(20)]
    rows[1]["fare"] = "12.5"
    rows[2]["company"] = ["Blue", "Red"]
    rows[3]["edgeline_time"] = "2020-01-15T11:00:00"  # of no zone
    rows[4]["edgeline_time"] = NOON  # just behind the window
    rows[5]["edgeline_model"] = "bus"
    rows[6]["edgeline_id"] = None
    rows[7] |= {"tip": 1.0}
    rows.append(dict(rows[0]))
    del rows[8]["fare"]
    rows[9]["fare"] = rows[9]["company"] = None  # missing, and no fault
    kept(tmp_path, rows)
    (file,) = (tmp_path / "payloads" / "cab" / "3").iterdir()
    lines = gzip.decompress(file.read_bytes()) + b"[1]\n{not json}\n"
    file.write_bytes(gzip.compress(lines))
    cut = file.with_name("20200115T110000000000-ffff.jsonl.gz")
    cut.write_bytes(gzip.compress(lines * 50)[:2000])
    early = file.with_name("20200110T110000000000-ffff.jsonl.gz")
    early.write_bytes(gzip.compress(lines))
    before = datetime(2020, 1, 10, tzinfo=timezone.utc).timestamp()
    os.utime(early, (before, before))
    found = run(thresholds={"drift_rows": 1})
    told = document(tmp_path)["read"]
    assert (told["files"], told["files_before"], told["files_damaged"]) == (2, 1, 1)
    assert str(cut) in told["damaged"][0]
    assert (
        told["problems"][0] == (f"{file} line 2: 'fare' is '12.5', not of the type float32")
        or str(cut) in told["problems"][0]
    )
    assert told["unknown_columns"] == ["tip"] and told["other_models"]["bus"] >= 1
    assert min(told[name] for name in ("unfit", "without_time", "after", "without_id")) >= 1
    assert told["damaged_lines"] >= 2
    assert document(tmp_path)["drift"]["partly"]["fare"] < told["rows"]
    assert told["repeated"] >= 1
    assert (
        found.metrics["rows_left_out"]
        == told["unfit"] + told["without_time"] + told["damaged_lines"]
    )
    page = (tmp_path / "page.html").read_text()
    assert "Left out: " in page and "lines that are not JSON objects" in page


def test_a_column_that_no_row_has_is_named(run, tmp_path):
    kept(tmp_path, [{k: v for k, v in row(n).items() if k != "fare"} for n in range(600)])
    labels = "\n".join(json.dumps({"id": f"trip-{n}", "label": 1}) for n in range(40))
    (tmp_path / "labels.jsonl").write_text(labels)
    run(labels_uri=str(tmp_path / "labels.jsonl"), decay_slices=["fare"])
    (part,) = document(tmp_path)["decay"]["measured"]["slices"]
    assert (part["value"], part["rows"]) == ("(not known)", 40)
    told = document(tmp_path)["drift"]
    assert "--payload-redact" in told["not_compared"]["fare"] and "fare" not in told["inputs"]
    page = (tmp_path / "page.html").read_text()
    assert "Not compared: fare." in page and "Drift told before is not taken back" in page
    assert "drift.resolved" not in kinds(tmp_path)


def test_drift_is_not_taken_back_by_a_column_of_few_rows_nor_by_none(run, tmp_path):
    few = [{k: v for k, v in row(n).items() if k != "fare" or n < 20} for n in range(600)]
    kept(tmp_path, few)
    run()
    assert kinds(tmp_path) == ["decay.estimated"]
    run(until="2020-01-20T12:00:00Z", min_rows=0, thresholds={"drift_rows": 0})
    assert kinds(tmp_path) == []
    assert "Nothing is judged" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("field", ["edgeline_model", "edgeline_version", "edgeline_id", "company"])
def test_a_text_that_is_not_unicode_ends_no_run(run, tmp_path, field):
    folder = tmp_path / "payloads" / "cab" / "3"
    folder.mkdir(parents=True)
    rows = [row(0, **{field: "\ud800"}), row(1, **{"\ud800": 1, "edgeline_time": NOON})]
    rows += [row(2, **{"\ud800": 1}), row(3, fare="\ud800")]
    lines = "".join(json.dumps(each) + "\n" for each in rows)
    (folder / os.fsdecode(b"\xff.jsonl")).write_text(lines)
    labels = [{"id": "\ud800", "label": 1}, {"\ud800": 1}, {"id": "trip-2", "label": "\ud800"}]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(x) + "\n" for x in labels))
    assert run(labels_uri=str(tmp_path / "labels.jsonl")).rows >= 1
    told = document(tmp_path)["read"]
    assert told["unknown_columns"] == ["\\ud800"] and "\\udcff.jsonl" in told["problems"][0]


def test_rows_that_came_late_are_told(run, tmp_path):
    late = [row(n, edgeline_time="2020-01-13T11:00:00Z", fare=900.0) for n in range(1000, 1040)]
    ahead = [row(n, edgeline_time="2099-01-01T00:00:00Z") for n in range(1040, 1043)]
    kept(tmp_path, [row(n) for n in range(600)] + late + ahead)
    found = run()
    told = found.metrics["rows_before_window"], found.metrics["rows_after_window"]
    assert told == (40, 3) and not found.drifting
    page = (tmp_path / "page.html").read_text()
    assert "Rows of before the window (40) and after it (3) are not judged here" in page


def test_batches_of_any_size_give_the_same(run, tmp_path, monkeypatch):
    kept(tmp_path, [row(number) for number in range(700)])
    run()
    whole = document(tmp_path)
    monkeypatch.setattr(payload_rows, "AT_ONCE", 7)
    run()
    assert document(tmp_path) == whole


class Held:
    """A bucket of objects, all of now, whose `broken` ones cannot be read to their end."""

    def __init__(self, content: dict[str, bytes], broken: str = "") -> None:
        self.content, self.broken = content, broken

    def below(self, folder: str) -> list[ObjectEntry]:
        now = datetime.now(timezone.utc)
        return [ObjectEntry(key, now) for key in self.content if key.startswith(folder)]

    def stream(self, key: str) -> Any:
        if key == self.broken:
            raise ConnectionResetError("reset by peer")
        return io.BytesIO(self.content[key])


def test_payloads_and_labels_come_from_buckets(run, tmp_path, monkeypatch):
    kept(tmp_path, [row(number) for number in range(600)])
    (file,) = (tmp_path / "payloads").rglob("*.gz")
    labels = "\n".join(json.dumps({"id": f"trip-{n}", "label": is_yes(n)}) for n in range(600))
    content = {
        "met/cab/3/a.jsonl.gz": file.read_bytes(),
        "late/monday.jsonl": labels.encode(),
        "met/cab/3/readme.txt": b"not lines",
    }
    held = Held(content)
    monkeypatch.setattr(line_files, "bucket", lambda _: held)
    places = {"payloads_uri": "s3://fleet/met", "labels_uri": "s3://fleet/late"}
    found = run(**places)
    told = document(tmp_path)
    assert (found.rows, told["labels"]["joined"], told["read"]["files"]) == (600, 600, 1)
    held.broken = "met/cab/3/a.jsonl.gz"
    with pytest.raises(EdgelineError, match=r"s3://fleet/met/cab/3/a\.jsonl\.gz could not be read"):
        run(**places)
    held.broken = "late/monday.jsonl"
    with pytest.raises(EdgelineError, match=r"s3://fleet/late/monday\.jsonl could not be read"):
        run(**places)


@pytest.fixture
def receiver() -> Iterator[Any]:
    """It answers with `status`, and keeps bodies and signatures of what it takes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.taken.append((body, self.headers.get("X-Hub-Signature-256")))
            self.send_response(server.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.taken, server.status = [], 202
    server.url = f"http://127.0.0.1:{server.server_port}/events?token=s3cr3t"
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_events_are_sent_signed_and_those_that_are_not_taken_fail_the_task(
    run, receiver, tmp_path, capsys, monkeypatch
):
    kept(tmp_path, [row(number) for number in range(600)])
    (tmp_path / "key").write_bytes(b"secret\n")
    run(events_url=receiver.url, events_key=str(tmp_path / "key"), device="fleet-eu")
    assert [json.loads(body) for body, _ in receiver.taken] == events(tmp_path)
    assert events(tmp_path)[0]["source"].startswith("/fleet-eu/models/cab/")
    for body, signature in receiver.taken:
        assert signature == "sha256=" + hmac.new(b"secret", body, hashlib.sha256).hexdigest()
    monkeypatch.setenv("EDGELINE_EVENTS_URL", receiver.url)
    monkeypatch.setenv("EDGELINE_EVENTS_KEY", "other")
    receiver.status = 403
    with pytest.raises(
        EdgelineError, match=r"does not take 2 of 2 events: io\.edgeline\.drift"
    ) as no:
        run()
    assert "s3cr3t" not in str(no.value) and "s3cr3t" not in (tmp_path / "page.html").read_text()
    assert '"type":"io.edgeline.drift.resolved"' in capsys.readouterr().out
    assert "--device-keys" not in str(no.value)
    receiver.status = 401
    with pytest.raises(EdgelineError, match="--device-keys takes what devices have signed alone"):
        run()
    monkeypatch.setattr(cloud_events, "FIRST_PAUSE", 0.0)
    with pytest.raises(EdgelineError, match="does not take 2 of 2 events"):
        run(events_url="http://127.0.0.1:9/")


def test_labels_are_counted_by_what_came_of_them(run, tmp_path):
    kept(tmp_path, [row(number) for number in range(600)])
    (tmp_path / "labels").mkdir()
    lines = [{"id": f"trip-{n}", "label": is_yes(n)} for n in range(100)]
    lines += [{"id": "trip-5", "label": 0}, {"id": "nobody", "label": 1}]
    lines += [{"id": "trip-6", "label": 7}, {"id": "trip-7", "label": 1, "model": "bus"}]
    text = "\n".join(map(json.dumps, lines)).encode()
    (tmp_path / "labels" / "monday.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "labels" / "tuesday.jsonl.gz").write_bytes(gzip.compress(text)[:-20])
    run(labels_uri=str(tmp_path / "labels"))
    told = document(tmp_path)
    counts = told["labels"]
    assert counts["joined"] == 100 and counts["repeated"] >= 1 and counts["unknown"] >= 1
    assert counts["refused"] >= 1 and counts["other_models"] >= 1 and counts["files_damaged"] == 1
    assert "the label 7 is neither 0 nor 1" in counts["problems"][0]
    page = (tmp_path / "page.html").read_text()
    assert "100 rows have one, and it takes 500" in page
    assert told["decay"]["measured"]["rows"] == 100 and "decay.measured" not in kinds(tmp_path)


@pytest.mark.parametrize(
    "more, said",
    [
        ({"window_hours": 0.0}, "window_hours is 0: give a number above 0"),
        ({"until": "yesterday"}, "until is 'yesterday': give a time with its zone"),
        ({"until": "2020-01-15T12:00:00"}, "give a time with its zone"),
        ({"thresholds": {"drift_kss": 1}}, "thresholds.drift_kss: there is no such field."),
        ({"thresholds": {"drift_ks": 2}}, "thresholds.drift_ks is 2: give a number from 0 to 1."),
        ({"thresholds": {"drift_rows": 1.5}}, "give a whole number"),
        ({"payloads_uri": "nowhere"}, "payloads_uri is nowhere, which does not exist"),
        ({"payloads_uri": "https://x.example/y"}, "give a file or a folder of JSON lines"),
        ({"labels_uri": "nowhere"}, "labels_uri is nowhere, which does not exist"),
        ({"decay_slices": ["fair"]}, "decay_slices names 'fair', which is not an input."),
        ({"device": "a/b"}, "device is 'a/b'"),
        ({"events_key": "key"}, "events_key signs what goes to events_url"),
        ({"events_url": "ftp://x"}, "events_url is not a URL that events can be posted to"),
    ],
)
def test_what_cannot_be_is_refused_first(run, tmp_path, more, said):
    (tmp_path / "payloads").mkdir()
    with pytest.raises(UsageError) as refused:
        run(**more)
    assert said in str(refused.value)


def test_a_bundle_is_found_by_its_place(run, store, tmp_path):
    kept(tmp_path, [row(1)])
    for place in ("cab/3", "cab/latest", "cab/"):
        assert run(bundle_uri=f"{store}/{place}").metadata["version"] == 3
    with pytest.raises(UsageError, match="There is no cab 7 at"):
        run(bundle_uri=f"{store}/cab/7")
    with pytest.raises(UsageError, match="No version of bus is published at"):
        run(bundle_uri=f"{store}/bus")
    with pytest.raises(UsageError, match="give DESTINATION/NAME"):
        run(bundle_uri="cab")


def test_the_schedule_of_the_guide_is_one(tmp_path):
    guide = (Path(__file__).parents[3] / "docs" / "monitor.md").read_text("utf-8")
    (text,) = (each for each in re.findall(r"```yaml\n(.*?)```", guide, re.S) if "cron" in each)
    (tmp_path / "schedules.yaml").write_text(text)
    (schedule,) = schedules.read(tmp_path / "schedules.yaml").schedules
    given = parameters.check(schedule.parameters, parameters.parameters_of(load("monitor")))
    assert given == schedule.parameters
