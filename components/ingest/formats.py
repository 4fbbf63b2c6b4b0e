"""The formats that ingest reads, told by how files are called."""

from __future__ import annotations

from collections.abc import Sequence

from edgeline.errors import EdgelineError
from edgeline.stores.storage import LocatedFile

TABBED = (".tsv", ".tsv.gz")
DELIMITERS = ";\t|,"  # that a header of one column was surely meant to be cut at
FORMATS = {
    "csv": (".csv", ".csv.gz", ".txt", ".txt.gz", *TABBED),
    "parquet": (".parquet", ".pq"),
    "tfrecord": (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz"),
    "json": (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz"),
    "images": (".png", ".jpg", ".jpeg"),
}


def format_of(sources: Sequence[LocatedFile]) -> str:
    """The one format of some files: a key of FORMATS.

    Raises:
        EdgelineError: a file's name tells none, or there are two.
    """
    kinds: dict[str, LocatedFile] = {}
    for source in sources:
        name = source.name.lower()
        found = [kind for kind, ends in FORMATS.items() if name.endswith(ends)]
        if not found:
            raise EdgelineError(
                f"{source.name} has an ending that tells no format: "
                f"set format to one of {', '.join(FORMATS)}, or remove the file."
            )
        kinds.setdefault(found[0], source)
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise EdgelineError(
            f"{first.name} is {one} and {second.name} is {other}: ingest one format at a time."
        )
    return next(iter(kinds))


def separator_of(delimiter: str, names: Sequence[str]) -> str:
    """The delimiter, which a shell passes as two signs where it is a tab; .tsv files have one."""
    tabbed = all(name.lower().endswith(TABBED) for name in names)
    return "\t" if delimiter == r"\t" or (delimiter == "," and tabbed) else delimiter
