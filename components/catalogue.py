"""Which components there are: a folder each, whose `component.py` holds the face of its name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edgeline.errors import UsageError, did_you_mean
from edgeline.kubeflow.sdk import import_kfp


def names() -> list[str]:
    """The components, by folder."""
    return sorted(face.parent.name for face in Path(__file__).parent.glob("*/component.py"))


def load(name: str) -> Any:
    """The kfp component of a folder: the function with the folder's name.

    Raises:
        UsageError: there is no component of that name.
    """
    if name not in names():
        raise UsageError(f"There is no component {name!r}. {did_you_mean(name, names())}")
    import_kfp()
    return getattr(importlib.import_module(f"edgeline.components.{name}.component"), name)
