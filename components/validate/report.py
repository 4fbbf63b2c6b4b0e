"""The page that shows what is in the data and what is wrong with it.

The little histograms are written as SVG by hand: a page of hundreds of features takes
milliseconds, where a plotting library takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.components.validate import comparisons, kinds
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.anomalies import ERROR, Anomaly, Measurement, ValidationFindings
from edgeline.reports import report
from edgeline.reports.report import Fact, Section, number

COLOURS = 4  # of splits: `c0` and so on in the style of a report
WIDTH, HEIGHT = 168, 44
BINS = 24
SHOWN_VALUES = 3
_SHORT = {
    "L_INFTY": "L∞",
    "JENSEN_SHANNON_DIVERGENCE": "JS",
    "NORMALIZED_ABSOLUTE_DIFFERENCE": "NAD",
}
LONG_LABEL = 22
LONG_NUMBER = 1e7
_WARNING = Markup('<span class="badge warn">warning</span>')


def write(
    path: str,
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    found: ValidationFindings,
    schema_source: str,
    more: Sequence[Section] = (),
) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        datasets: `DatasetFeatureStatistics` of each split, that of reference first.
        found: what is wrong, what was not checked, skew and drift.
        schema_source: where the schema is from, in words.
        more: sections on the label and on pictures.
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
        f"values. Distinct and the values are those of {datasets[0].name}."
    )
    sections = [
        Section("Anomalies", _anomaly_table(found.anomalies), f"Schema: {schema_source}."),
        *more,
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
            Markup("<span class=note>{}</span>").format(anomaly.kind),
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
        Markup("<b class=c{}>■</b> {}").format(_place(i), data.name)
        for i, data in enumerate(datasets)
    )
    names = _names(datasets)
    named = len(names) <= report.MOST_SHOWN  # else most of the page would be names of bars
    rows = []
    for name in names:
        found = [(i, columns[name]) for i, columns in enumerate(by_split) if name in columns]
        rows.append(
            (
                _feature(name, found[0][1]),
                _drawing(found, named),
                _missing(found),
                _distinct(found[0][1]),
                _moments(found, "mean"),
                _moments(found, "std_dev"),
                _zeros(found),
                _values(found[0][1]),
                _distance_cell(distances.get(name, [])),
            )
        )
    head = ["Feature", "Distribution", "Missing", "Distinct", "Mean", "Deviation", "Zeros"]
    return Markup("<p>{}</p>").format(legend) + report.table(
        [*head, "Values", "Skew and drift"], rows
    )


def _names(datasets: Sequence[statistics_pb2.DatasetFeatureStatistics]) -> list[str]:
    """Columns of all splits, in the order of the first."""
    return list(dict.fromkeys(name for data in datasets for name in stats.columns(data)))


def _feature(name: str, feature: statistics_pb2.FeatureNameStatistics) -> Markup:
    """Its name, its type, and what it seems to be."""
    cell = Markup("<b>{}</b><br><span class=note>{}</span>").format(name, _type(feature))
    if told := kinds.kind(feature):
        cell += Markup('<br><span class="badge info">{}</span>').format(told.partition(" since")[0])
        if told.partition(" since")[1]:
            cell += Markup("<br><span class=note>{}</span>").format(told.partition(", ")[2])
    return cell


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
        lines.append(_coloured(i, _share(facts.num_missing / rows if rows else 0.0)))
    return Markup("").join(lines)


def _share(share: float) -> str:
    text = f"{share:.1%}" if 0.0005 <= share < 0.9995 or share == 1 else "> 99.9%"
    return text if share >= 0.0005 else "< 0.1%" if share else "0"


def _moments(
    found: Sequence[tuple[int, statistics_pb2.FeatureNameStatistics]], name: str
) -> Markup:
    """A field of the numbers' statistics, a line a split."""
    lines = [
        _coloured(i, f"{getattr(feature.num_stats, name):.3g}")
        for i, feature in found
        if _counted(feature)
    ]
    return Markup("").join(lines) or Markup("–")


def _zeros(found: Sequence[tuple[int, statistics_pb2.FeatureNameStatistics]]) -> Markup:
    lines = []
    for i, feature in found:
        if _counted(feature):
            total = stats.listed(feature).total
            lines.append(_coloured(i, _share(feature.num_stats.num_zeros / (total or 1))))
    return Markup("").join(lines) or Markup("–")


def _distinct(feature: statistics_pb2.FeatureNameStatistics) -> Markup:
    unique, exact = stats.distinct(feature)
    if unique is None:
        counted = feature.type == stats.INT and stats.common(feature).num_non_missing
        return Markup("&gt; 10,000" if counted else "–")
    return Markup("" if exact else "≥ ") + number(unique)


def _counted(feature: statistics_pb2.FeatureNameStatistics) -> bool:
    """Whether it has finite numbers."""
    held = stats.histogram(feature, "STANDARD") if _has_numbers(feature) else None
    return bool(held and held.buckets)


def _values(feature: statistics_pb2.FeatureNameStatistics) -> Markup:
    """Of numbers the ends and quartiles, of what is counted by value the most frequent ones."""
    lines = []
    if _counted(feature):
        numbers = feature.num_stats
        quarters = _quartiles(feature)
        for name, values in (("range", (numbers.min, numbers.max)), ("quartiles", quarters)):
            told = ", ".join(map(_brief, values))
            lines.append(Markup("<span class=note>{}</span> {}").format(name, told))
    if comparisons.categorical(feature):
        top = list((comparisons.shares(feature) or {}).items())[:SHOWN_VALUES]
        lines += [
            Markup("{} <span class=note>{}</span>").format(_short(value), f"{share:.1%}")
            for value, share in top
        ]
    return Markup("<br>").join(lines) if lines else Markup("–")


def _brief(value: float) -> str:
    """A number that a narrow column has room for."""
    return number(value) if abs(value) < LONG_NUMBER else f"{value:.4g}"


def _quartiles(feature: statistics_pb2.FeatureNameStatistics) -> list[float]:
    """Those of the histogram of quantiles, where it has hundredths; else the median."""
    held = stats.histogram(feature, "QUANTILES")
    if held is None or len(held.buckets) % 4:
        return [feature.num_stats.median]
    step = len(held.buckets) // 4
    lower, upper = (held.buckets[place * step - 1].high_value for place in (1, 3))
    return [lower, feature.num_stats.median, upper]


def _distance_cell(measurements: Sequence[Measurement]) -> Markup:
    lines = []
    for measured in measurements:
        high = measured.judged and measured.value > measured.threshold
        name = _SHORT[measured.measure]
        label = f"{measured.comparison} {measured.split}"
        value = number(measured.value, 2) if measured.value >= 0.001 else "< 0.001"
        number_cell = report.badge(value, False) if high else escape(value)
        lines.append(Markup("{} <span class=note>{}, {}</span>").format(number_cell, label, name))
    return Markup("<span class=w>{}</span>").format(Markup("<br>").join(lines))


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
    first = _bars(labels, shares[0], top) if named else f'<path d="{_outline(shares[0], top)}z"/>'
    parts = [f"<g class=a{_place(found[0][0])}>{first}</g>"]
    for (i, _), row in zip(found[1:], shares[1:], strict=True):
        parts.append(f'<path class=l{_place(i)} d="{_outline(row, top, HEIGHT - 1)}"/>')
    box = f"0 -1 {WIDTH} {HEIGHT + 1}"
    return Markup(f'<svg class=h role=img viewBox="{box}">{"".join(parts)}</svg>')


def _bars(labels: Sequence[str], shares: Sequence[float], top: float) -> str:
    """A bar a bin, each with what it stands for."""
    step = WIDTH / len(labels)
    gap = min(step * 0.15, 2.0)
    found = []
    for bar, (label, share) in enumerate(zip(labels, shares, strict=True)):
        tall = HEIGHT * share / top
        path = f"M{bar * step + gap / 2:.1f} {HEIGHT}v-{tall:.1f}h{step - gap:.1f}V{HEIGHT}"
        found.append(f'<path d="{path}"><title>{escape(label)}: {share:.1%}</title></path>')
    return "".join(found)


def _outline(shares: Sequence[float], top: float, height: int | None = None) -> str:
    """Steps, in whole pixels; closed they are an area, with a `height` they stay a line above 0.

    Most bytes of a page of thousands of columns are these.
    """
    edges = [round(WIDTH * bar / len(shares)) for bar in range(len(shares) + 1)]
    tops = [HEIGHT - round((height or HEIGHT) * share / top) for share in shares]
    found = [f"M0 {tops[0] if height else HEIGHT}"]
    before = tops[0] if height else HEIGHT
    for left, right, y in zip(edges, edges[1:], tops, strict=False):
        found.append((f"V{y}" if y != before else "") + f"h{right - left}")
        before = y
    return "".join(found) + ("" if height else f"V{HEIGHT}")


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


def _coloured(i: int, text: str) -> Markup:
    """A line of one split, in its colour."""
    return Markup("<i class=c{}>{}</i>").format(_place(i), text)


def _place(i: int) -> int:
    """Of a split's colour, in the page's style."""
    return i % COLOURS


def _short(label: str) -> str:
    if not label:
        return "(empty)"
    return label if len(label) <= LONG_LABEL else label[: LONG_LABEL - 1] + "…"
