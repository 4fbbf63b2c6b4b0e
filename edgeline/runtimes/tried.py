"""Load what others made in a child first: what crashes a runtime there is a sentence here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples, models
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, limits, original

ROWS = 2


def imported(model_path: str | Path, rows: Artifact, split: str, edge: Artifact | None) -> None:
    """Load an imported file that is its own original, and ask it for some rows.

    A model that was trained here is left out: TensorFlow would be loaded twice, and a SavedModel is
    run where it was imported. So is what the caller refuses anyway, in its own order.

    Args:
        edge: the edge model that is to be held to it, if there is one.

    Raises:
        EdgelineError: that ends the child.
    """
    if artifacts.schema_of(model_path) in (models.EDGE_SCHEMA, models.ONNX_SCHEMA):
        in_child(Path(model_path), _ask, model_path, edge, rows, split)


def in_child(path: Path, function: Callable[..., object], *arguments: object) -> None:
    """Call `function(tell, *arguments)` in a child, with limits of time and memory.

    Args:
        path: the model, a file or a folder, for the sentence; its size is part of the limit.

    Raises:
        EdgelineError: as raised in the child, or it crashed or went beyond a limit.
    """
    try:
        child.call(function, *arguments, memory=limits.room(path) + limits.ARROW)
    except child.ChildError as error:
        raise EdgelineError(
            f"{path} {error.how} while it was {error.doing}{child.last_error(error.log)}: "
            "convert or export it again."
        ) from error


def _ask(
    tell: Callable[[str], None],
    model_path: str | Path,
    edge: Artifact | None,
    rows: Artifact,
    split: str,
) -> None:
    tell("loaded")
    with suppress(EdgelineError):
        found = original.load(model_path, edge)
        raw = examples.read_spread(rows, split, found.takes, ROWS)
        tell("asked")
        found.evaluate(raw)
