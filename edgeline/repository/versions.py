"""Which versions of a model are published: in a plain store, or in a signed repository.

Where it is signed, only what its live, signed list names counts: withdrawn versions, and candidates
that nobody has promoted, are left out, and a version's manifest must be the one that was signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts.bundle import MANIFEST, Bundle
from edgeline.errors import EdgelineError, UsageError
from edgeline.repository import listing, roles
from edgeline.repository.place import open_place
from edgeline.stores import store as stores
from edgeline.stores.signed import ROOTS
from edgeline.stores.store import Store

TARGETS = "targets"


@dataclass(frozen=True)
class PublishedVersions:
    """The versions of one model at one destination.

    Attributes:
        destination: a plain store, or a signed repository.
        name: of the model.
        numbers: of its versions, ascending.
        signed: the sha256 of each version's manifest; None where the store is not signed.
    """

    destination: str
    name: str
    numbers: tuple[int, ...]
    store: Store
    signed: dict[int, str] | None

    def uri(self, version: int) -> str:
        """Where a version lies, as `edgeline.stores.store.fetch` takes it."""
        return self.store.uri(self.name, version)

    def manifests(self) -> Iterator[Bundle]:
        """What each version says of itself, the newest first; the signature is not looked at."""
        for number in reversed(self.numbers):
            bundle = stores.published(self.store, self.name, number)
            if bundle is not None:  # somebody may have removed it since it was listed
                yield bundle

    def fetch(self, version: int, folder: Path) -> Bundle:
        """Copy a version to a new folder; every digest is checked, and what was signed.

        Raises:
            UsageError: there is no such version.
            EdgelineError: it is damaged, or is not what was signed.
        """
        if version not in self.numbers:
            there = ", ".join(map(str, self.numbers)) or "none"
            raise UsageError(
                f"There is no {self.name} {version} at {self.destination}: its versions are "
                f"{there}."
            )
        bundle = stores.fetch(self.uri(version), folder)
        if self.signed is not None and artifacts.sha256(folder / MANIFEST) != self.signed[version]:
            raise EdgelineError(
                f"{self.uri(version)} is not the version that was signed: withdraw it, or restore "
                "it from a backup."
            )
        return bundle


def published_versions(destination: str, name: str) -> PublishedVersions:
    """The versions of a model that devices may have.

    Args:
        destination: a folder or bucket, as publish takes it; or a signed repository.

    Raises:
        UsageError: it is no place for bundles.
        EdgelineError: it cannot be read, or its list lacks signatures.
    """
    destination = destination.rstrip("/")
    place = open_place(destination)
    if not any(place.read(root) for root in ROOTS):
        store = stores.open_store(destination)
        return PublishedVersions(destination, name, tuple(store.versions(name)), store, None)
    store = stores.open_store(f"{destination}/{TARGETS}")
    state = roles.read(place)
    live = state.live.get("targets")
    if live is None:
        return PublishedVersions(destination, name, (), store, {})
    if lacks := roles.lacking(state, "targets", live):
        raise EdgelineError(
            f"The list of versions of {destination} lacks {lacks} signatures: see `edgeline "
            "repository status`."
        )
    found = {
        number: target.hashes["sha256"]
        for number, target in sorted(listing.manifests(live.signed).get(name, {}).items())
        if not target.custom.get("withdrawn")
    }
    return PublishedVersions(destination, name, tuple(found), store, found)
