"""The ingest component: raw data in, examples out."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def ingest(
    data: str,
    examples: Output[Dataset],
    examples_report: Output[HTML],
    format: str = "",  # noqa: A002
    split_ratios: dict = {"train": 2, "eval": 1},  # noqa: B006
    split_key: str = "",
    split_by: dict = {},  # noqa: B006
    encoding: str = "utf-8",
    delimiter: str = ",",
    null_values: list = [""],  # noqa: B006
    column_types: dict = {},  # noqa: B006
    images: dict = {},  # noqa: B006
    decimal: str = ".",
    thousands: str = "",
    columns: dict = {},  # noqa: B006
    rename: dict = {},  # noqa: B006
    lengths: dict = {},  # noqa: B006
    query: str = "",
    windows: dict = {},  # noqa: B006
    sample: float = 1.0,
    cache_name: str = "",  # noqa: ARG001
):
    """Read files, tables, a database's rows or images and split them.

    Args:
        data: where the data lies: a path, s3://, gs://, abfs://, minio:// or https:// location; a
            file, a folder or a glob; several with commas between. #sha256=<hex> pins a location's
            content. A Delta Lake or Iceberg table is its folder or
            iceberg://catalog/namespace.table, pinned by #version=<number> or #snapshot=<number>.
            postgresql://user@host/database is a PostgreSQL server, whose password PGPASSWORD has.
        examples: the rows as Parquet, one folder per split (examples/v1).
        examples_report: an HTML page with the splits, columns and sources.
        format: csv, parquet, arrow, avro, tfrecord, json, sqlite or images; empty: by the files'
            endings.
        split_ratios: split to weight, for example {"train": 8, "eval": 1, "test": 1}.
        split_key: column whose value decides the split, so that rows with an equal value
            stay together; empty: a stable hash of the whole row decides.
        split_by: another way to split: {"column": "fold"} (its values are the splits; others with
            {"column": "fold", "names": {"validation": "eval"}}), {"time": "when"} (train is the
            earliest, the others follow by name, in the shares of split_ratios or at
            {"time": "when", "cuts": ["2026-01-01"]}), or {"stratify": "label"} (each label in the
            same shares).
        encoding: of CSV files, a codec name of Python such as latin-1.
        delimiter: between the cells of CSV files; a tab, or \\t, where their names end with .tsv.
        null_values: CSV cells that mean 'missing'.
        column_types: CSV column to int64, float, string, bool, percent or timestamp, instead of
            what its values tell; of JSON, columns of text to timestamp; of any files, columns that
            their folders name (day=2026-01-01/). A bool is 1 or 0, 12% is
            0.12. A timestamp is stored, as Parquet's are, as int64 microseconds since 1970 in UTC.
        images: column of PNG or JPEG files to [height, width, channels], for example
            {"image": [28, 28, 1]}: pixels from 0 to 255 in this size, grey or RGB.
        decimal: the sign before the fraction of numbers in CSV files, . or ,.
        thousands: the sign between the thousands of numbers in CSV files; empty: none.
        columns: column to true for those to take, and no others, or to false for those to leave
            out, for example {"id": false}; empty: all.
        rename: column to its new name. All other parameters say the names that the data has.
        lengths: column of lists that differ in length to the most values that one has, for example
            {"tokens": 128}: what a shorter one lacks at its end is missing.
        query: of a database, the rows to take, in SQL; with ORDER BY they come in the same order
            in each run.
        windows: rows of a series, in order of time, as one row, for example {"size": 8, "time":
            "when", "key": "machine", "columns": ["pressure"]}: the columns become lists of size
            values, all others are those of the last row. stride (1), max_gap (in the time's unit)
            and kept_by (client or server) are optional, and so is key.
        sample: the share of the rows to take, the same ones each time; rows with one value of
            split_key, or of the windows' key, are taken or left out together.
        cache_name: the cache to take the result from, and so those of all tasks that take it; a
            new name starts with an empty one.
    """
    from edgeline.artifacts.metadata import record
    from edgeline.components.ingest.ingest import ingest as work

    record(
        examples,
        work(
            data=data,
            examples_path=examples.path,
            examples_report_path=examples_report.path,
            format=format,
            split_ratios=split_ratios,
            split_key=split_key,
            split_by=split_by,
            encoding=encoding,
            delimiter=delimiter,
            null_values=null_values,
            column_types=column_types,
            images=images,
            decimal=decimal,
            thousands=thousands,
            columns=columns,
            rename=rename,
            lengths=lengths,
            query=query,
            windows=windows,
            sample=sample,
        ),
    )
