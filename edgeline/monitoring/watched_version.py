"""What has to be known of a version to judge its answers, also once it is gone.

It is saved beside the answers that wait for labels, so that they can be judged after a restart
though the version does not serve any more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeline.artifacts import calibration
from edgeline.artifacts.bundle import Bundle, Tensor, content_digest
from edgeline.artifacts.calibration import Calibration
from edgeline.artifacts.models import PREDICTION
from edgeline.artifacts.reference import Reference
from edgeline.formats import typed
from edgeline.monitoring.labels import LabelReader
from edgeline.monitoring.slice_columns import SliceColumn, slice_columns
from edgeline.runtimes.measured import RMSE
from edgeline.runtimes.metric_names import MSE


@dataclass(frozen=True)
class WatchedVersion:
    """Of one version of a model.

    Attributes:
        digest: of what it runs (see `edgeline.artifacts.bundle.content_digest`).
        reader: of its labels; its task is the bundle's.
        calibration: None where its bundle has none of its task.
        usual: what the edge model reached on held-out rows, by metric.
        slices: columns by whose values it is measured too.
    """

    name: str
    version: int
    digest: str
    reader: LabelReader
    calibration: Calibration | None
    usual: Mapping[str, float]
    slices: tuple[SliceColumn, ...]

    def dumps(self) -> str:
        """As JSON, for `loads`."""
        known = self.calibration.to_json() if self.calibration is not None else None
        told = {
            "digest": self.digest,
            "task": self.reader.task,
            "classes": self.reader.classes,
            "size": self.reader.size,
            "calibration": known,
            "usual": self.usual,
            "slices": [{"column": each.column, "names": each.names} for each in self.slices],
        }
        return json.dumps(told)


@dataclass(frozen=True)
class _Slice:
    column: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Saved:
    digest: str
    task: str
    classes: tuple[str, ...] | None
    size: int
    calibration: Mapping[str, Any] | None
    usual: Mapping[str, float]
    slices: tuple[_Slice, ...]


def loads(text: str, name: str, version: int) -> WatchedVersion:
    """A version of before, of which no more answers are expected: its slices have names alone.

    Raises:
        EdgelineError: it is malformed.
    """
    found: _Saved = typed.convert(typed.parse(text, "what they are of"), _Saved)
    known = calibration.convert(found.calibration) if found.calibration is not None else None
    return WatchedVersion(
        name,
        version,
        found.digest,
        LabelReader(found.task, found.classes, found.size),
        known,
        found.usual,
        tuple(SliceColumn(each.column, each.names, {}) for each in found.slices),
    )


def of_bundle(
    made: Bundle,
    outputs: Sequence[Tensor],
    classes: tuple[str, ...] | None,
    known: Calibration | None,
    reference: Reference | None,
    slices: str,
) -> WatchedVersion:
    """The version of a bundle.

    Args:
        outputs: of its model, with the one that is called `edgeline.artifacts.models.PREDICTION`.
        classes: their names, where they are known.
        known: the bundle's calibration; one of another task does not count.
        slices: the names of columns, with commas.
    """
    known = known if known is not None and known.task == made.task else None
    (size,) = (math.prod(each.shape[1:]) for each in outputs if each.name == PREDICTION)
    return WatchedVersion(
        made.name,
        made.version,
        content_digest(made),
        LabelReader(made.task, classes, size),
        known,
        _usual(made, known),
        tuple(slice_columns(reference, slices)),
    )


def _usual(made: Bundle, known: Calibration | None) -> dict[str, float]:
    """What the edge model reached on held-out rows, by metric; a manifest may be anyone's."""
    if known is not None:
        return dict(known.metrics)
    metrics = made.verification.get("metrics")
    found = metrics.get(MSE) if isinstance(metrics, dict) else None
    value = found.get("edge") if isinstance(found, dict) else None
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return {}
    return {RMSE: math.sqrt(value)}
