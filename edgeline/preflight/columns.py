"""Names of columns, a fixed schema and the batch, against the header and the rows of the data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from edgeline.components.ingest import windows
from edgeline.components.ingest.split_by import SplitBy
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.preflight.given import GivenRun
from edgeline.preflight.header import Header, fewer_rows_than
from edgeline.preflight.module_source import ModuleSource
from edgeline.stores import remote

MOST_SHOWN = 30  # names of columns
MOST_LINES = 3  # about columns that a module reads
WEIGHED_BY = (
    *("example_weight_key", "example_weight_keys"),
    *("exampleWeightKey", "exampleWeightKeys"),
)
SLICED_BY = ("feature_keys", "feature_values", "featureKeys", "featureValues")  # of a SlicingSpec


def names(run: GivenRun) -> Iterator[str]:
    """Columns that parameters, slices and the module's code use."""
    if (header := run.header) is None or (source := run.source_header) is None:
        return
    if key := run.text("split_key"):
        yield from _absent(source, [key], "split_key names a column")
    try:
        by = SplitBy.read(run.values.get("split_by") or {}, run.text("split_key"))
    except EdgelineError as error:
        yield str(error)
    else:
        named = [by.column] if by.way else []
        yield from _absent(source, named, f"split_by[{by.way!r}] names a column")
    yield from _absent(source, run.values.get("images") or (), "images names a column")
    yield from _absent(source, run.values.get("lengths") or (), "lengths names a column")
    chosen = [name for name in run.values.get("columns") or () if name not in source.structs]
    yield from _absent(source, chosen, "columns names a column")
    yield from _absent(source, run.rename, "rename names a column")
    if run.format == "csv":
        yield from _absent(source, run.values.get("column_types") or (), "column_types names")
    yield from _absent(header, run.values.get("never_missing") or (), "never_missing lists")
    slices = run.values.get("explained_slices") or ()
    yield from _absent(header, slices, "explained_slices names a column")
    groups = [(run.values.get("fairness") or {}).get("group")]
    yield from _absent(header, groups, "fairness.group names a column")
    if weights := run.text("weight_column"):
        yield from _absent(header, [weights], "weight_column names a column")
    for where, column in _weighed(run.values.get("eval_config")):
        yield from _absent(header, [column], f"{where} names a column")
    for where, column in _sliced(run.values.get("eval_config")):
        yield from _absent(header, [column], f"{where} names a column")
    if module := run.module:
        yield from _read_by(module, header)
        yield from _reads_weights(module, weights)


def schema(run: GivenRun) -> Iterator[str]:
    """A fixed schema that is damaged, lacks the environment, or asks for an absent column."""
    uri, environment = run.text("schema_uri"), run.text("environment")
    if not uri and environment:
        yield (
            f"Parameter environment is {environment!r}, but an inferred schema has no "
            "environments: leave it out, or give schema_uri."
        )
    if not uri or remote.scheme(uri) or not os.path.lexists(uri.partition(remote.PIN)[0]):
        return
    from edgeline.components.validate import schema as schemas  # protobuf comes with it

    try:
        fixed = schemas.read(uri)
        if environment:
            schemas.check_environment(fixed, environment)
    except EdgelineError as error:
        yield f"Parameter schema_uri: {error}"
        return
    wanted = schemas.needed_columns(fixed, environment)
    if run.header is not None:
        yield from _absent(run.header, wanted, "The schema of schema_uri asks for a column")


def batch(run: GivenRun) -> Iterator[str]:
    """A batch of more rows than there are, so that no step could be trained; splits that lack."""
    ratios, size = run.values.get("split_ratios"), run.values.get("batch_size")
    if isinstance(ratios, Mapping) and ratios:
        for split in ("train", "eval"):
            if not ratios.get(split) and size is not None:
                yield f"split_ratios has no {split}: give that split a weight, too."
    if not isinstance(size, int) or run.header is None or not run.files:
        return
    rows = run.header.rows
    if rows is None and run.format in ("csv", "json"):
        lines = fewer_rows_than(run.files, size)
        heads = len(run.files) if run.format == "csv" else 0
        rows = None if lines is None else lines - heads
    if rows is None or size <= rows:
        return
    if rows <= 0:
        yield f"Parameter data: {run.header.file} has no row: give data with at least one."
        return
    yield (
        f"batch_size is {size}, but the data has at most {rows} rows, and the split train fewer: "
        "make it smaller."
    )


def over_time(run: GivenRun) -> Iterator[str]:
    """Windows that cannot be, or of columns that the data lacks."""
    given, source = run.values.get("windows") or {}, run.source_header
    key, splits = run.text("split_key"), len(run.values.get("split_ratios") or ())
    try:
        by = SplitBy.read(run.values.get("split_by") or {}, key)
    except EdgelineError:
        return  # which `names` says
    try:
        found = windows.read(given, by, key, splits)
    except EdgelineError as error:
        yield str(error)
        return
    if found is None or source is None:
        return
    for field in ("time", "key"):
        named = [name] if (name := getattr(found, field)) else []
        yield from _absent(source, named, f"windows[{field!r}] names a column")
    yield from _absent(source, found.columns, "windows['columns'] names a column")


def _read_by(module: ModuleSource, header: Header) -> Iterator[str]:
    """Columns that preprocessing_fn reads: a line each, or one for all where many are not there."""
    place = module.code.shown(module.code.entry)
    read = dict(reversed(module.required_items("preprocessing_fn", 0)))  # the first line of each
    absent = [name for name in reversed(read) if name not in header.names]
    if len(absent) <= MOST_LINES:
        for name in absent:
            yield from _absent(header, [name], f"{place}:{read[name]}: preprocessing_fn reads")
        return
    shown = ", ".join(map(repr, absent[:MOST_SHOWN]))
    yield (
        f"{place}:{read[absent[0]]}: preprocessing_fn reads {shown}, which {header.file} lacks: "
        f"is this the data that the module is for? Its columns are "
        f"{', '.join(header.names[:MOST_SHOWN])}."
    )


def _reads_weights(module: ModuleSource, weights: str) -> Iterator[str]:
    """The column of example weights, where preprocessing_fn reads it as a feature."""
    for name, line in module.required_items("preprocessing_fn", 0):
        if name == weights:
            place = module.code.shown(module.code.entry)
            yield (
                f"{place}:{line}: preprocessing_fn reads {name!r}, which is weight_column, so no "
                "model gets it: leave it out there, or weigh by another column."
            )
            return


def _weighed(config: Any) -> Iterator[tuple[str, str]]:
    """The columns of example weights that an EvalConfig names, with their field."""
    specs = config.get("model_specs") or config.get("modelSpecs") if _is_map(config) else None
    for index, spec in enumerate(specs if isinstance(specs, list) else ()):
        for field in WEIGHED_BY if _is_map(spec) else ():
            value = spec.get(field)
            columns = list(value.values()) if _is_map(value) else [value] if value else []
            yield from ((f"eval_config.model_specs[{index}].{field}", each) for each in columns)


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _absent(header: Header, wanted: Iterable[Any], what: str) -> Iterator[str]:
    for name in wanted:
        if isinstance(name, str) and name not in header.names:
            shown = header.names[:MOST_SHOWN]
            hint = did_you_mean(name, shown, "Its columns are")
            yield f"{what} {name!r}, which {header.file} lacks. {hint}"


def _sliced(config: Any, place: str = "eval_config") -> Iterator[tuple[str, Any]]:
    """The columns that an EvalConfig slices by, or has thresholds for slices of, with its field."""
    if isinstance(config, list):
        for index, each in enumerate(config):
            yield from _sliced(each, f"{place}[{index}]")
    if not isinstance(config, Mapping):
        return
    for field, value in config.items():
        if field in SLICED_BY and isinstance(value, (list, Mapping)):
            yield from ((place, name) for name in value)
        elif field != "config":
            yield from _sliced(value, f"{place}.{field}")
