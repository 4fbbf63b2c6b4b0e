"""The devices of a fleet as they are known now, in memory: one record each, replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from edgeline.fleet.statuses import DEFAULT_INTERVAL, DeviceStatus
from edgeline.server.fleet.protocol import MISSED

DeviceState = Literal["current", "stale", "silent", "revoked"]
STATES: tuple[DeviceState, ...] = ("current", "stale", "silent", "revoked")


class FleetDevice(msgspec.Struct, frozen=True, gc=False):
    """A device.

    Attributes:
        key: the public half of its key, 32 bytes.
        groups: that its enrolment token gave it.
        token: what its enrolment token is called.
        enrolled, revoked, received: seconds since 1970, by this server's clock; `revoked` is None
            while it is trusted, `received`, of its last status, None before the first.
        counter: of the last status that was taken.
        status: None where there is none, or another edgeline kept it.
    """

    name: str
    key: bytes
    groups: tuple[str, ...]
    token: str
    enrolled: float
    revoked: float | None = None
    counter: int = 0
    received: float | None = None
    status: DeviceStatus | None = None

    @property
    def wave_groups(self) -> tuple[str, ...]:
        """The groups by which it knows its waves: its own `--group`, as it told; those of its
        token before it has told any."""
        told = self.status.groups if self.status is not None else None
        return self.groups if told is None else told

    @property
    def interval(self) -> float:
        return self.status.interval if self.status is not None else DEFAULT_INTERVAL

    @property
    def skew(self) -> float:
        """Seconds by which its clock is ahead of this server's."""
        if self.status is None or self.received is None:
            return 0.0
        return self.status.time - self.received

    def state(self, now: float) -> DeviceState:
        """Revoked; silent, it has never told anything; stale, it has missed `MISSED` statuses."""
        if self.revoked is not None:
            return "revoked"
        if self.received is None:
            return "silent"
        return "stale" if now - self.received > MISSED * self.interval else "current"


class FleetState:
    """All devices, by name. It is changed on the event loop and read by any thread: each record is
    replaced, and a reader goes through those that there were when it began."""

    def __init__(self, devices: Iterable[FleetDevice] = ()) -> None:
        self._devices = {device.name: device for device in devices}
        self._names: list[str] | None = None

    def __len__(self) -> int:
        return len(self._devices)

    def get(self, name: str) -> FleetDevice | None:
        return self._devices.get(name)

    def put(self, device: FleetDevice) -> None:
        if device.name not in self._devices:
            self._names = None
        self._devices[device.name] = device

    def take(self, device: FleetDevice, status: DeviceStatus, received: float) -> None:
        """A status has been taken; its counter counts even where it cannot be kept."""
        self._devices[device.name] = FleetDevice(
            *(device.name, device.key, device.groups, device.token, device.enrolled),
            *(device.revoked, status.counter, received, status),
        )

    def all(self) -> list[FleetDevice]:
        return list(self._devices.values())

    def after(self, name: str) -> Iterator[FleetDevice]:
        """Those whose names come after one, in the order of names."""
        names = self._names
        if names is None:
            self._names = names = sorted(self._devices.copy())
        for each in names:
            if each > name and (device := self._devices.get(each)) is not None:
                yield device
