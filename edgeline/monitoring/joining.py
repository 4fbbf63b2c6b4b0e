"""Labels to the answers that wait for them, many at once."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeline.errors import EdgelineError
from edgeline.monitoring.decay import Decay
from edgeline.monitoring.labels import LabelLine, LabelResults


class LabelPiece:
    """Labels that are joined at once, as each version reads them: NaN where it cannot."""

    def __init__(self, decays: Sequence[Decay]) -> None:
        self._decays = decays
        self.keys, self._truth = array("Q"), [array("d") for _ in decays]
        self._doubts: list[tuple[int, int, str, str]] = []  # labels, where they stood, and why
        self._sent: list[tuple[int, int, Mapping[str, Any]]] = []

    def add(self, line: LabelLine, place: str, sent: Mapping[str, Any] | None = None) -> None:
        """Take in a line; `sent` is it as it came, which `join` gives back.

        Raises:
            EdgelineError: no version can read it.
        """
        found: list[tuple[float, ...] | None] = []
        doubt: EdgelineError | None = None
        for decay in self._decays:
            try:
                found.append(decay.of.reader.read(line.values))
            except EdgelineError as error:
                doubt = error
                found.append(None)
        if doubt is not None and not any(each is not None for each in found):
            raise doubt
        if doubt is not None:
            first = len(self.keys)
            why = str(doubt).rstrip(".")
            self._doubts.append((first, first + len(line.keys), place, why))
        if sent is not None:
            self._sent.append((len(self.keys), len(self.keys) + len(line.keys), sent))
        self.keys.extend(line.keys)
        for truth, values in zip(self._truth, found, strict=True):
            truth.extend(
                values if values is not None else itertools.repeat(math.nan, len(line.keys))
            )

    def join(self, results: LabelResults) -> list[Mapping[str, Any]]:
        """Give the labels to the versions that can read them. One that some version cannot read,
        and no other one knows, is refused.

        Returns:
            The lines, of those that were given as they came, that have found their answers.
        """
        keys = np.array(self.keys, np.uint64)
        fresh, known, thinned = np.zeros((3, len(keys)), bool)
        for decay, values in zip(self._decays, self._truth, strict=True):
            truth = np.array(values, np.float64)
            read = np.flatnonzero(~np.isnan(truth))
            found = decay.join(keys[read], truth[read])
            fresh[read] |= found.fresh
            known[read] |= found.known
            thinned[read] |= found.thinned
        unknown = ~known
        for first, last, place, why in self._doubts:
            if not known[first:last].any():
                unknown[first:last] = False
                results.refuse(place, why)
        results.counts["joined"] += int(fresh.sum())
        results.counts["repeated"] += int((known & ~fresh).sum())
        results.counts["thinned"] += int((unknown & thinned).sum())
        results.counts["unknown"] += int((unknown & ~thinned).sum())
        return [sent for first, last, sent in self._sent if fresh[first:last].any()]
