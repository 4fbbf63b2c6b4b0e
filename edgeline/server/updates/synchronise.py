"""Bring what a signed repository holds to this device's disk; `child` is the process around it.

Nothing but what signed metadata lists is ever used:

- root to root from the one that the device was given, each signed by the one before;
- timestamp, snapshot, targets and the roles that these delegate to (see `delegations`) fresh,
  signed by enough keys, never older than those before;
- each file of the size and digest that the targets say.

Without the network (`online` false) the metadata of the last time is checked again, and with it
every file on the disk. Its age does not count then: a device that cannot reach anybody goes on.

Which versions those are says `selection`. One that was withdrawn is still genuine: it can serve
until another has come, and goes at the next check, since the other may fail to load.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, Snapshot, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edgeline.errors import EdgelineError
from edgeline.server.updates import clock, delegations
from edgeline.server.updates.delegations import DelegatedRoles, RoleSource
from edgeline.server.updates.disk import FULL, FullError, RefusedVersionError, VersionStore
from edgeline.server.updates.fetching import (
    PIECE,
    MissingError,
    Origin,
    UnreachableError,
    explained,
    origin,
)
from edgeline.server.updates.order import UpdateOrder, UpdateResult
from edgeline.server.updates.selection import (
    ListedVersion,
    VersionKey,
    VersionSelection,
    in_waves,
    listed,
)

FRESH = ("timestamp", "snapshot", "targets")  # the roles that are renewed


def synchronise(order: UpdateOrder) -> UpdateResult:
    """Carry out an order; whatever goes wrong is in the result, and the disk stays good."""
    state, result = Path(order.state), UpdateResult()
    store = VersionStore(state)
    try:
        trusted = Path(order.root).read_bytes()
        place = origin(order.location)
        (state / "tuf").mkdir(parents=True, exist_ok=True)
        lock = _lock(state / "tuf" / ".lock")
    except OSError as error:
        return UpdateResult("failed", f"{error.filename} cannot be used ({error.strerror}).")
    except EdgelineError as error:
        return UpdateResult("failed", str(error))
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return UpdateResult(
                "failed", f"{state} is in use by another server: give each its own."
            )
        if order.online:
            with _explained_in(result, state / "tuf"):
                _refresh(place, state / "tuf", trusted)
        targets: Targets | None = None
        try:
            targets = _targets(state / "tuf", trusted)
        except EdgelineError as error:
            if result.outcome == "ok":
                result.outcome, result.sentence = "refused", str(error)
        if targets is None:
            return result
        result.expires = _expires(state / "tuf")
        fetcher = Fetcher(place) if order.online and result.outcome == "ok" else None
        delegated = DelegatedRoles(targets)
        with _explained_in(result):
            folder = state / "tuf" / "delegated"
            snapshot, now = _snapshot(state / "tuf"), clock.now(state / "tuf")
            source = RoleSource(folder, fetcher, snapshot, now)
            delegated = delegations.gather(targets, source)
        selection = VersionSelection(
            _in_waves(store, listed(delegated), order, clock.at_least(state / "tuf")),
            *(order.versions, order.bad, order.stable, order.returned),
        )
        if order.online and result.outcome == "ok":
            _bring(store, place, selection, order.limit, result, whole=not delegated.faults)
            if result.outcome == "ok":
                result.outcome, result.sentence = delegated.outcome()
        _take_stock(store, selection, not order.online, result)
    return result


def _in_waves(
    store: VersionStore,
    found: Mapping[VersionKey, ListedVersion],
    order: UpdateOrder,
    now: datetime | None,
) -> Mapping[VersionKey, ListedVersion]:
    """By the time that is proven, and not by this device's clock, which may be ahead."""
    rolling = [key for key, entry in found.items() if entry.plan or entry.unread]
    present = [k for k in rolling if store.intact(*k, found[k].manifest.digest, deep=False)]
    return in_waves(found, present, order.device, order.groups, now)


def _bring(
    store: VersionStore,
    place: Origin,
    selection: VersionSelection,
    limit: int,
    result: UpdateResult,
    whole: bool,
) -> None:
    """Fetch what is wanted and, where the list is whole, remove what is not."""
    before = list(store.versions())
    for key in selection.wanted():
        manifest = selection.listed[key].manifest
        if selection.listed[key].held or store.intact(*key, manifest.digest, deep=False):
            continue
        with _explained_in(result):
            try:
                result.fetched += store.install(place, manifest, *key, limit)
            except FullError:
                _remove(store, list(selection.spare(list(store.versions()))))
                if not store.prune(partials=True):
                    raise
                result.fetched += store.install(place, manifest, *key, limit)
            except RefusedVersionError as error:
                result.refused.setdefault(key[0], {})[key[1]] = str(error)
                raise
    if whole:
        _remove(store, list(selection.gone(list(store.versions()), before)))
    store.prune(partials=result.outcome == "ok")


def _remove(store: VersionStore, versions: list[tuple[str, int]]) -> None:
    for name, version in versions:
        store.remove(name, version)


def _take_stock(
    store: VersionStore, selection: VersionSelection, deep: bool, result: UpdateResult
) -> None:
    """Tell what is on the disk and genuine, and what is wanted and not there."""
    for name, version in store.versions():
        entry = selection.listed.get((name, version))
        if entry is None:
            continue
        if store.intact(name, version, entry.manifest.digest, deep):
            result.models.setdefault(name, {})[version] = {
                "manifest": entry.manifest.digest,
                "labels": entry.labels,
                "withdrawn": entry.withdrawn,
            }
        elif deep:
            result.outcome = "refused"
            result.sentence = f"{name} {version} on the disk was changed: it is not served."
            store.remove(name, version)
    for (name, version), entry in sorted(selection.listed.items()):
        if entry.waits is not None:
            result.waits.setdefault(name, {})[version] = dict(entry.waits)
    for name, version in selection.wanted():
        if version not in result.models.get(name, {}):
            result.pending.setdefault(name, []).append(version)


class Fetcher(FetcherInterface):
    """python-tuf's way to the repository."""

    def __init__(self, place: Origin) -> None:
        self._place = place

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix("repository:///")  # whoever asks for it quotes it
        try:
            with explained(path):
                stream, _ = self._place.open(path)
        except MissingError as error:
            raise DownloadHTTPError(str(error), 404) from error
        return self._pieces(stream, path)

    def _pieces(self, stream: Any, path: str) -> Iterator[bytes]:
        with stream, explained(path):
            while piece := stream.read(PIECE):
                yield piece


def _lock(file: Path) -> BinaryIO:
    """Open a file to lock it, also where nothing may be written: what is there still serves."""
    try:
        return open(file, "ab")
    except OSError:
        if file.exists():
            return open(file, "rb")
        raise


def _refresh(place: Origin, folder: Path, trusted: bytes) -> None:
    config = UpdaterConfig(prefix_targets_with_hash=False)
    Updater(
        str(folder),
        "repository:///metadata/",
        fetcher=Fetcher(place),
        config=config,
        bootstrap=trusted,
    ).refresh()
    verified = [_read(folder / f"{role}.json") for role in ("root", *FRESH)]
    clock.keep(folder, verified)
    for metadata in verified:  # tuf holds it to this device's clock alone
        if metadata.signed.is_expired(clock.now(folder)):
            raise ExpiredMetadataError(f"{metadata.signed.type}.json is expired")


@contextlib.contextmanager
def _explained_in(result: UpdateResult, folder: Path | None = None) -> Iterator[None]:
    """Say in the result what goes wrong in a block."""
    try:
        yield
    except (UnreachableError, MissingError) as error:
        result.outcome, result.sentence = "unreachable", str(error)
    except FullError as error:
        result.outcome, result.sentence = "full", str(error)
    except ExpiredMetadataError as error:
        result.outcome = "expired"
        result.sentence = f"The repository is not fresh ({error}): {_time(folder)}."
    except DownloadError as error:
        cause = error.__cause__ if isinstance(error.__cause__, EdgelineError) else error
        result.outcome, result.sentence = "unreachable", str(cause)
    except (RepositoryError, DeserializationError) as error:
        result.outcome, result.sentence = "refused", f"The metadata is not genuine ({error})."
    except EdgelineError as error:
        result.outcome, result.sentence = "refused", str(error)
    except OSError as error:
        result.outcome = "full" if error.errno in FULL else "failed"
        result.sentence = f"The state folder cannot be written ({error.strerror})."


def _time(folder: Path | None) -> str:
    """What time this device takes it to be."""
    clock_now = datetime.now(timezone.utc)
    told = f"by this device's clock it is {clock_now.isoformat(' ', 'minutes')}"
    proven = clock.at_least(folder) if folder else None
    if proven is None or proven <= clock_now:
        return told
    return f"{told}, and by what was signed at least {proven.isoformat(' ', 'minutes')}"


def _targets(folder: Path, trusted: bytes) -> Targets:
    """The targets on the disk, if the root that the device was given leads to them.

    Where a root has come and its targets have not yet, those that the root before it trusted
    still count.

    Raises:
        EdgelineError: they are not there, or nobody trusted has signed them.
    """
    roots = _roots(folder, trusted)
    try:
        targets: Metadata[Targets] = _read(folder / "targets.json")
    except (OSError, RepositoryError, DeserializationError) as error:
        raise EdgelineError("There are no versions on the disk yet.") from error
    for root in reversed(roots):
        with contextlib.suppress(RepositoryError, ValueError):
            root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
            return targets.signed
    raise EdgelineError("The list of versions on the disk was changed: it is not used.")


def _snapshot(folder: Path) -> Snapshot | None:
    """The snapshot on the disk: after a check it is fresh, else it is only asked for names."""
    with contextlib.suppress(OSError, RepositoryError, DeserializationError, ValueError):
        found = _read(folder / "snapshot.json").signed
        return found if isinstance(found, Snapshot) else None
    return None


def _roots(folder: Path, trusted: bytes) -> list[Metadata[Root]]:
    """The root that the device was given, and those that follow from it, as far as they do."""
    try:
        roots: list[Metadata[Root]] = [Metadata.from_bytes(trusted)]
        roots[0].verify_delegate("root", roots[0])
    except (RepositoryError, DeserializationError, ValueError) as error:
        raise EdgelineError(f"The trusted root is not a complete TUF root ({error}).") from error
    with contextlib.suppress(OSError, RepositoryError, DeserializationError, ValueError):
        while True:
            number = roots[-1].signed.version + 1
            root: Metadata[Root] = _read(folder / "root_history" / f"{number}.root.json")
            roots[-1].verify_delegate("root", root)
            root.verify_delegate("root", root)
            roots.append(root)
    return roots


def _expires(folder: Path) -> str:
    """When the first of the fresh roles expires."""
    found = []
    for role in FRESH:
        try:
            found.append(_read(folder / f"{role}.json").signed.expires)
        except (OSError, RepositoryError, DeserializationError):
            return ""
    return str(min(found).isoformat())


def _read(file: Path) -> Metadata[Any]:
    return Metadata.from_bytes(file.read_bytes())
