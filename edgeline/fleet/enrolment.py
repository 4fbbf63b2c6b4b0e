"""Who belongs to the fleet: tokens, enrolments and revocations, each one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeline.fleet.database import Connected, groups_text
from edgeline.fleet.devices import FleetDevice
from edgeline.fleet.statuses import received
from edgeline.server.errors import Code, ServingError, not_found

_COLUMNS = "name, public_key, device_groups, token, enrolled, revoked, counter, received, body"
KEPT = 30 * 86400.0  # seconds that a used or expired token is remembered


@dataclass(frozen=True)
class EnrolmentToken:
    """A token that was made.

    Attributes:
        name: what it is called; `key`: the public half of what it is, 32 bytes.
        device: who may enrol with it; empty: any device that is not in the fleet yet.
        groups: of the device that does.
        expires: seconds since 1970.
    """

    name: str
    key: bytes
    device: str
    groups: tuple[str, ...]
    expires: float


@dataclass(frozen=True)
class KeptStatus:
    """A status on its way to the disk."""

    device: str
    key: bytes
    counter: int
    received: float
    body: bytes


class FleetRegister:
    """The fleet's devices on the disk. For one thread at a time."""

    def __init__(self, base: Connected) -> None:
        self._base = base

    def devices(self) -> list[FleetDevice]:
        """All of them."""
        with self._base.transaction():
            return list(map(_device, self._base.rows(f"SELECT {_COLUMNS} FROM fleet_devices")))

    def keep(self, statuses: Sequence[KeptStatus]) -> None:
        """Keep a batch of statuses, of each device the last one."""
        last = {each.device: each for each in statuses}  # in the order in which they came
        values = [
            (each.counter, each.received, each.body, each.device, each.key, each.counter)
            for each in last.values()
        ]
        with self._base.transaction():
            self._base.do(
                "UPDATE fleet_devices SET counter = ?, received = ?, body = ? "
                "WHERE name = ? AND public_key = ? AND counter < ?",
                values,
            )

    def add_tokens(self, tokens: Iterable[EnrolmentToken], now: float) -> None:
        """Keep new tokens, and forget those that are long over."""
        with self._base.transaction():
            self._base.do("DELETE FROM fleet_tokens WHERE expires < ?", [(now - KEPT,)])
            self._base.do(
                "INSERT INTO fleet_tokens VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                [
                    (each.name, each.key, each.device, groups_text(each.groups), now, each.expires)
                    for each in tokens
                ],
            )

    def token_key(self, name: str) -> bytes | None:
        """The public half of a token; None where there is none of that name."""
        with self._base.transaction():
            found = self._base.rows("SELECT public_key FROM fleet_tokens WHERE token = ?", [name])
        return bytes(found[0][0]) if found else None

    def enrol(self, device: str, key: bytes, token: str, now: float) -> FleetDevice:
        """Take a device in, by a token that it has signed with. The same once more changes nothing:
        the answer to the first may have been lost.

        Raises:
            ServingError: 403, the token does not allow it; 409, the key was used before.
        """
        with self._base.transaction():
            found = self._base.rows(
                "SELECT device, device_groups, expires, used_by, used_key FROM fleet_tokens "
                "WHERE token = ?",
                [token],
            )
            if not found:
                raise ServingError(Code.PERMISSION_DENIED, "The token is not known here.")
            meant, groups, expires, used_by, used_key = found[0]
            known = self._one(device)
            if used_by is not None:
                if used_by == device and bytes(used_key) == key and known and known.key == key:
                    if known.revoked is not None:
                        raise ServingError(
                            Code.PERMISSION_DENIED,
                            f"{device} is revoked: enrol it with a token that is made for it.",
                        )
                    return known
                raise ServingError(Code.PERMISSION_DENIED, "The token was used: make another.")
            if expires <= now:
                raise ServingError(Code.PERMISSION_DENIED, "The token has expired: make another.")
            if meant not in ("", device):
                raise ServingError(Code.PERMISSION_DENIED, f"The token is not for {device}.")
            if known is not None and meant != device:
                raise ServingError(
                    Code.PERMISSION_DENIED,
                    f"{device} is in the fleet: only a token that was made for it (--for {device}) "
                    "enrols it again.",
                )
            if self._base.rows("SELECT 1 FROM fleet_keys WHERE public_key = ?", [key]):
                raise ServingError(Code.ABORTED, "The key was enrolled before: make a new one.")
            self._base.do("INSERT INTO fleet_keys VALUES (?, ?, ?)", [(key, device, now)])
            self._base.do(
                "UPDATE fleet_tokens SET used_by = ?, used_key = ? WHERE token = ?",
                [(device, key, token)],
            )
            self._base.do("DELETE FROM fleet_devices WHERE name = ?", [(device,)])
            self._base.do(
                "INSERT INTO fleet_devices VALUES (?, ?, ?, ?, ?, NULL, 0, NULL, NULL)",
                [(device, key, groups, token, now)],
            )
            return FleetDevice(device, key, tuple(json.loads(groups)), token, now)

    def revoke(self, device: str, now: float) -> FleetDevice:
        """Trust a device no more.

        Raises:
            ServingError: 404, there is none of that name.
        """
        with self._base.transaction():
            self._base.do(
                "UPDATE fleet_devices SET revoked = ? WHERE name = ? AND revoked IS NULL",
                [(now, device)],
            )
            found = self._one(device)
        if found is None:
            raise not_found(f"There is no device {device[:200]!r}.")
        return found

    def _one(self, name: str) -> FleetDevice | None:
        found = self._base.rows(f"SELECT {_COLUMNS} FROM fleet_devices WHERE name = ?", [name])
        return _device(found[0]) if found else None


def _device(row: Sequence[Any]) -> FleetDevice:
    name, key, groups, token, enrolled, revoked, counter, time, body = row
    status = received(bytes(body)) if body is not None else None
    return FleetDevice(
        name, bytes(key), tuple(json.loads(groups)), token, enrolled, revoked, counter, time, status
    )
