"""What a run's record, `run.json`, says of its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from edgeline.artifacts.folder import facts_of


def path_of(output: Mapping[str, Any]) -> Path:
    """Where an output artifact lies."""
    return Path(unquote(urlparse(output["uri"]).path))


def facts(output: Any) -> Mapping[str, Any]:
    """All facts of an output artifact; of what is none, such as a parameter, none.

    Its metadata in the record are the few that KFP shows.
    """
    return facts_of(path_of(output)) if isinstance(output, Mapping) and "uri" in output else {}
