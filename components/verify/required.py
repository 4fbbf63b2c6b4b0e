"""What requirements.yaml asks of the devices that an edge model is made for.

What only the device can tell is not made up: where it alone runs the model, latency and memory of
this machine are not the device's, and are said not to be measured. An arena that a compiler has
planned is the memory of a microcontroller.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeline.artifacts import Artifact, device_outcomes, device_profile, models, outcomes
from edgeline.artifacts.device_outcomes import (
    ARENA,
    ENERGY,
    ESTIMATE,
    ESTIMATED,
    LITERT,
    ONNX,
    Devices,
)
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.artifacts.requirements import DeviceFigures, DeviceRequirement, parse
from edgeline.components.verify.findings import Limits, Subject
from edgeline.components.verify.latency import Latency
from edgeline.components.verify.parity import Parity
from edgeline.errors import EdgelineError

ELSEWHERE = "only the device runs it"


def devices(given: Mapping[str, Any], edge: Artifact, compiled: Artifact | None) -> Devices:
    """The devices, by name, that are about this model.

    Raises:
        EdgelineError: as `edgeline.artifacts.requirements.parse`.
    """
    target = ONNX if edge.schema == models.ONNX_SCHEMA else LITERT
    quantisation = edge.metadata["quantisation"]
    if compiled:
        target, quantisation = compiled.metadata["target"], compiled.metadata["quantisation"]
    return parse(given).of_target(str(target), str(quantisation))


def with_decisions(limits: Limits, asked: Devices) -> Limits:
    """Limits whose default gives way to what a device allows of changed decisions."""
    allowed = [d.changed_decisions for d in asked.values() if d.changed_decisions is not None]
    if limits.max_changed_decisions >= 0 or not allowed:
        return limits
    return replace(limits, max_changed_decisions=min(allowed))


def slice_columns(asked: Devices, known: Collection[str]) -> list[tuple[str, ...]]:
    """The columns whose slices are asked for.

    Raises:
        EdgelineError: the examples do not have one.
    """
    found = {each.columns for device in asked.values() for each in device.metrics if each.columns}
    for column in sorted({name for columns in found for name in columns} - {*known}):
        raise EdgelineError(
            f"requirements ask for slices by {column!r}, which the examples do not have: they have "
            f"{', '.join(known)}."
        )
    return sorted(found)


def outcomes_of(
    asked: Devices,
    found: Parity,
    latency: Latency,
    edge: Artifact,
    compiled: Artifact | None,
    subject: Subject,
) -> list[RequirementOutcome]:
    """What came of each requirement of each device."""
    itself = compiled is None or subject.path == compiled.path
    facts: Mapping[str, Any] = compiled.metadata["facts"] if compiled else {}
    model = compiled.path / compiled.metadata["model"] if compiled else models.edge_model_path(edge)
    size = compiled.metadata["size"] if compiled else model.stat().st_size
    mapped = compiled.metadata["share"] if compiled else None
    share = found.changed_decisions / found.rows
    on_device = ELSEWHERE if not itself else "on this machine"
    p99 = latency.p99_ms if itself else facts.get(ESTIMATED)
    memory = facts.get(ARENA, latency.peak_bytes if itself else None)
    p99_note = ESTIMATE if not itself and ESTIMATED in facts else on_device
    memory_note = "arena" if ARENA in facts else on_device
    told: list[RequirementOutcome] = []
    for name, device in asked.items():
        told += outcomes.of_metrics(device.metrics, found.slices, name)
        if device.profile:
            on_it = _of_profile(name, device, device.profile, model)
        else:
            on_it = (
                device_outcomes.of_latency(name, device, p99, p99_note),
                device_outcomes.of_memory(name, device, memory, memory_note),
                device_outcomes.of_energy(name, device, facts.get(ENERGY)),
            )
        told += on_it[0] + on_it[1]
        told += device_outcomes.of_size(name, device, size)
        told += on_it[2]
        told += device_outcomes.at_most(
            f"{name}: changed decisions", device.changed_decisions, share
        )
        told += device_outcomes.of_mapped(name, device, mapped)
    return told


def _of_profile(
    name: str, device: DeviceRequirement, figures: DeviceFigures, model: Path
) -> tuple[list[RequirementOutcome], ...]:
    """Latency, memory and energy as measured on the device; this machine's are not the device's."""
    like = device_profile.likeness(model, figures.model_sha256, figures.graph)
    values: tuple[float | None, ...] = (figures.p99_ms, figures.peak_bytes, figures.energy_mj)
    note = figures.note(like or "")
    if like is None:
        values = (None, None, None)
        note = f"its profile, on {figures.device}, is of a model with another graph"
    return (
        device_outcomes.of_latency(name, device, values[0], note),
        device_outcomes.of_memory(name, device, values[1], note),
        device_outcomes.of_energy(name, device, values[2], note),
    )
