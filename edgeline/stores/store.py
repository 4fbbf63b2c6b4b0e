"""Where bundles are kept: `<destination>/<name>/<version>/{manifest.json,...}`.

A destination is a folder (a path or `file://`) or a bucket of an object store (`s3://bucket/prefix`,
`minio://`, `gs://` or `abfs://` likewise). A version is there exactly when its manifest
is there, and the manifest is the last thing written. A number that was given to one content
is never given to another.

Every store has the same seven operations, and what follows here is built on them alone.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, NAME, Bundle, content_digest
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import typed
from edgeline.stores.destinations import check
from edgeline.stores.folder_store import FolderStore


class Store(Protocol):
    """A place for bundles. Every operation raises EdgelineError where the place fails."""

    def uri(self, name: str, version: int) -> str:
        """Where a bundle is or would be."""

    def versions(self, name: str) -> list[int]:
        """The finished versions of a bundle, ascending."""

    def manifest(self, name: str, version: int) -> bytes | None:
        """The text of a finished version's manifest, None where there is no such version."""

    def signature(self, name: str, version: int) -> bytes | None:
        """The `model.sig` of a version, None where it has none."""

    def put(self, folder: Path, bundle: Bundle, digest: str) -> bool:
        """Write the files in `folder` that the bundle lists, and its manifest last.

        Returns:
            False, with nothing of another bundle touched, where the number is taken.
        """

    def get(self, bundle: Bundle, folder: Path) -> None:
        """Write the files of a finished bundle, but not the manifest, into `folder`."""

    def signed_repositories(self) -> tuple[str, str]:
        """See `edgeline.stores.signed`."""


def open_store(destination: str) -> Store:
    """The store that a destination names.

    Raises:
        UsageError: the destination names no place that edgeline can write to.
    """
    check(destination)
    if "://" not in destination:
        return FolderStore(Path(destination).absolute())
    parts = urlsplit(destination)
    if parts.scheme == "file":
        return FolderStore(Path(unquote(parts.path)))
    from edgeline.stores.object_store import connect

    return connect(parts.scheme, parts.netloc, parts.path.strip("/"))


def add(
    store: Store,
    folder: str | Path,
    bundle: Bundle,
    version: int = 0,
    listed: Collection[int] = (),
    foreign: Collection[int] = (),
) -> Bundle:
    """Publish the bundle whose files are in a folder; nothing in the folder changes.

    With `version` 0 it gets the number after the latest; where the latest already is this
    content (see `content_digest`) nothing is written and that one is returned, so that a
    task which is run again after it was killed does not make a second version.

    Args:
        listed: numbers that are returned likewise where they have this content: of a signed
            repository, whose latest version may not be the highest number.
        foreign: numbers that are not returned, whatever their content: they wait to be promoted
            under other names.

    Returns:
        The bundle as it is in the store.

    Raises:
        EdgelineError: the given version holds other content or is being written by another
            publisher, or the store fails.
    """
    folder, digest = Path(folder), content_digest(bundle)
    for number in () if version else sorted(listed, reverse=True):
        present = published(store, bundle.name, number)
        if present is not None and content_digest(present) == digest:
            return present
    latest = max(store.versions(bundle.name), default=1)
    for number in [version] if version else itertools.count(latest):
        if number in foreign and not version:
            continue
        numbered = replace(bundle, version=number)
        if store.put(folder, numbered, digest):
            return numbered
        present = published(store, bundle.name, number)
        if present is not None and content_digest(present) == digest:
            return present
    raise UsageError(
        f"{store.uri(bundle.name, version)} is taken by other content: give another version, "
        "or 0 for the next that is free."
    )


def published(store: Store, name: str, version: int) -> Bundle | None:
    """What the manifest of a version says, None where there is no such version.

    Raises:
        EdgelineError: the manifest is damaged or belongs to another bundle.
    """
    text = store.manifest(name, version)
    if text is None:
        return None
    uri = store.uri(name, version)
    value = typed.parse(text, f"{uri}/{MANIFEST}")
    if not isinstance(value, dict):
        raise EdgelineError(f"{uri}/{MANIFEST} is not a JSON object: publish again.")
    bundle = Bundle.from_json(value)
    if (bundle.name, bundle.version) != (name, version):
        raise EdgelineError(
            f"{uri}/{MANIFEST} belongs to {bundle.name} {bundle.version}: publish again."
        )
    return bundle


@contextmanager
def local_copy(bundle: str) -> Iterator[Path]:
    """A bundle's folder: itself, or of an address a copy for as long as the context lasts.

    Raises:
        UsageError, EdgelineError: as `fetch`.
    """
    if "://" not in bundle:
        yield Path(bundle)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        fetch(bundle, folder)
        yield folder


def fetch(uri: str, folder: str | Path) -> Bundle:
    """Copy a published bundle to a new folder and check every digest.

    Its `model.sig`, where it has one, comes with it and is not checked.

    Args:
        uri: `<destination>/<name>/<version>`, as publish returned it.
        folder: where to; it must not exist, and appears whole or not at all.

    Raises:
        UsageError: there is no such bundle.
        EdgelineError: it is damaged, or the folder exists.
    """
    folder = Path(folder)
    match = re.fullmatch(
        rf"(?:(?P<destination>.+)/)?(?P<name>{NAME.pattern})/(?P<version>[1-9][0-9]*)/?", uri
    )
    if match is None:
        raise UsageError(f"{uri} is not a bundle: its URI ends in /NAME/VERSION.")
    if folder.exists():
        raise EdgelineError(f"{folder} exists: name a folder that does not.")
    name, version = match["name"], int(match["version"])
    store = open_store(match["destination"] or ".")
    bundle = published(store, name, version)
    if bundle is None:
        there = ", ".join(map(str, store.versions(name))) or "none"
        raise UsageError(f"{uri} is not published: the versions of {name} there are {there}.")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        store.get(bundle, partial)
        bundles.write_manifest(partial, bundle)
        if (signature := store.signature(name, version)) is not None:
            (partial / MODEL_SIGNATURE).write_bytes(signature)
        try:
            bundles.read(partial)
        except EdgelineError as error:
            fault = str(error).replace(str(partial), uri)
            raise EdgelineError(fault) from error
        partial.rename(folder)
    except OSError as error:
        raise EdgelineError(f"{folder} cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return bundle
