"""The worker of `transform`: examples and the user's preprocessing_fn to model features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edgeline import artifacts, user_code
from edgeline.artifacts import Artifact, example_weights, examples, features
from edgeline.artifacts import fairness as asked_fairness
from edgeline.artifacts.features import Feature
from edgeline.artifacts.ranges import KEY as RANGES
from edgeline.beam import workers
from edgeline.beam.workers import Workers
from edgeline.components.transform import ranges
from edgeline.components.transform.apply import apply, spread
from edgeline.components.transform.graph import analyze
from edgeline.components.transform.saved_graph import SavedGraph
from edgeline.errors import EdgelineError

GRAPH_SCHEMA = "transform_graph/v1"


def transform(
    examples_path: str,
    schema_path: str,
    module: str,
    transform_graph_path: str,
    transformed_examples_path: str,
    features_report_path: str,
    analyze_split: str = "train",
    beam_options: Sequence[str] = (),
    analyzer_cache: str = "",
    label: str = "",
    weight_column: str = "",
    transformed_examples_uri: str = "",
    fairness: Mapping[str, Any] | None = None,
) -> tuple[dict[str, object], dict[str, object]]:
    """Analyse one split, then transform all of them.

    Args:
        examples_path: an `examples/v1` folder.
        schema_path: a `schema/v1` folder: which columns there are, their dtypes and shapes.
        module: the user's module, see `edgeline.user_code`.
        transform_graph_path: where the `transform_graph/v1` folder goes.
        transformed_examples_path: where the `transformed_examples/v1` folder goes.
        features_report_path: where the HTML report goes.
        analyze_split: the split that vocabularies, means and quantiles are learnt from.
        beam_options: see `edgeline.beam.runner.read`; empty runs in this process.
        analyzer_cache: a folder to keep what was learnt of each part in, or "".
        label: an output that there must be, which is told before a row is read; "": not looked at.
        weight_column: the raw column of example weights, which go beside the transformed features
            as they are; "": each row counts once.
        transformed_examples_uri: that of the transformed examples in a store, beside which Beam's
            workers share what they need unless `beam_options` has a `--temp_location`.
        fairness: see `edgeline.artifacts.fairness`; where it changes the training, its
            group goes beside the transformed features.

    Returns:
        The metadata of the transform graph and of the transformed examples.

    Raises:
        EdgelineError: the inputs are damaged, `weight_column` holds no weights, `preprocessing_fn`
            fails or does not give the label, or rows were lost.
    """
    between = asked_fairness.parse(fairness)
    with workers.hired(beam_options, transformed_examples_uri, "transform") as hired:
        return _transform(
            examples_path,
            schema_path,
            module,
            transform_graph_path,
            transformed_examples_path,
            features_report_path,
            analyze_split,
            hired,
            analyzer_cache,
            label,
            weight_column,
            between.group if between and between.trains else "",
        )


def _transform(
    examples_path: str,
    schema_path: str,
    module: str,
    transform_graph_path: str,
    transformed_examples_path: str,
    features_report_path: str,
    analyze_split: str,
    hired: Workers | None,
    analyzer_cache: str,
    label: str,
    weight_column: str,
    group_column: str,
) -> tuple[dict[str, object], dict[str, object]]:
    """As `transform`, with the workers at hand."""
    from edgeline.components.transform.report import write_report
    from edgeline.components.validate.schema import read_features

    source = artifacts.read(examples_path, examples.SCHEMA)
    raw_features = read_features(schema_path)
    if weight_column:
        example_weights.check(source, weight_column, examples.splits(source))
        raw_features = [feature for feature in raw_features if feature.name != weight_column]
    if group_column:
        _check_group(source, group_column)
    _check_shapes(raw_features)
    preprocessing_fn = user_code.function(user_code.load(module), "preprocessing_fn")
    parts = _parts_by_digest(source, analyze_split)
    if hired:
        columns = [feature.name for feature in raw_features]
        all_parts = [
            part for split in examples.splits(source) for part in examples.parts(source, split)
        ]
        beside = [each for each in (weight_column, group_column) if each]
        hired = hired.on(all_parts, list(dict.fromkeys([*columns, *beside])))

    with artifacts.writing(transform_graph_path, GRAPH_SCHEMA) as draft:
        rows = analyze(
            parts, raw_features, preprocessing_fn, draft.path, hired, analyzer_cache, label
        )
        graph = SavedGraph(draft.path)
        transformed = graph.outputs(_first_row(list(parts.values()), raw_features))
        if weight_column in [feature.name for feature in transformed]:
            raise EdgelineError(
                f"preprocessing_fn's output {weight_column!r} has the name of weight_column, which "
                "no model gets: give the output another name."
            )
        draft.metadata |= {
            "features": [feature.to_json() for feature in raw_features],
            "transformed": [feature.to_json() for feature in transformed],
            "dependencies": graph.dependencies(),
            "rows_analyzed": rows,
            RANGES: {
                name: given.to_json()
                for name, given in ranges.of(
                    schema_path, source, analyze_split, raw_features
                ).items()
            },
        }
    with artifacts.writing(transformed_examples_path, examples.TRANSFORMED_SCHEMA) as made:
        _apply_to_all(
            source,
            Path(transform_graph_path),
            made.path,
            raw_features,
            transformed,
            weight_column,
            graph,
            hired,
            group_column,
        )
        made.metadata |= {
            "splits": source.metadata["splits"],
            "features": [feature.to_json() for feature in transformed],
        }
        if weight_column:
            made.metadata[example_weights.KEY] = weight_column
        if group_column:
            made.metadata[asked_fairness.GROUP] = group_column
    write_report(
        features_report_path,
        Path(transform_graph_path),
        draft.metadata,
        artifacts.read(transformed_examples_path, examples.TRANSFORMED_SCHEMA),
        source,
        analyze_split,
    )
    return (
        {"edgeline_schema": GRAPH_SCHEMA, **draft.metadata},
        {"edgeline_schema": examples.TRANSFORMED_SCHEMA, **made.metadata},
    )


def _check_group(source: Artifact, column: str) -> None:
    for split, rows in examples.splits(source).items():
        names = examples.arrow_schema(source, split).names if rows else [column]
        if column not in names:
            raise EdgelineError(
                f"fairness.group is {column!r}, but the examples have no such column: they have "
                f"{', '.join(names)}."
            )


def _check_shapes(raw_features: Sequence[Feature]) -> None:
    for feature in raw_features:
        if min(feature.shape) < 1:
            raise EdgelineError(
                f"Column {feature.name!r} does not have the same number of values in each row, "
                "which no edge model takes: declare the most with lengths, or value_count.max in "
                "the schema, or leave the column out."
            )


def _first_row(parts: Sequence[Path], raw_features: Sequence[Feature]) -> dict[str, Any]:
    for part in parts:
        with pq.ParquetFile(part) as file:
            for batch in file.iter_batches(batch_size=1):
                return features.to_numpy(batch, raw_features)
    raise AssertionError("parts without rows are refused before")


def _parts_by_digest(source: Artifact, split: str) -> dict[str, Path]:
    files = examples.parts(source, split)
    if not examples.count_rows(files):
        raise EdgelineError(
            f"Split {split!r} has no rows to learn from: change 'analyze_split' or the ratios."
        )
    # equal parts may repeat: the position keeps their keys apart
    return {
        f"{source.files[file.relative_to(source.path).as_posix()]['sha256']}-{position}": file
        for position, file in enumerate(files)
    }


def _apply_to_all(
    source: Artifact,
    graph: Path,
    output: Path,
    raw_features: Sequence[Feature],
    transformed: Sequence[Feature],
    weight_column: str,
    loaded: SavedGraph,
    hired: Workers | None,
    group_column: str,
) -> None:
    targets: dict[Path, Path] = {}
    for split in examples.splits(source):
        (output / split).mkdir()
        targets |= {part: output / split / part.name for part in examples.parts(source, split)}
    if hired:
        spread(graph, targets, raw_features, transformed, weight_column, hired, group_column)
    else:
        apply(graph, targets, raw_features, transformed, weight_column, loaded, group_column)
