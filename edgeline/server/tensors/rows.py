"""Rows as a program has them, as a column of values for each input of a model.

Dictionaries, columns, a pandas frame and an Arrow table are taken. Neither pandas nor pyarrow is
imported: what has their methods is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np

from edgeline.errors import UsageError
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.server.tensors.json import cast

_TAKEN = "a list of dictionaries, a dictionary of columns, a pandas DataFrame or a pyarrow Table"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_CASTS = {"f": "iuf", "i": "iu", "u": "iu"}  # kinds of numpy that are read as another without loss


def columns_of(rows: object, dtypes: Mapping[str, str]) -> dict[str, object]:
    """The columns of some rows, each a list or an array with one value per row.

    None, NaN, `pandas.NA` and `NaT` are missing values. Points in time become microseconds since
    1970 in UTC and booleans 0 and 1 where the model takes whole numbers, as ingest stores them; a
    time without a zone is in UTC. Whole numbers that are floats, as pandas makes them beside
    missing values, are whole numbers.

    Args:
        rows: dictionaries that all have the same keys, columns by name, a pandas `DataFrame`, or a
            `Table` or `RecordBatch` of pyarrow.
        dtypes: of the model's inputs by name, by numpy's name. Other columns come as they are.

    Raises:
        UsageError: it is something else, has no rows, or a row has other keys than the first.
        ServingError: a number is out of range for its input.
    """
    columns = _columns(rows)
    return {
        name: _array(values, dtypes.get(name, ""), f"Input {name!r}")
        if isinstance(values, np.ndarray)
        else [_cell(value, dtypes.get(name, "")) for value in values]
        for name, values in columns.items()
    }


def _columns(rows: Any) -> dict[str, Any]:
    if hasattr(rows, "to_pydict"):
        return _filled(rows.to_pydict())
    if hasattr(rows, "iloc") and hasattr(rows, "columns"):
        return _filled(_of_frame(rows))
    if isinstance(rows, Mapping):
        if single := [name for name, values in rows.items() if not _is_column(values)]:
            raise UsageError(
                f"Column {single[0]!r} is one value: give a list with a value for each row, or for "
                "a single row [row]."
            )
        return _filled({str(name): values for name, values in rows.items()})
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return _of_dictionaries(rows)
    raise UsageError(f"Rows are {_TAKEN}, and this is of type {type(rows).__name__}.")


def _is_column(values: object) -> bool:
    return (
        isinstance(values, list | tuple | range)
        or (isinstance(values, np.ndarray) and values.ndim > 0)
        or (hasattr(values, "to_numpy") and hasattr(values, "iloc"))
    )


def _filled(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of which none is empty; a pandas Series among them as a list."""
    found = {
        name: _of_series(values) if hasattr(values, "iloc") else values
        for name, values in columns.items()
    }
    if not found or any(not len(values) for values in found.values()):
        raise UsageError("There are no rows to predict: give one at least.")
    return found


def _of_frame(frame: Any) -> dict[str, Any]:
    if not frame.columns.is_unique:
        twice = [str(name) for name in frame.columns[frame.columns.duplicated()]]
        raise UsageError(f"The frame has two columns {twice[0]!r}: rename one.")
    return {str(name): frame[name] for name in frame.columns}


def _of_series(series: Any) -> list[object]:
    values: list[object] = series.astype(object).where(series.notna(), None).tolist()
    return values


def _of_dictionaries(rows: Sequence[object]) -> dict[str, Any]:
    if not rows:
        raise UsageError("There are no rows to predict: give one at least.")
    first = rows[0]
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UsageError(f"Rows are {_TAKEN}, and rows[{place}] is a {type(row).__name__}.")
        assert isinstance(first, Mapping)
        if row.keys() != first.keys():
            raise UsageError(
                f"rows[{place}] has {_names(row.keys() - first.keys(), 'more')}"
                f"{_names(first.keys() - row.keys(), 'less')} than rows[0]: give each row the same "
                "keys, with None where a value is missing."
            )
    assert isinstance(first, Mapping)
    found: dict[str, Any] = {}
    for name in first:
        values = [row[name] for row in rows if isinstance(row, Mapping)]
        found[str(name)] = _stacked(values) if isinstance(values[0], np.ndarray) else values
    return found


def _names(names: Iterable[object], how: str) -> str:
    found = sorted(map(str, names))
    return f"{', '.join(map(repr, found))} {how}" if found else ""


def _stacked(values: Sequence[Any]) -> Array | list[object]:
    try:
        return np.stack(values)
    except ValueError:
        return [np.asarray(value).tolist() for value in values]  # refused as lists of two lengths


def _cell(value: Any, dtype: str) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_cell(each, dtype) for each in value]
    if isinstance(value, float) and dtype in ("int64", "string") and value != value:
        return None
    if dtype == "int64":
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            return int(value)
        if isinstance(value, date):
            return _microseconds(value)
    return value


def _microseconds(value: date) -> int | None:
    if value != value:  # pandas' NaT, which is a datetime
        return None
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if value.tzinfo is None:
        value = value.replace(tzinfo=timezone.utc)
    return (value - _EPOCH) // timedelta(microseconds=1)


def _array(array: Array, dtype: str, what: str) -> object:
    if array.dtype.kind == "M" and dtype == "int64":
        return array.astype("datetime64[us]").astype(np.int64)  # NaT is the missing whole number
    if array.dtype.kind in "OUS" or (array.dtype.kind in "fb" and dtype == "int64"):
        return [_cell(value, dtype) for value in array.tolist()]
    wanted = BY_NAME[dtype].numpy if dtype in BY_NAME else array.dtype
    return cast(array, wanted, what) if array.dtype.kind in _CASTS.get(wanted.kind, "") else array
