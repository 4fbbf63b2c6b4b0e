"""The formats that ingest reads, told by how files are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from edgeline.errors import EdgelineError
from edgeline.stores.storage import LocatedFile

TABBED = (".tsv", ".tsv.gz")
DELIMITERS = ";\t|,"  # that a header of one column was surely meant to be cut at
FORMATS = {
    "csv": (".csv", ".csv.gz", ".txt", ".txt.gz", *TABBED),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".arrows", ".ipc", ".feather"),
    "avro": (".avro",),
    "sqlite": (".sqlite", ".sqlite3", ".db"),
    "tfrecord": (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz"),
    "json": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "images": (".png", ".jpg", ".jpeg"),
}

# as TensorFlow, TFX and TFDS call the parts of a data set: x.tfrecord-00000-of-00012, x_tfrecord.gz
_SHARD = re.compile(r"-\d{5,}-of-\d{5,}$")
_TFRECORD = re.compile(r"(?<![a-z0-9])tfrecords?(?![a-z0-9])")


def format_of(sources: Sequence[LocatedFile]) -> str:
    """The one format of some files: a key of FORMATS.

    Raises:
        EdgelineError: a file's name tells none, or there are two.
    """
    kinds: dict[str, LocatedFile] = {}
    for source in sources:
        found = _told_by(PurePosixPath(source.name).name.lower())
        if not found:
            raise EdgelineError(
                f"{source.name} has an ending that tells no format: "
                f"set format to one of {', '.join(FORMATS)}, or remove the file."
            )
        kinds.setdefault(found, source)
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise EdgelineError(
            f"{first.name} is {one} and {second.name} is {other}: ingest one format at a time."
        )
    return next(iter(kinds))


def _told_by(name: str) -> str:
    """The format that a name tells; "" for none."""
    stem = name.removesuffix(".gz")
    whole = _SHARD.sub("", stem)
    for each in (name, whole, whole + name[len(stem) :]):
        if found := [kind for kind, ends in FORMATS.items() if each.endswith(ends)]:
            return found[0]
    return "tfrecord" if whole != stem or _TFRECORD.search(whole) else ""


def separator_of(delimiter: str, names: Sequence[str]) -> str:
    """The delimiter, which a shell passes as two signs where it is a tab; .tsv files have one."""
    tabbed = all(name.lower().endswith(TABBED) for name in names)
    return "\t" if delimiter == r"\t" or (delimiter == "," and tabbed) else delimiter
