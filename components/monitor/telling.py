"""The events of a window: of the types, and with the data, that a server sends.

A server sends what changes. A task remembers nothing, so each run tells what holds: where enough
rows were judged, also that nothing drifts or has decayed, which takes back what was told before: of
drift only where no column is missing.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edgeline.components.monitor.counting import OutOfRange
from edgeline.errors import EdgelineError, UsageError
from edgeline.monitoring.cloud_events import deliver, event, shown, source_of
from edgeline.monitoring.events import (
    CONCEPT,
    ESTIMATED,
    MEASURED,
    OUT_OF_RANGE,
    decay_data,
    drift_event,
    range_data,
)

TRIES = 5
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_NAMED = 3
_NOT_A_DEVICE = (
    " A receiver with --fleet or --device-keys takes what devices have signed alone, and this task "
    "is not a device: send to one without them."
)


def events_of(
    report: Mapping[str, Any], outside: Sequence[OutOfRange], device: str
) -> list[dict[str, Any]]:
    """The events of a report.

    Args:
        report: as `report.json` has it.
        outside: the features that are out of range.
        device: whose events they are.
    """
    model, version = report["model"], report["version"]
    source = source_of(model, version)
    told = [*_told(report)]
    for each in outside:
        data = range_data(
            model, version, each.feature, each.value, each.rows, each.allowed, refused=False
        )
        told.append((OUT_OF_RANGE, data))
    return [event(kind, source, data, device) for kind, data in told]


def _told(report: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    model, version = report["model"], report["version"]
    drift, decay = report["drift"], report["decay"]
    if drift["rows"] >= drift["rows_needed"] and (drift["drifting"] or all_compared(drift)):
        yield drift_event(model, version, drift)
    if "not_told" in decay:
        return
    needed = decay["rows_needed"]
    for kind, side in ((ESTIMATED, "estimated"), (MEASURED, "measured")):
        if decay[side]["rows"] >= needed:
            yield kind, decay_data(kind, model, version, decay)
    concept = decay["concept"]
    if concept["drifting"] or concept.get("labelled_rows", 0) >= needed:
        yield CONCEPT, decay_data(CONCEPT, model, version, decay)


def all_compared(drift: Mapping[str, Any]) -> bool:
    """Whether each column has as many rows as it takes to take back what was told of it."""
    few = [rows for rows in drift["partly"].values() if rows < drift["rows_needed"]]
    return not drift["not_compared"] and not few


def check_device(device: str) -> None:
    """Refuse what cannot be the name of a device.

    Raises:
        UsageError: it cannot.
    """
    if not DEVICE.fullmatch(device):
        raise UsageError(
            f"device is {device[:100]!r}: give up to 200 letters, digits, dots, hyphens and "
            "underscores, as fleet-eu."
        )


def line_of(event: Mapping[str, Any]) -> bytes:
    """An event as a line of JSON, which is also what is posted."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def send(
    url: str,
    lines: Sequence[bytes],
    key: bytes | None,
    wait: Callable[[float], bool | None] = time.sleep,
) -> None:
    """Post events, each until it is taken or cannot be.

    Raises:
        EdgelineError: the receiver does not take one; those behind it are sent nevertheless, unless
            it does not answer.
    """
    refused: list[str] = []
    for place, line in enumerate(lines):
        if why := deliver(url, line, key, tries=TRIES, wait=wait):
            kind = json.loads(line)["type"]
            refused.append(f"{kind} ({why})")
            if not why.startswith("status"):
                refused += [json.loads(each)["type"] for each in lines[place + 1 :]]
                break
    if refused:
        unsigned = any("status 401" in each for each in refused)
        more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        raise EdgelineError(
            f"{shown(url)} does not take {len(refused)} of {len(lines)} events: "
            f"{', '.join(refused[:_NAMED])}{more}. Check events_url and its key; the events stand "
            "in the log." + (_NOT_A_DEVICE if unsigned else "")
        )
