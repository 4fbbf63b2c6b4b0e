"""Validate examples: statistics, schema, anomalies and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples, features
from edgeline.beam import workers
from edgeline.components.validate import (
    checks,
    computing,
    constraints,
    label_report,
    pictures,
    pictures_report,
    shifts,
    spread_statistics,
)
from edgeline.components.validate import label as labels
from edgeline.components.validate import report as pages
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import (
    ERROR,
    Anomaly,
    Measurement,
    Unchecked,
    ValidationFindings,
    to_proto,
)
from edgeline.errors import EdgelineError
from edgeline.stores import remote

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import statistics_pb2

    from edgeline.reports.report import Section

ANOMALIES_SCHEMA = "anomalies/v1"
NAMED_ANOMALIES = 3
USUAL_LABEL = "label"  # as ingest calls the folders of pictures


@dataclass(frozen=True)
class Validation:
    """Whether the data are valid, what is wrong, what was not checked, each output's metadata."""

    valid: bool
    found: tuple[Anomaly, ...]
    unchecked: tuple[Unchecked, ...]
    statistics: dict[str, object]
    schema: dict[str, object]
    anomalies: dict[str, object]


def validate(
    examples_path: str,
    statistics_path: str,
    schema_path: str,
    anomalies_path: str,
    validation_report_path: str,
    schema_uri: str = "",
    baseline_uri: str = "",
    skew_threshold: float = 0.1,
    drift_threshold: float = 0.1,
    on_anomalies: str = "fail",
    environment: str = "",
    comparison_rows: int = shifts.LEAST_ROWS,
    infer_ranges: bool = False,
    beam_options: Sequence[str] = (),
    label: str = "",
    statistics_uri: str = "",
) -> Validation:
    """Compute statistics, check them against a schema and a baseline, and write it all down.

    The split of reference is `train`, or the first by name where there is none: from it the
    schema is inferred, and from it skew is measured.

    Args:
        examples_path: an `examples/v1` folder.
        statistics_path: where the `statistics/v1` folder goes (`statistics.pb`, `statistics.json`).
        schema_path: where the `schema/v1` folder goes (`schema.pbtxt`, `features.json`).
        anomalies_path: where the `anomalies/v1` folder goes (`anomalies.json`, and one
            `anomalies.pbtxt` a split).
        validation_report_path: where the HTML file goes.
        schema_uri: a frozen schema (see `schema.read`); empty: infer one.
        baseline_uri: statistics of an earlier run (see `statistics.read`); empty: no drift.
        skew_threshold: greatest distance of a split from that of reference, in [0, 1].
        drift_threshold: greatest distance of a split from the baseline's, in [0, 1].
        on_anomalies: `fail` raises when the data are not valid, after all is written;
            `flag` returns.
        environment: that of the schema's in which the data are; empty: all features are asked for.
        comparison_rows: of a split; with fewer only the schema's own comparators are judged.
        infer_ranges: whether an inferred schema has ranges of numbers (see `schema`).
        beam_options: see `edgeline.beam.runner.read`; empty counts in this process.
        label: what is predicted, of which the report then tells: a column, or what preprocessing_fn
            makes; then it is the column `label` where there is one.
        statistics_uri: that of the statistics in a store, beside which Beam's workers
            share what they need unless `beam_options` has a `--temp_location`.

    Raises:
        EdgelineError: an input is missing or damaged, a parameter is wrong, or the data are
            not valid.
    """
    _check_parameters(on_anomalies, skew_threshold=skew_threshold, drift_threshold=drift_threshold)
    if comparison_rows < 1:
        raise EdgelineError(f"comparison_rows is {comparison_rows}: give 1 or more.")
    with workers.hired(beam_options, statistics_uri, "validate") as hired:
        source = artifacts.read(examples_path, examples.SCHEMA)
        frozen = schemas.read(schema_uri) if schema_uri else None
        if environment:
            schemas.check_environment(frozen or schema_pb2.Schema(), environment)
        baseline = stats.read(baseline_uri) if baseline_uri else None
        computed = computing.compute(
            source, frozen, spread_statistics.passes_of(source, hired) if hired else None
        )
    datasets = _reference_first(computed.datasets)
    expected = frozen or _infer(source, datasets[0], infer_ranges)
    skewed = [(datasets[0], data) for data in datasets[1:]]
    drifted = _with_baseline(datasets, baseline, baseline_uri) if baseline is not None else []
    found = [
        anomaly
        for data in datasets
        for anomaly in checks.check_split(data, expected, not schema_uri, environment)
    ]
    measured: list[Measurement] = []
    for kind, pairs, limit in (
        ("skew", skewed, skew_threshold),
        ("drift", drifted, drift_threshold),
    ):
        for control, data in pairs:
            moved, distances = shifts.compare(kind, control, data, expected, limit, comparison_rows)
            found, measured = found + moved, measured + distances
    found.sort(key=lambda anomaly: anomaly.severity != ERROR)
    gaps = _unchecked(expected, datasets, environment)
    gaps += shifts.unchecked("skew", expected, skewed)
    gaps += shifts.unchecked("drift", expected, drifted)
    valid = all(anomaly.severity != ERROR for anomaly in found)
    columns = {name for data in datasets for name in stats.columns(data)}
    absent = {path for path, _, _ in schemas.walk(expected)} - columns
    findings = ValidationFindings(tuple(found), tuple(dict.fromkeys(gaps)), tuple(measured))
    result = Validation(
        valid,
        findings.anomalies,
        findings.unchecked,
        _write_statistics(statistics_path, computed),
        schemas.write(schema_path, expected, not schema_uri, environment, absent),
        _write_anomalies(anomalies_path, datasets, expected, findings),
    )
    origin = (
        f"given, {PurePosixPath(remote.public(schema_uri)).name}"
        if schema_uri
        else f"inferred from {datasets[0].name}"
    )
    more = _more(source, datasets, label)
    pages.write(validation_report_path, datasets, findings, origin, more)
    if not valid and on_anomalies == "fail":
        raise EdgelineError(_sentence(found))
    return result


def _check_parameters(on_anomalies: str, **thresholds: float) -> None:
    if on_anomalies not in ("fail", "flag"):
        raise EdgelineError(f"on_anomalies is {on_anomalies!r}: give 'fail' or 'flag'.")
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise EdgelineError(f"{name} is {value}: give a number from 0 to 1 (1 never fails).")


def _more(
    source: Artifact, datasets: Sequence[statistics_pb2.DatasetFeatureStatistics], label: str
) -> list[Section]:
    """What the page says of the label and of pictures, of rows of each split that has some."""
    filled = [data.name for data in datasets if data.num_examples]
    if not filled:
        return []
    # what preprocessing_fn makes of a column is seldom called as that is, but for this name
    names = examples.arrow_schema(source, filled[0]).names
    known = next((name for name in (label, USUAL_LABEL) if name in names), "")
    reading = labels.read(source, filled[0], known) if label and known else None
    found = label_report.sections(datasets, label, known, reading)
    for column in pictures.columns(source, filled[0]):
        looked = [pictures.look(source, split, column, known) for split in filled]
        found += pictures_report.sections(column.name, looked)
    return found


def _unchecked(
    schema: schema_pb2.Schema,
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    environment: str,
) -> list[Unchecked]:
    """What the schema says that the splits were not checked for, comparisons left out."""
    gaps = constraints.unchecked(schema)
    if not environment and schemas.environments(schema):
        reason = "environment is not given, so every feature is asked for"
        gaps.append(Unchecked("", "default_environment", reason))
    for data in datasets:
        gaps += checks.unchecked(data, schema, environment)
    return gaps


def _reference_first(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
) -> list[statistics_pb2.DatasetFeatureStatistics]:
    return sorted(datasets, key=lambda data: (data.name != "train", data.name))


def _infer(
    source: Artifact, reference: statistics_pb2.DatasetFeatureStatistics, ranges: bool
) -> schema_pb2.Schema:
    if not reference.num_examples:
        raise EdgelineError(
            f"Split {reference.name!r} has no rows, so no schema can be "
            "inferred from it: give schema_uri or more data."
        )
    columns = examples.arrow_schema(source, reference.name)
    bools = frozenset(field.name for field in columns if pa.types.is_boolean(field.type))
    told = {field.name: field.metadata or {} for field in columns}
    empty = frozenset(name for name, facts in told.items() if features.EMPTY in facts)
    made = schemas.infer(reference, bools, ranges, empty)
    shaped = [f for f in columns if features.SHAPE in told[f.name] or f.name in empty]
    schemas.set_shapes(made, features.from_arrow_schema(pa.schema(shaped)))
    return made


def _with_baseline(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    baseline: statistics_pb2.DatasetFeatureStatisticsList,
    uri: str,
) -> list[tuple[statistics_pb2.DatasetFeatureStatistics, statistics_pb2.DatasetFeatureStatistics]]:
    """Every split with the baseline's of the same name, or with one of no name, before it."""
    earlier = {data.name: data for data in baseline.datasets}
    if "" in earlier:  # as TFX's StatisticsGen writes a split into a file of its own
        earlier = {data.name: earlier.get(data.name, earlier[""]) for data in datasets}
    common = [(earlier[data.name], data) for data in datasets if data.name in earlier]
    if not common:
        raise EdgelineError(
            f"The baseline {remote.public(uri)} has the splits {', '.join(earlier)}, the examples "
            f"have {', '.join(data.name for data in datasets)}: give statistics of the same splits."
        )
    return common


def _write_statistics(
    path: str, computed: statistics_pb2.DatasetFeatureStatisticsList
) -> dict[str, Any]:
    with artifacts.writing(path, stats.SCHEMA) as draft:
        (draft.path / stats.FILE).write_bytes(computed.SerializeToString(deterministic=True))
        artifacts.write_json(draft.path / "statistics.json", stats.to_json(computed))
        draft.metadata["splits"] = {
            data.name: {"rows": data.num_examples} for data in computed.datasets
        }
    return {"edgeline_schema": stats.SCHEMA, **draft.metadata}


def _write_anomalies(
    path: str,
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    schema: schema_pb2.Schema,
    found: ValidationFindings,
) -> dict[str, object]:
    facts = {"valid": not found.errors, "errors": found.errors, "warnings": found.warnings}
    facts["not_checked"] = len(found.unchecked)
    with artifacts.writing(path, ANOMALIES_SCHEMA) as draft:
        for data in datasets:
            proto = to_proto(schema, data.name, found.anomalies, found.measurements)
            folder = draft.path / data.name
            folder.mkdir()
            text = text_format.MessageToString(proto, as_utf8=True)
            (folder / "anomalies.pbtxt").write_text(text, encoding="utf-8")
        records = {
            "anomalies": [asdict(anomaly) for anomaly in found.anomalies],
            "unchecked": [asdict(gap) for gap in found.unchecked],
            "distances": [asdict(measurement) for measurement in found.measurements],
        }
        artifacts.write_json(draft.path / "anomalies.json", {**facts, **records})
        draft.metadata.update(facts, notes=found.notes())
    return {"edgeline_schema": ANOMALIES_SCHEMA, **draft.metadata}


def _sentence(found: Sequence[Anomaly]) -> str:
    errors = [anomaly.sentence.rstrip(".") for anomaly in found if anomaly.severity == ERROR]
    more = len(errors) - NAMED_ANOMALIES
    rest = f"; and {more} more" if more > 0 else ""
    return (
        f"The data are not valid: {'; '.join(errors[:NAMED_ANOMALIES])}{rest} (see the report): "
        "fix the data, give another schema_uri, or set on_anomalies to 'flag'."
    )
