"""Which columns are features for a beginning, and why others are not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from edgeline.components.train.leakage import FEWEST, gives_away
from edgeline.formats.dtypes import Array
from edgeline.starter.facts import ColumnFacts, ReadTable
from edgeline.starter.label import MOST_WHOLE, Label

MOST_DIFFERENT = 0.5  # of a column of words, the share of values that are different
SOME = 0.05  # share of a table's rows that have both values, without which nothing is said
WIDEST_STEP = 10  # between one row's number and the next, on average, of numbers given in turn
LIKE_TIME = re.compile(r"^\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b")
_ID = re.compile(
    r"(?:^|[\W_])(?:id|ids|uuid|guid|key|nr|no)$|(?<=[a-z])(?:ID|Id|UUID|Key)$"
    r"|^(?:individual|subject|patient|customer|client|user|person|household|account|device|machine|"
    r"session|order|invoice|ticket|passenger)s?(?:[\W_]?(?:id|name|number|nr|no))?$",
)
# of values that differ in each row; others may be a quantity, as of air_quality_index, or a kind
_ROW = re.compile(r"(?:^|[\W_])(?:index|row|rownames)$|^names?$")


@dataclass(frozen=True)
class Features:
    """What a model takes.

    Attributes:
        numbers: columns of numbers.
        words: columns of words.
        times: columns of points in time.
        left_out: columns that are none, with the reason.
        group: a column whose rows with an equal value belong together; "" for none.
        series: the one column of times by which the rows are sorted; "" for none.
    """

    numbers: tuple[str, ...]
    words: tuple[str, ...]
    times: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    series: str = ""

    @property
    def count(self) -> int:
        return len(self.numbers) + len(self.words) + len(self.times)


def of_table(table: ReadTable, label: Label, without: frozenset[str] = frozenset()) -> Features:
    """The columns that a model of a label takes.

    Args:
        without: further columns to leave out.
    """
    columns = {name: seen for name, seen in table.columns.items() if name != label.name}
    out = {name: "as you said" for name in columns if name in without}
    groups = [name for name, seen in columns.items() if _is_group(name, seen, table.rows)]
    out |= {
        name: "it says whose row it is, and new rows have others"
        for name in groups
        if name not in out
    }
    for name, seen in columns.items():
        if name not in out and (why := _unfit(name, seen, table.rows)):
            out[name] = why
    truth = table.sample.column(label.name)
    for name in columns:
        if name not in out and (why := _gives_away(table, name, truth, label)):
            out[name] = why
    taken = {name: seen for name, seen in columns.items() if name not in out}
    times = tuple(name for name, seen in taken.items() if seen.is_time)
    series = [
        name for name, seen in columns.items() if seen.is_time and _is_series(seen, table.rows)
    ]
    return Features(
        tuple(name for name, seen in taken.items() if seen.is_number and name not in times),
        tuple(name for name, seen in taken.items() if not seen.is_number),
        times,
        out,
        groups[0] if len(groups) == 1 else "",
        series[0] if len(series) == 1 else "",
    )


def _is_called(pattern: re.Pattern[str], name: str) -> bool:
    return bool(pattern.search(name) or pattern.search(name.lower()))


def _is_series(seen: ColumnFacts, rows: int) -> bool:
    return seen.in_order and seen.filled == rows and len(seen.values) > MOST_WHOLE


def _is_group(name: str, seen: ColumnFacts, rows: int) -> bool:
    """Whether each value of a column stands in several rows, and is called as whom they are of."""
    if (
        pa.types.is_nested(seen.type)
        or pa.types.is_floating(seen.type)
        or seen.first_gap is not None
    ):
        return False
    return _is_called(_ID, name) and MOST_WHOLE < len(seen.values) <= rows / 2 and not seen.is_many


def may_say_whose(name: str) -> bool:
    """Whether a column of words is called as a person is, or as anything else with a name."""
    return name.lower() in ("name", "names")


def _unfit(name: str, seen: ColumnFacts, rows: int) -> str:
    """Why a column is not a feature; "" where it is."""
    if pa.types.is_nested(seen.type):
        return "it holds lists"
    if pa.types.is_binary(seen.type):
        return "it holds bytes"
    if not seen.filled:
        return "it has no value"
    if seen.is_number and not seen.is_measurable:
        size = f"{seen.largest:.3g}"
        return f"it has numbers as large as {size}, beyond what a model computes in 32 bits"
    different = len(seen.values)
    if different == 1 and (seen.first_gap is None or seen.is_number):
        return "it has the same value in each row"
    if pa.types.is_integer(seen.type) and (different >= rows or seen.is_many) and not seen.is_time:
        # a quantity by which rows are sorted leaves wider gaps than numbers that were given in turn
        widest = (WIDEST_STEP if seen.in_order else 2) * rows
        called = _is_called(_ID, name) or _is_called(_ROW, name)
        if called or (different >= rows and seen.high - seen.low < widest):
            return "it has another whole number in each row, as an id has"
    if not seen.is_number and all(LIKE_TIME.match(str(value)) for value in seen.values):
        return (
            "it holds dates that are not written as ISO 8601 (2026-01-31): write them so, or "
            "parse them in module.py"
        )
    if not seen.is_number and (seen.is_many or different > MOST_DIFFERENT * seen.filled):
        return "its texts differ in most rows: see edgeline's docs/text.md"
    return ""


def _gives_away(table: ReadTable, name: str, truth: pa.ChunkedArray, label: Label) -> str:
    """Why the label follows from a column alone, in all rows that were looked at."""
    values = table.sample.column(name)
    both = pa.compute.and_(values.is_valid(), truth.is_valid())
    known, answers = (_array(each.filter(both)) for each in (values, truth))
    if len(known) < max(FEWEST, SOME * len(values)):
        return ""
    why = gives_away(known, answers, label.task) or next(_monotone(known, answers, label.task), "")
    if not why:
        return ""
    return (
        f"it {why} {label.name} in all of the {len(known):,} rows looked at; put it back if it is "
        "known when the model is asked"
    )


def _monotone(values: Array, truth: Array, task: str) -> Iterator[str]:
    """Whether a number always rises, or always falls, with the label."""
    if task != "regression" or values.dtype.kind not in "iuf" or len(np.unique(values)) < FEWEST:
        return
    places = np.argsort(values, kind="stable")
    steps = np.diff(truth[places].astype(np.float64))
    apart = np.diff(values[places].astype(np.float64)) > 0
    if (steps[~apart] == 0).all() and len(steps):
        if (steps[apart] > 0).all():
            yield "always rises with"
        elif (steps[apart] < 0).all():
            yield "always falls with"


def _array(values: pa.ChunkedArray) -> Array:
    found: Array = (
        np.asarray(values.to_pylist()) if pa.types.is_string(values.type) else (values.to_numpy())
    )
    return found
