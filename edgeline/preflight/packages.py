"""Packages of the training that this machine lacks: told before a run, not by its fourth task."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from edgeline import extras
from edgeline.preflight.given import GivenRun

# the tasks from transform to verify import each of them
TRAINING = ("tensorflow", "tensorflow_transform", "tensorflow_model_analysis", "ai_edge_litert")


def installed(run: GivenRun) -> Iterator[str]:
    """What a run that trains on this machine cannot import."""
    if not run.here or run.in_images or "module" not in run.values:
        return
    missing = [package for package in TRAINING if find_spec(package) is None]
    if missing and not extras.can_train():
        yield f"{extras.TRAINS_ELSEWHERE}."
    elif missing:
        verb = "is" if len(missing) == 1 else "are"
        yield (
            f"Training needs {', '.join(missing)}, which {verb} not installed: pip install "
            "'edgeline[compile]'."
        )
