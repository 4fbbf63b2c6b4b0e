"""What `edgeline fleet watch` is told: by which limits a wave is raised, or a version withdrawn.

    interval: 5m
    rules:
      - model: taxi
        limits: {failed: 0.02, drift: 0.3, latency_p95_ms: 50, min_devices: 20, soak: 30m}

Whatever is wrong with the file is one sentence that names it and the rule.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeline.errors import UsageError
from edgeline.formats import durations, names, plain_file, plain_yaml

LARGEST = 1 << 20  # bytes
LONGEST = 366 * 86400.0  # seconds
WatchShare = Annotated[float, msgspec.Meta(ge=0, le=1)]


class WatchLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a version is good enough for the next wave, and when it is withdrawn.

    Attributes:
        failed: the share of the devices that tried a version, on which it may fail.
        drift, decay: the share of those that look for it, which may report drift or decay; None:
            these are not looked at.
        latency_p95_ms: what 95 % of the requests may take, in milliseconds; None as before.
        stale: the share of its devices that may be silent for a wave to be raised.
        min_devices: how many of the devices that the open wave adds have to serve it for the next
            one; all of them where the wave adds fewer. Where fewer have tried it, those that lack
            count as good ones.
        soak: how long a wave is open before the next one; seconds, or such as 30m.
    """

    failed: WatchShare
    drift: WatchShare | None = None
    decay: WatchShare | None = None
    latency_p95_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    stale: WatchShare = 0.1
    min_devices: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 20
    soak: Any = "30m"

    @property
    def soak_time(self) -> float:
        """In seconds."""
        return durations.seconds(self.soak)


class WatchRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of a model's versions."""

    model: str
    limits: WatchLimits


class WatchFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file; `interval` is the time between two looks, in seconds or such as 5m."""

    rules: Annotated[list[WatchRule], msgspec.Meta(min_length=1, max_length=1000)]
    interval: Any = "5m"

    @property
    def every(self) -> float:
        """The interval in seconds."""
        return durations.seconds(self.interval)


def read(path: str | Path) -> WatchFile:
    """The rules of a file.

    Raises:
        UsageError: it is missing or malformed, or a rule cannot be.
    """
    path = Path(path)
    try:
        found = plain_yaml.load(plain_file.read_text(path, LARGEST).encode(), WatchFile)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: save it as that.") from error
    except plain_yaml.YamlError as error:
        raise UsageError(f"{path}, line {error.line}: these are no rules: {error}.") from error
    if fault := _fault(found):
        raise UsageError(f"{path}: {fault}.")
    return found


def _fault(found: WatchFile) -> str:
    times = [("interval", found.interval, 1.0)]
    seen: set[str] = set()
    for rule in found.rules:
        if not names.LABEL.fullmatch(rule.model):
            return f"{rule.model[:100]!r} is not a model's name: give lower-case letters, digits, -"
        if rule.model in seen:
            return f"the model {rule.model} has two rules: leave one out"
        seen.add(rule.model)
        times.append((f"soak of {rule.model}", rule.limits.soak, 0.0))
    for what, value, least in times:
        try:
            if not least <= durations.seconds(value) <= LONGEST:
                return f"{what} is {value}: give {durations.told(least)} to a year"
        except ValueError as error:
            return f"{what}: {error}"
    return ""
