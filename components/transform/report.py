"""The report of `transform`: each model feature before and after, on rows that were analysed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from edgeline.artifacts import Artifact, examples, features
from edgeline.artifacts.features import Feature
from edgeline.components.transform.saved_graph import vocabulary, vocabulary_names
from edgeline.formats.dtypes import Array
from edgeline.reports import report

SAMPLE_ROWS = 20_000
MOST_NUMBERS = 20_000_000  # in the sample: fewer rows of pictures, or of thousands of columns
MOST_BEFORE = 4  # raw features that one is made from
LONG_VALUE, LONGEST = 24, 256  # letters that are shown, and of a value that is text


def write_report(
    path: str | Path,
    graph: Path,
    metadata: Mapping[str, Any],
    transformed: Artifact,
    source: Artifact,
    split: str,
) -> None:
    """Write the HTML report of a finished transform.

    Args:
        metadata: of `transform_graph/v1`.
        source: the `examples/v1` that were transformed.
        split: that was analysed.
    """
    made = [Feature.from_json(value) for value in metadata["transformed"]]
    raw = [Feature.from_json(value) for value in metadata["features"]]
    after, count = _sample(transformed, split, made)
    before, _ = _sample(source, split, raw)
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
                    ["feature", "made from", "before", "after", "smallest", "mean", "largest"],
                    [_row(feature, metadata, before, after) for feature in made],
                ),
                f"Of the first {count:,} rows of split {split}, which was analysed.",
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


def _sample(
    artifact: Artifact, split: str, wanted: Sequence[Feature]
) -> tuple[Mapping[str, Array], int]:
    """The first rows of a split as arrays, and how many these are."""
    each = sum(math.prod(feature.shape) for feature in wanted)
    count = max(min(SAMPLE_ROWS, MOST_NUMBERS // max(each, 1)), 1)
    names = set(examples.arrow_schema(artifact, split).names)
    known = [feature for feature in wanted if feature.name in names]
    columns = [feature.name for feature in known]
    batch = next(examples.read_batches(artifact, split, columns, batch_rows=count), None)
    return (features.to_numpy(batch, known), len(batch)) if batch else ({}, 0)


def _row(
    feature: Feature,
    metadata: Mapping[str, Any],
    before: Mapping[str, Array],
    after: Mapping[str, Array],
) -> list[object]:
    shape = ", ".join(map(str, ("batch", *feature.shape)))
    sources = list(metadata["dependencies"][feature.name])
    shown = [
        (Markup("{} ").format(name) if sources[1:] else Markup("")) + _before(before[name])
        for name in sources[:MOST_BEFORE]
        if name in before
    ]
    row: list[object] = [
        Markup('<b>{}</b><br><span class="note">{} [{}]</span>').format(
            feature.name, feature.dtype, shape
        ),
        ", ".join(sources),
        Markup("<br>").join(shown) if shown else None,
    ]
    if feature.dtype == "string" or feature.name not in after:
        values = after.get(feature.name)
        return [*row, None if values is None else _words(values), None, None, None]
    numbers = after[feature.name].astype(np.float64)
    if not numbers.size:
        return [*row, None, None, None, None]
    ends = [float(each(numbers)) for each in (np.min, np.mean, np.max)]
    return [*row, _spark(numbers), *ends]


def _before(values: Array) -> Markup:
    """A raw feature's spread, from where to where, and how many of its values are missing."""
    absent = features.missing(values)
    share = float(absent.mean()) if absent is not None and absent.size else 0.0
    told = Markup("")
    if share:
        shown = f"{share:.1%}" if share >= 0.0005 else "< 0.1%"
        told = Markup('<br><span class="note">missing {}</span>').format(shown)
    if values.dtype == object:
        return _words(values) + told
    numbers = values.astype(np.float64)
    if absent is not None:
        numbers = numbers[~absent]
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return Markup("–") + told
    ends = f"{report.number(float(numbers.min()))} to {report.number(float(numbers.max()))}"
    spark = _spark(numbers)
    return Markup('{} <span class="note">{}</span>').format(spark, ends) + told


def _words(values: Array) -> Markup:
    """How many different texts there are, and the most frequent of them."""
    counts = Counter(values.reshape(-1).tolist())
    first = next((each for each, _ in counts.most_common() if each), b"")
    text = first.decode(errors="replace") if isinstance(first, bytes) else str(first)
    if len(first) > LONGEST:  # a picture
        text = ""
    shown = text if len(text) <= LONG_VALUE else f"{text[:LONG_VALUE]}…"
    return Markup('{} values <span class="note">{}</span>').format(
        report.number(len(counts)), shown
    )


def _spark(numbers: npt.NDArray[np.float64]) -> Markup:
    """A histogram the height of a table row; matplotlib would cost more than the transform."""
    counts, edges = np.histogram(numbers[np.isfinite(numbers)], bins=24)
    heights = 20 * counts / max(counts.max(), 1)
    bars = "".join(
        f'<path d="M{5 * i} 20v-{height:.1f}h4V20"><title>'
        f"{report.number(float(low))} to {report.number(float(high))}: {count:,}</title></path>"
        for i, (height, low, high, count) in enumerate(
            zip(heights, edges[:-1], edges[1:], counts.tolist(), strict=True)
        )
        if count
    )
    return Markup(f'<svg width="120" height="20" fill="var(--blue)">{bars}</svg>')


def _vocabulary_row(graph: Path, name: str) -> list[object]:
    entries = vocabulary(graph, name)
    return [name, len(entries), ", ".join(entries[:8])]
