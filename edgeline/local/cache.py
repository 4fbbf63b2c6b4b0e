"""kfp.local's task cache, which here never gives back a damaged artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache

from edgeline import artifacts
from edgeline.errors import EdgelineError


class CheckedCache(LocalCache):  # type: ignore[misc]
    """A cache that tells of each hit, and takes an entry with a damaged artifact as a miss."""

    on_hit: Callable[[str, dict[str, Any]], None]

    def compute_key(self, component_name: str, *args: Any, **kwargs: Any) -> str:
        key: str = super().compute_key(component_name, *args, **kwargs)
        self._components = {**getattr(self, "_components", {}), key: component_name}
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        outputs: dict[str, Any] | None = super().get(key)
        if outputs is None or not all(map(_is_whole, outputs.values())):
            return None
        self.on_hit(self._components[key].removeprefix("comp-"), outputs)
        return outputs


def _is_whole(output: Any) -> bool:
    if not isinstance(output, dsl.Artifact) or "edgeline_schema" not in output.metadata:
        return True
    try:
        artifacts.read(Path(output.uri), output.metadata["edgeline_schema"])
    except EdgelineError:
        return False
    return True
