"""kfp.local's task cache, which here never gives back a damaged artifact, or one of older code."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kfp import dsl
from kfp.local.cache import LocalCache

from edgeline import artifacts
from edgeline.errors import EdgelineError
from edgeline.kubeflow import face
from edgeline.user_code import imports, used
from edgeline.user_code.code import NAME, kind

EXECUTOR_INPUT = "--executor_input"  # the source stands before it


class CheckedCache(LocalCache):  # type: ignore[misc]
    """A cache that tells of each hit, and takes an entry with a damaged artifact as a miss."""

    on_hit: Callable[[str, dict[str, Any]], None]

    def compute_key(self, component_name: str, *args: Any, **kwargs: Any) -> str:
        key: str = super().compute_key(component_name, *args, **kwargs)
        if own := _code(*args, **kwargs):
            key = hashlib.sha256(f"{key} {own}".encode()).hexdigest()
        self._components = {**getattr(self, "_components", {}), key: component_name}
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        outputs: dict[str, Any] | None = super().get(key)
        if outputs is None or not all(map(_is_whole, outputs.values())):
            return None
        self.on_hit(self._components[key].removeprefix("comp-"), outputs)
        return outputs


def _code(
    image: str,  # noqa: ARG001
    full_command: Sequence[str],
    arguments: Mapping[str, Any],
    env_vars: object = None,  # noqa: ARG001
    custom_cache_key: str | None = None,
) -> str:
    """The digest of what a task's code imports on this machine; "" where there is no such.

    Edgeline's own code, which every key stands for, is not looked at.
    """
    if custom_cache_key:
        return ""
    names: list[str] = []
    if EXECUTOR_INPUT in full_command[1:] and not face.in_command(full_command):
        source = full_command[full_command.index(EXECUTOR_INPUT) - 1]
        with contextlib.suppress(SyntaxError, ValueError):  # the task says so
            names += imports.names(source.encode())
    module = arguments.get("module")
    if module and isinstance(module, str) and kind(module) == NAME:
        names.append(module)
    return used.digest(names)


def _is_whole(output: Any) -> bool:
    if not isinstance(output, dsl.Artifact) or "edgeline_schema" not in output.metadata:
        return True
    try:
        artifacts.read(Path(output.uri), output.metadata["edgeline_schema"])
    except EdgelineError:
        return False
    return True
