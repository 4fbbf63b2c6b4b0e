"""The parts of kfp.local that a run here replaces while it lasts.

kfp 2.17 has no way to register others, so its modules' attributes are set, and given back:

| part | replaced by |
|---|---|
| `SubprocessTaskHandler`, `DockerTaskHandler` | how a task's process or container is started |
| `LocalCache` | results that are kept with the run, and never damaged ones (`cache`) |
| `ConditionEvaluator._resolve_pipeline_channel` | conditions on named outputs (`conditions`) |
| `IOStore.get_task_output` | a sentence where a loop over nothing is collected (`loops`) |
| `indented_print` | nothing: tasks side by side leave Python's own `print` indented for good |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import kfp.local
from kfp.local import cache as kfp_cache
from kfp.local import logging_utils, subprocess_task_handler
from kfp.local.io import IOStore
from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

from edgeline.errors import EdgelineError
from edgeline.local import loops
from edgeline.local.conditions import resolve

KNOWN = "2.17"  # setup.cfg asks for it, too


def require_known(found: str) -> None:
    """Refuse a kfp whose insides nobody has read: a part that it no longer has would be replaced
    without effect, and a condition silently skip what stands below it.

    Args:
        found: kfp's version.

    Raises:
        EdgelineError: it is another than `KNOWN`.
    """
    if found != KNOWN and not found.startswith(f"{KNOWN}."):
        raise EdgelineError(
            f"kfp {found} is installed, and runs on this machine replace parts of kfp {KNOWN}: "
            f"pip install 'kfp~={KNOWN}.0', or run the pipeline on a server with edgeline submit."
        )


@contextlib.contextmanager
def replaced(runner: Any, handler: type, cache: type) -> Iterator[None]:
    """Within it, kfp.local starts tasks by `handler` and looks into `cache`.

    Args:
        runner: the `kfp.local.SubprocessRunner` or `DockerRunner` of the run.

    Raises:
        EdgelineError: as `require_known`.
    """
    require_known(version("kfp"))
    if isinstance(runner, kfp.local.DockerRunner):
        from kfp.local import docker_task_handler, task_dispatcher

        # which was imported without it, see `sdk.import_local`
        task_dispatcher.docker_task_handler = docker_task_handler
        task_dispatcher._DOCKER_AVAILABLE = True
        handler_of: tuple[Any, str] = (docker_task_handler, "DockerTaskHandler")
    else:
        handler_of = (subprocess_task_handler, "SubprocessTaskHandler")
    with contextlib.ExitStack() as stack:
        for owner, name, part in (
            (*handler_of, handler),
            (kfp_cache, "LocalCache", cache),
            (ConditionEvaluator, "_resolve_pipeline_channel", staticmethod(resolve)),
            (IOStore, "get_task_output", loops.get_task_output),
            (logging_utils, "indented_print", contextlib.nullcontext),
        ):
            own = vars(owner)[name]  # a static method as it stands in its class
            stack.callback(setattr, owner, name, own)
            setattr(owner, name, part)
        yield
