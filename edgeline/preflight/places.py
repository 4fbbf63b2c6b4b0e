"""Files and folders that parameters name: pins, what is not there, where runs and bundles go."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgeline.components.ingest.formats import format_of
from edgeline.errors import EdgelineError, shortened
from edgeline.preflight.given import GivenRun
from edgeline.preflight.header import is_empty
from edgeline.stores import destinations, remote, storage, tables
from edgeline.stores.remote import PIN
from edgeline.stores.signed import ROOTS, refuse_signed

LOCATIONS = ("data", "module")  # that may be pinned
_LIKE_A_PIN = re.compile(r"#sha-?(256|512|1)[=:-]?|#md5")
LINES = ("json", "tfrecord")  # formats of rows alone, of which a part may have none
INPUTS = ("source", "schema_uri", "baseline_uri", "baseline_model_uri", "labels")
# What the examples of a run take at least, of the bytes of the data: text becomes numbers. The taxi
# trips' CSV gives 0.12 and the digits' Parquet 1.0; data that packs far better is not refused.
LEAST_SHARE = {"csv": 0.02, "json": 0.02, "parquet": 0.1, "images": 0.9, "tfrecord": 0.05}


def pins(run: GivenRun) -> Iterator[str]:
    """Pins that no content can have."""
    for name in LOCATIONS:
        for place in run.text(name).split(","):
            at, mark, pin = place.partition(PIN)
            if mark and not re.fullmatch(r"[0-9a-fA-F]{64}", pin.strip()):
                yield (
                    f"Parameter {name}: {shortened(pin)!r} after {remote.public(at)}{PIN} is no "
                    "sha256 of 64 hexadecimal digits: correct it, or leave it out."
                )
            elif not mark and (found := _LIKE_A_PIN.search(place)) and not os.path.lexists(place):
                yield (
                    f"Parameter {name}: {found[0]!r} in {shortened(place)} is not a pin: write "
                    f"{PIN}<64 hexadecimal digits>."
                )


def inputs(run: GivenRun) -> Iterator[str]:
    """Local files that are not there, or that ingest does not read; databases without a query."""
    table = None
    try:
        table = tables.find(run.text("data"))
    except EdgelineError as error:
        yield f"Parameter data: {error}"
    is_database = table.kind == tables.DATABASE if table else run.format == "sqlite"
    if is_database and run.is_final and not run.text("query"):
        yield "Parameter query: data is a database: say which rows, as an SQL query."
    if run.here and not table:
        for place in run.text("data").split(",") if run.files is None else ():
            if remote.scheme(place.strip()) in ("", "file", "package") and place.strip():
                try:
                    storage.resolve([place.partition(PIN)[0]])
                except EdgelineError as error:
                    yield f"Parameter data: {error}"
        for name in INPUTS:
            at = run.text(name)
            if name == "baseline_model_uri" and at.rpartition("/")[2] in ("latest", "approved"):
                continue  # a word for a published version
            if at and not remote.scheme(at) and not os.path.lexists(at.partition(PIN)[0]):
                yield f"Parameter {name}: {shortened(at)} does not exist: check the path."
    if run.files:
        try:
            format_of(run.files)
        except EdgelineError as error:
            yield f"Parameter data: {error}"


def empty(run: GivenRun) -> Iterator[str]:
    """Local files of data that are empty: all of them, or one where ingest takes none."""
    files = run.files or []
    if not run.format or run.format == "sqlite":  # whose query tells
        return
    hollow = [file.name for file in files if is_empty(file)]
    if not hollow:
        return
    those = f"{hollow[0]} and {len(hollow) - 1} more are" if hollow[1:] else f"{hollow[0]} is"
    if len(hollow) == len(files):
        yield f"Parameter data: {those} empty: give data with at least one row."
    elif run.format not in LINES:
        yield f"Parameter data: {those} empty: replace what is empty, or leave it out."


def destination(run: GivenRun) -> Iterator[str]:
    """A folder to publish to that cannot be written, or whose devices take signed bundles alone."""
    given = run.text("destination")
    folder = destinations.folder(given)
    if not run.here or not given or folder is None:
        return
    place = Path(folder).absolute()
    bundle = place / run.text("model_name")
    if fault := _unwritable(bundle):
        yield f"Parameter destination: {fault}: name another folder, or give yourself the right."
    elif not run.text("signing_keys") and _is_near_a_repository(place):
        from edgeline.stores.folder_store import FolderStore  # numpy comes with it

        try:
            refuse_signed(FolderStore(place), given)
        except EdgelineError as error:
            yield str(error)


def _is_near_a_repository(place: Path) -> bool:
    around = (place, *place.parents, *place.resolve().parents)
    below = place.glob(f"*/{ROOTS[0].partition('/')[0]}")
    return any((each / root).is_file() for each in around for root in ROOTS) or any(below)


def runs(run: GivenRun) -> Iterator[str]:
    """A folder for runs that cannot be written, or a disk without room for the data."""
    if not run.here:
        return
    if fault := _unwritable(run.root.absolute()):
        yield f"Runs cannot be kept in {run.root} ({fault}): name another folder with --root."
        return
    needed = _least(run)
    free = shutil.disk_usage(_existing(run.root.absolute())).free
    if needed > free:
        yield (
            f"The disk of {run.root} has {free / 1e9:.1f} GB free, and the examples of this data "
            f"take at least {needed / 1e9:.1f} GB: free some, or name another folder with --root."
        )


def _least(run: GivenRun) -> float:
    """Bytes that the run writes at the very least."""
    sizes = (Path(file.location).stat().st_size for file in run.files or ())
    packed = any(file.location.endswith(".gz") for file in run.files or ())
    return sum(sizes) * (0.0 if packed else LEAST_SHARE.get(run.format, 0.0))


def _unwritable(place: Path) -> str:
    """Why nothing can be written at or below a path; "" where it can, as far as that is known."""
    there = _existing(place)
    if not there.is_dir():
        return f"{there} is a file"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{there} may not be written to"
    return ""


def _existing(place: Path) -> Path:
    """A path, or what is there of those above it."""
    return next(each for each in (place, *place.parents) if os.path.lexists(each))
