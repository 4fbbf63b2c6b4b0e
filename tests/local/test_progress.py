"""What a run shows, and what it leaves."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console

from edgeline import artifacts
from edgeline.cli import main as cli
from edgeline.kubeflow.states import TaskState
from edgeline.local.folders import remove_leftovers
from edgeline.local.plan import PlannedTask, plan
from edgeline.local.progress import Progress, facts, final_table, output_size
from edgeline.local.tasks import TaskResult
from edgeline.pipelines.vision.pipeline import pipeline as vision
from edgeline.reports import terminal


def result(name: str, state: str, **more: object) -> TaskResult:
    task = PlannedTask(name, name, ())
    return replace(TaskResult(task, state), **more)  # type: ignore[arg-type]


def shown(*results: TaskResult) -> str:
    stream = io.StringIO()
    console = terminal.console(stream)
    with Progress(console, [each.task.component for each in results]) as progress:
        for each in results:
            progress.update(each)
    console.print(final_table({each.task.component: each for each in results}))
    return stream.getvalue()


@pytest.mark.parametrize("state", get_args(TaskState))
def test_a_task_of_any_state_has_a_line(state: str) -> None:
    """Of a run on a server that goes on, and of one that the server stopped telling, too."""
    stream = io.StringIO()
    terminal.console(stream).print(final_table({"train": result("train", state)}))
    assert re.search(rf"train +\S {state}", stream.getvalue())


def test_a_sentence_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it
    sentence = "Input 'x' has shape [batch, 2]: give [/batch] [red]1[/red]. " + "word " * 60
    text = shown(result("ingest", "failed", error=sentence))
    assert sentence.strip() in text.splitlines()[0]
    assert "[batch, 2]: give [/batch] [red]1[/red]." in " ".join(text.splitlines()[2:])


def test_a_title_alone_has_no_colon_and_what_was_left_out_is_told_once_a_reason() -> None:
    titled = TaskResult(PlannedTask("convert", "convert", (), title="convert to int8"), "succeeded")
    left_out = [
        replace(result(name, "skipped"), task=PlannedTask(name, name, (), condition="if blessed"))
        for name in ("verify", "publish")
    ]
    chosen, other = (
        TaskResult(PlannedTask(name, name, (), choices=(("sites", way),)), state)  # type: ignore[arg-type]
        for name, way, state in (("push", "else", "succeeded"), ("serve", "if", "skipped"))
    )
    stream = io.StringIO()
    names = ["convert", "verify", "publish", "push", "serve"]
    with Progress(terminal.console(stream), names) as progress:
        for each in (titled, *left_out, chosen, other):
            progress.update(each)
        progress.tell_skipped()
    first, _, second = stream.getvalue().splitlines()
    assert first.endswith("  convert to int8")
    assert " ".join(second.split()) == ("– verify and 1 more skipped not run: if blessed is false")


def test_of_a_cancelled_run_no_condition_is_said_to_be_false() -> None:
    left_out = replace(result("publish", "skipped"), task=PlannedTask("p", "p", (), condition="ok"))
    known = {"settings": result("settings", "canceled"), "publish": left_out}
    assert facts(left_out, known) == "not run: the run was cancelled"


def test_a_path_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "/somewhere/" + "a" * 60 + "/models/taxi/1"
    outputs = {"publish": result("publish", "succeeded", outputs={"uri": uri})}
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    terminal.console(stream).print(final_table(outputs))
    assert max(map(len, stream.getvalue().splitlines())) <= 60
    assert uri in "".join(line[-40:].strip() for line in stream.getvalue().splitlines())


def test_counts_are_whole_numbers() -> None:
    made = {
        "conversion_metrics": {
            "uri": "/m",
            "metadata": {"size_bytes": 24628.0, "loss": 0.26091, "rows": 188.0},
        }
    }
    one = result("convert", "succeeded", outputs=made)
    assert facts(one, {"convert": one}) == "size_bytes 24,628 · loss 0.2609 · rows 188"


def test_a_blessing_without_thresholds_says_so(tmp_path: Path) -> None:
    note = "No threshold is set in eval_config, so any model is blessed."
    with artifacts.writing(tmp_path / "evaluation", "evaluation/v1") as draft:
        draft.metadata["notes"] = [note]
    made = {"evaluation": {"uri": str(tmp_path / "evaluation"), "metadata": {}}, "blessed": True}
    one = result("analyze", "succeeded", outputs=made)
    assert facts(one, {"analyze": one}) == f"blessed True · {note}"


@pytest.mark.parametrize(
    ("analyze", "reason"),
    [("succeeded", "analyze-blessed is false"), ("skipped", "validate failed")],
)
def test_why_a_task_was_skipped(analyze: str, reason: str) -> None:
    gated = PlannedTask("convert", "convert", (), ("analyze",), "analyze-blessed")
    results = {
        "validate": result("validate", "failed" if analyze == "skipped" else "succeeded"),
        "analyze": result("analyze", analyze),
        "convert": TaskResult(gated, "skipped"),
    }
    assert facts(results["convert"], results) == f"not run: {reason}"


def test_what_one_failure_kept_from_running_is_one_row() -> None:
    names = ("convert", "check", "verify")
    results = {"ingest": result("ingest", "failed", error="no such file")}
    results |= {name: result(name, "skipped") for name in names}
    results["notify"] = result("notify", "succeeded")
    text = shown(*results.values())
    lines = [line for line in text.splitlines() if "skipped" in line]
    assert len(lines) == 1
    assert "convert and 2 more" in lines[0]
    assert "not run: ingest failed" in lines[0]


def test_a_run_removes_only_its_own_drafts(tmp_path: Path) -> None:
    mine, other = (tmp_path / name / "run" / "train" / "model.partial" for name in ("a", "b"))
    for draft in (mine, other):
        draft.mkdir(parents=True)
    remove_leftovers(tmp_path / "a")
    assert not mine.exists()
    assert other.exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            PermissionError(13, "Permission denied", "models/taxi"),
            2,
            "models/taxi cannot be used (Permission denied): change who may use it, or name "
            "another.",
        ),
        (
            OSError(28, "No space left on device"),
            1,
            "A file or an address cannot be used (No space left on device): make room on the disk.",
        ),
        (
            OSError("Couldn't deserialize thrift.\nA second line"),  # as libraries raise it
            1,
            "A file or an address cannot be used (Couldn't deserialize thrift): check the disk and "
            "the network, and try again.",
        ),
    ],
)
def test_what_the_system_refuses_is_a_sentence_with_the_way_out(
    capsys: pytest.CaptureFixture[str], error: OSError, code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as ended, cli._sentences():
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == f"Error: {said}\n"


def test_a_terminal_keeps_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.console(io.StringIO()).width == terminal.WIDTH_OF_FILES
    monkeypatch.setenv("COLUMNS", "60")
    assert terminal.console(io.StringIO()).width == Console(file=io.StringIO()).width == 60


def test_the_list_of_commands_is_not_cut() -> None:
    from click.testing import CliRunner

    for arguments in (["--help"], ["repository", "--help"]):
        shown = CliRunner().invoke(cli.cli, arguments).output
        assert "..." not in shown.partition("Commands:")[2]
    assert "creates the next root, which devices follow automatically." in " ".join(shown.split())


def test_a_task_with_many_values_tells_how_many(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And a dict among them is not an artifact, whose place would be this folder."""
    (tmp_path / "large.bin").write_bytes(b"x" * 9)
    monkeypatch.chdir(tmp_path)
    values = {f"value_{number}": {"a": 1} for number in range(20)}
    one = result("settings", "succeeded", outputs=values)
    assert facts(one, {"settings": one}) == "20 values"
    assert output_size(one) == 0


def test_tasks_of_a_component_are_told_apart_by_what_they_are_called() -> None:
    titles = {task.component: task.title for task in plan(vision.pipeline_spec)}
    assert titles["verify"] == "verify int8"
    assert titles["verify-3"] == "verify for the target"
    assert titles["train"] == ""  # there is one
    named = replace(result("verify", "succeeded").task, title="verify int8")
    text = shown(TaskResult(named, "succeeded", 1.0))
    assert all("verify int8" in line for line in text.splitlines() if line.startswith("✔"))


def test_nobody_who_reads_ends_nothing():
    from edgeline.reports import terminal

    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:
        console = terminal.console(stream)
        console.print("a line")
        console.print("another")
    assert console.quiet
