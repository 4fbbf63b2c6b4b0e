"""A cache's name: a new one computes everything again, also what takes another task's artifact."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

import edgeline

OWN = """
from kfp import dsl
from edgeline.components.faces import ingest

@dsl.component(base_image="python", install_kfp_package=False)
def look(examples: dsl.Input[dsl.Dataset]) -> str:
    return "seen"

@dsl.pipeline(name="own")
def pipeline(data: str, cache_name: str = ""):
    look(examples=ingest(data=data, cache_name=cache_name).outputs["examples"])
"""


@pytest.mark.slow
def test_a_new_name_starts_with_an_empty_cache(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{n},{n}\n" for n in range(40)))
    client = edgeline.Client(root=str(tmp_path / "runs"), console=Console(file=io.StringIO()))

    def states(cache_name: str) -> set[str]:
        arguments = {"data": str(tmp_path / "rows.csv"), "cache_name": cache_name}
        run = client.submit(str(tmp_path / "own.py"), arguments)
        assert run.tasks.keys() == {"ingest", "look"}
        return {task.state for task in run.tasks.values()}

    assert states("") == {"succeeded"}
    assert states("") == {"cached"}
    assert states("today") == {"succeeded"}
    assert states("today") == {"cached"}
    assert states("") == {"cached"}  # what was there stays
