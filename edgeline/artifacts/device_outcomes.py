"""What a device's requirements make of numbers that are known once its model's file is there.

convert and compile tell these before the model runs anywhere, and verify tells them again beside
what it measures, so that one requirement has one line wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.artifacts.requirements import DeviceRequirement

Devices = Mapping[str, DeviceRequirement]

LITERT, ONNX = "litert", "onnx"  # targets of a model that is not compiled
ARENA, ENERGY, ESTIMATED = "arena_bytes", "energy_mj", "estimated_ms"  # facts of some compilers
ESTIMATE = "the compiler's estimate"


def of_file(asked: Devices, size: int) -> list[RequirementOutcome]:
    """What each device asks of an edge model's file that is not compiled.

    Args:
        asked: the devices, by name, that run it.
        size: of the file in bytes.
    """
    found: list[RequirementOutcome] = []
    for name, device in asked.items():
        found += of_size(name, device, size)
        found += of_mapped(name, device, None)
    return found


def of_compiled(
    asked: Devices, metadata: Mapping[str, Any], runs_here: bool
) -> list[RequirementOutcome]:
    """What each device asks of a compiled model, as far as its compiler tells.

    Args:
        asked: the devices, by name, that run it.
        metadata: of `compiled_model/v1`.
        runs_here: whether verify will measure its latency; else the compiler's estimate counts.
    """
    facts: Mapping[str, Any] = metadata["facts"]
    found: list[RequirementOutcome] = []
    for name, device in asked.items():
        if not runs_here and ESTIMATED in facts:
            found += of_latency(name, device, facts[ESTIMATED], ESTIMATE)
        if ARENA in facts:
            found += of_memory(name, device, facts[ARENA], "arena")
        found += of_size(name, device, metadata["size"])
        found += of_energy(name, device, facts.get(ENERGY))
        found += of_mapped(name, device, metadata["share"])
    return found


def of_latency(
    name: str, device: DeviceRequirement, found: float | None, note: str
) -> list[RequirementOutcome]:
    """Of the 99th percentile of a prediction, in milliseconds."""
    return at_most(f"{name}: 99th percentile of latency", device.p99_ms, found, " ms", note)


def of_memory(
    name: str, device: DeviceRequirement, found: float | None, note: str
) -> list[RequirementOutcome]:
    """Of memory while the model runs, in bytes."""
    value = None if found is None else found / 1e6
    return at_most(f"{name}: memory", device.memory_mb, value, " MB", note)


def of_size(name: str, device: DeviceRequirement, found: int) -> list[RequirementOutcome]:
    """Of the model's file, in bytes."""
    return at_most(f"{name}: size of the model", device.size_kb, found / 1e3, " kB")


def of_energy(
    name: str, device: DeviceRequirement, found: float | None, note: str = ""
) -> list[RequirementOutcome]:
    """Of a prediction, in millijoules."""
    note = note or ("" if found is not None else "nothing measures it here")
    return at_most(f"{name}: energy of a prediction", device.energy_mj, found, " mJ", note)


def of_mapped(
    name: str, device: DeviceRequirement, found: float | None
) -> list[RequirementOutcome]:
    """Of the share of operators on the accelerator; None of a model that is not compiled."""
    if device.mapped_share is None:
        return []
    what = f"{name}: operators on the accelerator"
    note = "" if found is not None else "the model is not compiled for it"
    return [RequirementOutcome(what, device.mapped_share, True, found, note=note)]


def at_most(
    what: str, limit: float | None, value: float | None, unit: str = "", note: str = ""
) -> list[RequirementOutcome]:
    """An upper bound; nothing where there is none. What nothing measured keeps nothing back."""
    if limit is None:
        return []
    return [RequirementOutcome(what, limit, False, value, unit, note, needed=False)]
