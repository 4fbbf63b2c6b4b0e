"""What a publisher does about waves: open them, and say which are usual. Each may be done again."""

from __future__ import annotations

from collections.abc import Sequence

from edgeline.artifacts.waves import WavePlan
from edgeline.repository import listing, rolling
from edgeline.repository.editing import edit_targets
from edgeline.repository.outcomes import Outcome
from edgeline.repository.rolling import Opening

__all__ = ["usual_waves", "wave"]


def wave(
    repository: str, name: str, version: int, opening: Opening, signing: Sequence[str]
) -> tuple[WavePlan, Outcome]:
    """Open waves of a version that was added with some: devices in them take it at their next look.

    When the last one is open, it becomes a version like any other, which devices take that know
    nothing of waves, and gets its labels.

    Args:
        repository: where the signed repository is.
        name, version: of the bundle.
        opening: how many waves are to be open, `next` for one more, `all` for every device at once.
        signing: references to keys.

    Returns:
        The plan as it is then, and what it led to; where as many waves were open already, nothing.

    Raises:
        UsageError, EdgelineError: as `rolling.open_waves`.
    """
    return edit_targets(
        repository,
        signing,
        lambda targets, now: rolling.open_waves(targets, name, version, opening, now),
    )


def usual_waves(
    repository: str, name: str, waves: WavePlan | None, signing: Sequence[str]
) -> Outcome:
    """Say by which waves devices take versions of a model that come without any, as from pipelines.

    Its first version is taken at once, as devices without a model would have nothing beside.

    Args:
        repository: where the signed repository is.
        name: of the model.
        waves: see `wave_file.read`; None: from now on all devices take them at once.
        signing: references to keys.
    """
    _, outcome = edit_targets(
        repository, signing, lambda targets, _: listing.set_usual_waves(targets, name, waves)
    )
    return outcome
