"""Components of edgeline's are named in a compiled pipeline; an image runs its own face of them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import edgeline
from edgeline.client.compiling import compile_pipeline
from edgeline.components import catalogue
from edgeline.formats.bare_python import bare_source
from edgeline.kubeflow import face
from edgeline.kubeflow.handed import PARAMETER
from edgeline.lint.lint import lint
from edgeline.local import interfaces
from edgeline.pipelines import catalogue as catalogue_of_pipelines

OWN = """
from kfp import dsl
from edgeline.components.faces import plan
from edgeline.images import reference

@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def verify(word: str) -> str:
    from edgeline.components.plan.plan import plan
    return word

@dsl.pipeline(name="own")
def pipeline(word: str = "a"):
    planned = plan(targets=["onnx"])
    with dsl.If(planned.outputs["has_targets"] == True):
        verify(word=word)
"""


def compiled(folder: Path) -> tuple[Path, dict[str, Any]]:
    (folder / "own.py").write_text(OWN)
    path = compile_pipeline(str(folder / "own.py"), str(folder / "own.yaml"))
    return path, yaml.safe_load(path.read_text())


def container(spec: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
    return found


def run_here(path: Path, folder: Path) -> Any:
    client = edgeline.Client(root=str(folder / "runs"), console=Console(file=io.StringIO()))
    return client.submit(str(path), {})


@pytest.mark.parametrize("name", catalogue.names())
def test_a_face_is_read_from_its_file_as_kfp_writes_it(name: str) -> None:
    component = catalogue.load(name)
    (executor,) = component.component_spec.implementation.container.command[-1:]
    assert face.source(name) == bare_source(executor)


def test_only_what_is_this_installation_s_own_is_named(tmp_path: Path) -> None:
    _, spec = compiled(tmp_path)
    named = container(spec, "plan")
    installed = face.source("plan")
    assert installed
    assert named["command"] == [
        *("python3", "-m", "edgeline.kubeflow.task"),
        f"--face_digest={face.digest(installed)}",
    ]
    assert "def verify(word: str)" in container(spec, "verify")["command"][-1]
    assert spec["components"]["comp-plan"].keys() == {"executorLabel"}  # its face says the rest
    assert "word" in spec["components"]["comp-verify"]["inputDefinitions"]["parameters"]


def in_a_pod(words: list[str], given: dict[str, Any]) -> tuple[int, str]:
    """The exit code and the log of a task's command."""
    command = [sys.executable, *words[1:]]
    command[command.index("{{$}}")] = json.dumps(given)
    environment = {key: value for key, value in os.environ.items() if key != "_KFP_RUNTIME"}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment,
    )
    return done.returncode, done.stdout


def test_a_pod_runs_the_face_that_its_command_names(tmp_path: Path) -> None:
    _, spec = compiled(tmp_path)
    named = container(spec, "plan")
    given = {
        "inputs": {"parameterValues": {"targets": ["onnx", "onnx"]}},
        "outputs": {"outputFile": str(tmp_path / "output.json")},
    }
    code, log = in_a_pod([*named["command"], *named["args"]], given)
    assert code == 0, log
    told = json.loads((tmp_path / "output.json").read_text())["parameterValues"]
    assert (told["has_targets"], told["each_target"]) == (True, ["onnx"])


@pytest.mark.parametrize(
    ("name", "digest", "said"),
    [
        ("plan", "0" * 16, "another version of plan than this pipeline was compiled with: compile"),
        ("plans", "0" * 16, "has no component plans, which this pipeline was compiled with"),
        ("../plan", "0" * 16, "has no component ../plan"),
    ],
)
def test_another_version_is_refused_in_a_sentence(
    name: str, digest: str, said: str, tmp_path: Path
) -> None:
    words = ["python3", "-m", "edgeline.kubeflow.task", f"--face_digest={digest}"]
    words += ["--executor_input", "{{$}}", "--function_to_execute", name]
    code, log = in_a_pod(words, {"outputs": {"outputFile": str(tmp_path / "output.json")}})
    assert code == 1
    assert log.startswith("Failed: edgeline ")
    assert said in log.splitlines()[0]
    assert not (tmp_path / "output.json").exists()


@pytest.mark.slow
def test_a_compiled_pipeline_runs_here_and_its_cache_knows_the_face(tmp_path: Path) -> None:
    path, _ = compiled(tmp_path)
    states = [
        {name: task.state for name, task in run_here(path, tmp_path).tasks.items()}
        for _ in range(2)
    ]
    assert states == [dict.fromkeys(("plan", "verify"), state) for state in ("succeeded", "cached")]
    installed = face.source("plan")
    assert installed
    path.write_text(path.read_text().replace(face.digest(installed), "0" * 16))
    task = run_here(path, tmp_path).tasks["plan"]
    assert task.state == "failed"
    assert "holds another version of plan than this pipeline was compiled with" in task.error


def test_kfp_local_gets_the_interfaces_that_a_compiled_pipeline_leaves_out(tmp_path: Path) -> None:
    own = catalogue_of_pipelines.load("digits").pipeline_spec.components
    path = compile_pipeline("digits", str(tmp_path / "digits.yaml"))
    spec = catalogue_of_pipelines.load(str(path)).component_spec.implementation.graph
    assert not spec.components["comp-verify"].input_definitions.artifacts
    interfaces.complete(spec)
    faces = [name for name, each in own.items() if each.executor_label]
    assert "comp-verify-3" in faces
    for name in faces:
        made, wanted = spec.components[name], own[name]
        for end in ("input_definitions", "output_definitions"):
            for kind in ("artifacts", "parameters"):
                found, known = (getattr(getattr(x, end), kind) for x in (made, wanted))
                channels = {key for key in known if key.startswith("pipelinechannel--")}
                if PARAMETER in found:  # beside it a default would count as given
                    own_name = name.removeprefix("comp-").rstrip("-0123456789").replace("-", "_")
                    channels |= face.optional(own_name).keys() - {PARAMETER}
                assert found.keys() - {PARAMETER} == known.keys() - channels, name


def test_lint_reads_the_face_that_is_named(tmp_path: Path) -> None:
    """An optional artifact that is given is a fault of a component that nobody can look into."""
    path = compile_pipeline("taxi", str(tmp_path / "taxi.yaml"))
    assert [str(x) for x in lint([path]) if x.rule == "optional-input-given"] == []
