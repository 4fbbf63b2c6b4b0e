"""Where the artifacts lie that KFP hands to a task."""

from __future__ import annotations

from typing import Any


def paths(*given: Any) -> list[str]:
    """Where artifacts lie; each is one of KFP's, a list of them, or None where not connected."""
    found = [each for some in given for each in (some if isinstance(some, list) else [some])]
    return [artifact.path for artifact in found if artifact is not None]
