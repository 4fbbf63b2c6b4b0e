"""Answers that wait for their labels, and those that have got one: a ring of bounded size.

Of each row there are 32 bytes and 2 for each column of slices: a digest of the request's id and the
row's place, when it was answered, its score, what was decided, and when its label came. No input is
kept, and no id. Where the ring is full the oldest row makes room. What goes without a label is
counted: `evicted` for room, `expired` because it has waited long enough.
"""

from __future__ import annotations

import hashlib
import logging
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.formats.dtypes import Array
from edgeline.server.watching.tracing import LONGEST

log = logging.getLogger("edgeline.server")
MOST_MEASURED = 10_000  # labelled rows that metrics are of
_ROW = 0x9E3779B97F4A7C15  # odd, so that the places of a request's rows stay apart


def key_of(identity: str) -> int:
    """What an id is kept as: 64 bits of its BLAKE2b digest. Two of a million ids are the same with
    a probability of 3 in 10^8."""
    known = identity[:LONGEST].encode(errors="surrogatepass")
    return int.from_bytes(hashlib.blake2b(known, digest_size=8).digest(), "little")


def keys_of(identity: int, rows: Array) -> Array:
    """The keys of rows of a request, by their places [rows]: uint64 [rows], none 0."""
    places = rows.astype(np.uint64) * np.uint64(_ROW) + np.uint64(identity)
    return np.asarray(np.maximum(places, np.uint64(1)))


class KeptAnswers:
    """The rows of one version. Not safe for threads: its owner locks.

    Attributes:
        lost: rows that went without a label, by why.
    """

    def __init__(self, memory: int, wait: float, slices: int) -> None:
        """
        Args:
            memory: bytes for the rows.
            wait: seconds for which one waits for its label.
            slices: columns of slices.
        """
        kind = np.dtype(
            [
                *(("key", "<u8"), ("time", "<u4"), ("joined", "<u4"), ("order", "<u4")),
                *(("score", "<f4"), ("decided", "<i4"), ("truth", "<f4")),
                *([("slices", "<u2", (slices,))] if slices else []),
            ]
        )
        self._rows: Any = np.zeros(memory // kind.itemsize, kind)
        self._wait, self._at, self._order = wait, 0, 0
        self.lost: Counter[str] = Counter()

    @property
    def capacity(self) -> int:
        return len(self._rows)

    @property
    def bytes(self) -> int:
        """What the rows that are there take."""
        return int(np.count_nonzero(self._rows["key"])) * int(self._rows.itemsize)

    @property
    def waiting(self) -> int:
        """Rows that have no label yet."""
        return int(np.count_nonzero((self._rows["key"] != 0) & (self._rows["order"] == 0)))

    def put(self, keys: Array, scores: Array, decided: Array, slices: Array) -> None:
        """Keep rows: keys [rows], scores [rows], decisions [rows], codes of slices [rows, n]."""
        most = self.capacity
        self.lost["evicted"] += max(0, len(keys) - most)
        if not most:
            return
        keys, scores, decided, slices = (a[-most:] for a in (keys, scores, decided, slices))
        places = (self._at + np.arange(len(keys))) % most
        old = self._rows[places]
        self.lost["evicted"] += int(np.count_nonzero((old["key"] != 0) & (old["order"] == 0)))
        new = np.zeros(len(keys), self._rows.dtype)
        new["key"], new["time"] = keys, int(time.time())
        new["score"], new["decided"] = scores, decided
        if slices.shape[1]:
            new["slices"] = slices
        self._rows[places] = new
        self._at = int((places[-1] + 1) % most) if len(places) else self._at

    def join(self, keys: Array, truth: Array) -> tuple[Array, Array]:
        """Give rows their labels.

        Args:
            keys: uint64 [labels]; truth: float [labels].

        Returns:
            The rows that have got their first one, in the order of the labels, and which labels'
            answers are kept here, bool [labels].
        """
        self.expire()
        rows = self._rows
        if not len(rows):
            return rows, np.zeros(len(keys), bool)
        by_key = np.lexsort((rows["time"], rows["key"]))
        ordered = rows["key"][by_key]
        found = np.searchsorted(ordered, keys, side="right") - 1  # the last answer of an id
        there = (found >= 0) & (ordered[np.maximum(found, 0)] == keys)
        places = by_key[found[there]]
        _, first = np.unique(places, return_index=True)
        first = np.sort(first)
        fresh = first[rows["order"][places[first]] == 0]
        chosen = places[fresh]
        rows["truth"][chosen] = truth[there][fresh]
        rows["joined"][chosen] = int(time.time())
        rows["order"][chosen] = self._order + 1 + np.arange(len(chosen))
        self._order += len(chosen)
        return rows[chosen], there

    def labelled(self, seconds: float, least: int) -> Any:
        """Rows whose labels came in the last seconds, at most `MOST_MEASURED`, or more where these
        are fewer than `least`; the last label last."""
        rows = self._rows[self._rows["order"] > 0]
        rows = rows[np.argsort(rows["order"])]
        recent = int(np.count_nonzero(rows["joined"] >= int(time.time() - seconds)))
        return rows[len(rows) - min(len(rows), max(min(recent, MOST_MEASURED), least)) :]

    def expire(self) -> None:
        """Let go what has waited long enough."""
        rows = self._rows
        late = (rows["key"] != 0) & (rows["order"] == 0)
        late &= rows["time"] < max(0, int(time.time() - self._wait))
        self.lost["expired"] += int(np.count_nonzero(late))
        rows["key"][late] = 0

    def save(self, file: Path) -> None:
        """Write the rows into a file, which appears whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(".tmp")
        with open(beside, "wb") as stream:
            np.savez(stream, rows=self._rows, at=self._at, order=self._order)
        beside.replace(file)

    def restore(self, file: Path) -> None:
        """Take the rows of a file of before, if there is one for as many rows and slices."""
        try:
            with np.load(file, allow_pickle=False) as found:
                rows, at, order = found["rows"], int(found["at"]), int(found["order"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s cannot be read (%s): no answer of before waits.", file, error)
            return
        if rows.dtype != self._rows.dtype or rows.shape != self._rows.shape:
            log.warning("%s is of other settings: no answer of before waits for its label.", file)
            return
        self._rows, self._at, self._order = rows, at % max(1, len(rows)), order
