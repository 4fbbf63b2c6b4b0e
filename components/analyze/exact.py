"""The AUC of all rows, counted as in `train` and `verify` (see `edgeline.runtimes.metrics`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgeline.components.analyze.names import DECISION
from edgeline.formats.dtypes import Array
from edgeline.runtimes.metrics import AUC, Binary

Counted = dict[str, Binary]  # by model, the candidate first


def counted(task: str, label: Array, predictions: Mapping[str, Array]) -> Counted:
    """Of some rows of a binary task: label and predictions [rows]. Nothing of another task."""
    found: Counted = {}
    if task == "binary_classification":
        for model, scores in predictions.items():
            found[model] = Binary(DECISION)
            found[model].add(scores[:, None], label)
    return found


def merged(parts: Iterable[Counted]) -> Counted:
    """All parts as one; they stay as they are, which Beam asks of what it combines."""
    found: Counted = {}
    for part in parts:
        for model, more in part.items():
            found.setdefault(model, Binary(DECISION)).merge(more)
    return found


def aucs(found: Counted) -> dict[str, float | None]:
    """By model; None where all rows have one class."""
    return {model: each.result()[AUC] for model, each in found.items()}
