"""Delegated roles: what a team signs with keys of its own, for the paths that it was given.

The targets of a repository name such roles, and these name further ones. Which role speaks for a
path is decided as TUF does it: in order, the roles that a role names before those that stand behind
it, and behind one that is terminating nothing. A role that cannot be had speaks for its paths
nevertheless, with what was last known of it: no other takes its place.

A delegated role lists a version below its own name and number, `NAME/VERSION/manifest.json`, so a
team that was given `m/*/*` publishes versions of `m` and of nothing else.

Source: The Update Framework Specification 1.0.33, sections 4.5 and 5.6.7; TAP 15.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import DownloadError, ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface

from edgeline.errors import EdgelineError
from edgeline.server.updates.order import CheckOutcome

MOST_ROLES = 1024  # times that a repository's roles name one
LARGEST = 5_000_000  # bytes of a role, where the snapshot does not say how many it has
TOP = "targets"
Naming = tuple[str, str]  # who names a role, and the role
Faults = (RepositoryError, DeserializationError, DownloadError, ValueError)


@dataclass(frozen=True)
class RoleSource:
    """Where roles' metadata come from.

    Attributes:
        folder: where they are kept.
        fetcher: of the repository; None takes what is on the disk, whatever its age.
        snapshot: names the roles' versions; with a fetcher it is fresh. None where there is none.
        now: what metadata that comes is held to.
    """

    folder: Path
    fetcher: FetcherInterface | None
    snapshot: Snapshot | None
    now: datetime

    def file(self, name: str) -> Path:
        """Where a role is kept."""
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"


@dataclass
class DelegatedRoles:
    """The roles of a repository: each is had when it is first asked for.

    Attributes:
        source: where they come from; None where all that there are have been had.
        roles: what was verified.
        stale: why the newest metadata of a role is not to be had. It says nothing of a role that
            another names rightly: else each team could name another's role with a key of its own.
    """

    top: Targets
    source: RoleSource | None = None
    roles: dict[Naming, Targets] = field(default_factory=dict)
    stale: dict[Naming, Exception] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, Exception]:
        """By the names of roles that nobody names rightly, why not."""
        good = {name for parent, name in self.roles if (parent, name) not in self.stale}
        return {name: error for (_, name), error in self.stale.items() if name not in good}

    def paths(self) -> Iterator[str]:
        """What delegated roles list, whether or not they may."""
        found = (path for role in self.roles.values() for path in role.targets)
        yield from dict.fromkeys(found)

    def find(self, path: str) -> tuple[TargetFile, Naming] | None:
        """The target that a path has, and the naming of the role that speaks for it."""
        visited: set[str] = set()
        waiting = [("", TOP)]
        while waiting and len(visited) <= MOST_ROLES:
            parent, name = waiting.pop()
            if name in visited:
                continue
            role = self.top if name == TOP else self.role(parent, name)
            if role is None:
                return None
            if (target := role.targets.get(path)) is not None:
                return target, (parent, name)
            visited.add(name)
            children = []
            for child, terminating in _delegates(role, path):
                children.append((name, child))
                if terminating:
                    waiting = []
                    break
            waiting += reversed(children)
        return None

    def role(self, parent: str, name: str) -> Targets | None:
        """A role by the one that names it: the newest, else what is on the disk; None for neither.

        Raises:
            OSError: the folder cannot be written.
        """
        known, source = self.roles.get((parent, name)), self.source
        if known is not None or source is None or (parent, name) in self.stale:
            return known
        delegator = self.top if parent == TOP else self.named(parent)
        if source.fetcher is not None and source.snapshot is not None:
            try:
                known = _newest(delegator, name, source, source.fetcher, source.snapshot)
            except Faults as error:
                self.stale[parent, name] = error
        if known is None:
            known = _on_disk(delegator, name, source.file(name))
        if known is not None:
            self.roles[parent, name] = known
        return known

    def named(self, name: str) -> Targets:
        return next(role for (_, known), role in self.roles.items() if known == name)

    def outcome(self) -> tuple[CheckOutcome, str]:
        """What is wrong with the roles, as of a check; `ok` and nothing where nothing is."""
        for name, fault in self.faults.items():
            told = f"The delegated role {name!r} is not taken"
            cause = fault.__cause__ if isinstance(fault.__cause__, EdgelineError) else fault
            if isinstance(fault, ExpiredMetadataError):
                now = datetime.now(timezone.utc).isoformat(" ", "minutes")
                return "expired", f"{told} ({fault}): by this device's clock it is {now}."
            kind: CheckOutcome = "unreachable" if isinstance(fault, DownloadError) else "refused"
            return kind, f"{told} ({str(cause).rstrip('.')})."
        return "ok", ""


def gather(top: Targets, source: RoleSource) -> DelegatedRoles:
    """Verify all roles that a repository's targets lead to.

    Raises:
        OSError: the folder cannot be written.
    """
    found, waiting = DelegatedRoles(top, source), [TOP]
    kept: set[Path] = set()
    namings = 0
    while waiting:
        parent = waiting.pop(0)
        role = top if parent == TOP else found.named(parent)
        for name in _names(role, source.snapshot):
            if (parent, name) in found.roles:
                continue
            kept.add(source.file(name))
            namings += 1
            if namings > MOST_ROLES:  # those that are named nearer to the top have had their turn
                fault = RepositoryError(f"roles name over {MOST_ROLES} others")
                found.stale[parent, name] = fault
                return replace(found, source=None)
            first = all(known != name for _, known in found.roles)
            if found.role(parent, name) is not None:
                waiting += [name] if first else []
    if source.fetcher is not None and source.folder.is_dir():
        for file in set(source.folder.iterdir()) - kept:
            file.unlink(missing_ok=True)
    return replace(found, source=None)


def _names(role: Targets, snapshot: Snapshot | None) -> Iterator[str]:
    """The roles that a role names; of bins by hash, of which most may never have been made, those
    that are in the snapshot."""
    delegations = role.delegations
    if delegations is None:
        return
    if delegations.roles is not None:
        yield from delegations.roles
    elif delegations.succinct_roles is not None and snapshot is not None:
        named = (file.removesuffix(".json") for file in snapshot.meta)
        yield from filter(delegations.succinct_roles.is_delegated_role, named)


def _delegates(role: Targets, path: str) -> Iterator[tuple[str, bool]]:
    if role.delegations is not None:
        yield from role.delegations.get_roles_for_target(path)


def _newest(
    parent: Targets,
    name: str,
    source: RoleSource,
    fetcher: FetcherInterface,
    snapshot: Snapshot,
) -> Targets:
    """The metadata that the snapshot names, from the disk where it is that."""
    meta = snapshot.meta.get(f"{name}.json")
    if meta is None:
        raise RepositoryError("it is not in the snapshot")

    def checked(content: bytes) -> Targets:
        meta.verify_length_and_hashes(content)
        role = _verified(parent, name, content)
        if role.version != meta.version:
            raise RepositoryError(f"it is version {role.version}, not {meta.version}")
        if role.is_expired(source.now):
            raise ExpiredMetadataError(f"it expired at {role.expires.isoformat(' ', 'minutes')}")
        return role

    file = source.file(name)
    with contextlib.suppress(OSError, *Faults):
        return checked(file.read_bytes())
    url = f"repository:///metadata/{meta.version}.{quote(name, '')}.json"
    content = fetcher.download_bytes(url, meta.length or LARGEST)
    role = checked(content)
    file.parent.mkdir(exist_ok=True)
    draft = file.with_suffix(".partial")
    draft.write_bytes(content)
    draft.replace(file)
    return role


def _on_disk(parent: Targets, name: str, file: Path) -> Targets | None:
    with contextlib.suppress(OSError, *Faults):
        return _verified(parent, name, file.read_bytes())
    return None


def _verified(parent: Targets, name: str, content: bytes) -> Targets:
    metadata: Metadata[Targets] = Metadata.from_bytes(content)
    if not isinstance(metadata.signed, Targets):
        raise RepositoryError("it is not a role for targets")
    parent.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
    return metadata.signed
