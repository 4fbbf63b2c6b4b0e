"""The decay of a server's versions: of one that serves, and of one that did before a restart."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection
from pathlib import Path

from edgeline.artifacts.models import PREDICTION
from edgeline.errors import EdgelineError
from edgeline.monitoring.decay import TASKS, Decay, DecayLimits
from edgeline.monitoring.kept_answers import stored
from edgeline.monitoring.watched_version import loads, of_bundle
from edgeline.server.models.model import Description
from edgeline.server.settings import ServerSettings

log = logging.getLogger("edgeline.server")


def watched(description: Description, settings: ServerSettings) -> Decay | None:
    """The decay of a version; None of one whose bundle tells no task, or no reference to watch."""
    bundle, outputs = description.bundle, description.signature.outputs
    if bundle is None or description.reference is None or bundle.task not in TASKS:
        return None
    shapes = [each.shape for each in outputs if each.name == PREDICTION]
    if not shapes or not shapes[0] or any(size < 1 for size in shapes[0][1:]):
        return None  # no values by row
    of = of_bundle(
        bundle,
        outputs,
        description.labels,
        description.calibration,
        description.reference,
        settings.decay_slices,
    )
    of = dataclasses.replace(of, name=description.name, version=description.version)
    file = _file_of(settings, of.name, of.version)
    return Decay(of, _limits(settings), outputs, description.decision_threshold, file)


def gone_before(settings: ServerSettings, name: str, served: Collection[int]) -> Decay | None:
    """Of the versions that do not serve, that which answered last before the server was started."""
    file = _file_of(settings, name, 0)
    found: list[Decay] = []
    for each in sorted(file.parent.glob("*.npz")) if file is not None else ():
        if not each.stem.isdigit() or int(each.stem) in served:
            continue
        before = stored(each)
        if before is None:
            continue
        try:
            of = loads(before.of, name, int(each.stem))
        except EdgelineError as error:
            log.warning("%s cannot be read (%s): no answer of before waits.", each, error)
            continue
        decay = Decay(of, _limits(settings), file=each)
        decay.restore()
        found.append(decay)
    return max((each for each in found if each.waiting), key=lambda each: each.latest, default=None)


def _file_of(settings: ServerSettings, name: str, version: int) -> Path | None:
    """Where a version's answers are kept over restarts."""
    if settings.state is None:
        return None
    return Path(settings.state) / "answers" / name / f"{version}.npz"


def _limits(settings: ServerSettings) -> DecayLimits:
    return DecayLimits(
        drop=settings.decay_drop,
        margin=settings.decay_margin,
        window=settings.drift_window,
        rows=settings.drift_rows,
        memory=settings.label_memory,
        wait=settings.label_wait,
    )
