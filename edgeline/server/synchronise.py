"""Bring what a signed repository holds to this device's disk; `look` is the process around it.

Nothing but what signed metadata lists is ever used:

- root to root from the one that the device was given, each signed by the one before;
- timestamp, snapshot and targets fresh, signed by enough keys, never older than those before;
- each file of the size and digest that the targets say.

Without the network (`online` false) the metadata of the last time is checked again, and with it
every file on the disk. Its age does not count then: a device that cannot reach anybody goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edgeline.bundle import MANIFEST, NAME
from edgeline.errors import EdgelineError
from edgeline.server.fetching import (
    PIECE,
    MissingError,
    Origin,
    UnreachableError,
    explained,
    origin,
)
from edgeline.server.store import FullError, Store, Wanted


@dataclass(frozen=True)
class Order:
    """What to do.

    Attributes:
        location: of the repository.
        root: the file of the root that is trusted from the start.
        state: the folder for metadata and versions.
        versions: how many of the newest versions of a model are wanted; 0 for all.
        limit: the largest size of a version in bytes.
        online: whether to look at the repository, or only at the disk.
        bad: digests of manifests of versions that are not to be fetched.
    """

    location: str
    root: str
    state: str
    versions: int = 1
    limit: int = 2 << 30
    online: bool = True
    bad: tuple[str, ...] = ()


@dataclass
class Result:
    """What came of it.

    Attributes:
        outcome: `ok`; `unreachable`; `expired`, no fresh metadata is to be had; `refused`, what
            came is not genuine; `full`, the disk; `failed`.
        sentence: why not ok.
        expires: when the metadata expires, ISO 8601; empty if there is none.
        fetched: bytes of files.
        models: by name and version the sha256 of the manifest and the labels, of what is on the
            disk and genuine.
    """

    outcome: str = "ok"
    sentence: str = ""
    expires: str = ""
    fetched: int = 0
    models: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)


def synchronise(order: Order) -> Result:
    """Carry out an order; whatever goes wrong is in the result, and the disk stays good."""
    state, result = Path(order.state), Result()
    store = Store(state)
    try:
        trusted = Path(order.root).read_bytes()
        place = origin(order.location)
        (state / "tuf").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return Result("failed", f"{error.filename} cannot be used ({error.strerror}).")
    except EdgelineError as error:
        return Result("failed", str(error))
    with open(state / "tuf" / ".lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return Result("failed", f"{state} is in use by another server: give each its own.")
        if order.online:
            with _told(result):
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
        offered = dict(_offered(targets))
        if order.online and result.outcome == "ok":
            for (name, version), manifest in _wanted(offered, order):
                if not store.intact(name, version, manifest.sha256, deep=False):
                    with _told(result):
                        result.fetched += store.install(place, manifest, name, version, order.limit)
            _clean(store, offered, order)
            store.prune(partials=result.outcome == "ok")
        for key in store.versions():
            target = offered.get(key)
            if target is None:
                continue
            digest, labels = target[0].sha256, target[1]
            if store.intact(*key, digest, deep=not order.online):
                name, version = key
                entry = {"manifest": digest, "labels": labels}
                result.models.setdefault(name, {})[version] = entry
            elif not order.online:
                result.outcome = "refused"
                result.sentence = f"{key[0]} {key[1]} on the disk was changed: it is not served."
                store.remove(*key)
    return result


class Fetcher(FetcherInterface):
    """python-tuf's way to the repository."""

    def __init__(self, place: Origin) -> None:
        self._place = place

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix("repository:///")
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


def _refresh(place: Origin, folder: Path, trusted: bytes) -> None:
    config = UpdaterConfig(prefix_targets_with_hash=False)
    Updater(
        str(folder),
        "repository:///metadata/",
        fetcher=Fetcher(place),
        config=config,
        bootstrap=trusted,
    ).refresh()


@contextlib.contextmanager
def _told(result: Result) -> Iterator[None]:
    """Say in the result what goes wrong in a block."""
    try:
        yield
    except (UnreachableError, MissingError) as error:
        result.outcome, result.sentence = "unreachable", str(error)
    except FullError as error:
        result.outcome, result.sentence = "full", str(error)
    except ExpiredMetadataError as error:
        result.outcome, result.sentence = "expired", f"The repository is not fresh ({error})."
    except DownloadError as error:
        cause = error.__cause__ if isinstance(error.__cause__, EdgelineError) else error
        result.outcome, result.sentence = "unreachable", str(cause)
    except (RepositoryError, DeserializationError) as error:
        result.outcome, result.sentence = "refused", f"The metadata is not genuine ({error})."
    except EdgelineError as error:
        result.outcome, result.sentence = "refused", str(error)
    except OSError as error:
        result.outcome, result.sentence = "failed", f"The disk failed ({error})."


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


def _roots(folder: Path, trusted: bytes) -> list[Metadata[Root]]:
    """The root that the device was given, and those that follow from it, as far as they do."""
    try:
        roots: list[Metadata[Root]] = [Metadata.from_bytes(trusted)]
        roots[0].verify_delegate("root", roots[0])
    except (RepositoryError, DeserializationError, ValueError) as error:
        raise EdgelineError(f"The trusted root is no complete TUF root ({error}).") from error
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
    for role in ("timestamp", "snapshot", "targets"):
        try:
            found.append(_read(folder / f"{role}.json").signed.expires)
        except (OSError, RepositoryError, DeserializationError):
            return ""
    return str(min(found).isoformat())


def _read(file: Path) -> Metadata[Any]:
    return Metadata.from_bytes(file.read_bytes())


def _offered(targets: Targets) -> Iterator[tuple[tuple[str, int], tuple[Wanted, list[str]]]]:
    """The versions that targets list: (name, version) to manifest and labels."""
    for path, target in targets.targets.items():
        custom = target.custom
        if not isinstance(custom, dict) or not path.endswith("/" + MANIFEST):
            continue
        name, version = custom.get("name"), custom.get("version")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            continue
        if not isinstance(version, int) or version < 1 or "sha256" not in target.hashes:
            continue
        labels = [str(label) for label in custom.get("labels", ())]
        yield (name, version), (_wanted_file(path, target), labels)


def _wanted_file(path: str, target: TargetFile) -> Wanted:
    return Wanted(f"targets/{path}", target.hashes["sha256"], target.length)


def _wanted(
    offered: dict[tuple[str, int], tuple[Wanted, list[str]]], order: Order
) -> Iterator[tuple[tuple[str, int], Wanted]]:
    """The newest versions of each model that are not bad, and those with a label."""
    counts: dict[str, int] = {}
    for key in sorted(offered, reverse=True):
        manifest, labels = offered[key]
        if manifest.sha256 in order.bad:
            continue
        counts[key[0]] = counts.get(key[0], 0) + 1
        if labels or not order.versions or counts[key[0]] <= order.versions:
            yield key, manifest


def _clean(
    store: Store, offered: dict[tuple[str, int], tuple[Wanted, list[str]]], order: Order
) -> None:
    """Keep what is wanted, one older version to return to, and nothing that was withdrawn."""
    good: dict[str, int] = {}
    for name, version in sorted(store.versions(), reverse=True):
        if (name, version) not in offered:
            store.remove(name, version)
            continue
        manifest, labels = offered[name, version]
        if order.versions and good.get(name, 0) > order.versions and not labels:
            store.remove(name, version)
        elif manifest.sha256 not in order.bad:
            good[name] = good.get(name, 0) + 1
