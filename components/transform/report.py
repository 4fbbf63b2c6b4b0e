"""The report of `transform`: what each model feature is made from and how it is spread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from edgeline.artifacts import Artifact, examples, features
from edgeline.artifacts.features import Feature
from edgeline.components.transform.saved_graph import vocabulary, vocabulary_names
from edgeline.reports import report

SAMPLE_ROWS = 20_000


def write_report(
    path: str | Path, graph: Path, metadata: Mapping[str, Any], transformed: Artifact
) -> None:
    """Write the HTML report of a finished transform."""
    made = [Feature.from_json(value) for value in metadata["transformed"]]
    split = next(iter(examples.splits(transformed)))
    sample = next(examples.read_batches(transformed, split, batch_rows=SAMPLE_ROWS), None)
    values = features.to_numpy(sample, made) if sample else {}
    rows = sum(examples.splits(transformed).values())

    report.write(
        path,
        "Transform",
        [
            report.Fact("rows analysed", report.number(metadata["rows_analyzed"])),
            report.Fact("rows transformed", report.number(rows)),
            report.Fact("raw features", str(len(metadata["features"]))),
            report.Fact("model features", str(len(made))),
        ],
        [
            report.Section(
                "Model features",
                report.table(
                    ["feature", "dtype", "shape", "made from", "smallest", "mean", "largest", ""],
                    [_row(feature, metadata, values) for feature in made],
                ),
                f"Spread over the first {len(sample) if sample else 0:,} rows of split {split}.",
            ),
            report.Section(
                "Vocabularies",
                report.table(
                    ["vocabulary", "entries", "most frequent"],
                    [_vocabulary_row(graph, name) for name in vocabulary_names(graph)],
                ),
            ),
        ],
    )


def _row(feature: Feature, metadata: Mapping[str, Any], values: Mapping[str, Any]) -> list[object]:
    shape = ", ".join(map(str, ("batch", *feature.shape)))
    made_from = ", ".join(metadata["dependencies"][feature.name])
    row: list[object] = [feature.name, feature.dtype, f"[{shape}]", made_from]
    if feature.dtype == "string" or feature.name not in values:
        return [*row, None, None, None, ""]
    numbers = values[feature.name].astype(np.float64)
    return [
        *row,
        float(numbers.min()),
        float(numbers.mean()),
        float(numbers.max()),
        _spark(numbers),
    ]


def _spark(numbers: npt.NDArray[np.float64]) -> Markup:
    """A histogram the height of a table row; matplotlib would cost more than the transform."""
    counts, _ = np.histogram(numbers[np.isfinite(numbers)], bins=24)
    heights = 20 * counts / max(counts.max(), 1)
    bars = "".join(f"M{5 * i} 20v-{height:.1f}h4V20" for i, height in enumerate(heights))
    return Markup(f'<svg width="120" height="20" fill="var(--blue)"><path d="{bars}"/></svg>')


def _vocabulary_row(graph: Path, name: str) -> list[object]:
    entries = vocabulary(graph, name)
    return [name, len(entries), ", ".join(entries[:8])]
