"""The file that declares waves. Whatever is wrong with it is one sentence that names file and wave.

groups: [lab, berlin]               # the names that there are; a wave may have no other
waves:
  - {share: 1, groups: [lab]}       # opened with the publication
  - {share: 0.01, after: 1d}        # opened by `edgeline repository wave` or `fleet watch`
  - {share: 0.1, after: 1d, not_before: 2027-01-31T06:00:00Z}
  - {share: 1, after: 2d, opens: time}
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgeline.artifacts import waves
from edgeline.artifacts.waves import WHOLE, Wave, WavePlan
from edgeline.errors import UsageError
from edgeline.formats import durations, plain_file, plain_yaml

__all__ = ["read"]
LARGEST = 1 << 20  # bytes


class WaveEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wave as it is declared (see `waves.Wave`)."""

    share: float
    groups: list[str] = []
    not_before: Any = None
    after: Any = 0
    opens: Literal["publisher", "time"] = "publisher"


class WaveFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    waves: list[WaveEntry]
    groups: list[str] = []


def read(path: str | Path) -> WavePlan:
    """The plan that a file declares, none of whose waves is open yet.

    Raises:
        UsageError: it is missing or malformed, or such waves cannot be.
    """
    path = Path(path)
    try:
        text = plain_file.read_text(path, LARGEST)
        found = plain_yaml.load(text.encode(), WaveFile)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: save it as that.") from error
    except plain_yaml.YamlError as error:
        raise UsageError(f"{path}, line {error.line}: it declares no waves: {error}.") from error
    try:
        plan = WavePlan(tuple(_wave(each, n) for n, each in enumerate(found.waves, 1)))
        fault = _unknown(found) or waves.fault_of(plan)
    except ValueError as error:
        fault = str(error)
    if fault:
        raise UsageError(f"{path}: {fault}.")
    return plan


def _wave(entry: WaveEntry, number: int) -> Wave:
    millionths = entry.share * WHOLE
    if not 0 < millionths <= WHOLE:  # nor NaN
        raise ValueError(
            f"wave {number} has the share {entry.share:g}: give more than 0 and up to 1"
        )
    if abs(millionths - round(millionths)) > 1e-3 or round(millionths) < 1:
        raise ValueError(f"wave {number} has the share {entry.share!r}: give whole millionths")
    try:
        after = durations.seconds(entry.after)
    except ValueError as error:
        raise ValueError(f"after of wave {number}: {error}") from None
    if after != int(after):
        raise ValueError(f"wave {number} is after {after:g} s: give whole seconds")
    groups, when = tuple(entry.groups), _time(entry.not_before, number)
    return Wave(round(millionths), groups, when, int(after), entry.opens)


def _time(value: object, number: int) -> str:
    """`not_before` in UTC."""
    if value is None:
        return ""
    try:
        found = (
            datetime.fromisoformat(value.replace("Z", "+00:00"))
            if isinstance(value, str)
            else value
        )
        if not isinstance(found, datetime) or found.tzinfo is None:
            raise ValueError
        return found.astimezone(timezone.utc).replace(microsecond=0).isoformat()
    except (ValueError, OverflowError):
        raise ValueError(
            f"not_before of wave {number} is {str(value)[:40]}: give a time with its zone, such as "
            "2027-01-31T06:00:00Z"
        ) from None


def _unknown(found: WaveFile) -> str:
    for number, entry in enumerate(found.waves, 1):
        for group in entry.groups:
            if group not in found.groups:
                there = ", ".join(found.groups) or "none"
                return f"wave {number} has the group {group[:100]!r}: the file's groups are {there}"
    return ""
