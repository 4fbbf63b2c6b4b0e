"""The four roles of a repository: read, sign, check, publish.

What is live is what a device would accept. What waits for signatures is staged beside it, and
goes live all at once, when everything verifies: the numbered files first, the timestamp, which
leads to them, last. A reader therefore sees the old state or the new one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from edgeline.errors import EdgelineError, UsageError
from edgeline.repository.place import Place
from edgeline.stores.signed import SIGNED_AT

ROLES = ("root", "targets", "snapshot", "timestamp")
DAY = 86400  # seconds
EXPIRY = {"root": 365.0, "targets": 365.0, "snapshot": 30.0, "timestamp": 7.0}  # days
PERIODS = "x-edgeline-expiry-seconds"  # in the root, for whoever renews a role

Roles = dict[str, Metadata[Any]]


@dataclass
class RepositoryState:
    """What a repository holds.

    Attributes:
        live: the newest published metadata by role; empty before the first publication.
        staged: what waits for signatures.
    """

    live: Roles = field(default_factory=dict)
    staged: Roles = field(default_factory=dict)

    @property
    def root(self) -> Metadata[Root]:
        """The root that decides who may sign: the staged one as soon as it is complete."""
        staged = self.staged.get("root")
        if staged is not None and missing(self, "root") == 0:
            return staged
        return self.live.get("root") or self.staged["root"]

    def newest(self, role: str) -> Metadata[Any] | None:
        """The staged metadata of a role, else the live one."""
        return self.staged.get(role) or self.live.get(role)

    def complete(self, role: str) -> Metadata[Any] | None:
        """The newest metadata of a role that has its signatures; a proposal holds up nothing."""
        for metadata in (self.staged.get(role), self.live.get(role)):
            if metadata is not None and lacking(self, role, metadata) == 0:
                return metadata
        return None


def read(place: Place) -> RepositoryState:
    """Read a repository.

    Raises:
        UsageError: there is none.
        EdgelineError: its metadata is damaged.
    """
    state = RepositoryState()
    number = 1
    while (root := _read(place, f"{number}.root")) is not None:
        state.live["root"] = root
        number += 1
    if timestamp := _read(place, "timestamp"):
        state.live["timestamp"] = timestamp
        snapshot = _required(place, f"{timestamp.signed.snapshot_meta.version}.snapshot")
        state.live["snapshot"] = snapshot
        version = snapshot.signed.meta["targets.json"].version
        state.live["targets"] = _required(place, f"{version}.targets")
    for role in ROLES:
        if staged := _read(place, f"staged/{role}"):
            live = state.live.get(role)
            if live is None or staged.signed.version > live.signed.version:
                state.staged[role] = staged
    if not state.live and not state.staged:
        raise UsageError(
            f"There is no signed repository at {place}: check the path, or make one with "
            "`edgeline repository init`."
        )
    return state


def missing(state: RepositoryState, role: str) -> int:
    """How many signatures the newest metadata of a role lacks."""
    metadata = state.newest(role)
    if metadata is None:
        return int(state.root.signed.roles[role].threshold)
    return lacking(state, role, metadata)


def lacking(state: RepositoryState, role: str, metadata: Metadata[Any]) -> int:
    """How many signatures metadata of a role lacks; a root needs its forerunner's, too."""
    arguments = (metadata.signed_bytes, metadata.signatures)
    try:
        if role != "root":
            return int(state.root.signed.get_verification_result(role, *arguments).missing)
        live = state.live.get("root")
        previous = live.signed if live and live.signed.version < metadata.signed.version else None
        result = metadata.signed.get_root_verification_result(previous, *arguments)
        return int(max(result.first.missing, result.second.missing))
    except ValueError as error:
        raise EdgelineError(f"The metadata of {role} is damaged ({error}).") from error


def stage(state: RepositoryState, role: str, signed: Any) -> None:
    """Let a new version of a role wait for its signatures."""
    live, time = state.live.get(role), now(state)
    signed.version = live.signed.version + 1 if live else 1
    signed.expires = expiry(state.root.signed if role != "root" else signed, role, time)
    signed.unrecognized_fields[SIGNED_AT] = time.isoformat()
    state.staged[role] = Metadata(signed)


def expiry(root: Root, role: str, now: datetime | None = None) -> datetime:
    """When a role that is signed now will expire."""
    seconds = root.unrecognized_fields.get(PERIODS, {}).get(role, EXPIRY[role] * DAY)
    now = now or datetime.now(timezone.utc).replace(microsecond=0)
    return now + timedelta(seconds=int(seconds))


def now(state: RepositoryState) -> datetime:
    """The time, or the one of the last signature where that is later: devices remember it, so that
    of a machine whose clock was ahead would have all that is signed after it expire at once."""
    found = [datetime.now(timezone.utc).replace(microsecond=0)]
    for metadata in state.live.values():
        with suppress(TypeError, ValueError):
            said = metadata.signed.unrecognized_fields.get(SIGNED_AT)
            found.append(datetime.fromisoformat(said))
    return max(time for time in found if time.tzinfo)


def key_ids(state: RepositoryState) -> set[str]:
    """The keys of all roles, as the newest root names them."""
    return {keyid for role in state.root.signed.roles.values() for keyid in role.keyids}


def sign(
    state: RepositoryState,
    signers: Iterable[CryptoSigner],
    renew: bool = False,
    waiting: Collection[str] = (),
) -> list[str]:
    """Sign what is staged and what has to follow from it: a snapshot, and a timestamp.

    Args:
        signers: the keys at hand; each signs the roles that it is a key of.
        renew: also sign the timestamp anew, and the other roles of these keys once half of their
            time is gone.
        waiting: roles that wait elsewhere with this number, which a renewal takes from them:
            they are renewed late as well.

    Returns:
        The roles that got a signature.
    """
    keys = {signer.public_key.keyid: signer for signer in signers}
    signed = [role for role in ("root",) if _sign(state, role, keys)]
    now = datetime.now(timezone.utc)
    for role, below in (("targets", ""), ("snapshot", "targets"), ("timestamp", "snapshot")):
        led = state.complete(below) if below else None
        if below and led is None:
            break
        newest, live = state.newest(role), state.live.get(role)
        stale = bool(below) and not leads(newest, led)
        if role in state.staged:
            again = stale or state.staged[role].signed.is_expired(now)  # it waited too long
        else:
            late = live is not None and live.signed.expires - now < _half(state.root.signed, role)
            due = renew and (late or (role == "timestamp" and role not in waiting))
            again = stale or due or missing(state, role) > 0
        if again and any(keyid in keys for keyid in state.root.signed.roles[role].keyids):
            stage(state, role, _next(role, newest, led))
        if _sign(state, role, keys):
            signed.append(role)
    return signed


def publish(place: Place, state: RepositoryState) -> bool:
    """Write a state: live if everything in it verifies, else staged. To be called under `lock`.

    Returns:
        Whether it is live.
    """
    complete = {role: state.complete(role) for role in ROLES}
    whole = (
        all(complete.values())
        and leads(complete["snapshot"], complete["targets"])
        and leads(complete["timestamp"], complete["snapshot"])
    )
    going = {role: m for role, m in state.staged.items() if whole and complete[role] is m}
    for role in state.staged.keys() - going.keys():
        place.write(f"metadata/staged/{role}.json", state.staged[role].to_bytes())
    for role in _order(state, going):
        number = "" if role == "timestamp" else f"{going[role].signed.version}."
        place.write(f"metadata/{number}{role}.json", going[role].to_bytes())
    for role in going:
        state.live[role] = state.staged.pop(role)
        place.remove(f"metadata/staged/{role}.json")
    return not state.staged


def keep(
    place: Place, state: RepositoryState, signers: Iterable[CryptoSigner], renew: bool
) -> list[str]:
    """Publish under the live root while a new one waits for the signatures of other roles.

    Else the timestamp would expire with it, and nothing could be withdrawn. What was signed anew
    for the new root alone goes on waiting. To be called after `publish`, under `lock`.

    Returns:
        The roles that got a signature.
    """
    if "root" not in state.live or state.root is state.live["root"]:
        return []
    staged, live = state.staged.get("targets"), state.live["targets"]
    changed = staged is not None and staged.signed.targets != live.signed.targets
    under = RepositoryState(dict(state.live), {"targets": staged} if staged and changed else {})
    signed = sign(under, signers, renew, waiting=state.staged)
    publish(place, under)
    state.live = under.live
    for role, metadata in list(state.staged.items()):
        if metadata.signed.version <= state.live[role].signed.version:
            del state.staged[role]  # its number is gone: it is signed anew
    return signed


def _order(state: RepositoryState, going: Roles) -> list[str]:
    """The timestamp last; a new root after it where the timestamp satisfies the old one, too."""
    order = ["targets", "snapshot", "root", "timestamp"]
    live = state.live.get("root")
    if live is not None and all(
        live.signed.get_verification_result(r, m.signed_bytes, m.signatures).verified
        for r, m in going.items()
        if r != "root"
    ):
        order = ["targets", "snapshot", "timestamp", "root"]
    return [role for role in order if role in going]


def _next(role: str, newest: Metadata[Any] | None, led: Metadata[Any] | None) -> object:
    if role == "targets" or led is None:
        return deepcopy(newest.signed) if newest else Targets()
    # no digest or length: signatures that are added later change the file
    pointer = MetaFile(led.signed.version)
    if role == "snapshot":
        others = dict(newest.signed.meta) if newest else {}  # of delegated roles
        return Snapshot(meta={**others, "targets.json": pointer})
    return Timestamp(snapshot_meta=pointer)


def leads(role: Metadata[Any] | None, below: Metadata[Any] | None) -> bool:
    """Whether a snapshot points to these targets, or a timestamp to this snapshot."""
    if role is None or below is None:
        return False
    signed = role.signed
    meta = signed.meta["targets.json"] if signed.type == "snapshot" else signed.snapshot_meta
    return bool(meta.version == below.signed.version)


def _half(root: Root, role: str) -> timedelta:
    return (expiry(root, role) - datetime.now(timezone.utc)) / 2


def _sign(state: RepositoryState, role: str, keys: Mapping[str, CryptoSigner]) -> bool:
    """Sign a staged role with all keys that may, those of the root before included."""
    staged = state.staged.get(role)
    if staged is None:
        return False
    roots = [root.signed for root in (state.root, state.live.get("root")) if root]
    if role == "root":
        roots.append(staged.signed)
    allowed = {keyid for root in roots for keyid in root.roles[role].keyids}
    fresh = (allowed & keys.keys()) - staged.signatures.keys()
    for keyid in sorted(fresh):
        staged.sign(keys[keyid], append=True)
    return bool(fresh)


def _required(place: Place, name: str) -> Metadata[Any]:
    metadata = _read(place, name)
    if metadata is None:
        raise EdgelineError(f"metadata/{name}.json is missing: restore it from a backup.")
    return metadata


def _read(place: Place, name: str) -> Metadata[Any] | None:
    content = place.read(f"metadata/{name}.json")
    if content is None:
        return None
    try:
        return Metadata.from_bytes(content)
    except (DeserializationError, RepositoryError, ValueError) as error:
        raise EdgelineError(f"metadata/{name}.json is damaged ({error}).") from error
