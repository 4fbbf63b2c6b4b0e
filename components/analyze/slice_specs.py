"""TFMA's slicing specs, by what a column holds. Imports TFMA, which takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tensorflow_model_analysis.slicer import slicer_lib

from edgeline.artifacts.outcomes import is_value


class ExactSpec(slicer_lib.SingleSliceSpec):  # type: ignore[misc]
    """A SlicingSpec whose `feature_values` are found by `is_value`, not by TFMA's rule.

    TFMA makes numbers of all texts that look so: 1234 of the text "01234", which no row has then,
    and a 0.1 of double precision, which no float32 is.
    """

    def __init__(self, proto: Any) -> None:
        super().__init__(columns=[*proto.feature_keys, *proto.feature_values])
        self._wanted = dict(proto.feature_values)

    def generate_slices(self, accessor: Any) -> Iterator[tuple[tuple[str, Any], ...]]:
        """The keys of a row (see `slices`), each with the values that the row has."""
        for key in super().generate_slices(accessor):
            values = dict(key)
            if all(is_value(values[name], wanted) for name, wanted in self._wanted.items()):
                yield key
