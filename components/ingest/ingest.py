"""Raw data of any supported format and place into `examples/v1`, split."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.ingest import queries, report, sqlite_rows, timestamps
from edgeline.components.ingest.arrow_rows import ArrowIpc
from edgeline.components.ingest.avro_rows import Avro
from edgeline.components.ingest.choice import ColumnChoice, whole_lengths
from edgeline.components.ingest.columns import ColumnReader
from edgeline.components.ingest.csv_cells import Cells
from edgeline.components.ingest.csv_rows import CsvReader
from edgeline.components.ingest.formats import (
    FORMATS,
    format_of,
    missing_parts,
    refuse_stand_in,
    separator_of,
)
from edgeline.components.ingest.images import ImageReader
from edgeline.components.ingest.json_rows import JsonReader
from edgeline.components.ingest.lakes import read_lake
from edgeline.components.ingest.parquet_rows import Parquet
from edgeline.components.ingest.partitions import PartitionReader, folder_columns, partitions
from edgeline.components.ingest.pixel_columns import PixelReader, shapes
from edgeline.components.ingest.placed_rows import (
    PlacedRows,
    left_out_sentence,
    no_window,
)
from edgeline.components.ingest.rows import RowReader
from edgeline.components.ingest.sampled_rows import SampledReader, check_sample
from edgeline.components.ingest.split import AllRows, HashSplit, Shares, SplitRule
from edgeline.components.ingest.split_by import SplitBy
from edgeline.components.ingest.split_column import ColumnSplit
from edgeline.components.ingest.split_stratified import StratifiedSplit
from edgeline.components.ingest.split_time import TimeSplit
from edgeline.components.ingest.tfrecord import TFRecordReader
from edgeline.components.ingest.typed_rows import TypedReader
from edgeline.components.ingest.windows import read as read_windows
from edgeline.components.ingest.windows import renamed
from edgeline.components.ingest.writing import TakenData, write_rows, write_windows
from edgeline.errors import EdgelineError
from edgeline.stores import remote, storage, tables
from edgeline.stores.remote import PIN
from edgeline.stores.tables import TableLocation

RATIOS: Mapping[str, float] = {"train": 2, "eval": 1}


def ingest(
    data: str | Sequence[str],
    examples_path: str | Path,
    *,
    examples_report_path: str | Path = "",
    format: str = "",  # noqa: A002 - the parameter's name in the pipeline
    split_ratios: Mapping[str, float] = RATIOS,
    split_key: str = "",
    split_by: Mapping[str, Any] | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    null_values: Sequence[str] = ("",),
    column_types: Mapping[str, str] | None = None,
    images: Mapping[str, Sequence[object]] | None = None,
    decimal: str = ".",
    thousands: str = "",
    columns: Mapping[str, bool] | None = None,
    rename: Mapping[str, str] | None = None,
    lengths: Mapping[str, float] | None = None,
    query: str = "",
    windows: Mapping[str, Any] | None = None,
    sample: float = 1.0,
) -> dict[str, object]:
    """Read data, split it and write it as an `examples/v1` artifact.

    The parameters are those of the component (see `component.py`). Each source file has
    parts of its own, in order, so data that grows by files keeps the earlier parts byte for
    byte, as long as the new files do not widen a column's type. Memory does not grow with
    the number of rows; remote data is copied beside the output first. With `split_by` the data is
    read twice. With `windows` rows are sorted beside the output, and a part holds windows of
    several files.

    Returns:
        The metadata: `splits` (rows of each), `split_by` (how, where it is not by the whole row),
        `equal_rows` (of splits that have any, how many rows equal an earlier one of it; estimated
        above some 130,000 distinct rows), `warnings` (sentences on splits that have rows of
        `train`, and on what is in no window), `windows` (what they are, where there are any, see
        `edgeline.artifacts.windows`) with `left_out_of_windows`, `columns` (name -> Arrow type),
        `sources` (name, sha256, size; an image folder is one source; of a database or table those
        of the rows, of a table with the snapshot in the name), `data_digest` (see
        `storage.digest`), `query` and `sample` where there is one, `notes` (sentences on columns
        in which files differ, or which may be meant in another way than they were read; absent
        where there are none) and `edgeline_schema`.

    Raises:
        EdgelineError: the data cannot be found, read or understood; nothing is written.
    """
    shares = Shares.from_ratios(split_ratios)
    by = SplitBy.read(split_by or {}, split_key)
    cut = read_windows(windows or {}, by, split_key, len(shares.names))
    series = cut.key if cut else split_key
    check_sample(sample, cut is not None, series)
    table = tables.look_up(data)
    sources = [] if table else storage.resolve(data)
    kind = "arrow" if table else format or format_of(sources)
    if query and kind != "sqlite" and (table is None or table.kind != tables.DATABASE):
        raise EdgelineError("query is for databases, but the data is none: remove it.")
    notes = [*_read_as_files(sources), *missing_parts(sources)]
    needed = {split_key, by.column, *((cut.time, cut.key) if cut else ())} - {""}
    choice = ColumnChoice(
        columns or {}, rename or {}, frozenset(needed), whole_lengths(lengths or {})
    )
    in_folders = folder_columns(sources) if kind != "images" else set()
    declared = {name: to for name, to in (column_types or {}).items() if name in in_folders}
    types = {name: to for name, to in (column_types or {}).items() if name not in in_folders}
    if kind == "csv":
        separator = separator_of(delimiter, [source.name for source in sources])
        cells = Cells(decimal, thousands)
        reader: RowReader = CsvReader(
            encoding, separator, tuple(null_values), types, cells, choice, notes
        )
    else:
        reader = _typed_reader(kind, types, choice, notes)
    if images:
        reader = PixelReader(reader, shapes(images))
    with artifacts.writing(examples_path, examples.SCHEMA) as draft:
        with tempfile.TemporaryDirectory(dir=draft.path, prefix=".fetched-") as folder:
            files = _files(table, sources, kind, query, Path(folder), notes)
            if kind != "images" and sources and (found := partitions(sources, files)):
                reader = PartitionReader(reader, found, declared)
            if columns or rename or lengths:
                reader = ColumnReader(reader, choice)
            if sample < 1:
                reader = SampledReader(reader, sample, series)
            taken = TakenData(files, reader, _schema(files, reader))
            placed = PlacedRows(cut) if cut else None
            rule = _rule(shares, split_key, by, lambda: taken.placed_rows(placed, by.column))
            if placed:
                shown = renamed(placed.windows, choice.rename)
                written = write_windows(draft.path, taken, rule, placed, shown, Path(folder))
            else:
                written = write_rows(draft.path, taken, rule, part_a_file=kind != "images")
        if not any(written.rows.values()):
            if placed:
                raise no_window(placed)
            if sample < 1:
                raise EdgelineError(
                    f"A sample of {sample:g} leaves no row of {files[0].name}: take a larger one."
                )
            raise EdgelineError(f"{files[0].name} has no row: give data with at least one.")
        draft.metadata.update(
            splits={name: {"rows": count} for name, count in written.rows.items()},
            columns={column.name: str(column.type) for column in taken.schema},
            sources=_sources(kind, sources, files),
            data_digest=storage.digest(files),
        )
        if told := rule.told():
            draft.metadata["split_by"] = dict(told)
        if again := written.equal.within(rule.names):
            draft.metadata["equal_rows"] = dict(again)
        counts = [*written.rows.values()]
        warnings = [*_empty(written.rows, again), *written.equal.warnings(rule.names, counts)]
        if placed:
            draft.metadata["windows"] = replace(shown, key_dtype=placed.key_dtype).to_json()
            if left_out := placed.dropped.told(placed.windows):
                draft.metadata["left_out_of_windows"] = left_out
                warnings.append(left_out_sentence(left_out))
        if warnings:
            draft.metadata["warnings"] = warnings
            print("\n".join(warnings))
        notes.extend(written.identifiers.notes())
        if sample < 1:
            draft.metadata["sample"] = sample
            notes.insert(0, f"A sample: about {sample:.3g} of the rows were taken.")
        if query:
            draft.metadata["query"] = query
        if notes:
            draft.metadata["notes"] = notes
            print("\n".join(notes))
        if examples_report_path:
            report.write(examples_report_path, draft.metadata)
    return {"edgeline_schema": examples.SCHEMA, **draft.metadata}


def _schema(files: Sequence[storage.File], reader: RowReader) -> pa.Schema:
    """The columns of all files, each with a name."""
    schema = reader.schema(files)
    if not schema.names:
        raise EdgelineError(f"{files[0].name} has no column: give data with at least one.")
    if not all(name.strip() for name in schema.names):
        raise EdgelineError(
            f"{files[0].name} has a column without a name: give it one with rename, for "
            'example {"": "row"}, or leave it out with columns={"": false}.'
        )
    return schema


def _empty(rows: Mapping[str, int], equal: Mapping[str, int]) -> Iterator[str]:
    """Sentences on splits without a row."""
    for name, count in rows.items():
        if not count:
            why = " (rows that are equal are in one split)" if equal else ""
            yield f"{name} has no row{why}, so nothing can be evaluated or trained on it"


def _read_as_files(sources: Sequence[storage.LocatedFile]) -> list[str]:
    """A note on files of a table that were named one by one, so that its log is not read."""
    here = [source.location for source in sources if not remote.scheme(source.location)]
    if folder := tables.delta_above(here):
        return [
            f"Files of the Delta table {folder.name} were read without its log: rows that were "
            "deleted since may be among them. Give its folder to read it as a table."
        ]
    return []


def _files(
    table: tables.TableLocation | None,
    sources: Sequence[storage.LocatedFile],
    kind: str,
    query: str,
    folder: Path,
    notes: list[str],
) -> Sequence[storage.File]:
    """The files to read: the data's own, or what a table or a database gives, kept in a folder."""
    if table:
        return [_rows_of(table, query, folder / "rows.arrow", notes)]
    files = storage.fetch(sources, folder)
    for file in files:
        refuse_stand_in(file)
    if kind != "sqlite":
        return files
    return [
        sqlite_rows.of_file(file, query, folder / f"rows-{number}.arrow", notes)
        for number, file in enumerate(files)
    ]


def _rows_of(table: TableLocation, query: str, path: Path, notes: list[str]) -> storage.File:
    if table.kind == tables.DATABASE:
        return queries.of_server(table, query, path, notes)
    return read_lake(table, path)


def _typed_reader(
    kind: str, column_types: Mapping[str, str], choice: ColumnChoice, notes: list[str]
) -> RowReader:
    """The reader of a format that has types of its own."""
    if kind not in FORMATS:
        raise EdgelineError(f"format {kind!r} is not known: it is one of {', '.join(FORMATS)}.")
    times = kind == "json" and all(name == timestamps.NAME for name in column_types.values())
    if column_types and not times:
        raise EdgelineError(
            f"column_types is for CSV (and timestamp for JSON), but the data is {kind}, which has "
            "its own types: remove it."
        )
    readers: dict[str, RowReader] = {
        "parquet": TypedReader(Parquet(), notes, choice),
        "arrow": TypedReader(ArrowIpc(), notes, choice),
        "avro": TypedReader(Avro(), notes, choice),
        "sqlite": TypedReader(ArrowIpc(), notes, choice),
        "tfrecord": TFRecordReader(choice),
        "json": JsonReader(frozenset(column_types), choice, notes),
        "images": ImageReader(),
    }
    return readers[kind]


def _rule(shares: Shares, key: str, by: SplitBy, read: AllRows) -> SplitRule:
    """How the rows are split; where a column says it, after a first reading of all."""
    match by.way:
        case "column":
            return ColumnSplit.planned(by.column, by.names or {}, read)
        case "time":
            return TimeSplit.planned(by.column, by.cuts, shares, read)
        case "stratify":
            return StratifiedSplit.planned(by.column, shares, read)
        case _:
            return HashSplit(shares, key)


def _sources(
    kind: str, sources: Sequence[storage.LocatedFile], files: Sequence[storage.File]
) -> list[dict[str, object]]:
    if kind != "images":
        return [{"name": file.name, "sha256": file.sha256, "size": file.size} for file in files]
    folders: dict[str, list[storage.File]] = {}
    for source, file in zip(sources, files, strict=True):
        folders.setdefault(source.given.partition(PIN)[0], []).append(file)
    return [
        {
            "name": given if "://" in given else PurePosixPath(given).name,
            "sha256": storage.digest(found),
            "size": sum(file.size for file in found),
        }
        for given, found in folders.items()
    ]
