"""Load what others made in a child first: what crashes a runtime there is a sentence here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples, models
from edgeline.components.verify import runtimes
from edgeline.errors import EdgelineError
from edgeline.runtimes import child
from edgeline.runtimes import original as originals

TIME_LIMIT = 600.0  # seconds of a core
ROWS = 2


def edge_model(path: Path, runtime: str) -> None:
    """Load an edge model.

    Raises:
        EdgelineError: it cannot be loaded, or that ends the child.
    """
    _tried(path, _load, path, runtime)


def original(model_path: str | Path, edge: Artifact, rows: Artifact, split: str) -> None:
    """Load an imported file that is its own original, and ask it for some rows.

    A model that was trained here is left out: TensorFlow would be loaded twice, and a SavedModel is
    run where it was imported. So is what the caller refuses anyway, in its own order.

    Raises:
        EdgelineError: that ends the child.
    """
    if artifacts.schema_of(model_path) in (models.EDGE_SCHEMA, models.ONNX_SCHEMA):
        _tried(Path(model_path), _ask, model_path, edge, rows, split)


def _tried(path: Path, function: Callable[..., object], *arguments: object) -> None:
    try:
        child.call(function, *arguments, time_limit=TIME_LIMIT)
    except child.ChildError as error:
        raise EdgelineError(
            f"{path} {error.how} while it was {error.doing}{child.last_error(error.log)}: "
            "convert or export it again."
        ) from error


def _load(tell: Callable[[str], None], path: Path, runtime: str) -> None:
    tell("loaded")
    runtimes.load(path, runtime)


def _ask(
    tell: Callable[[str], None], model_path: str | Path, edge: Artifact, rows: Artifact, split: str
) -> None:
    tell("loaded")
    with suppress(EdgelineError):
        found = originals.load(model_path, edge)
        raw = examples.read_spread(rows, split, found.takes, ROWS)
        tell("asked")
        found.evaluate(raw)
