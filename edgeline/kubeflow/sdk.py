"""kfp without what only its client needs.

`import kfp` imports its client, and with it Kubernetes', Google's and requests: 1.3 of its 1.7
seconds. Compiling and local runs need none of them.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

DOCKER = "kfp.local.docker_task_handler"
SWITCH = "_KFP_RUNTIME"  # kfp's own: a task's process imports neither client nor compiler


def import_kfp() -> None:
    """Import kfp so that `kfp.Client`, `kfp.dsl` and the others come when they are asked for.

    Where kfp is imported already, and in a task's process, nothing changes.
    """
    if "kfp" in sys.modules or SWITCH in os.environ:
        return
    os.environ[SWITCH] = "true"
    try:
        kfp: Any = importlib.import_module("kfp")
    finally:
        del os.environ[SWITCH]
    kfp.__getattr__ = _later


def import_local() -> None:
    """Import what runs pipelines here without Docker's client, which `--docker` alone needs: it and
    requests are a fifth of all that a run with its results in the cache takes.

    `kfp_parts.replaced` gives kfp that part where it is needed.
    """
    if "kfp.local.task_dispatcher" in sys.modules or DOCKER in sys.modules:
        return
    sys.modules[DOCKER] = None  # type: ignore[assignment]  # as where Docker's client is missing
    try:
        importlib.import_module("kfp.local.task_dispatcher")
    finally:
        del sys.modules[DOCKER]


def import_client() -> ModuleType:
    """The module `kfp.client`, in a task's process, too, where kfp leaves it out.

    There `kfp.dsl` is without the modules that the client's import takes, and of these only the one
    below can be the first: they import each other in a circle.
    """
    importlib.import_module("kfp.dsl.component_factory")
    return importlib.import_module("kfp.client")


def _later(name: str) -> Any:
    """What kfp's module has after a usual import of it."""
    if name == "Client":
        return import_client().Client
    if name in ("client", "compiler", "components", "dsl"):
        return importlib.import_module(f"kfp.{name}")
    raise AttributeError(f"module 'kfp' has no attribute {name!r}")
