"""What devices have met in a window, beside what the model met in training, and late labels.

The counts, statistics and estimates are those of `edgeline serve` (`edgeline.monitoring`). Rows are
read in batches and counted, so memory does not grow with the window; answers wait for their labels
in `thresholds.LABEL_MEMORY` bytes, beyond which a sample of them does, and the page tells that.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.components.monitor import (
    late_labels,
    monitored_bundle,
    report,
    telling,
)
from edgeline.components.monitor import (
    thresholds as limits_of,
)
from edgeline.components.monitor.counting import PayloadCounts
from edgeline.components.monitor.late_labels import LateLabels
from edgeline.components.monitor.monitored_bundle import MonitoredBundle
from edgeline.components.monitor.payload_rows import ReadingResults, batches
from edgeline.components.monitor.window import PayloadWindow, last_hours, told
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.monitoring import cloud_events
from edgeline.monitoring.line_files import check_place
from edgeline.monitoring.slice_columns import unknown_slices

SCHEMA = "monitoring/v1"
REPORT, EVENTS = "report.json", "events.jsonl"
URL, KEY = "EDGELINE_EVENTS_URL", "EDGELINE_EVENTS_KEY"  # variables, where parameters are empty


@dataclass(frozen=True)
class MonitoringResult:
    """What came of it: the metadata of `monitoring/v1`, numbers, and whether something is bad."""

    metadata: Mapping[str, Any]
    metrics: Mapping[str, Any]
    drifting: bool
    decayed: bool
    rows: int


def monitor(
    *,
    payloads_uri: str,
    bundle_uri: str,
    monitoring_path: str | Path,
    monitoring_report_path: str | Path,
    labels_uri: str = "",
    window_hours: float = 24.0,
    until: str = "",
    min_rows: int = 1,
    events_url: str = "",
    events_key: str = "",
    device: str = "monitor",
    decay_slices: Sequence[str] = (),
    thresholds: Mapping[str, Any] | None = None,
) -> MonitoringResult:
    """Compare the payloads of a window with a model's reference and late labels, and tell of it.

    Args:
        monitoring_path: where the `monitoring/v1` folder goes: report.json and events.jsonl.
        events_key: a file; empty: the variable `KEY` holds the key itself, or nothing is signed.

    The other parameters are the face's.

    Raises:
        UsageError: a parameter cannot be, or there is no such place or bundle.
        EdgelineError: fewer rows than `min_rows` lie in the window, a place cannot be read, or the
            receiver does not take an event.
    """
    limits = limits_of.given(thresholds or {})
    window = last_hours(window_hours, until)
    telling.check_device(device)
    url, key = _receiver(events_url, events_key)
    check_place(payloads_uri, "payloads_uri")
    if labels_uri:
        check_place(labels_uri, "labels_uri")
    with tempfile.TemporaryDirectory() as scratch:
        found = monitored_bundle.fetch(bundle_uri, Path(scratch))
    slices = ",".join(decay_slices)
    if unknown := unknown_slices(found.reference, slices):
        hint = did_you_mean(unknown[0], found.reference.inputs, "Its inputs are")
        raise UsageError(f"decay_slices names {unknown[0]!r}, which is not an input. {hint}")
    counts = PayloadCounts(found, limits.decay, slices)
    read = ReadingResults()
    for rows in batches(payloads_uri, window, found.bundle, counts.columns, read):
        counts.add(rows)
    if counts.rows < min_rows:
        raise EdgelineError(_too_few(found, window, read, payloads_uri, min_rows))
    labels = None
    if labels_uri and counts.decay is not None:
        labels = late_labels.join(labels_uri, counts.decay, window.begin)
    document = _document(found, window, counts, read, labels, limits)
    events = telling.events_of(document, counts.out_of_range(), device)
    lines = [telling.line_of(each) for each in events]
    document["events"] = {"made": len(lines), "receiver": cloud_events.shown(url) if url else ""}
    facts = _facts(document)
    with artifacts.writing(monitoring_path, SCHEMA) as draft:
        artifacts.write_json(draft.path / REPORT, document)
        (draft.path / EVENTS).write_bytes(b"".join(line + b"\n" for line in lines))
        draft.metadata |= facts
    report.write(monitoring_report_path, document)
    print(*report.sentences(document), sep="\n", flush=True)
    if url:
        _send(url, lines, key)
    metadata = {"edgeline_schema": SCHEMA, **facts}
    return MonitoringResult(
        metadata, _metrics(document), facts["drifting"], facts["decayed"], counts.rows
    )


def _receiver(url: str, key_file: str) -> tuple[str, bytes | None]:
    """Where events go, and the key that signs them: of the parameters, else the environment."""
    url = url or os.environ.get(URL, "")
    if key_file and not url:
        raise UsageError("events_key signs what goes to events_url: give that, too.")
    if not url:
        return "", None
    cloud_events.check_url(url, "events_url")
    if key_file:
        return url, cloud_events.read_key(key_file)
    return url, os.environ.get(KEY, "").strip().encode() or None


def _too_few(
    found: MonitoredBundle,
    window: PayloadWindow,
    read: ReadingResults,
    place: str,
    least: int,
) -> str:
    """Why there is nothing to say, and what was there instead."""
    others = {
        "before the window": read.counts["before"],
        "behind it": read.counts["after"],
        "of other versions": read.other_versions.total(),
        "of other models": read.other_models.total(),
        "that do not fit the model": read.counts["unfit"],
        "without a time": read.counts["without_time"],
        "damaged": read.counts["damaged_lines"],
    }
    there = ", ".join(f"{count:,} {what}" for what, count in others.items() if count) or "none"
    files, before = read.counts["files"], read.counts["files_before"]
    rows = f"{read.rows:,} rows" if read.rows else "No row"
    first = f" The first problem: {read.problems[0]}." if read.problems else ""
    first += f" Damaged: {read.damaged[0]}." if read.damaged else ""
    return (
        f"{rows} of {found.bundle.name} {found.bundle.version} from {window} in {place}, and "
        f"min_rows is {least:,}. Other rows: {there}; {files:,} files were read, and {before:,} "
        f"were written before the window.{first} Check payloads_uri, the version in bundle_uri and "
        "window_hours, or set min_rows to 0 for a report of what there is."
    )


def _document(
    found: MonitoredBundle,
    window: PayloadWindow,
    counts: PayloadCounts,
    read: ReadingResults,
    labels: LateLabels | None,
    limits: limits_of.MonitorThresholds,
) -> dict[str, Any]:
    """All that was found, as `report.json` has it."""
    return {
        "model": found.bundle.name,
        "version": found.bundle.version,
        "bundle": found.uri,
        "window": {"from": told(window.begin), "to": told(window.end)},
        "read": {
            **read.to_json(),
            "without_id": counts.without_id,
            "repeated": counts.repeated,
        },
        "drift": counts.drift(window.begin, limits.drift),
        "decay": counts.decayed(window.begin),
        "labels": labels.to_json() if labels is not None else None,
        "ranges": {
            "not_told": counts.no_ranges,
            "outside": [
                {
                    "feature": each.feature,
                    "rows": each.rows,
                    "value": each.value,
                    "range": str(each.allowed),
                }
                for each in counts.out_of_range()
            ],
        },
    }


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of the artifact."""
    return {
        "model": document["model"],
        "version": document["version"],
        "rows": document["read"]["rows"],
        "drifting": bool(document["drift"]["drifting"]),
        "decayed": bool(report.decayed(document)),
        "out_of_range": bool(document["ranges"]["outside"]),
        "from": document["window"]["from"],
        "to": document["window"]["to"],
    }


def _metrics(document: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the run's table (see `edgeline.components.measured`)."""
    read, drift, decay = document["read"], document["drift"], document["decay"]
    told: dict[str, Any] = {
        "window_rows": read["rows"],
        "columns_drifting": len(drift["drifting"]),
        "columns_out_of_range": len(document["ranges"]["outside"]),
    }
    if "not_told" not in decay:
        told["concept_drift"] = int(decay["concept"]["drifting"])
        for side in ("measured", "estimated"):
            told |= {f"{side}_{name}": x["value"] for name, x in decay[side]["metrics"].items()}
        told["labelled_rows"] = decay["measured"]["rows"]
    columns = {**drift["inputs"], **drift["outputs"]}.values()
    told |= {
        "rows_left_out": read["unfit"] + read["without_time"] + read["damaged_lines"],
        "rows_before_window": read["before"],
        "rows_after_window": read["after"],
        "rows_of_other_versions": read["of_other_versions"],
        "files_damaged": read["files_damaged"],
        "columns_not_compared": len(drift["not_compared"]),
        "largest_psi": max((each["psi"] for each in columns if "psi" in each), default=None),
        "events": document["events"]["made"],
    }
    if document["labels"] is not None:
        told["labels_unknown"] = document["labels"]["unknown"]
    return told


def _send(url: str, lines: Sequence[bytes], key: bytes | None) -> None:
    try:
        telling.send(url, lines, key)
    except EdgelineError:
        print(*(line.decode() for line in lines), sep="\n", flush=True)
        raise
