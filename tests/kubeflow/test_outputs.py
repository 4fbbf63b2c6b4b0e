"""What a task's process says of its outputs' store, and what a real launcher makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kfp_stand_in_store import Store

from edgeline.kubeflow import outputs

SOURCE = """
from kfp import dsl
from edgeline.artifacts import metadata

def step(folder: dsl.Output[dsl.Dataset], page: dsl.Output[dsl.HTML], own: dsl.Output[dsl.Model]):
    folder.metadata.update(edgeline_schema="examples/v1", rows=7)
    page.metadata["title"] = "a page"
    own.metadata.update(edgeline_schema="model/v1", store_session_info="mine")
"""


def _run(folder: Path) -> dict[str, Any]:
    """The output file of a task, whose process is that of a pod."""
    (folder / "step.py").write_text(SOURCE)
    made = {
        name: {
            "artifacts": [{"name": name, "type": {"schemaTitle": kind}, "uri": str(folder / name)}]
        }
        for name, kind in (
            ("folder", "system.Dataset"),
            ("page", "system.HTML"),
            ("own", "system.Model"),
        )
    }
    given = {"inputs": {}, "outputs": {"artifacts": made, "outputFile": str(folder / "out.json")}}
    words = ["--component_module_path", str(folder / "step.py"), "--function_to_execute", "step"]
    words += ["--executor_input", json.dumps(given)]
    subprocess.run([sys.executable, "-m", "edgeline.kubeflow.task", *words], check=True)
    found: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return found


def test_a_folder_says_nothing_of_its_store_and_a_page_leaves_it_to_the_launcher(
    tmp_path: Path,
) -> None:
    """Kubeflow's page needs it to open a report, and no task to take a folder."""
    said = {name: made["artifacts"][0] for name, made in _run(tmp_path)["artifacts"].items()}
    assert said["folder"]["metadata"] == {
        "edgeline_schema": "examples/v1",
        "rows": 7,
        "store_session_info": "",
    }
    assert said["page"]["metadata"] == {"title": "a page"}
    assert said["own"]["metadata"]["store_session_info"] == "mine"
    store = Store()
    task = store.create("step", None, None, {"parameterValues": {}, "artifacts": {}})
    for name, made in said.items():
        store.publish(task, name, made)
    handed = store.outputs_of(task)
    assert handed["folder"]["metadata"]["store_session_info"] == ""
    assert handed["page"]["metadata"]["store_session_info"]


def test_a_bundle_keeps_it() -> None:
    assert outputs.is_handed_on({"edgeline_schema": "examples/v1"})
    assert not outputs.is_handed_on({"edgeline_schema": "bundle/v5"})
    assert not outputs.is_handed_on({})
    assert not outputs.is_handed_on({"edgeline_schema": None})


@pytest.mark.parametrize("said", ["{}", '{"artifacts": {"page": {"artifacts": [{"uri": "x"}]}}}'])
def test_a_task_may_say_nothing_of_its_outputs(tmp_path: Path, said: str) -> None:
    place = tmp_path / "out.json"
    outputs.shorten({"outputs": {"outputFile": str(place)}})
    assert not place.exists()
    outputs.shorten({})
    place.write_text(said)
    outputs.shorten({"outputs": {"outputFile": str(place)}})
    assert json.loads(place.read_text()) == json.loads(said)
