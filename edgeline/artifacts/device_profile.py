"""What a bundle's model takes on a device: `device_profile.json`, as `edgeline benchmark` writes.

A profile is of one model file on one device. Its figures hold for another file, too, where that has
the same graph (operators, shapes and types; other weights), as a model has that is trained again:
who uses them names that. They hold for nothing else. Needs neither TensorFlow nor msgspec.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edgeline.artifacts.folder import digest_of_listing, sha256
from edgeline.errors import EdgelineError, UsageError, shortened
from edgeline.formats import typed

FORMAT = "device_profile/v1"
FILE = "device_profile.json"
MOST_DAYS = 180  # of age: a system that was updated since then is another one
LOADED_CORES = 0.25  # that other programs used on average, above which they are named
EARLY = timedelta(days=1)  # clocks differ
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class MeasuredDevice:
    """What was measured on, in the device's own words. `cores` are those that may be used."""

    name: str
    processor: str
    cores: int
    machine: str
    system: str
    kernel: str
    memory_bytes: int


@dataclass(frozen=True)
class DeviceLatency:
    """Milliseconds of calls of the bare interpreter, one after the other.

    Attributes:
        start_ms: from the start of the measuring Python to the first answer, imports included.
        load_ms: from the model's file to the first answer.
        p50_ms, p95_ms, p99_ms, mean_ms: of a call, after warm-up.
        batch: rows of a call.
        rows_per_second: batch / mean_ms.
        calls: how many were measured.
    """

    start_ms: float
    load_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    batch: int
    rows_per_second: float
    calls: int


@dataclass(frozen=True)
class DeviceHeat:
    """Whether the device slowed itself down meanwhile.

    Attributes:
        throttled: None where the device does not tell.
        why: by what that is known.
        slowdown: median of the last fifth of the calls over that of the first.
        celsius_before, celsius_most: of the hottest zone.
        mhz_before, mhz_least: of the slowest core.
    """

    throttled: bool | None
    why: tuple[str, ...]
    slowdown: float
    celsius_before: float | None
    celsius_most: float | None
    mhz_before: float | None
    mhz_least: float | None


@dataclass(frozen=True)
class DeviceProfile:
    """One measurement.

    Attributes:
        measured_at: UTC, as 2026-01-31T12:00:00Z, by the clock of whoever asked.
        bundle, version, content_digest, quantisation: of the bundle.
        model_sha256, graph: of its model's file; see `graph_of`.
        interpreter, python, threads: that ran it.
        installed: whether the interpreter was put there for the measurement.
        peak_bytes: largest resident memory of the process; None where the system does not tell.
        energy_mj: millijoules of a call, all that the sensor sees; None where nothing measures it.
        watts, energy_source: mean power meanwhile, and what told it; "" where nothing did.
        load_before: the mean load of the minute before.
        others_cores: cores that other programs used meanwhile, on average.
        rows_compared, max_difference: recorded rows whose answers agree, and how far they differ.
        not_measured: what is not, and the reason.
    """

    measured_at: str
    bundle: str
    version: int
    content_digest: str
    quantisation: str
    model_sha256: str
    graph: str
    device: MeasuredDevice
    interpreter: str
    python: str
    threads: int
    installed: bool
    latency: DeviceLatency
    peak_bytes: int | None
    heat: DeviceHeat
    energy_mj: float | None
    watts: float | None
    energy_source: str
    load_before: float
    others_cores: float
    rows_compared: int
    max_difference: float | None
    not_measured: Mapping[str, str]

    @property
    def caveats(self) -> tuple[str, ...]:
        """What made the figures worse than the device's best, in phrases."""
        found = []
        if self.others_cores > LOADED_CORES:
            found.append(
                f"while other programs used {self.others_cores:.1f} of {self.device.cores} cores"
            )
        if self.heat.throttled:
            found.append("while it was throttled")
        return tuple(found)

    @property
    def figures(self) -> dict[str, Any]:
        """What requirements have of it: see `requirements.DeviceFigures`."""
        found = {
            "device": shortened(self.device.name),
            "measured_at": self.measured_at,
            "model_sha256": self.model_sha256,
            "graph": self.graph,
            "p99_ms": self.latency.p99_ms,
            "peak_bytes": self.peak_bytes,
            "energy_mj": self.energy_mj,
            "caveats": [*self.caveats, *([f"with {self.threads} threads"] * (self.threads > 1))],
        }
        return {name: value for name, value in found.items() if value is not None}

    def refuse_stale(self, where: str, now: datetime | None = None) -> None:
        """Refuse a profile that is too old, or of the future.

        Raises:
            EdgelineError: names the profile and its time.
        """
        now = now or datetime.now(timezone.utc)
        measured = datetime.strptime(self.measured_at, _TIME).replace(tzinfo=timezone.utc)
        if not now - timedelta(days=MOST_DAYS) <= measured <= now + EARLY:
            raise EdgelineError(
                f"{where} was measured at {self.measured_at}, "
                + (
                    f"more than {MOST_DAYS} days ago: measure it again"
                    if measured < now
                    else "which is in the future: correct the clock and measure it again"
                )
                + " with edgeline benchmark."
            )


def text(profile: DeviceProfile) -> str:
    """A profile's file."""
    content = {"edgeline_device_profile": FORMAT, **dataclasses.asdict(profile)}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read(path: str | Path) -> DeviceProfile:
    """A profile of a file, checked field by field.

    Raises:
        UsageError: it cannot be read or is not a profile.
        EdgelineError: it is stale.
    """
    try:
        value = typed.read(path)
        fields = dict(value) if isinstance(value, dict) else {}
        if fields.pop("edgeline_device_profile", None) != FORMAT:
            raise EdgelineError(f"it is not {FORMAT}")
        profile: DeviceProfile = typed.convert(fields, DeviceProfile)
        datetime.strptime(profile.measured_at, _TIME)
    except (EdgelineError, ValueError) as error:
        reason = str(error).removeprefix(f"{path} ").rstrip(".")
        raise UsageError(
            f"{path} is not a device profile ({reason}): give a file that edgeline benchmark wrote."
        ) from None
    profile.refuse_stale(str(path))
    return profile


def now() -> str:
    """The time of a measurement that ends now."""
    return datetime.now(timezone.utc).strftime(_TIME)


def graph_of(model: str | Path) -> str:
    """Hexadecimal sha256 of what a LiteRT file computes, whatever its weights are.

    Operators with their options, and every tensor's shape and type, constants' among them.

    Raises:
        EdgelineError: the file is not such a model.
    """
    from edgeline.formats import tflite  # numpy, which reading requirements does without

    found = tflite.read(model)
    graphs = [
        {
            "tensors": [
                [each.dtype, each.shape, each.signature, each.constant] for each in graph.tensors
            ],
            "operators": [
                [each.name, each.version, each.inputs, each.outputs, dict(each.options)]
                for each in graph.operators
            ],
            "ends": [graph.inputs, graph.outputs],
        }
        for graph in found.subgraphs
    ]
    return digest_of_listing("graph", {"graphs": graphs}, {})


def likeness(model: str | Path, model_sha256: str, graph: str) -> str | None:
    """Whether figures of one model hold for a file.

    Returns:
        "" for the same file, a phrase for another one of the same graph, None where they do not.
    """
    if sha256(model) == model_sha256:
        return ""
    same = Path(model).suffix == ".tflite" and graph_of(model) == graph
    return "with other weights" if same else None
