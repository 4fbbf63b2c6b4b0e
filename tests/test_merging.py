"""A condition's only task has the condition itself, and no group around it; others keep theirs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import edgeline
from edgeline.client.compiling import compile_pipeline

SOURCE = """
from kfp import dsl

@dsl.component(base_image="python", install_kfp_package=False)
def say(word: str) -> str:
    return word

@dsl.pipeline(name="own")
def pipeline(given: str = "a", has_file: bool = False):
    first = say(word=given)
    with dsl.If(first.output == "a", name="if a"):
        second = say(word=first.output).set_display_name("say it again")
        with dsl.If(second.output == "b", name="if b"):
            say(word=given).set_display_name("never")
        with dsl.Elif(second.output == "c", name="if c"):
            with dsl.ParallelFor(["x"]) as each:
                say(word=each)
        with dsl.Else(name="else"):
            say(word=second.output).set_display_name("say it at last")
    with dsl.If(given == "a", name="if given"):
        with dsl.If(first.output == "a"):
            say(word=first.output).set_display_name("both").after(first)
    with dsl.If(has_file == True, name="if there is a file"):
        dsl.importer(artifact_uri="/tmp/file", artifact_class=dsl.Artifact)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merging")
    (folder / "own.py").write_text(SOURCE)
    return compile_pipeline(str(folder / "own.py"), str(folder / "own.yaml"))


@pytest.fixture(scope="module")
def spec(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def names(dag: dict[str, Any]) -> dict[str, str]:
    return {key: task["taskInfo"]["name"] for key, task in dag["tasks"].items()}


def test_one_task_needs_no_group_and_is_called_by_its_condition(spec: dict[str, Any]) -> None:
    root = spec["root"]["dag"]
    assert names(root) == {
        "say": "say",
        "condition-1": "if a",
        "say-6": "both, if given",
        "condition-10": "if there is a file",  # a server takes no importer with a condition
    }
    task = root["tasks"]["say-6"]
    assert task["triggerPolicy"]["condition"] == (
        "(inputs.parameter_values['pipelinechannel--given'] == 'a') && "
        "(inputs.parameter_values['pipelinechannel--say-Output'] == 'a')"
    )
    assert task["dependentTasks"] == ["say"]
    assert task["inputs"]["parameters"].keys() == {
        *("word", "pipelinechannel--given", "pipelinechannel--say-Output")
    }


def test_branches_lie_beside_each_other_and_a_loop_keeps_its_group(spec: dict[str, Any]) -> None:
    inner = spec["components"]["comp-condition-1"]["dag"]
    assert names(inner) == {
        "say-2": "say it again",
        "say-3": "never, if b",
        "condition-4": "if c",
        "say-5": "say it at last, else",
    }
    for key, task in inner["tasks"].items():
        condition = task.get("triggerPolicy", {}).get("condition", "")
        assert ("pipelinechannel--say-2-Output" in condition) == (key != "say-2")
    assert "comp-condition-branches-2" not in spec["components"]


def test_what_is_merged_runs_as_it_did(path: Path, tmp_path: Path) -> None:
    client = edgeline.Client(root=str(tmp_path), console=Console(file=io.StringIO()))
    run = client.submit(str(path), {})
    assert {name: task.state for name, task in run.tasks.items()} == {
        **dict.fromkeys(("say", "say-2", "say-5", "say-6"), "succeeded"),
        "importer": "skipped",  # say-3 and say-4 are other branches: nobody asked for them
    }
