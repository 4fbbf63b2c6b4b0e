"""Waves: which devices of a fleet may have a version, as the signed list of versions says it.

A version with waves is rolled out step by step. A wave is a share of the devices, or of those in
some groups. A device is in it where its position, which is the same whenever it is asked for, lies
below the share:

    position = int.from_bytes(sha256(device + "\\n" + model + "\\n" + version)[:8], "big") / 2**64

The version is part of it, so that not the same devices are first each time. Waves that are open
stay open: a device that is in one is in all larger ones. A wave opens when the publisher opens it,
or by time where it says so; a device has the version from then on, and from `not_before` on.

Shares are signed as whole millionths and times as whole seconds: TUF's canonical JSON has no
fractions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from edgeline.errors import EdgelineError
from edgeline.formats import names, typed

ROLLOUT = "rollout"  # what has the plan in `custom` of a manifest's entry
WHOLE = 1_000_000  # millionths: all devices
MOST_WAVES = 100
MOST_GROUPS = 1000
LONGEST = 10 * 366 * 86400  # seconds
_CIRCLE = 1 << 64


@dataclass(frozen=True)
class Wave:
    """A step of a rollout.

    Attributes:
        millionths: the share of the devices, 1 to 1,000,000.
        groups: those whose devices are meant; none: all devices.
        not_before: when devices may take the version, ISO 8601 with a time zone; "": at once.
        after: seconds since the wave before was opened, before which this one does not open.
        opens: `publisher`: it is opened by hand or by `edgeline fleet watch`; `time`: by itself,
            when `after` and `not_before` have passed.
    """

    millionths: int
    groups: tuple[str, ...] = ()
    not_before: str = ""
    after: int = 0
    opens: Literal["publisher", "time"] = "publisher"

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.millionths / WHOLE

    @property
    def begins(self) -> datetime | None:
        """`not_before` as a time."""
        return moment(self.not_before) if self.not_before else None

    def has(self, position: int, groups: Collection[str]) -> bool:
        """Whether a device is in it, by its position and the groups that it is in."""
        meant = not self.groups or any(group in self.groups for group in groups)
        return meant and position * WHOLE < self.millionths * _CIRCLE

    def covers(self, other: Wave) -> bool:
        """Whether each device of another wave is in this one."""
        groups = not self.groups or (bool(other.groups) and set(other.groups) <= set(self.groups))
        return groups and other.millionths <= self.millionths


@dataclass(frozen=True)
class WavePlan:
    """The waves of a version, and which of them are open.

    Attributes:
        waves: in their order; the last one is all devices.
        opened: when each of the open ones was opened, ISO 8601.
        labels: that the version gets when every device may have it.
    """

    waves: tuple[Wave, ...]
    opened: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def begun(self, now: datetime | None) -> list[datetime]:
        """When each of the waves that are open began: opened, and `not_before` passed or yet to.

        Args:
            now: the time; None where nothing proves it, and no wave opens by time.
        """
        begun: list[datetime] = []
        for number, wave in enumerate(self.waves):
            times = [wave.begins] if wave.begins else []
            if number < len(self.opened):
                begun.append(max([*times, moment(self.opened[number])]))
                continue
            times += [begun[-1] + timedelta(seconds=wave.after)] if begun else []
            if wave.opens != "time" or now is None or not times or max(times) > now:
                break
            begun.append(max(times))
        return begun

    def wave_of(self, position: int, groups: Collection[str]) -> int:
        """The first wave that a device is in, from 0."""
        for number, wave in enumerate(self.waves):
            if wave.has(position, groups):
                return number
        return len(self.waves) - 1

    def admits(self, position: int, groups: Collection[str], now: datetime | None) -> bool:
        """Whether a device may have the version: a wave that has begun has it."""
        begun = self.begun(now)
        return any(
            wave.has(position, groups) and (not wave.begins or (now is not None and begin <= now))
            for wave, begin in zip(self.waves, begun, strict=False)
        )

    def is_finished(self, now: datetime) -> bool:
        """Whether every device may have the version."""
        begun = self.begun(now)
        return len(begun) == len(self.waves) and begun[-1] <= now

    def to_json(self) -> dict[str, Any]:
        """As it is signed."""
        waves = []
        for wave in self.waves:
            entry: dict[str, Any] = {"millionths": wave.millionths}
            entry |= {"groups": [*wave.groups]} if wave.groups else {}
            entry |= {"not_before": wave.not_before} if wave.not_before else {}
            entry |= {"after": wave.after} if wave.after else {}
            entry |= {"opens": wave.opens} if wave.opens != "publisher" else {}
            waves.append(entry)
        found: dict[str, Any] = {"waves": waves, "opened": [*self.opened]}
        return found | ({"labels": [*self.labels]} if self.labels else {})


def from_json(value: object) -> WavePlan:
    """What was signed as a plan.

    Raises:
        EdgelineError: it is none that this edgeline knows.
    """
    plan: WavePlan = typed.convert(value, WavePlan)
    if fault := fault_of(plan):
        raise EdgelineError(fault)
    return plan


def fault_of(plan: WavePlan) -> str:
    """Why waves cannot be, without the end of a sentence; "" where they can."""
    if not 0 < len(plan.waves) <= MOST_WAVES:
        return f"there are {len(plan.waves)} waves: give 1 to {MOST_WAVES}"
    if len(plan.opened) > len(plan.waves):
        return "more waves are open than there are"
    for number, wave in enumerate(plan.waves, 1):
        if not 0 < wave.millionths <= WHOLE:
            return f"wave {number} has the share {wave.share:g}: give more than 0, at most 1"
        if not 0 <= wave.after <= LONGEST:
            return f"wave {number} is after {wave.after} s: give 0 to {LONGEST}"
        if len(wave.groups) > MOST_GROUPS or not all(map(names.LABEL.fullmatch, wave.groups)):
            return f"wave {number} has a group that is not a name: use letters, digits, dashes"
        for earlier, other in enumerate(plan.waves[: number - 1], 1):
            if other.covers(wave):
                return (
                    f"wave {number} (share {wave.share:g}) has no device that wave {earlier} "
                    f"(share {other.share:g}) does not have: shares have to grow"
                )
        if wave.opens == "time" and number > 1 and not (wave.after or wave.not_before):
            return f"wave {number} opens by time, but has neither after nor not_before"
        if wave.opens == "time" and number == 1 and not wave.not_before:
            return "wave 1 opens by time, but has no not_before"
    if plan.waves[-1].millionths < WHOLE or plan.waves[-1].groups:
        return (
            f"the last wave has the share {plan.waves[-1].share:g}"
            + (" of some groups" if plan.waves[-1].groups else "")
            + ": end with a wave of share 1 without groups, so that every device gets the version"
        )
    for said in (*plan.opened, *(wave.not_before for wave in plan.waves if wave.not_before)):
        try:
            known = moment(said).year < 9000  # what is added to it is a time as well
        except (ValueError, OverflowError):
            known = False
        if not known:
            return f"{said[:40]!r} is not a time with a time zone, such as 2027-01-31T06:00:00Z"
    return ""


def position(device: str, model: str, version: int) -> int:
    """Where a device stands in a version's rollout, from 0 to 2**64 - 1."""
    digest = hashlib.sha256(f"{device}\n{model}\n{version}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def opened(plan: WavePlan, count: int, now: datetime) -> WavePlan:
    """A plan with at least so many waves open: those that are not yet were opened now."""
    times = [time.isoformat() for time in plan.begun(now)]
    known = [*plan.opened, *times[len(plan.opened) :]]
    return replace(plan, opened=(*known, *[now.isoformat()] * (count - len(known))))


def moment(said: str) -> datetime:
    """A time in UTC.

    Raises:
        ValueError: it is none, or has no time zone.
    """
    found = datetime.fromisoformat(said.replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError(f"{said} has no time zone")
    return found.astimezone(timezone.utc)


def described(plan: WavePlan, number: int) -> str:
    """A wave for people, such as "wave 2 of 3 (10 % of lab)"; `number` from 0."""
    wave = plan.waves[number]
    of = f" of {', '.join(wave.groups)}" if wave.groups else ""
    return f"wave {number + 1} of {len(plan.waves)} ({100 * wave.share:.6g} %{of})"


def waits(plan: WavePlan, number: int, now: datetime | None) -> dict[str, Any]:
    """What a device in a wave waits for: `wave` (from 1), `of`, `share`, `not_before`, and a
    sentence for people without its beginning and end."""
    wave, begun = plan.waves[number], plan.begun(now)
    told = described(plan, number)
    when = wave.not_before
    if number >= len(begun):
        told += ", which opens by time" if wave.opens == "time" else ", which is not open"
        if number == len(begun) > 0 and wave.after:
            earliest = begun[-1] + timedelta(seconds=wave.after)
            when = max(wave.begins or earliest, earliest).isoformat()
    if when:
        told += f", not before {moment(when).isoformat(' ', 'minutes')}"
        told += ", and nothing that was signed proves the time" if now is None else ""
    return {
        "wave": number + 1,
        "of": len(plan.waves),
        "share": wave.share,
        "not_before": when,
        "sentence": told,
    }
