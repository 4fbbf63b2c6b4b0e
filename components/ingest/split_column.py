"""Splits that a column of the data names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edgeline.components.ingest.rows import Rows
from edgeline.components.ingest.split import NAME, AllRows, Numbers, given_column
from edgeline.errors import EdgelineError

MOST = 20  # splits
WHAT = "split_by['column'] names"
NEEDED = ("train", "eval")


@dataclass(frozen=True)
class ColumnSplit:
    """Each row says its split.

    Attributes:
        column: whose values are the splits' names.
        splits: value to split.
    """

    column: str
    splits: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The splits, in alphabetical order."""
        return tuple(sorted(set(self.splits.values())))

    @classmethod
    def planned(cls, column: str, names: Mapping[str, str], read: AllRows) -> ColumnSplit:
        """After a look at all values.

        Args:
            names: values that are not their split's own name, with that.

        Raises:
            EdgelineError: a row has no value, one that cannot be a split's name, or there are too
                many or two that differ in capitals alone; or there is no `train` or no `eval`.
        """
        found: set[str] = set()
        seen: dict[str, int] = {}
        for file, rows in read():
            values = _text(given_column(rows, column, WHAT))
            if values.null_count:
                row = seen.get(file, 0) + values.is_null().index(True).as_py() + 1
                raise EdgelineError(
                    f"{file}, data row {row}: {column!r} has no value, so the row has no split: "
                    "give it one, or leave the row out."
                )
            seen[file] = seen.get(file, 0) + len(values)
            found.update(pc.unique(values).to_pylist())
            if len(found) > MOST:
                raise EdgelineError(
                    f"{WHAT} {column!r}, which has more than {MOST} values, such as "
                    f"{sorted(found)[0]!r}: name a column whose values are splits."
                )
        splits = {value: names.get(value, value) for value in sorted(found)}
        if unknown := [value for value in names if value not in found]:
            raise EdgelineError(
                f"split_by['names'] names a value {unknown[0]!r}, but {column!r} has "
                f"{', '.join(map(repr, splits))}."
            )
        for value, name in splits.items():
            if not NAME.fullmatch(name):
                raise EdgelineError(
                    f"{column!r} has the value {value!r}, which cannot be the name of a split: "
                    f"{_named(column, value, 'train')}."
                )
        lower = {name.lower(): name for name in splits.values() if name == name.lower()}
        for value, name in splits.items():
            if lower.get(name.lower(), name) != name:
                raise EdgelineError(
                    f"{column!r} has the splits {name!r} and {lower[name.lower()]!r}, which differ "
                    f"in capitals alone: {_named(column, value, name.lower())}."
                )
        if lacking := [name for name in NEEDED if name not in splits.values()]:
            raise EdgelineError(
                f"{column!r} has the values {', '.join(map(repr, splits))} and none is "
                f"{lacking[0]}: {_named(column, min(splits, default=''), lacking[0])}."
            )
        return cls(column, splits)

    def assign(self, rows: Rows) -> Numbers:
        """The number of each row's split, shape [rows]."""
        values = _text(given_column(rows, self.column, WHAT)).dictionary_encode()
        names = self.names
        numbers = [names.index(self.splits[value]) for value in values.dictionary.to_pylist()]
        places = np.frombuffer(values.indices.buffers()[1], np.int32, len(values))
        return np.array(numbers, np.int64)[places]

    def told(self) -> Mapping[str, object]:
        """The column."""
        return {"column": self.column}


def _named(column: str, value: str, split: str) -> str:
    """What to give so that a value stands for a split."""
    example = json.dumps({"column": column, "names": {value: split}}, ensure_ascii=False)
    return f"say which split a value is, for example with split_by={example}"


def _text(values: pa.Array) -> pa.Array:
    try:
        return pc.utf8_trim_whitespace(values.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise EdgelineError(
            f"{WHAT} a column of {values.type}: name one of text or whole numbers."
        ) from error
