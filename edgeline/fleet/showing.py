"""What the fleet runs, for people and for who raises waves: counted from the last status of each.

A device counts for each version that its status names. One that is stale counts as it last was, and
is named beside; one that is revoked does not count.
"""

from __future__ import annotations

import base64
import math
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from time import monotonic, time
from typing import Any

from edgeline.fleet import wave_counts
from edgeline.fleet.devices import STATES, FleetDevice, FleetState
from edgeline.fleet.statuses import ModelStatus
from edgeline.server.errors import invalid
from edgeline.server.fleet.protocol import OUTCOMES
from edgeline.version import __version__

FRESH = 2.0  # seconds for which a count is given again
PAGE, MOST = 100, 1000  # devices of an answer
SKEW = 300.0  # seconds from which a clock is named
_FEW = 5  # devices that are named of many
_SHOWN = 50  # rows of a table of the page
_SEEN = ((60, "a minute"), (300, "5 minutes"), (3600, "an hour"), (86400, "a day"))


@dataclass
class VersionCount:
    """A version of a model in the fleet: devices by outcome, and how these are."""

    outcomes: Counter[str] = field(default_factory=Counter)
    drift: int = 0
    drift_devices: int = 0  # that look at it, on enough rows
    decay: int = 0
    decay_devices: int = 0
    stale: int = 0
    requests: int = 0
    errors: int = 0
    p95: list[float] = field(default_factory=list)
    columns: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[str]] = field(default_factory=dict)  # devices by why
    waits: dict[str, list[str]] = field(default_factory=dict)

    def add(self, device: FleetDevice, model: ModelStatus, is_stale: bool) -> None:
        self.outcomes[model.outcome] += 1
        self.stale += is_stale and model.outcome != "waiting"
        self.requests += model.requests
        self.errors += model.errors
        if model.outcome in ("serving", "trying"):
            self.drift += bool(model.drift)
            self.drift_devices += model.drift is not None
            self.decay += bool(model.decay)
            self.decay_devices += model.decay is not None
            if isinstance(model.drift, tuple):
                self.columns.update(model.drift)
            if model.p95 is not None:
                self.p95.append(model.p95)
        elif model.outcome == "waiting":
            self.waits.setdefault(model.why, []).append(device.name)
        else:
            self.failures.setdefault(model.why, []).append(device.name)

    @property
    def failed(self) -> int:
        return self.outcomes["failed"] + self.outcomes["returned"]

    @property
    def devices(self) -> int:
        """That run it or have tried it."""
        return self.outcomes["serving"] + self.outcomes["trying"] + self.failed

    @property
    def latency(self) -> float | None:
        """In milliseconds, what 95 % of the devices keep in 95 % of their answers (the nearest
        rank); None where none has answered."""
        if not self.p95:
            return None
        return sorted(self.p95)[math.ceil(0.95 * len(self.p95)) - 1]


@dataclass
class FleetCount:
    """The fleet at a time."""

    time: float
    states: Counter[str] = field(default_factory=Counter)
    versions: dict[tuple[str, int], VersionCount] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    edgelines: Counter[str] = field(default_factory=Counter)
    skewed: list[FleetDevice] = field(default_factory=list)
    stale: list[FleetDevice] = field(default_factory=list)
    revoked: list[FleetDevice] = field(default_factory=list)
    without: list[str] = field(default_factory=list)  # a model that serves

    def add(self, device: FleetDevice) -> None:
        state = device.state(self.time)
        self.states[state] += 1
        if state == "revoked":
            self.revoked.append(device)
            return
        status = device.status
        if status is None or device.received is None:
            return
        age = self.time - device.received
        self.seen[next((name for most, name in _SEEN if age <= most), "longer")] += 1
        self.edgelines[status.edgeline] += 1
        if status.update.outcome:
            self.updates[status.update.outcome] += 1
        if abs(device.skew) > SKEW:
            self.skewed.append(device)
        if state == "stale":
            self.stale.append(device)
        for model in status.models:
            key = model.model, model.version
            found = self.versions.get(key) or self.versions.setdefault(key, VersionCount())
            found.add(device, model, state == "stale")
        if not any(model.outcome in ("serving", "trying") for model in status.models):
            self.without.append(device.name)

    def stragglers(self) -> Iterator[dict[str, Any]]:
        """Of each model the versions that serve and are older than the one most devices serve."""
        by_model: dict[str, dict[int, int]] = {}
        for (name, version), count in self.versions.items():
            if count.outcomes["serving"]:
                by_model.setdefault(name, {})[version] = count.outcomes["serving"]
        for name, served in sorted(by_model.items()):
            usual = max(served, key=lambda version: (served[version], version))
            for version in sorted(served):
                if version < usual:
                    yield {
                        "model": name,
                        "version": version,
                        "usual": usual,
                        "devices": served[version],
                    }


class FleetSummary:
    """The count of a state, made again when it is older than `FRESH`. Safe for threads."""

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._made, self._found = -math.inf, FleetCount(0.0)

    def now(self) -> FleetCount:
        with self._lock:
            if monotonic() - self._made > FRESH:
                found = FleetCount(time())
                for device in self._state.all():
                    found.add(device)
                self._made, self._found = monotonic(), found
            return self._found

    def versions(self, model: str, waves: str = "") -> dict[str, Any]:
        """What `GET /v1/fleet/versions` answers: of one model, or of all.

        Raises:
            ServingError: 400, a value is wrong.
        """
        return versions(self.now(), self._state.all(), model, waves)

    def shown(self) -> dict[str, Any]:
        """What the page shows."""
        found = self.now()
        newest = sorted(found.versions.items(), key=lambda item: (item[0][0], -item[0][1]))
        return {
            "time": told(found.time),
            "edgeline": __version__,
            "devices": {state: found.states[state] for state in STATES},
            "seen": {name: found.seen[name] for name in (*(n for _, n in _SEEN), "longer")},
            "updates": dict(found.updates),
            "edgelines": dict(found.edgelines.most_common(10)),
            "versions": [
                {
                    **_version(name, version, count),
                    "outcomes": {outcome: count.outcomes[outcome] for outcome in OUTCOMES},
                    "requests": count.requests,
                    "errors": count.errors,
                    "columns": dict(count.columns.most_common(5)),
                }
                for (name, version), count in newest[:_SHOWN]
            ],
            "versions_left_out": max(0, len(newest) - _SHOWN),
            "failures": _reasons(newest, "failures"),
            "waits": _reasons(newest, "waits"),
            "stragglers": list(found.stragglers()),
            "stale": _listed(sorted(found.stale, key=lambda device: device.received or 0)),
            "skewed": [
                {"device": device.name, "seconds": round(device.skew)}
                for device in found.skewed[:_SHOWN]
            ],
            "skewed_in_all": len(found.skewed),
            "revoked": [
                {"device": device.name, "since": told(device.revoked)}
                for device in sorted(found.revoked, key=lambda d: -(d.revoked or 0))[:_SHOWN]
            ],
            "without": found.without[:_FEW],
            "without_in_all": len(found.without),
        }


def versions(
    found: FleetCount, devices: Iterable[FleetDevice], model: str, waves: str
) -> dict[str, Any]:
    """The versions of a model, or of all; with its open waves (see `wave_counts.asked`) also what
    the devices tell that the last of these adds.

    Raises:
        ServingError: 400, a value is wrong.
    """
    several = wave_counts.read(waves)
    if several and not model:
        raise invalid("waves are those of one model: give model, too.")
    models = [
        _version(name, version, count)
        for (name, version), count in sorted(found.versions.items())
        if model in ("", name)
    ]
    for each in models:
        if wave := several.get(each["version"]):
            of = wave_counts.counted(devices, model, each["version"], wave, found.time)
            each["wave"] = of
    return {"time": told(found.time), "models": models}


def devices(state: FleetState, query: Mapping[str, str], now: float) -> dict[str, Any]:
    """A page of devices.

    Args:
        query: `q`, a part of the name; `group`, `model`, `version`, `outcome`, `state`; `limit`,
            and `after`, the last name of the page before.

    Raises:
        ServingError: 400, a value is wrong.
    """
    known = {"q", "group", "model", "version", "outcome", "state", "limit", "after"}
    if unknown := sorted(query.keys() - known):
        raise invalid(f"There is no filter {unknown[0][:100]!r}: give {', '.join(sorted(known))}.")
    limit = _limit(query.get("limit", ""))
    version = query.get("version", "")
    if version and not (version.isascii() and version.isdigit() and len(version) < 11):
        raise invalid(f"version is {version[:100]!r}, not a number.")
    if (outcome := query.get("outcome", "")) not in ("", *OUTCOMES):
        raise invalid(f"outcome is {outcome[:100]!r}: give {', '.join(OUTCOMES)}.")
    if query.get("state", "") not in ("", *STATES):
        raise invalid(f"state is {query['state'][:100]!r}: give {', '.join(STATES)}.")
    found: list[FleetDevice] = []
    for device in state.after(query.get("after", "")):
        if _matches(device, query, now):
            if len(found) == limit:
                return {"devices": [_device(each, now) for each in found], "next": found[-1].name}
            found.append(device)
    return {"devices": [_device(each, now) for each in found], "next": ""}


def keys(state: FleetState) -> dict[str, str]:
    """The public keys of devices that are trusted, in base64."""
    return {
        device.name: base64.b64encode(device.key).decode()
        for device in state.all()
        if device.revoked is None
    }


def told(seconds: float | None) -> str:
    """A time in ISO 8601, UTC; empty for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


def _limit(text: str) -> int:
    if not text:
        return PAGE
    if not (text.isascii() and text.isdigit() and len(text) < 10) or not 1 <= int(text) <= MOST:
        raise invalid(f"limit is {text[:100]!r}, not a number from 1 to {MOST}.")
    return int(text)


def _matches(device: FleetDevice, query: Mapping[str, str], now: float) -> bool:
    if query.get("q", "").lower() not in device.name.lower():
        return False
    if (group := query.get("group")) and group not in (*device.wave_groups, *device.groups):
        return False
    if (state := query.get("state")) and device.state(now) != state:
        return False
    wanted = query.get("model"), query.get("version"), query.get("outcome")
    if not any(wanted):
        return True
    models = device.status.models if device.status is not None else ()
    model, version, outcome = wanted
    return any(
        (not model or each.model == model)
        and (not version or each.version == int(version))
        and (not outcome or each.outcome == outcome)
        for each in models
    )


def _device(device: FleetDevice, now: float) -> dict[str, Any]:
    status = device.status
    found: dict[str, Any] = {
        "device": device.name,
        "groups": device.wave_groups,
        "token_groups": device.groups,
        "state": device.state(now),
        "enrolled": told(device.enrolled),
        "revoked": told(device.revoked),
        "seen": told(device.received),
        "counter": device.counter,
        "models": [],
    }
    if status is None:
        return found
    return found | {
        "clock_ahead_seconds": round(device.skew, 1),
        "edgeline": status.edgeline,
        "interpreter": status.interpreter,
        "memory_bytes": status.memory,
        "disk_free_bytes": status.disk_free,
        "update": {"outcome": status.update.outcome, "why": status.update.why},
        "models": [
            {
                "model": model.model,
                "version": model.version,
                "outcome": model.outcome,
                "why": model.why,
                "drift": model.drift,
                "decay": model.decay,
                "latency_p50_ms": model.p50,
                "latency_p95_ms": model.p95,
                "requests": model.requests,
                "errors": model.errors,
            }
            for model in status.models
        ],
    }


def _version(name: str, version: int, count: VersionCount) -> dict[str, Any]:
    return {
        "model": name,
        "version": version,
        "devices": count.devices,
        "serving": count.outcomes["serving"],
        "failed": count.failed,
        "drift": count.drift if count.drift_devices else None,
        "drift_devices": count.drift_devices,
        "decay": count.decay if count.decay_devices else None,
        "decay_devices": count.decay_devices,
        "latency_p95_ms": count.latency,
        "latency_devices": len(count.p95),
        "stale": count.stale,
    }


def _reasons(
    versions: Iterable[tuple[tuple[str, int], VersionCount]], kind: str
) -> list[dict[str, Any]]:
    """Why versions failed or wait, what most devices tell first."""
    found = [
        {
            "model": name,
            "version": version,
            "why": why,
            "devices": len(names),
            "some": names[:_FEW],
        }
        for (name, version), count in versions
        for why, names in getattr(count, kind).items()
    ]
    return sorted(found, key=lambda each: -each["devices"])[:_SHOWN]


def _listed(stale: list[FleetDevice]) -> list[dict[str, Any]]:
    return [
        {"device": device.name, "seen": told(device.received), "interval": device.interval}
        for device in stale[:_SHOWN]
    ]
