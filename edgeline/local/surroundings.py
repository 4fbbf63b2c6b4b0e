"""What a run here depends on beside its parameters: this machine, its packages, edgeline's code."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeline import plugins
from edgeline.local.warm.stages import COMPONENT_STAGE, STAGES

# what installs, checks or prints: no result of a task depends on it
TOOLS = frozenset(
    {
        "edgeline",  # whose code is looked at itself
        *("pip", "setuptools", "wheel", "uv", "build", "rich", "click", "pygments"),
        *("markdown-it-py", "mdurl", "pytest", "pluggy", "iniconfig", "ruff", "mypy", "coverage"),
    }
)
# imported by the later warm processes alone: no task that needs none of these depends on them
HEAVY = frozenset(
    each.partition(".")[0].replace("_", "-")
    for stage, modules in STAGES.items()
    if stage != "light"
    for each in modules
)


def host() -> dict[str, Any]:
    """This machine in a few words, and its memory in bytes (None where it is not told)."""
    try:
        memory: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        memory = None
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "memory": memory,
        "python": platform.python_version(),
    }


def packages() -> dict[str, str]:
    """The versions of all installed distributions, by normalised name, read from folders' names."""
    found: dict[str, str] = {}
    for name, version in _installed():
        found.setdefault(name, version)  # of two, Python imports the first
    return dict(sorted(found.items()))


def _installed() -> Iterator[tuple[str, str]]:
    for folder in sys.path:
        try:
            entries = sorted(each.name for each in os.scandir(folder or "."))
        except OSError:
            continue
        for entry in entries:
            if entry.endswith(".dist-info"):
                name, _, version = entry.removesuffix(".dist-info").rpartition("-")
                yield re.sub(r"[-_.]+", "-", name).lower(), version


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Packages that a result was made with and that are other ones now: `2.19 -> 2.20` by name.

    One that is new is none of them: what was made did without it.
    """
    return {
        name: f"{version} -> {now.get(name, 'removed')}"
        for name, version in before.items()
        if now.get(name) != version and name not in TOOLS
    }


def touch(changed: Mapping[str, str], component: str) -> dict[str, str]:
    """Those of the changed packages that a component's task may import."""
    own_name = re.sub(r"-\d+$", "", component)  # a second task of a component has a number
    light = COMPONENT_STAGE.get(own_name) == "light"
    return {name: how for name, how in changed.items() if not (light and name in HEAVY)}


def code_digest() -> str:
    """Of edgeline's own files and plug-ins': a task is not taken from a run of other code."""
    digest = hashlib.sha256(plugins.digest().encode())
    package = Path(__file__).resolve().parents[1]
    import edgeline.components

    for folder in (package, *map(Path, edgeline.components.__path__)):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
