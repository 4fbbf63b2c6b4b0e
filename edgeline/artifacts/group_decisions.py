"""Decisions by a threshold for each group, as `analyze` chose them, for an application.

    bundle = read(folder)                                     # edgeline.artifacts.bundle
    chosen = GroupThresholds.of(bundle.evaluation)
    yes = chosen.decide(scores, payment_types)

edgeline's server decides by one threshold.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeline.artifacts.decision_threshold import is_threshold
from edgeline.errors import EdgelineError
from edgeline.formats import typed

if TYPE_CHECKING:
    from edgeline.formats.dtypes import Array

__all__ = ["GroupThresholds"]

MISSING = "(missing)"  # as `edgeline.artifacts.slice_values` calls it
KEY = "group_thresholds"  # in the metadata of an evaluation, and so in a bundle's


@dataclass(frozen=True)
class GroupThresholds:
    """The score above which a row of a group is a yes.

    Attributes:
        column: the raw column whose values are the groups.
        thresholds: by value as text, `(missing)` for none.
        other: of all other groups.
    """

    column: str
    thresholds: Mapping[str, float]
    other: float

    @classmethod
    def of(cls, evaluation: Mapping[str, Any]) -> GroupThresholds:
        """Those in the metadata of an evaluation.

        Raises:
            EdgelineError: it has none, or none that can be.
        """
        if KEY not in evaluation:
            raise EdgelineError(
                "The evaluation has no thresholds by group: analyze with the mitigation thresholds."
            )
        found: GroupThresholds = typed.convert(evaluation[KEY], cls, KEY)
        for value in (*found.thresholds.values(), found.other):
            if not is_threshold(value):
                raise EdgelineError(f"{KEY} has {value:g}, which does not lie within 0 and 1.")
        return found

    def decide(self, scores: Array, groups: Sequence[object]) -> Array:
        """Which rows are a yes: bool [rows]. A group without a threshold has that of all others.

        Args:
            scores: of yes [rows].
            groups: the column's value of each row: text, a number, None or NaN where it is missing.
        """
        import numpy as np

        wanted = [self._of(each) for each in groups]
        return np.asarray(scores, np.float32) > np.asarray(wanted, np.float32)

    def _of(self, group: object) -> float:
        """The threshold of a group. Numbers are alike by value, as float32: 8, 8.0 and "8"."""
        for name in _names(group):
            if name in self.thresholds:
                return self.thresholds[name]
        return self.other


def _names(group: object) -> list[str]:
    """What a group may be called among the thresholds."""
    if isinstance(group, bytes):
        group = group.decode("utf-8", "replace")
    if hasattr(group, "item"):
        group = group.item()  # a number of numpy
    if isinstance(group, bool):
        return [str(int(group))]
    if isinstance(group, float):
        if math.isnan(group):
            return [MISSING]
        whole = [str(int(group))] if group.is_integer() else []
        try:
            return [str(struct.unpack("f", struct.pack("f", group))[0]), *whole]
        except OverflowError:  # beyond what float32 holds
            return [str(group), *whole]
    if isinstance(group, int):
        return [str(group), str(float(group))]
    return [MISSING] if group in (None, "") else [str(group)]
