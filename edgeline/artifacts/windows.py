"""Windows over time: which rows of a key one row of the examples is made of, and who keeps them.

A window is `size` rows of one key in order of time, none of them more than `max_gap` after the one
before. `columns` are lists of all its values, the earliest first; every other column is that of its
last row. What ingest does to the rows of training a device has to do to its own: `client` says that
whoever asks sends whole windows, `server` that a row is sent at a time, and the server keeps the
last of each key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from edgeline.errors import EdgelineError
from edgeline.formats import typed

KEY = "windows"  # in the metadata of examples, of a verification, and in a manifest
CLIENT, SERVER = "client", "server"


class Named(Protocol):
    """A feature or a tensor."""

    @property
    def name(self) -> str:
        """As the data calls it."""


@dataclass(frozen=True)
class Windows:
    """What a window is.

    Attributes:
        size: rows of a window, at least 2.
        time: the column that orders rows, int64.
        columns: those of which a window has all values.
        key: the column of the series; "" where all rows are of one.
        key_dtype: of the key's column as a feature, string or int64; "" without a key.
        stride: rows from the begin of a window of training to that of the next.
        max_gap: the longest time between two rows of a window, in the time's unit; None for any.
        kept_by: CLIENT or SERVER.
    """

    size: int
    time: str
    columns: tuple[str, ...]
    key: str = ""
    key_dtype: str = ""
    stride: int = 1
    max_gap: int | None = None
    kept_by: str = CLIENT

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "columns": list(self.columns)}

    @classmethod
    def from_json(cls, value: object) -> Windows:
        """What `to_json` gave.

        Raises:
            EdgelineError: it is malformed.
        """
        windows: Windows = typed.convert(value, cls)
        check(windows)
        return windows

    @property
    def words(self) -> str:
        """For example `8 rows of flow and pressure by pump, in order of when; the server keeps
        them`."""
        shown = list(self.columns)
        named = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
        by = f" by {self.key}" if self.key else ""
        gap = f", at most {self.max_gap:,} apart" if self.max_gap is not None else ""
        kept = "the server keeps them" if self.kept_by == SERVER else "the client sends them"
        return f"{self.size:,} rows of {named}{by}, in order of {self.time}{gap}; {kept}"


def check(windows: Windows) -> None:
    """Check what types do not say.

    Raises:
        EdgelineError: something cannot be.
    """
    key = ("string", "int64") if windows.key else ("",)
    repeated = len(set(windows.columns)) < len(windows.columns)
    apart = {windows.time, windows.key} & set(windows.columns)
    if (
        windows.size < 2
        or windows.stride < 1
        or (windows.max_gap is not None and windows.max_gap < 1)
        or windows.kept_by not in (CLIENT, SERVER)
        or windows.key_dtype not in key
        or not windows.columns
        or not windows.time
        or windows.time == windows.key
        or repeated
        or apart
    ):
        raise EdgelineError(f"windows are {windows.to_json()}, which cannot be")


def of(metadata: Mapping[str, Any]) -> Windows | None:
    """The windows of examples, of a verification or in a manifest's provenance; None without any.

    Raises:
        EdgelineError: they are malformed.
    """
    found = metadata.get(KEY)
    return Windows.from_json(found) if found else None


def taken(windows: Windows, inputs: Iterable[Named]) -> Windows | None:
    """Windows of those columns that a model takes; None where it takes none of them."""
    names = {each.name for each in inputs}
    columns = tuple(name for name in windows.columns if name in names)
    return replace(windows, columns=columns) if columns else None
