"""Where a model lies, brought to this machine: storage, model hubs and archives.

| source                                          | by                                        |
|-------------------------------------------------|-------------------------------------------|
| what `edgeline.stores.storage` reads                   | `edgeline.stores.storage`
|
| `https://tfhub.dev/...`, `tfhub://...`          | TF Hub's https; `TFHUB_CACHE_DIR`         |
| `kaggle://owner/model/framework/variation/1`    | kagglehub; `KAGGLEHUB_CACHE`              |
| `hf://owner/repository@revision/file` (folder/) | huggingface_hub; `HF_HOME`, `HF_ENDPOINT` |

Credentials are those of each hub's own client. Archives are unpacked without links, devices
and paths that lead outside.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from edgeline.errors import EdgelineError
from edgeline.extras import install_hint
from edgeline.formats import archives
from edgeline.stores import remote, storage
from edgeline.stores.copies import bring
from edgeline.stores.remote import PIN

TFHUB = "https://tfhub.dev/"
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
MOST_UNPACKED = 20 << 30  # bytes: more is an archive made to fill the disk
PIECE = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """A file or folder on this machine.

    Attributes:
        revision: what exactly a hub gave: a commit or a version; else empty.
        sha256: of the content, see `storage.digest`.
    """

    path: Path
    revision: str
    sha256: str


def fetch(source: str, sha256: str, folder: Path) -> Fetched:
    """Bring a model here; what is remote or packed goes into `folder`.

    Raises:
        EdgelineError: it is not there, its digest is not `sha256` (if that is given), the hub's
            client is not installed, or it is an unsafe archive.
    """
    place, mark, pin = source.partition(PIN)
    place, revision = _local(place, folder)
    if sha256 and mark and sha256 != pin:
        raise EdgelineError(f"sha256 is {sha256}, but {source} pins {pin}: give one of them.")
    wanted = sha256 or pin
    found, files = bring(place + (PIN + wanted if wanted else ""), folder)
    if found.is_file() and found.name.lower().endswith(ARCHIVES):
        found = unpack(found, folder / "unpacked")
    return Fetched(found, revision, storage.digest(files))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a .tar, .tar.gz or .zip into a new folder.

    Raises:
        EdgelineError: it is damaged, too large, or an entry is a link, a device or outside.
    """
    total = 0
    try:
        for name, stream in _entries(archive):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
                raise EdgelineError(
                    f"{archive.name} has the entry {name!r}, which leads outside: do not trust it."
                )
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as copy:
                while piece := stream.read(PIECE):
                    total += len(piece)
                    if total > MOST_UNPACKED:
                        raise EdgelineError(
                            f"{archive.name} unpacks to more than {MOST_UNPACKED >> 30} GiB: "
                            "unpack it yourself and give the folder."
                        )
                    copy.write(piece)
    except archives.DAMAGED as e:
        raise EdgelineError(f"{archive.name} cannot be unpacked ({e}): fetch it again.") from e
    if not total:
        raise EdgelineError(f"{archive.name} is an archive without files: give one with a model.")
    return folder


def _entries(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every file; folders come with their files."""
    if archive.name.lower().endswith(".zip"):
        with archives.open_zip(archive, archive.name) as packed:
            for entry in packed.infolist():
                if entry.external_attr >> 28 == 0xA:
                    raise _no_file(archive, entry.filename)
                if not entry.is_dir():
                    with packed.open(entry) as stream:
                        yield entry.filename, stream
        return
    with archives.open_tar(archive, archive.name, MOST_UNPACKED) as tar:
        for member in tar:
            if member.isdir():
                continue
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                raise _no_file(archive, member.name)
            yield member.name, content


def _no_file(archive: Path, name: str) -> EdgelineError:
    return EdgelineError(
        f"{archive.name} has the entry {name!r}, which is a link or a device: pack plain files."
    )


def _local(place: str, folder: Path) -> tuple[str, str]:
    """A hub's reference as a location that storage reads, and the revision it stands for."""
    scheme = remote.scheme(place)
    if place.startswith(TFHUB) or scheme == "tfhub":
        return _tfhub(TFHUB + place.removeprefix(TFHUB).removeprefix("tfhub://"), folder), ""
    if scheme == "kaggle":
        return _kaggle(place)
    if scheme == "hf":
        return _hugging_face(place)
    return place, ""


def _tfhub(handle: str, folder: Path) -> str:
    """A model of TF Hub; a query such as ?lite-format=tflite goes along."""
    address, _, query = handle.partition("?")
    cached = Path(
        os.environ.get("TFHUB_CACHE_DIR", ""), hashlib.sha1(address.encode()).hexdigest()
    )  # the layout of tensorflow_hub's cache
    if not query and "TFHUB_CACHE_DIR" in os.environ and cached.is_dir():
        return str(cached)
    # TF Hub answers https://www.tensorflow.org/hub/model_compatibility's download formats
    location = f"{address}?{query or 'tf-hub-format=compressed'}"
    name = "model.tflite" if "lite-format" in query else "model.tar.gz"
    target = folder / "tfhub" / name
    target.parent.mkdir(parents=True)
    files = storage.fetch(storage.resolve([location]), target.parent)
    shutil.move(files[0].path, target)
    return str(target)


def _kaggle(place: str) -> tuple[str, str]:
    parts = place.removeprefix("kaggle://").split("/")
    if len(parts) < 5 or not parts[4].isdigit():
        raise EdgelineError(
            f"{place} names no version: write kaggle://owner/model/framework/variation/version."
        )
    try:
        import kagglehub  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise EdgelineError(install_hint(error) + ".") from None
    handle, inner = "/".join(parts[:5]), "/".join(parts[5:])
    return _asked(place, kagglehub.model_download, handle, path=inner or None), parts[4]


def _hugging_face(place: str) -> tuple[str, str]:
    owner, _, rest = place.removeprefix("hf://").partition("/")
    repository, _, inner = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not (owner and repository and inner):
        raise EdgelineError(f"{place} names no file: write hf://owner/repository@revision/file.")
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise EdgelineError(install_hint(error) + ".") from None
    name = f"{owner}/{repository}"
    settings: dict[str, object] = {"revision": revision or None}
    if PurePosixPath(inner).suffix and not inner.endswith("/"):
        path = _asked(place, huggingface_hub.hf_hub_download, name, inner, **settings)
        commit = Path(path).parents[len(PurePosixPath(inner).parts) - 1].name
        return path, commit
    inner = inner.rstrip("/")
    settings["allow_patterns"] = [f"{inner}/*"]
    snapshot = Path(_asked(place, huggingface_hub.snapshot_download, name, **settings))
    return str(snapshot / inner), snapshot.name


def _asked(place: str, download: Any, *arguments: object, **settings: object) -> str:
    try:
        return str(download(*arguments, **settings))
    except Exception as error:  # each client has its own family of exceptions
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EdgelineError(
            f"{place} could not be fetched ({lines[0][:300].rstrip('.:')}): check the name, the "
            "version, the network and the credentials."
        ) from error
