"""What the devices that an open wave adds tell of its version: the evidence for the next wave.

Who has taken a version before says nothing of the wave that is open now. So those are counted that
are in it and in no wave before it, of all devices that are enrolled: one that never took the
version, or died before it could tell so, counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from edgeline.artifacts import waves
from edgeline.artifacts.waves import MOST_GROUPS, MOST_WAVES, WHOLE, Wave, WavePlan
from edgeline.fleet.devices import FleetDevice
from edgeline.server.errors import invalid

MOST_VERSIONS = 20  # whose waves are asked for at once


class AskedWave(msgspec.Struct, frozen=True):
    """A wave that is open, as it is asked for."""

    millionths: Annotated[int, Meta(ge=1, le=WHOLE)]
    groups: Annotated[tuple[str, ...], Meta(max_length=MOST_GROUPS)] = ()


OpenWaves: TypeAlias = Annotated[tuple[AskedWave, ...], Meta(min_length=1, max_length=MOST_WAVES)]
_DECODER = msgspec.json.Decoder(Annotated[dict[int, OpenWaves], Meta(max_length=MOST_VERSIONS)])


def asked(plans: Mapping[int, tuple[WavePlan, int]]) -> str:
    """The query `waves`: of each version its open waves, in JSON.

    Args:
        plans: by version, with how many of its waves are open. Of more than `MOST_VERSIONS` the
            newest are asked for.
    """
    some = sorted((version for version, (_, count) in plans.items() if count), reverse=True)
    found = {
        version: [AskedWave(each.millionths, each.groups) for each in plan.waves[:count]]
        for version in some[:MOST_VERSIONS]
        for plan, count in [plans[version]]
    }
    return msgspec.json.encode(found).decode() if found else ""


def read(text: str) -> dict[int, tuple[Wave, ...]]:
    """What `asked` has made.

    Raises:
        ServingError: 400, it is something else.
    """
    if not text:
        return {}
    try:
        found: dict[int, tuple[AskedWave, ...]] = _DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise invalid(f"waves is malformed: {error}.") from None
    return {
        version: tuple(Wave(each.millionths, each.groups) for each in several)
        for version, several in found.items()
    }


def counted(
    devices: Iterable[FleetDevice], model: str, version: int, several: tuple[Wave, ...], now: float
) -> dict[str, Any]:
    """Of the devices that the last of some open waves adds, how many there are and how they are.

    Args:
        now: seconds since 1970.

    Returns:
        `devices`: that are enrolled and not revoked; of these `serving` and `failed`, that told so
        lately, and `stale`, that did not tell anything lately, or never.
    """
    found = {"devices": 0, "serving": 0, "failed": 0, "stale": 0}
    *earlier, last = several
    for device in devices:
        state, groups = device.state(now), device.wave_groups
        position = waves.position(device.name, model, version)
        if state == "revoked" or not last.has(position, groups):
            continue
        if any(wave.has(position, groups) for wave in earlier):
            continue
        found["devices"] += 1
        if state != "current" or device.status is None:
            found["stale"] += 1
            continue
        for each in device.status.models:
            if (each.model, each.version) == (model, version):
                found["serving"] += each.outcome == "serving"
                found["failed"] += each.outcome in ("failed", "returned")
    return found
