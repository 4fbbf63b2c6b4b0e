"""Validate examples: statistics, schema, anomalies and a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf import text_format

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples, features
from edgeline.components.validate import checks, computing, shifts
from edgeline.components.validate import report as pages
from edgeline.components.validate import schema as schemas
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import ERROR, Anomaly, Measurement, to_proto
from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

ANOMALIES_SCHEMA = "anomalies/v1"
NAMED_ANOMALIES = 3


@dataclass(frozen=True)
class Validation:
    """Whether the data are valid, what is wrong, and the metadata of each output."""

    valid: bool
    found: tuple[Anomaly, ...]
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

    Raises:
        EdgelineError: an input is missing or damaged, a parameter is wrong, or the data are
            not valid.
    """
    _check_parameters(on_anomalies, skew_threshold=skew_threshold, drift_threshold=drift_threshold)
    source = artifacts.read(examples_path, examples.SCHEMA)
    frozen = schemas.read(schema_uri) if schema_uri else None
    baseline = stats.read(baseline_uri) if baseline_uri else None
    computed = computing.compute(source)
    datasets = _reference_first(computed.datasets)
    expected = frozen or _infer(source, datasets[0])
    found, measured = _check(datasets, expected, not schema_uri, skew_threshold)
    if baseline is not None:
        drifted, distances = _drift(datasets, baseline, baseline_uri, expected, drift_threshold)
        found, measured = found + drifted, measured + distances
    found.sort(key=lambda anomaly: anomaly.severity != ERROR)
    valid = all(anomaly.severity != ERROR for anomaly in found)
    result = Validation(
        valid,
        tuple(found),
        _write_statistics(statistics_path, computed),
        schemas.write(schema_path, expected, inferred=not schema_uri),
        _write_anomalies(anomalies_path, datasets, expected, found, measured),
    )
    origin = (
        f"given, {Path(schema_uri).name}" if schema_uri else f"inferred from {datasets[0].name}"
    )
    pages.write(validation_report_path, datasets, found, measured, origin)
    if not valid and on_anomalies == "fail":
        raise EdgelineError(_sentence(found))
    return result


def _check_parameters(on_anomalies: str, **thresholds: float) -> None:
    if on_anomalies not in ("fail", "flag"):
        raise EdgelineError(f"on_anomalies is {on_anomalies!r}: give 'fail' or 'flag'.")
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise EdgelineError(f"{name} is {value}: give a number from 0 to 1 (1 never fails).")


def _reference_first(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
) -> list[statistics_pb2.DatasetFeatureStatistics]:
    return sorted(datasets, key=lambda data: (data.name != "train", data.name))


def _infer(
    source: Artifact, reference: statistics_pb2.DatasetFeatureStatistics
) -> schema_pb2.Schema:
    if not reference.num_examples:
        raise EdgelineError(
            f"Split {reference.name!r} has no rows, so no schema can be "
            "inferred from it: give schema_uri or more data."
        )
    columns = examples.arrow_schema(source, reference.name)
    bools = frozenset(field.name for field in columns if pa.types.is_boolean(field.type))
    made = schemas.infer(reference, bools)
    shaped = [field for field in columns if features.SHAPE in (field.metadata or {})]
    schemas.set_shapes(made, features.from_arrow_schema(pa.schema(shaped)))
    return made


def _check(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    schema: schema_pb2.Schema,
    inferred: bool,
    threshold: float,
) -> tuple[list[Anomaly], list[Measurement]]:
    """Every split against the schema, and every other split against that of reference."""
    found: list[Anomaly] = []
    measured: list[Measurement] = []
    for data in datasets:
        found += checks.check_split(data, schema, inferred)
        if data is not datasets[0]:
            skewed, distances = shifts.compare("skew", datasets[0], data, schema, threshold)
            found, measured = found + skewed, measured + distances
    return found, measured


def _drift(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    baseline: statistics_pb2.DatasetFeatureStatisticsList,
    uri: str,
    schema: schema_pb2.Schema,
    threshold: float,
) -> tuple[list[Anomaly], list[Measurement]]:
    """Every split against the baseline's split of the same name."""
    earlier = {data.name: data for data in baseline.datasets}
    common = [data for data in datasets if data.name in earlier]
    if not common:
        raise EdgelineError(
            f"The baseline {uri} has the splits {', '.join(earlier)}, the examples have "
            f"{', '.join(data.name for data in datasets)}: give statistics of the same splits."
        )
    found: list[Anomaly] = []
    measured: list[Measurement] = []
    for data in common:
        drifted, distances = shifts.compare("drift", earlier[data.name], data, schema, threshold)
        found, measured = found + drifted, measured + distances
    return found, measured


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
    found: Sequence[Anomaly],
    measured: Sequence[Measurement],
) -> dict[str, object]:
    errors = sum(anomaly.severity == ERROR for anomaly in found)
    facts = {"valid": not errors, "errors": errors, "warnings": len(found) - errors}
    with artifacts.writing(path, ANOMALIES_SCHEMA) as draft:
        for data in datasets:
            proto = to_proto(schema, data.name, found, measured)
            folder = draft.path / data.name
            folder.mkdir()
            text = text_format.MessageToString(proto, as_utf8=True)
            (folder / "anomalies.pbtxt").write_text(text, encoding="utf-8")
        records = {
            "anomalies": [asdict(anomaly) for anomaly in found],
            "distances": [asdict(measurement) for measurement in measured],
        }
        artifacts.write_json(draft.path / "anomalies.json", {**facts, **records})
        draft.metadata.update(facts)
    return {"edgeline_schema": ANOMALIES_SCHEMA, **draft.metadata}


def _sentence(found: Sequence[Anomaly]) -> str:
    errors = [anomaly.sentence.rstrip(".") for anomaly in found if anomaly.severity == ERROR]
    more = len(errors) - NAMED_ANOMALIES
    rest = f"; and {more} more" if more > 0 else ""
    return (
        f"The data are not valid: {'; '.join(errors[:NAMED_ANOMALIES])}{rest} (see the report): "
        "mend the data, give another schema_uri, or set on_anomalies to 'flag'."
    )
