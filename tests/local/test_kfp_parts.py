"""Which kfp a run on this machine takes, and that its parts are as before when it has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_pipeline import TINY

from edgeline.errors import EdgelineError


@pytest.mark.parametrize("found", ["2.17", "2.17.0", "2.17.9"])
def test_the_kfp_that_is_known_is_taken(found: str) -> None:
    from edgeline.local.kfp_parts import require_known

    require_known(found)


@pytest.mark.parametrize("found", ["2.16.4", "2.170.0", "2.18.0", "3.0.0rc1"])
def test_another_kfp_is_refused(found: str) -> None:
    from edgeline.local.kfp_parts import require_known

    with pytest.raises(EdgelineError, match=rf"kfp {found} is installed.* parts of kfp 2\.17"):
        require_known(found)


def test_another_kfp_is_refused_before_a_task_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    from edgeline.cli.run import run_pipeline
    from edgeline.local import kfp_parts

    monkeypatch.setattr(kfp_parts, "version", lambda _: "2.18.0")
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(TINY)
    with pytest.raises(EdgelineError, match=r"kfp 2\.18\.0 is installed.* parts of kfp 2\.17"):
        run_pipeline("tiny.py", (), tmp_path / "runs", cache=False)
    assert not list(tmp_path.glob("runs/*/logs"))


@pytest.mark.parametrize("ends_well", [True, False])
def test_kfp_has_its_own_parts_again(ends_well: bool) -> None:
    import kfp.local
    from kfp.local import cache, logging_utils, subprocess_task_handler
    from kfp.local.io import IOStore
    from kfp.local.orchestrator.enhanced_dag_orchestrator import ConditionEvaluator

    from edgeline.local import kfp_parts

    def parts() -> list[Any]:
        return [
            subprocess_task_handler.SubprocessTaskHandler,
            cache.LocalCache,
            vars(ConditionEvaluator)["_resolve_pipeline_channel"],
            vars(IOStore)["get_task_output"],
            logging_utils.indented_print,
        ]

    own = parts()
    runner = kfp.local.SubprocessRunner(use_venv=False)
    try:
        with kfp_parts.replaced(runner, type("Handler", (), {}), type("Cache", (), {})):
            assert not any(map(lambda a, b: a is b, own, parts()))
            if not ends_well:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert all(map(lambda a, b: a is b, own, parts()))


IN_CONTAINERS = """
import pathlib
from edgeline.kubeflow import sdk
sdk.import_local()  # as each run does, without Docker's client
import kfp.local
from kfp import dsl
from kfp.local.status import Status
from edgeline.local import containers, kfp_parts
from kfp.local.cache import LocalCache

@dsl.component(base_image="python", install_kfp_package=False)
def one():
    pass

@dsl.pipeline(name="mine")
def pipeline():
    one()

def watch(command, start):  # in place of an engine
    print("handed over")
    return Status.SUCCESS

runner = kfp.local.DockerRunner()
handler = containers.handler(watch, [])
with kfp_parts.replaced(runner, handler, type("Cache", (LocalCache,), {})):
    kfp.local.init(runner=runner, pipeline_root="root", raise_on_error=False)
    pipeline()
"""


def test_a_run_in_containers_gets_docker_though_kfp_was_imported_without(tmp_path: Path) -> None:
    """What an engine would be handed; tests/images has a real one."""
    (tmp_path / "mine.py").write_text(IN_CONTAINERS)  # kfp reads a component's source
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True)
    assert "handed over" in done.stdout, done.stderr


def test_tasks_side_by_side_leave_print_as_it_was() -> None:
    import builtins

    import kfp.local
    from kfp.local import logging_utils

    from edgeline.local import kfp_parts

    own = builtins.print
    runner = kfp.local.SubprocessRunner(use_venv=False)
    with kfp_parts.replaced(runner, type("Handler", (), {}), type("Cache", (), {})):
        first, second = logging_utils.indented_print(), logging_utils.indented_print()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
    assert builtins.print is own
