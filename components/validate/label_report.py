"""The label in the report: how often each class is in each split, and what columns say of it."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup
from tensorflow_metadata.proto.v0 import statistics_pb2

from edgeline.components.validate import comparisons
from edgeline.components.validate import statistics as stats
from edgeline.components.validate.label import Association, LabelReading
from edgeline.reports import report
from edgeline.reports.report import Section, number

MOST_COLUMNS = 500
GIVES_AWAY = 0.98  # share of the label's entropy from which a column may be the label itself
NONE = "No column of the data: preprocessing_fn makes it, so this page says nothing of it."
HOW = (
    "Of each column alone: mutual information with the label, in bits and as a share of the "
    "label's {entropy} bits, corrected for chance, on {rows} rows that lie evenly over {split}. "
    "Numbers of many values are 16 bins of equal rows, words the 31 most frequent ones and all "
    "others. Correlation is Pearson's. What several columns say only together is not seen here."
)


def sections(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    label: str,
    column: str,
    reading: LabelReading | None,
) -> list[Section]:
    """Balance and associations.

    Args:
        datasets: statistics of each split, that of reference first.
        label: what is predicted; "" where the step was not told.
        column: which that is, or of which it is made; "" where nobody knows.
        reading: None where there is nothing to say.
    """
    if not label:
        return []
    title = f"The label: {label}"
    by_split = [stats.columns(data).get(column) for data in datasets]
    if by_split[0] is None:
        return [Section(title, report.text(NONE))]
    table, note = _balance(datasets, by_split)
    if column != label:
        note = f"preprocessing_fn makes it; this is the column {column}. {note}"
    found = [Section(title, table, note)]
    if reading is not None and reading.columns:
        note = HOW.format(
            entropy=number(reading.entropy, 3), rows=number(reading.rows), split=reading.split
        )
        if reading.second:
            note += f" In correlations the label {reading.second} is 1, the other 0."
        if (left := len(reading.columns) - MOST_COLUMNS) > 0:
            note += f" The {number(left)} columns that say least are left out."
        found.append(
            Section(
                "What each column says of the label", _columns(reading.columns[:MOST_COLUMNS]), note
            )
        )
    return found


def _balance(
    datasets: Sequence[statistics_pb2.DatasetFeatureStatistics],
    by_split: Sequence[statistics_pb2.FeatureNameStatistics | None],
) -> tuple[Markup, str]:
    reference = by_split[0]
    assert reference is not None
    if not comparisons.categorical(reference):
        return report.text("A number of many values: its distribution is among the features."), ""
    shares = [comparisons.shares(each) or {} if each else {} for each in by_split]
    classes = list(dict.fromkeys(name for each in shares for name in each))
    top = max((share for each in shares for share in each.values()), default=1.0) or 1.0
    rows = [
        (
            name or "(empty)",
            *(_share(each.get(name, 0.0), each.get(name, 0.0) / top) for each in shares),
        )
        for name in classes
    ]
    head = ["Class", *(data.name for data in datasets)]
    note = f"{number(len(classes))} classes, by their share of {datasets[0].name}."
    least = min(shares[0].values(), default=0.0)
    if len(shares[0]) > 1 and least:
        times = number(max(shares[0].values()) / least, 3)
        note += f" The commonest has {times} times the rows of the rarest."
    return report.table(head, rows), note


def _columns(columns: Sequence[Association]) -> Markup:
    rows = [
        (
            _name(each),
            _share(each.share, each.share),
            f"{each.bits:.4f}",
            "–" if each.correlation is None else f"{each.correlation:+.3f}",
        )
        for each in columns
    ]
    return report.table(["Column", "Of the label", "Bits", "Correlation"], rows)


def _share(share: float, length: float) -> Markup:
    return Markup('<span style="white-space:nowrap">{} {:.1%}</span>').format(
        report.bar(length), share
    )


def _name(each: Association) -> str:
    if each.share < GIVES_AWAY:
        return each.name
    return Markup('{} <span class="badge warn">says it all</span>').format(each.name)
