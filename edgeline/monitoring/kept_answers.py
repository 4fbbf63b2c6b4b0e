"""Answers that wait for their labels, and those that have got one, in bounded memory.

Of each row there are 32 bytes and 2 for each column of slices: a digest of the request's id and the
row's place, when it was answered, its score, what was decided, and when its label came. No input is
kept, and no id.

Labels may come days later, when far more rows were answered than fit. So what is kept is a sample
of all that wait: rows whose key is at most a limit, which halves where the memory is full, and
doubles where an eighth of it is enough. As a key is a digest, the sample does not depend on what
was answered, and whether a label's answer is in it follows from its id. What goes without a label
is counted: `thinned` for room, `expired` because it has waited long enough. Of labelled rows the
last `MOST_MEASURED` stay, in at most half of the memory.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.formats.dtypes import Array

log = logging.getLogger("edgeline.server")
LONGEST = 128  # characters of an id that count
MOST_MEASURED = 10_000  # labelled rows that metrics are of
_ALL = (1 << 64) - 1
_LATEST = 4096  # rows that may stand behind those in order
NOT_KNOWN = 0xFFFD  # the code of a slice that was not looked at then
FIELDS = {
    "time": "<u4",  # seconds since 1970, as of `joined`
    "joined": "<u4",
    "order": "<u4",  # of its label among all; 0 where it has none
    "score": "<f4",
    "decided": "<i4",
    "truth": "<f4",
}
_ROW = 0x9E3779B97F4A7C15  # odd, so that the places of a request's rows stay apart


def key_of(identity: str) -> int:
    """What an id is kept as: 64 bits of its BLAKE2b digest. Two of a million ids are the same with
    a probability of 3 in 10^8."""
    known = identity[:LONGEST].encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(known, digest_size=8).digest(), "little")


def keys_of(identity: int | Array, rows: Array) -> Array:
    """The keys of rows, by their places [rows] in a request: uint64 [rows], none 0.

    Args:
        identity: see `key_of`; of rows of several requests uint64 [rows].
    """
    places = rows.astype(np.uint64) * np.uint64(_ROW) + np.asarray(identity, np.uint64)
    return np.asarray(np.maximum(places, np.uint64(1)))


@dataclass(frozen=True)
class StoredAnswers:
    """What a file of `KeptAnswers.save` holds."""

    keys: Array
    rows: Any
    order: int
    least: int
    of: str


class KeptAnswers:
    """The rows of one version. Not safe for threads: its owner locks.

    Rows stand in the order of their keys, but for the latest, in the order of their answers.

    Attributes:
        lost: rows that went without a label, by why.
        limit: the largest key that is kept.
        least: the smallest limit there was.
    """

    def __init__(
        self, memory: int, wait: float, slices: int, most_measured: int = MOST_MEASURED
    ) -> None:
        """
        Args:
            memory: bytes for the rows.
            wait: seconds for which one waits for its label.
            slices: columns of slices.
            most_measured: labelled rows that metrics are of.
        """
        kind = np.dtype(
            [
                *FIELDS.items(),
                *([("slices", "<u2", (slices,))] if slices else []),
            ]
        )
        self._row = 8 + kind.itemsize
        self._keys = np.zeros(memory // self._row, np.uint64)
        self._rows: Any = np.zeros(len(self._keys), kind)
        self._wait, self._count, self._sorted, self._order = wait, 0, 0, 0
        self._most_measured = most_measured
        self._most_labelled = min(most_measured, self.capacity // 2)
        self.limit = self.least = _ALL
        self.lost: Counter[str] = Counter()

    @property
    def capacity(self) -> int:
        return len(self._keys)

    @property
    def bytes(self) -> int:
        """What the rows that are there take."""
        return self._count * self._row

    @property
    def share(self) -> float:
        """Of all rows, those that are kept now."""
        return (self.limit + 1) / (_ALL + 1)

    @property
    def least_share(self) -> float:
        """Of all rows, those that were kept when the fewest were."""
        return (self.least + 1) / (_ALL + 1)

    @property
    def latest(self) -> int:
        """When the last row was answered, in seconds since 1970; 0 of none."""
        return int(self._rows["time"][: self._count].max(initial=0))

    @property
    def repeated(self) -> int:
        """Rows that came again under the key of one before, which no label reaches any more."""
        return self._count - len(np.unique(self._keys[: self._count]))

    @property
    def waiting(self) -> int:
        """Rows that have no label yet."""
        return int(np.count_nonzero(self._rows["order"][: self._count] == 0))

    def put(self, keys: Array, scores: Array, decided: Array, slices: Array) -> None:
        """Keep rows: keys [rows], scores [rows], decisions [rows], codes of slices [rows, n]."""
        new = np.zeros(len(keys), self._rows.dtype)
        new["time"], new["score"], new["decided"] = int(time.time()), scores, decided
        if slices.shape[1]:
            new["slices"] = slices
        self._put(keys, new)

    def join(self, keys: Array, truth: Array) -> tuple[Any, Array, Array]:
        """Give rows their labels.

        Args:
            keys: uint64 [labels]; truth: float [labels].

        Returns:
            The rows that have got their first one, in the order of the labels; which labels these
            are, and which labels' answers are kept here, bool [labels].
        """
        if self._count - self._sorted > max(_LATEST, self._sorted // 16):
            self._sort()
        rows, places = self._rows, self._places(keys)
        there = places >= 0
        if not there.any():
            return rows[:0], there, there
        there &= (rows["order"][places] > 0) | (rows["time"][places] >= self._oldest())
        known = np.flatnonzero(there)
        _, first = np.unique(places[known], return_index=True)
        first = known[np.sort(first)]
        chosen = first[rows["order"][places[first]] == 0]
        fresh = np.zeros(len(keys), bool)
        fresh[chosen] = True
        joined = places[chosen]
        rows["truth"][joined] = truth[chosen]
        rows["joined"][joined] = int(time.time())
        rows["order"][joined] = self._order + 1 + np.arange(len(joined))
        self._order += len(joined)
        return rows[joined], fresh, there

    def thinned(self, keys: Array) -> Array:
        """Which keys' rows had to go for room, if there were any: bool [keys]."""
        return np.asarray(keys > np.uint64(self.least))

    def labelled(self, seconds: float, least: int) -> Any:
        """Rows whose labels came in the last seconds, at most `most_measured`, or more where these
        are fewer than `least`; the last label last."""
        rows = self._rows[: self._count]
        rows = rows[rows["order"] > 0]
        rows = rows[np.argsort(rows["order"])]
        recent = int(np.count_nonzero(rows["joined"] >= int(time.time() - seconds)))
        return rows[len(rows) - min(len(rows), max(min(recent, self._most_measured), least)) :]

    def expire(self) -> None:
        """Let go what has waited long enough, and keep more rows where there is much room."""
        rows = self._rows[: self._count]
        late = (rows["order"] == 0) & (rows["time"] < self._oldest())
        if late.any():
            self.lost["expired"] += int(np.count_nonzero(late))
            self._only(~late)
        if self.limit < _ALL and self.waiting <= self.capacity // 8:
            self.limit = 2 * self.limit + 1

    def take_over(self, before: StoredAnswers, columns: Sequence[int]) -> None:
        """Take rows of before, and what was thinned until then.

        Args:
            columns: at which place each column of slices stood, -1 where it was none.
        """
        old = before.rows
        new = np.zeros(len(old), self._rows.dtype)
        for name in FIELDS:
            new[name] = old[name]
        for place, there in enumerate(columns):
            new["slices"][:, place] = old["slices"][:, there] if there >= 0 else NOT_KNOWN
        measured = np.sort(new["order"][new["order"] > 0])
        if len(measured) > self._most_labelled:
            first = measured[-self._most_labelled] if self._most_labelled else _ALL
            keep = (new["order"] == 0) | (new["order"] >= first)
            before, new = replace(before, keys=before.keys[keep]), new[keep]
        self._order = max(self._order, before.order)
        self.limit = self.least = min(self.least, before.least)
        self._put(before.keys, new)

    def save(self, file: Path, of: str) -> None:
        """Write the rows into a file, which appears whole or not at all; `of` says whose they are.

        Raises:
            OSError: it cannot be written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".tmp")
        self._sort()
        with open(beside, "wb") as stream:
            np.savez(
                stream,
                keys=self._keys[: self._count],
                rows=self._rows[: self._count],
                order=self._order,
                least=np.uint64(self.least),
                of=of,
            )
        beside.replace(file)

    def _put(self, keys: Array, new: Any) -> None:
        """Keep rows for which there is room, and of all so many as fit."""
        new, keys = self._sampled(keys, new)
        while self._count + len(keys) > self.capacity:
            if not self._forget_measured():
                self.limit //= 2
                self.least = min(self.least, self.limit)
                rows = self._rows[: self._count]
                keep = (rows["order"] > 0) | (self._keys[: self._count] <= np.uint64(self.limit))
                self.lost["thinned"] += int(np.count_nonzero(~keep))
                self._only(keep)
                new, keys = self._sampled(keys, new)
        last = self._count + len(keys)
        self._keys[self._count : last], self._rows[self._count : last] = keys, new
        self._count = last

    def _sampled(self, keys: Array, new: Any) -> tuple[Any, Array]:
        keep = (keys <= np.uint64(self.limit)) | (new["order"] > 0)
        if not self.capacity:
            keep[:] = False
        self.lost["thinned"] += int(np.count_nonzero(~keep))
        return new[keep], keys[keep]

    def _forget_measured(self) -> bool:
        """Let labelled rows go beyond those that are measured; whether there were any."""
        orders = self._rows["order"][: self._count]
        if np.count_nonzero(orders) <= self._most_labelled:
            return False
        last = np.sort(orders)[-self._most_labelled] if self._most_labelled else _ALL
        self._only((orders == 0) | (orders >= last))
        return True

    def _only(self, keep: Array) -> None:
        """Let the other rows go."""
        places = np.flatnonzero(keep)
        self._keys[: len(places)] = self._keys[places]
        self._rows[: len(places)] = self._rows[places]
        self._sorted = int(np.count_nonzero(keep[: self._sorted]))
        self._count = len(places)

    def _sort(self) -> None:
        """Order all rows by their keys; of one key the last answer stays last."""
        by_key = np.argsort(self._keys[: self._count], kind="stable")
        self._keys[: self._count] = self._keys[by_key]
        self._rows[: self._count] = self._rows[by_key]
        self._sorted = self._count

    def _places(self, keys: Array) -> Array:
        """Where the last answer of each key stands, -1 where nowhere: int64 [keys]."""
        latest = self._keys[self._sorted : self._count]
        by_key = np.argsort(latest, kind="stable")
        places = _last(self._keys[: self._sorted], keys)
        found = _last(latest[by_key], keys)
        new = found >= 0
        places[new] = self._sorted + by_key[found[new]]
        return places

    def _oldest(self) -> int:
        return max(0, int(time.time() - self._wait))


def _last(ordered: Array, keys: Array) -> Array:
    """Where each key stands last in an ordered array, -1 where nowhere."""
    if not len(ordered):
        return np.full(len(keys), -1)
    found = np.searchsorted(ordered, keys, side="right") - 1
    return np.where((found >= 0) & (ordered[np.maximum(found, 0)] == keys), found, -1)


def stored(file: Path) -> StoredAnswers | None:
    """The rows of a file of before; None of none, and of a damaged one, which is told."""
    import zipfile  # numpy reads by it, too

    try:
        with np.load(file, allow_pickle=False) as found:
            keys, rows, of = found["keys"], found["rows"], str(found["of"])
            order, least = int(found["order"]), int(found["least"])
        if keys.dtype != np.uint64 or keys.ndim != 1 or keys.shape != rows.shape:
            raise ValueError("its keys are not those of its rows")
        if not set(FIELDS) <= set(rows.dtype.names or ()):
            raise ValueError("its rows lack a field")
        if not 0 <= order < 1 << 32 or not 0 <= least <= _ALL:
            raise ValueError("a number is beyond what it can be")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s cannot be read (%s): no answer of before waits.", file, error)
        return None
    return StoredAnswers(keys, rows, order, least, of)
