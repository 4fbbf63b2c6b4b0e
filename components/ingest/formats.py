"""The formats that ingest reads, told by how files are called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from edgeline.errors import EdgelineError
from edgeline.stores.storage import File, LocatedFile

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

BEGINNINGS = {  # of files that are not text, whatever they are called
    b"PK\x03\x04": "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook: save the sheet as CSV",
    b"PAR1": "a Parquet file: let its name end in .parquet",
    b"ARROW1": "an Arrow file: let its name end in .arrow",
    b"Obj\x01": "an Avro file: let its name end in .avro",
    b"SQLite format 3\0": "a SQLite database: let its name end in .sqlite",
    b"BZh9": "packed with bzip2: unpack it, or pack it with gzip",
    b"\xfd7zXZ\0": "packed with xz: unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it, or pack it with gzip",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"%PDF-": "a PDF: give the table as CSV",
}

STAND_INS = {  # files that stand where others should, whatever they are called
    b"version https://git-lfs": "a pointer of Git LFS, not the file: run git lfs pull",
    b"<!doctype html": "a page of HTML, such as a login: fetch the file itself",
    b"<html": "a page of HTML, such as a login: fetch the file itself",
    b"<?xml": "XML, such as a store's error: fetch the file itself, or give the table as CSV",
}
WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".ods")
OTHERS = {  # endings of what people also have, and what to do with it
    (".json",): "JSON as one value: write one object per line, and call the file .jsonl",
    (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar"): "an archive: unpack it, and give the file",
    (".pkl", ".pickle"): "a pickle: write it with pandas' to_parquet, and give that",
    (".sav", ".dta", ".sas7bdat", ".rds", ".rdata"): "a table of another program: export it as CSV",
}
# as TensorFlow, TFX and TFDS call the parts of a data set: x.tfrecord-00000-of-00012, x_tfrecord.gz
_SHARD = re.compile(r"-\d{5,}-of-\d{5,}$")
_PART = re.compile(r"(?P<name>.*)-(?P<number>\d{5,})-of-(?P<count>\d{5,})(?P<rest>[-.][^/]*)?")
_TFRECORD = re.compile(r"(?<![a-z0-9])tfrecords?(?![a-z0-9])")


def missing_parts(sources: Sequence[LocatedFile]) -> Iterator[str]:
    """A sentence for each data set that has more parts, by its files' names, than there are."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for source in sources:
        if part := _PART.fullmatch(source.name):
            number, count = int(part["number"]), int(part["count"])
            found.setdefault((part["name"], count), {})[number] = source.name
    for (_, count), parts in found.items():
        if absent := sorted({*range(count)} - parts.keys()):
            yield (
                f"{next(iter(parts.values()))} says that it is one of {count} parts, but "
                f"{len(absent)} of them were not given, {absent[0]:05} first: give them all, where "
                "their rows are not left out on purpose."
            )


def format_of(sources: Sequence[LocatedFile]) -> str:
    """The one format of some files: a key of FORMATS.

    Raises:
        EdgelineError: a file's name tells none, or there are two.
    """
    kinds: dict[str, LocatedFile] = {}
    for source in sources:
        found = _told_by(PurePosixPath(source.name).name.lower())
        if source.name.lower().endswith(WORKBOOKS):
            raise EdgelineError(
                f"{source.name} is a workbook: save its sheet as CSV, and give that."
            )
        for endings, what in OTHERS.items() if not found else ():
            if source.name.lower().endswith(endings):
                raise EdgelineError(f"{source.name} is {what}.")
        if not found:
            raise EdgelineError(
                f"{source.name} has an ending that tells no format: let its name end in one of "
                f"{', '.join(endings[0] for endings in FORMATS.values())}, or remove the file."
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


def refuse_other_format(file: File) -> None:
    """Refuse a file that is to be text and is known to be none, as its first bytes tell.

    Raises:
        EdgelineError: what it is.
    """
    with open(file.path, "rb") as stream:
        beginning = stream.read(max(map(len, BEGINNINGS)))
    for magic, what in BEGINNINGS.items():
        if beginning.startswith(magic) and not beginning[len(magic) :].startswith(b","):
            raise EdgelineError(f"{file.name} is not text but {what}.")


def refuse_stand_in(file: File) -> None:
    """Refuse what stands in place of a file, of any format.

    Raises:
        EdgelineError: what it is.
    """
    with open(file.path, "rb") as stream:
        beginning = stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, what in STAND_INS.items():
        if beginning.startswith(start):
            raise EdgelineError(f"{file.name} is {what}.")


def separator_of(delimiter: str, names: Sequence[str]) -> str:
    """The delimiter, which a shell passes as two signs where it is a tab; .tsv files have one."""
    tabbed = all(name.lower().endswith(TABBED) for name in names)
    return "\t" if delimiter == r"\t" or (delimiter == "," and tabbed) else delimiter
