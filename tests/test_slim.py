"""What a compiled pipeline carries and no cluster reads is cut, and nothing that one reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeline.client.compiling import compile_pipeline

SOURCE = """
from kfp import dsl

@dsl.component(base_image="python", install_kfp_package=False)
def first() -> str:
    return "a"

@dsl.component(base_image="python", install_kfp_package=False)
def step(made: dsl.Output[dsl.Model], word: str = "x", other: str = "y", more: int = 3):
    pass

@dsl.pipeline(name="own")
def pipeline(given: str = "g"):
    outer, inner = first(), first()
    with dsl.If(outer.output == "a", name="outer"):
        first()
        with dsl.If(inner.output == "b", name="inner"):
            step(word=inner.output, other=given)
            first()
"""


@pytest.fixture
def components(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "own.py").write_text(SOURCE)
    path = compile_pipeline(str(tmp_path / "own.py"), str(tmp_path / "own.yaml"))
    found: dict[str, Any] = yaml.safe_load(path.read_text())["components"]
    return found


def test_a_group_is_handed_what_it_uses_or_is_decided_by(components: dict[str, Any]) -> None:
    outer, inner = components["comp-condition-1"], components["comp-condition-2"]
    kept = {"pipelinechannel--first-2-Output", "given"}
    assert inner["inputDefinitions"]["parameters"].keys() == kept
    task = outer["dag"]["tasks"]["condition-2"]
    assert task["inputs"]["parameters"].keys() == kept
    assert outer["inputDefinitions"]["parameters"].keys() == {
        *kept,
        "pipelinechannel--first-Output",
    }


def test_an_input_that_may_be_null_stays_optional_and_its_default_is_in_the_source(
    components: dict[str, Any],
) -> None:
    assert components["comp-step"]["inputDefinitions"]["parameters"] == {
        "word": {"parameterType": "STRING"},
        "other": {"parameterType": "STRING", "isOptional": True},
    }


def test_an_artifact_s_type_is_its_title(components: dict[str, Any]) -> None:
    made = components["comp-step"]["outputDefinitions"]["artifacts"]["made"]
    assert made == {"artifactType": {"schemaTitle": "system.Model"}}
