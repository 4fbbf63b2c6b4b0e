"""Which extra of edgeline brings a package that is missing."""

from __future__ import annotations

import functools
import platform
import re

REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+).*\bextra == ["']([^"']+)["']""")
# Of all else setup.cfg says it: the first extra that lists the package. Here is what is imported
# under another name than it is installed by, and what is wanted for a smaller extra than the first.
EXTRA_OF = {
    "PIL": "serve",
    "ai_edge_litert": "serve",
    "aiohttp": "registry",
    "cryptography": "serve-updates",
    "ethosu": "ethos-u",
    "keras": "train",
    "mlflow": "mlflow",
    "paho": "mqtt",
    "mr_openapi": "registry",
    "securesystemslib": "serve-updates",
    "simdjson": "serve",
    "tuf": "serve-updates",
    "tvm": "tvm",
}
# of Python's own, and on Windows not there
OF_UNIX = ("fcntl", "grp", "pwd", "resource", "termios")
# tfx-bsl, and what is built on it
OF_TRAINING = ("tensorflow_model_analysis", "tensorflow_transform", "tfx_bsl")
TRAINS_ELSEWHERE = (
    "Training needs Linux on x86-64, as tfx-bsl has no wheel for this machine: docs/installing.md "
    "has a table of what runs where"
)


def extra_of(package: str) -> str:
    """The extra that brings a package, by the name that it is imported by; else `all`."""
    return EXTRA_OF.get(package) or _listed().get(_normal(package), "all")


def can_train() -> bool:
    """Whether the packages of the training have wheels for this machine."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def install_hint(error: ModuleNotFoundError) -> str:
    """A sentence with the command that installs what was not found."""
    package = (error.name or "").partition(".")[0]
    if package == "edgeline":
        return f"{error.name} is missing from this installation: install edgeline again."
    if package in OF_UNIX:
        return f"This needs Linux, as Python has no {package} here: docs/installing.md has a table"
    if package in OF_TRAINING and not can_train():
        return TRAINS_ELSEWHERE
    return f"Package {package} is not installed: pip install 'edgeline[{extra_of(package)}]'"


@functools.cache
def _listed() -> dict[str, str]:
    """Packages by their names on an index, each with the first extra in setup.cfg's order."""
    from importlib import metadata  # 3 MB that a server does without

    try:
        lines = metadata.requires("edgeline") or []
    except metadata.PackageNotFoundError:  # sources that are not installed
        return {}
    found: dict[str, str] = {}
    for match in filter(None, map(REQUIREMENT.match, lines)):
        found.setdefault(_normal(match[1]), match[2])
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
