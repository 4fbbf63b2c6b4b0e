"""The page that shows what is in the data and what is wrong with it.

The little histograms are written as SVG by hand: a page of hundreds of features takes
milliseconds, where a plotting library takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.components.validate import comparisons
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import ERROR, Anomaly, Measurement, ValidationFindings
from edgeline.reports import report
from edgeline.reports.report import BLUE, GREEN, GREY, ORANGE, Fact, Section, number

COLOURS = (BLUE, ORANGE, GREEN, GREY)
WIDTH, HEIGHT = 168, 44
BINS = 24
SHOWN_VALUES = 3
_SHORT = {
    "L_INFTY": "L∞",
    "JENSEN_SHANNON_DIVERGENCE": "JS",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "NAD",
}
LONG_LABEL = 28
_WARNING = Markup('<span class="badge" style="background:#fef3c7;color:#92400e">warning</span>')


def write(
    path: str,
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    found: ValidationFindings,
    schema_source: str,
) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        datasets: `DatasetFeatureStatistics` of each split, that of reference first.
        found: what is wrong, what was not checked, skew and drift.
        schema_source: where the schema is from, in words.
    """
    facts = [
        Fact("data", "valid" if not found.errors else "not valid", good=not found.errors),
        *(Fact(f"rows in {data.name}", f"{data.num_examples:,}") for data in datasets),
        Fact("features", number(len(_names(datasets)))),
        Fact("errors", number(found.errors), good=not found.errors),
        Fact("warnings", number(found.warnings)),
        Fact("not checked", number(len(found.unchecked))),
    ]
    note = (
        "Numbers are drawn from the 1st to the 99th percentile, strings by their most frequent "
        f"values. Distinct, min, median, max and top values are those of {datasets[0].name}."
    )
    sections = [
        Section("Anomalies", _anomaly_table(found.anomalies), f"Schema: {schema_source}."),
        Section("Features", _feature_table(datasets, found.measurements), note),
    ]
    if found.unchecked:
        rows = [(gap.feature or "all", gap.constraint, gap.reason) for gap in found.unchecked]
        table = report.table(["Feature", "What the schema says", "Why it is not checked"], rows)
        sections.insert(1, Section("Not checked", table))
    report.write(path, "Data validation", facts, sections)


def _anomaly_table(anomalies: Sequence[Anomaly]) -> Markup:
    if not anomalies:
        return report.text("None: the data are as the schema says, as far as it is checked.")
    rows = [
        (
            report.badge("error", False) if anomaly.severity == ERROR else _WARNING,
            anomaly.split,
            anomaly.feature or "all",
            anomaly.sentence,
            Markup('<span class="note">{}</span>').format(anomaly.kind),
        )
        for anomaly in anomalies
    ]
    return report.table(["Severity", "Split", "Feature", "What is wrong", "Kind"], rows)


def _feature_table(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics], measurements: Sequence[Measurement]
) -> Markup:
    by_split = [stats.columns(data) for data in datasets]
    distances: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        distances.setdefault(measurement.feature, []).append(measurement)
    legend = Markup(" &ensp; ").join(
        Markup('<b style="color:{}">■</b> {}').format(_colour(i), data.name)
        for i, data in enumerate(datasets)
    )
    names = _names(datasets)
    named = len(names) <= report.MOST_SHOWN  # else most of the page would be names of bars
    rows = []
    for name in names:
        found = [(i, columns[name]) for i, columns in enumerate(by_split) if name in columns]
        rows.append(
            (
                Markup('<b>{}</b><br><span class="note">{}</span>').format(
                    name, _type(found[0][1])
                ),
                _drawing(found, named),
                _missing(found),
                _distinct(found[0][1]),
                _range(found[0][1]),
                _top(found[0][1]),
                _distance_cell(distances.get(name, [])),
            )
        )
    head = ["Feature", "Distribution", "Missing", "Distinct", "Min, median, max"]
    return Markup("<p>{}</p>").format(legend) + report.table(
        [*head, "Top values", "Skew and drift"], rows
    )


def _names(datasets: Sequence[statistics_pb2.DatasetFeatureStatistics]) -> list[str]:
    """Columns of all splits, in the order of the first."""
    return list(dict.fromkeys(name for data in datasets for name in stats.columns(data)))


def _type(feature: statistics_pb2.FeatureNameStatistics) -> str:
    name = str(statistics_pb2.FeatureNameStatistics.Type.Name(feature.type)).lower()
    facts = stats.common(feature)
    if facts.max_num_values <= 1:
        return name
    least, most = facts.min_num_values, facts.max_num_values
    return f"{name} × {most}" if least == most else f"{name} × {least} to {most}"


def _missing(found: Sequence[tuple[int, statistics_pb2.FeatureNameStatistics]]) -> Markup:
    lines = []
    for i, feature in found:
        facts = stats.common(feature)
        rows = facts.num_missing + facts.num_non_missing
        share = facts.num_missing / rows if rows else 0.0
        text = f"{share:.1%}" if 0.0005 <= share < 0.9995 or share == 1 else "> 99.9%"
        text = text if share >= 0.0005 else "< 0.1%" if share else "0"
        lines.append(Markup('<span style="color:{}">{}</span>').format(_colour(i), text))
    return _lines(lines)


def _distinct(feature: statistics_pb2.FeatureNameStatistics) -> Markup:
    unique, exact = stats.distinct(feature)
    if unique is None:
        counted = feature.type == stats.INT and stats.common(feature).num_non_missing
        return Markup("&gt; 10,000" if counted else "–")
    return Markup("" if exact else "≥ ") + number(unique)


def _range(feature: statistics_pb2.FeatureNameStatistics) -> Markup:
    held = stats.histogram(feature, "STANDARD")
    if not (held and held.buckets):
        return Markup("–")
    numbers = feature.num_stats
    return _lines([number(value) for value in (numbers.min, numbers.median, numbers.max)])


def _top(feature: statistics_pb2.FeatureNameStatistics) -> Markup:
    if not comparisons.categorical(feature):
        return Markup("–")
    values = list((comparisons.shares(feature) or {}).items())[:SHOWN_VALUES]
    return _lines(
        [
            Markup('{} <span class="note">{}</span>').format(_short(value), f"{share:.1%}")
            for value, share in values
        ]
    )


def _distance_cell(measurements: Sequence[Measurement]) -> Markup:
    lines = []
    for measured in measurements:
        high = measured.judged and measured.value > measured.threshold
        name = _SHORT[measured.measure]
        label = f"{measured.comparison} {measured.split}"
        value = number(measured.value, 2) if measured.value >= 0.001 else "< 0.001"
        number_cell = report.badge(value, False) if high else escape(value)
        lines.append(Markup('<span class="note">{}, {}</span> {}').format(label, name, number_cell))
    return _lines(lines)


def _drawing(
    found: Sequence[tuple[int, statistics_pb2.FeatureNameStatistics]], named: bool
) -> Markup:
    """Shares of each split over common bins: the first as bars, the others as lines.

    Args:
        named: whether each bar tells what it stands for, to those who point at it.
    """
    if comparisons.categorical(found[0][1]):
        labels, shares = _categories([feature for _, feature in found])
    else:
        labels, shares = _bins([feature for _, feature in found])
    if not labels:
        return Markup("–")
    top = max(max(row) for row in shares) or 1.0
    step = WIDTH / len(labels)
    gap = min(step * 0.15, 2.0)
    bars = []
    for bar, (label, share) in enumerate(zip(labels, shares[0], strict=True)):
        tall = HEIGHT * share / top
        path = f"M{bar * step + gap / 2:.1f} {HEIGHT}v-{tall:.1f}h{step - gap:.1f}V{HEIGHT}"
        if named:
            path = f'<path d="{path}"><title>{escape(label)}: {share:.1%}</title></path>'
        bars.append(path)
    drawn = "".join(bars) if named else f'<path d="{"".join(bars)}"/>'
    parts = [f'<g fill="{_colour(found[0][0])}" fill-opacity=".35">{drawn}</g>']
    for (i, _), row in zip(found[1:], shares[1:], strict=True):
        heights = [HEIGHT - (HEIGHT - 1) * share / top for share in row]
        line = "".join(f"V{height:.1f}h{step:.1f}" for height in heights)
        parts.append(
            f'<path d="M0 {heights[0]:.1f}{line}" fill="none" stroke="{_colour(i)}" '
            'stroke-width="1.4"/>'
        )
    base = f'<path d="M0 {HEIGHT}.5H{WIDTH}" stroke="#cbd5e1"/>'
    return Markup(
        f'<svg width="{WIDTH}" height="{HEIGHT + 1}" viewBox="0 -1 {WIDTH} {HEIGHT + 2}" '
        f'role="img">{"".join(parts)}{base}</svg>'
    )


def _categories(
    features: Sequence[statistics_pb2.FeatureNameStatistics],
) -> tuple[list[str], list[list[float]]]:
    known = [comparisons.shares(feature) or {} for feature in features]
    values = list(known[0])[:BINS] or list(dict.fromkeys(v for row in known for v in row))[:BINS]
    if features[0].type == stats.INT:
        values = sorted(values, key=int)
    return values, [[row.get(value, 0.0) for value in values] for row in known]


def _bins(
    features: Sequence[statistics_pb2.FeatureNameStatistics],
) -> tuple[list[str], list[list[float]]]:
    made = [stats.histogram(f, "QUANTILES") if _has_numbers(f) else None for f in features]
    held = [histogram for histogram in made if histogram and histogram.buckets]
    if not held:
        return [], []
    low = min(histogram.buckets[0].high_value for histogram in held)
    high = max(histogram.buckets[-1].low_value for histogram in held)
    if low >= high:
        low = min(histogram.buckets[0].low_value for histogram in held)
        high = max(histogram.buckets[-1].high_value for histogram in held)
    steps = np.arange(BINS + 1) / BINS if low < high else np.array([0.0, 1.0])
    edges = low * (1 - steps) + high * steps
    points = np.append(np.nextafter(edges[0], -np.inf), edges[1:])
    shares = [
        np.diff(comparisons.cumulative(h, points)).tolist()
        if h and h.buckets
        else [0.0] * (len(edges) - 1)
        for h in made
    ]
    names = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    return [f"{number(a)} to {number(b)}" for a, b in names], shares


def _has_numbers(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    return bool(feature.WhichOneof("stats") == "num_stats")


def _lines(lines: Sequence[str]) -> Markup:
    return Markup('<span style="white-space:nowrap">{}</span>').format(Markup("<br>").join(lines))


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _short(label: str) -> str:
    if not label:
        return "(empty)"
    return label if len(label) <= LONG_LABEL else label[: LONG_LABEL - 1] + "…"
