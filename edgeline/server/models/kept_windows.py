"""The last rows of each key, for models whose windows the server keeps.

They are in memory alone: a restart loses them, and each key has to come to one server. Keys and
bytes are bounded; the key whose last row came first goes first. Versions of a model whose windows
are the same share what is kept, so a new version goes on with it; one whose windows are others
begins with none.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from weakref import WeakValueDictionary

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import MISSING_INT
from edgeline.artifacts.windows import Windows
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.settings import ServerSettings

Arrays = Mapping[str, Array]
Key = bytes | int
NAMED = 3  # instances whose refusal is told
_SERIES_BYTES, _ARRAY_BYTES, _TEXT_BYTES = 400, 128, 40  # what Python takes beside the values


def rows_of(signature: Signature, windows: Windows) -> Signature:
    """What is sent of a row: its windowed inputs one value each, the others, its time and key."""
    inputs = [
        replace(each, shape=(each.shape[0], *(each.shape[2:] or (1,))))
        if each.name in windows.columns
        else each
        for each in signature.inputs
    ]
    names = {each.name for each in inputs}
    for name, dtype in ((windows.key, windows.key_dtype), (windows.time, "int64")):
        if name and name not in names:
            inputs.append(Tensor(name, dtype, (-1, 1)))
    return Signature(tuple(inputs), signature.outputs)


class _Series:
    """The last rows of one key; of `count` of them there are values, at the end."""

    __slots__ = ("count", "size", "time", "values")

    def __init__(self, values: list[Array], size: int) -> None:
        self.values, self.size = values, size
        self.count, self.time = 0, 0


class KeptWindows:
    """The rows of one model. Safe for threads.

    Attributes:
        windows: what they are.
    """

    def __init__(
        self,
        windows: Windows,
        signature: Signature,
        settings: ServerSettings,
        evicted: Counter[str],
    ) -> None:
        """
        Args:
            signature: of the model, which takes whole windows.
            evicted: counts keys that made room, by why: `keys` or `bytes`.
        """
        self.windows = windows
        self._tensors = {t.name: t for t in signature.inputs}
        self._most_keys, self._most_bytes = settings.window_keys, settings.window_memory
        self._most_at_once = settings.max_body
        self._window_bytes = sum(
            math.prod(each.shape[1:]) * BY_NAME[each.dtype].numpy.itemsize
            for each in signature.inputs
            if each.name in windows.columns
        )
        self._evicted = evicted
        self._series: OrderedDict[Key, _Series] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def keys(self) -> int:
        """How many keys have rows."""
        return len(self._series)

    @property
    def bytes(self) -> int:
        """What all rows take, as it is counted against the limit."""
        return self._bytes

    def take(self, rows: Arrays) -> dict[str, Array]:
        """Keep rows, and give the window that ends in each.

        Rows of one key come in order of time. The last row may come again, for a client that got
        no answer: it is taken for the same one.

        Args:
            rows: checked arrays [rows, ...] by name, as `rows_of` says.

        Raises:
            ServingError: a row has no time or key, or there are too many (nothing is kept); or no
                window ends in a row, because of rows that have not come or have come already (the
                others are kept).
        """
        times = rows[self.windows.time].reshape(-1).tolist()
        keys: list[Key] = [b""] * len(times)
        if self.windows.key:
            keys = rows[self.windows.key].reshape(-1).tolist()
        self._refuse_missing(times, keys)
        self._refuse_many(len(times))
        columns = [rows[name] for name in self.windows.columns]
        size = self.windows.size
        found = [
            np.empty((len(times), size, *self._tensors[name].shape[2:]), column.dtype)
            for name, column in zip(self.windows.columns, columns, strict=True)
        ]
        columns = [
            column.reshape(len(times), *window.shape[2:])
            for column, window in zip(columns, found, strict=True)
        ]
        refused: list[tuple[int, str]] = []
        for row, (time, key) in enumerate(zip(times, keys, strict=True)):
            with self._lock:  # for one row, as the event loop may wait for it
                series = self._of(key, found)
                fault = self._keep(series, time, [column[row] for column in columns])
                if not fault and series.count < size:
                    fault = f"holds {series.count} of {size} rows"
                if not fault:
                    for window, values in zip(found, series.values, strict=True):
                        window[row] = values
                self._make_room()
            if fault:
                refused.append((row, f"the window{self._named(key)} {fault}"))
        if refused:
            raise _refusal(refused, len(times))
        made = dict(zip(self.windows.columns, found, strict=True))
        return {name: made[name] if name in made else rows[name] for name in self._tensors}

    def _refuse_missing(self, times: Sequence[int], keys: Sequence[Key]) -> None:
        for name, values in ((self.windows.time, times), (self.windows.key, keys)):
            for row, value in enumerate(values if name else ()):
                if value in (MISSING_INT, b""):
                    raise invalid(
                        f"Instance {row} (from 0): {name!r} is missing, without which a row is in "
                        "no window: give it. None of these rows is kept."
                    )

    def _refuse_many(self, rows: int) -> None:
        """Refuse rows whose windows a client could not send either."""
        most = max(1, self._most_at_once // max(1, self._window_bytes))
        if rows > most:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"The request has {rows:,} rows, whose windows take more than the "
                f"{self._most_at_once:,} bytes of --max-body: send at most {most:,} at a time.",
                http=413,
            )

    def _of(self, key: Key, windows: Sequence[Array]) -> _Series:
        """The rows of a key, made anew where there are none."""
        series = self._series.get(key)
        if series is None:
            size = self.windows.size
            values = [np.zeros((size, *each.shape[2:]), each.dtype) for each in windows]
            for array in values:
                if array.dtype == object:
                    array[...] = b""
            own = _SERIES_BYTES + (len(key) if isinstance(key, bytes) else 0)
            own += sum(array.nbytes + _text(array) + _ARRAY_BYTES for array in values)
            if own > self._most_bytes:
                raise ServingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"The window of one key takes {own:,} bytes, and {self._most_bytes:,} are "
                    "allowed for all: raise --window-memory.",
                )
            self._series[key] = series = _Series(values, 0)
            self._grow(series, own)
        self._series.move_to_end(key)
        return series

    def _keep(self, series: _Series, time: int, values: Sequence[Array]) -> str:
        """Keep a row, or say why not."""
        if series.count:
            if time < series.time:
                return f"ends at {series.time}, and a row of {time} came after: send them in order"
            if time == series.time:
                same = all(
                    _same(array[-1], value)
                    for array, value in zip(series.values, values, strict=True)
                )
                return "" if same else f"has another row of {time} already: send one of a time"
            gap = self.windows.max_gap
            if gap is not None and time - series.time > gap:
                series.count = 0
        grown = 0
        for array, value in zip(series.values, values, strict=True):
            if array.dtype == object:
                grown += _text(value) - _text(array[0])
            array[:-1] = array[1:]
            array[-1] = value
        series.count, series.time = min(series.count + 1, self.windows.size), time
        self._grow(series, grown)
        return ""

    def _grow(self, series: _Series, size: int) -> None:
        series.size += size
        self._bytes += size

    def _make_room(self) -> None:
        while self._series and (
            len(self._series) > self._most_keys or self._bytes > self._most_bytes
        ):
            self._evicted["keys" if len(self._series) > self._most_keys else "bytes"] += 1
            _, series = self._series.popitem(last=False)
            self._bytes -= series.size

    def _named(self, key: Key) -> str:
        if not self.windows.key:
            return ""
        shown = key.decode(errors="backslashreplace")[:100] if isinstance(key, bytes) else key
        return f" of {self.windows.key} {shown!r}"


class ModelWindows:
    """What is kept of every model. `of` is for the event loop.

    What no version uses any more is forgotten with the last of them.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._kept: WeakValueDictionary[tuple[object, ...], KeptWindows] = WeakValueDictionary()
        self._evicted: dict[str, Counter[str]] = {}

    def of(self, name: str, windows: Windows, signature: Signature) -> KeptWindows:
        """What is kept for a model with such windows."""
        windows = replace(windows, stride=1)  # which is of training alone
        key = (name, windows, tuple(t for t in signature.inputs if t.name in windows.columns))
        found = self._kept.get(key)
        if found is None:
            evicted = self._evicted.setdefault(name, Counter())
            found = KeptWindows(windows, signature, self._settings, evicted)
            self._kept[key] = found
        return found

    def lines(self) -> Iterator[str]:
        """Metrics for Prometheus; see `metrics`."""
        kept = sorted(((str(k[0]), each) for k, each in list(self._kept.items())), key=_by_model)
        for what in ("keys", "bytes"):
            for name in dict.fromkeys(name for name, _ in kept):
                total = sum(getattr(each, what) for of, each in kept if of == name)
                yield f'edgeline_window_{what}{{model="{name}"}} {total}'
        for name, evicted in sorted(self._evicted.items()):
            for why in ("keys", "bytes"):
                labels = f'model="{name}",limit="{why}"'
                yield f"edgeline_window_evictions_total{{{labels}}} {evicted[why]}"


def _by_model(entry: tuple[str, KeptWindows]) -> str:
    return entry[0]


def _refusal(refused: Sequence[tuple[int, str]], rows: int) -> ServingError:
    told = [f"instance {row} (from 0): {why}" for row, why in refused[:NAMED]]
    more = f"; and {len(refused) - NAMED:,} more" if len(refused) > NAMED else ""
    others = ". Ask for the others without" if len(refused) < rows else ""
    text = "; ".join(told) + more + others + "."
    return ServingError(Code.ABORTED, text[0].upper() + text[1:])


def _text(values: Array | bytes) -> int:
    """Bytes of strings; those of numbers are in their array."""
    if isinstance(values, bytes):
        return len(values) + _TEXT_BYTES
    if values.dtype != object:
        return 0
    return sum(len(value) + _TEXT_BYTES for value in values.flat)


def _same(kept: Array | bytes, value: Array | bytes) -> bool:
    if isinstance(kept, bytes) or kept.dtype == object:
        return bool(np.all(kept == value))
    return kept.tobytes() == np.asarray(value).tobytes()
