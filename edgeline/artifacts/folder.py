"""Artifact folders: written beside and renamed, listed with digests, checked before use.

An artifact is a folder that holds `artifact.json`:

    {"edgeline_schema": "examples/v1",
     "metadata": {...facts a later step needs...},
     "files": {"train/part-00000.parquet": {"sha256": "...", "size": 123}}}

No time, host or path is recorded, so equal content gives an equal folder.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, at_path
from edgeline.formats import typed

ALGORITHMS = {"sha256": 64, "sha512": 128}  # and their digits; those that are taken first
LISTING = "artifact.json"


@dataclass(frozen=True)
class Artifact:
    """A folder whose files have been checked against its listing."""

    path: Path
    schema: str
    metadata: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """sha256 over the listing: equal exactly when content and metadata are equal."""
        return digest_of_listing(self.schema, self.metadata, self.files)

    @property
    def size(self) -> int:
        """Bytes of all files, the listing left out."""
        return sum(int(entry["size"]) for entry in self.files.values())


@dataclass(frozen=True)
class _Listing:
    edgeline_schema: str
    metadata: Mapping[str, object]
    files: Mapping[str, Mapping[str, object]]


@dataclass
class Draft:
    """A folder being written. Put files below `path`, facts into `metadata`."""

    path: Path
    metadata: dict[str, object] = field(default_factory=dict)


@contextlib.contextmanager
def writing(path: str | Path, schema: str) -> Iterator[Draft]:
    """Write an artifact folder so that it appears whole or not at all.

    The draft lies beside `path` as `<name>.partial`; when the block ends well it
    is listed with digests and renamed, when it raises it is removed.
    A folder that is already at `path` is replaced.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    draft = Draft(partial)
    try:
        yield draft
        listing = {
            "edgeline_schema": schema,
            "metadata": draft.metadata,
            "files": list_files(partial),
        }
        (partial / LISTING).write_text(json.dumps(listing, indent=1, sort_keys=True) + "\n")
        if path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read(path: str | Path, schema: str) -> Artifact:
    """Check an artifact folder and return it.

    Args:
        path: the folder.
        schema: what it must hold, for example `examples/v1`.

    Raises:
        EdgelineError: the folder has no listing, holds something else, or a file
            is missing, added or damaged.
    """
    path = Path(path)
    listing_path = path / LISTING
    if not listing_path.is_file():
        raise EdgelineError(
            f"{path} is not a finished edgeline artifact ({LISTING} is missing): "
            "run the step that makes it again."
        )
    try:
        listing: _Listing = typed.convert(typed.read(listing_path), _Listing)
    except EdgelineError as error:
        reason = str(error).removeprefix(f"{listing_path} ").rstrip(".")
        raise EdgelineError(
            f"{listing_path} is damaged ({reason}): run the step that makes it again."
        ) from None
    metadata, files = listing.metadata, listing.files
    if listing.edgeline_schema != schema:
        raise EdgelineError(
            f"{path} holds {listing.edgeline_schema[:100]}, but {schema} is needed here: "
            "connect the right output."
        )
    present = list_files(path)
    for name in sorted(files.keys() | present.keys()):
        if files.get(name) != present.get(name):
            fault = (
                "missing"
                if name not in present
                else "not listed"
                if name not in files
                else "damaged"
            )
            raise EdgelineError(
                f"{path / name} is {fault} (its digest is not the one in {LISTING}): "
                "run the step that makes it again."
            )
    return Artifact(path, schema, metadata, files)


def schema_of(folder: str | Path) -> str:
    """What an artifact folder says it holds, not checked; "" where it is none."""
    listing = _listing_of(folder)
    return listing.edgeline_schema if listing else ""


def facts_of(folder: str | Path) -> Mapping[str, Any]:
    """The facts of an artifact folder, its files not checked; none where it is none."""
    listing = _listing_of(folder)
    return listing.metadata if listing else {}


def digest_of(folder: str | Path) -> str | None:
    """The digest of an artifact folder, as its listing has it; None where it is none."""
    found = _listing_of(folder)
    return digest_of_listing(found.edgeline_schema, found.metadata, found.files) if found else None


def _listing_of(folder: str | Path) -> _Listing | None:
    file = Path(folder) / LISTING
    try:
        state = file.stat()
    except (OSError, ValueError):
        return None
    return _listing_in(file, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _listing_in(file: Path, *_: int) -> _Listing | None:
    """A listing is read once: the page of a run asks each some twenty times.

    A folder is renamed to its place, so that another one's file has another number or time.
    """
    try:
        listing: _Listing = typed.convert(typed.read(file), _Listing)
    except EdgelineError:
        return None
    return listing


def list_files(folder: Path) -> dict[str, dict[str, object]]:
    """sha256 and size of every file below a folder, by POSIX path, the listing left out."""
    return {
        file.relative_to(folder).as_posix(): {"sha256": sha256(file), "size": file.stat().st_size}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / LISTING
    }


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, of text."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename it: readers see the old one or the new one.

    A link stays: the file that it names is replaced. A device or a pipe is written to as it is.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(Path(os.path.realpath(path)), content)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error


def _replace(path: Path, content: bytes) -> None:
    if path.is_symlink():  # to itself
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_output(path: Path, content: str | bytes, what: str = "file", option: str = "-o") -> Path:
    """Write a file that an option names, or that lies in the folder it names.

    Args:
        what: the option's kind, `file` or `folder`, for the way out.

    Raises:
        UsageError: the path cannot be one.
        EdgelineError: the disk cannot take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise at_path(
            error,
            f"{path} cannot be written ({error.strerror}): name another {what} with {option}.",
        ) from error
    return path


def write_json(path: Path, value: object) -> None:
    """Write a JSON file of a draft, as every step writes one: equal values give equal bytes.

    Keys are sorted, text is readable UTF-8, and every JSON parser takes it.

    Raises:
        ValueError: a number is NaN or infinite, which JSON lacks; say null where it may be.
    """
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # half a surrogate pair, as of a file's name that is not UTF-8, becomes JSON's escape of it
    path.write_bytes(text.encode("utf-8", "backslashreplace") + b"\n")


def sha256(file: str | Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    return file_digest(file, "sha256")


def file_digest(file: str | Path, algorithm: str) -> str:
    """Hexadecimal digest of a file by an algorithm of hashlib, read in pieces."""
    with open(file, "rb") as stream:
        digest = hashlib.new(algorithm)
        while piece := stream.read(1 << 20):
            digest.update(piece)
        return digest.hexdigest()


def algorithm_of(digest: str) -> str:
    """Which hash a hexadecimal digest is of, by its length."""
    return next((a for a, length in ALGORITHMS.items() if len(digest) == length), "sha256")


def is_of(file: str | Path, digest: str) -> bool:
    """Whether a file has this digest."""
    return file_digest(file, algorithm_of(digest)) == digest


def digest_of_listing(
    schema: str, metadata: Mapping[str, object], files: Mapping[str, Mapping[str, object]]
) -> str:
    """Hexadecimal sha256 of a listing's canonical JSON."""
    canonical = json.dumps([schema, metadata, files], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
