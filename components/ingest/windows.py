"""The parameter `windows`: rows of a series, in order of time, as one row.

It needs no pyarrow, so that it can be checked before a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeline.artifacts.windows import CLIENT, SERVER, Windows
from edgeline.components.ingest.split_by import SplitBy
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats.doubles import whole

FIELDS = ("size", "time", "columns", "key", "stride", "max_gap", "kept_by")
EXAMPLE = '{"size": 8, "time": "when", "key": "machine", "columns": ["pressure"]}'


def read(given: Mapping[str, Any], by: SplitBy, key: str, splits: int) -> Windows | None:
    """The parameter as it is given; None where it is empty.

    Args:
        given: the parameter. Its names are those that the data has.
        by: the parameter split_by.
        key: the parameter split_key.
        splits: how many there are.

    Returns:
        The windows. The key counts as text until the data is known.

    Raises:
        EdgelineError: a field is unknown, missing or of the wrong kind, or the rows are split so
            that windows of several splits have rows in common.
    """
    if not given:
        return None
    if unknown := [name for name in given if name not in FIELDS]:
        hint = did_you_mean(str(unknown[0]), FIELDS, "It takes")
        raise EdgelineError(f"windows has {unknown[0]!r}, which it does not take. {hint}")
    for name in ("size", "time", "columns"):
        if name not in given:
            raise EdgelineError(f"windows has no {name!r}: give it, for example {EXAMPLE}.")
    time, series = _column(given, "time"), _column(given, "key") if given.get("key") else ""
    columns = given["columns"]
    if not isinstance(columns, (list, tuple)) or not columns:
        raise EdgelineError(
            f"windows['columns'] is {columns!r}: give a list of the columns of which a window has "
            "all values; the others are those of its last row."
        )
    for name in columns:
        if not isinstance(name, str) or not name or list(columns).count(name) > 1:
            raise EdgelineError(f"windows['columns'] has {name!r}: give each column's name once.")
        if name in (time, series):
            what = "time" if name == time else "key"
            raise EdgelineError(
                f"windows['columns'] has {name!r}, which is the {what} and that of the last row: "
                "write it twice in the data, under another name, to have all of them."
            )
    if time == series:
        raise EdgelineError(f"windows has {time!r} as time and as key: name two columns.")
    kept_by = given.get("kept_by", CLIENT)
    if kept_by not in (CLIENT, SERVER):
        raise EdgelineError(f"windows['kept_by'] is {kept_by!r}: give {CLIENT} or {SERVER}.")
    _refuse_leakage(by, key, splits, series, time)
    return Windows(
        size=_number(given["size"], "size", 2),
        time=time,
        columns=tuple(columns),
        key=series,
        key_dtype="string" if series else "",
        stride=_number(given.get("stride", 1), "stride", 1),
        max_gap=None if given.get("max_gap") is None else _number(given["max_gap"], "max_gap", 1),
        kept_by=kept_by,
    )


def renamed(windows: Windows, names: Mapping[str, str]) -> Windows:
    """Windows with the names that columns have after ingest."""
    return replace(
        windows,
        time=names.get(windows.time, windows.time),
        key=names.get(windows.key, windows.key),
        columns=tuple(names.get(name, name) for name in windows.columns),
    )


def _column(given: Mapping[str, Any], field: str) -> str:
    name = given[field]
    if not isinstance(name, str) or not name:
        raise EdgelineError(f"windows[{field!r}] is {name!r}: give the name of a column.")
    return name


def _number(given: Any, field: str, least: int) -> int:
    number = whole(given)  # a pipeline's parameters make floats of numbers
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number < 2**63:
        raise EdgelineError(
            f"windows[{field!r}] is {given!r}: give a whole number of at least {least}."
        )
    return number


def _refuse_leakage(by: SplitBy, key: str, splits: int, series: str, time: str) -> None:
    """Refuse ways of splitting that put neighbouring windows into several splits."""
    if splits < 2 or key or by.way in ("time", "column"):
        return
    how = "split_by['stratify'] puts" if by.way else "a hash of each window would put"
    of_series = f'split_key="{series}" or ' if series else ""
    raise EdgelineError(
        f"{how} windows that share rows into several splits, so the model would have seen the rows "
        f'it is judged by: split by {of_series}split_by={{"time": "{time}"}}.'
    )
