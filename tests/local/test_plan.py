"""What a compiled pipeline will run, read from its IR."""

from __future__ import annotations

import re

from edgeline.local.graph import draw
from edgeline.local.plan import plan
from edgeline.local.tasks import TaskResult
from edgeline.local.warm.stages import COMPONENT_STAGE
from edgeline.pipelines.pretrained.pipeline import pipeline as pretrained
from edgeline.pipelines.taxi.pipeline import pipeline
from edgeline.pipelines.vision.pipeline import pipeline as vision

PLAN = {task.component: task for task in plan(pipeline.pipeline_spec)}


def test_tasks_come_after_what_they_need() -> None:
    order = list(PLAN)
    for name, task in PLAN.items():
        for before in (*task.needs, *task.gates):
            assert order.index(before) < order.index(name)
    assert order[:2] == ["settings", "ingest"]
    assert order[-1] == "notify"


def test_every_task_is_forked_from_a_warm_process() -> None:
    tasks = {task.component for task in plan(pipeline.pipeline_spec)}
    tasks |= {task.component for task in plan(vision.pipeline_spec)}
    found = {re.sub(r"-\d+$", "", name) for name in tasks}
    assert found <= COMPONENT_STAGE.keys()


def test_needs_are_read_through_conditions() -> None:
    assert PLAN["transform"].needs == ("ingest", "validate")
    assert PLAN["verify"].needs == ("convert", "ingest", "train")
    assert PLAN["publish"].needs == ("analyze", "convert", "verify")
    assert PLAN["model-card"].needs == ("analyze", "convert", "train", "verify")


def test_gates_are_the_tasks_that_decide() -> None:
    assert PLAN["train"].gates == ()
    assert PLAN["convert"].gates == ("analyze",)
    assert PLAN["publish"].gates == ("analyze", "verify", "settings")
    assert PLAN["model-card"].gates == ("analyze",)
    assert PLAN["explain"].gates == ("analyze", "settings")
    assert PLAN["explain"].condition == "analyze-blessed and settings-explains"
    assert PLAN["convert"].condition == "analyze-blessed"
    blessed = "analyze-blessed and verify-approved and"
    assert PLAN["publish"].condition == f"{blessed} not settings-has_sites"
    assert PLAN["publish-2"].condition == f"{blessed} settings-has_sites"
    unknown = {task.component: task for task in plan(pretrained.pipeline_spec)}
    assert unknown["convert"].condition == (
        "not import-model-kind == 'onnx' and not import-model-kind == 'tflite' and "
        "import-model-kind == 'tflite-float'"
    )


def test_what_a_loop_holds_is_known() -> None:
    assert {name for name, task in PLAN.items() if task.loop} == {"serve"}


def test_only_the_exit_handler_is_one() -> None:
    assert [name for name, task in PLAN.items() if task.exit_handler] == ["notify"]


def test_the_graph_draws_every_task_once_and_escapes_names() -> None:
    results = {name: TaskResult(task, "succeeded", 1.5) for name, task in PLAN.items()}
    svg = str(draw(results))
    for name in PLAN:
        assert svg.count(f">{name}</text>") == 1
    assert svg.count(">1.5 s<") == len(PLAN)
    odd = {"<b>": results["settings"]}
    assert "<b>" not in str(draw(odd))
