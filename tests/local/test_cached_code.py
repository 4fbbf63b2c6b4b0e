"""A task is not taken from the cache when code that it imports has changed since."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import edgeline

pytestmark = pytest.mark.slow

OWN = """
from kfp import dsl

@dsl.component(base_image="python", install_kfp_package=False)
def look() -> str:
    from helpers.near import word
    return word()

@dsl.component(base_image="python", install_kfp_package=False)
def other(metrics: dsl.Output[dsl.Metrics]) -> str:
    for name in "zqambyck":
        metrics.log_metric(name, 1)
    return "same"

@dsl.pipeline(name="own")
def pipeline():
    look()
    other()
"""


def test_an_edited_module_that_a_component_imports_makes_it_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where tasks find what they import
    (tmp_path / "own.py").write_text(OWN)
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    (helpers / "near.py").write_text("from .far import word\n")
    client = edgeline.Client(root=str(tmp_path / "runs"), console=Console(file=io.StringIO()))

    def look(word: str) -> tuple[object, str, str]:
        (helpers / "far.py").write_text(f"def word():\n    return {word!r}\n")
        tasks = client.submit("own.py").tasks
        # in the order in which the task told them, of which a list of runs shows the first
        assert "".join(tasks["other"].outputs["metrics"]["metadata"]) == "zqambyck"
        return tasks["look"].outputs["Output"], tasks["look"].state, tasks["other"].state

    assert look("first") == ("first", "succeeded", "succeeded")
    assert look("first") == ("first", "cached", "cached")
    assert look("second") == ("second", "succeeded", "cached")
