"""`edgeline tune`: the pipeline tuned with another one's own defaults."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from edgeline.cli import tune as command
from edgeline.cli.main import cli
from edgeline.errors import UsageError
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameters import parameters_of, parse


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `tuned` would be given, by object and field."""
    given: dict[str, Any] = {}

    def run_pipeline(name: str, settings: tuple[str, ...], *_: Any, **__: Any) -> None:
        given.update(parse(settings, parameters_of(catalogue.load(name))))

    monkeypatch.setattr(command, "run_pipeline", run_pipeline)

    def ask(*arguments: str) -> dict[str, Any]:
        given.clear()
        done = CliRunner().invoke(cli, ["tune", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return {**given, "said": done.output}

    return ask


def test_a_pipelines_own_defaults_are_those_of_the_search(asked: Any) -> None:
    taxi = parameters_of(catalogue.load("taxi"))
    found = asked("taxi", "--trials", "7", "--objective", "auc", "--objective", "size_bytes",
                  "--set", "steps=50", "--set", "model_name=mine")  # fmt: skip
    assert found["label"] == "big_tip" and found["model_name"] == "mine"
    assert found["data"] == taxi["data"].default
    assert found["with_evaluation"]["eval_config"] == taxi["with_evaluation"].default["eval_config"]
    assert found["with_training"] == {
        "trials": 7, "objectives": ["auc", "size_bytes"], "steps": 50
    }  # fmt: skip
    assert not found["said"]


def test_what_a_search_has_no_place_for_is_told(asked: Any) -> None:
    found = asked("digits", "--objective", "accuracy")
    assert found["with_edge"]["quantisation"] == "int8"
    assert found["with_schema"]["images"] == {"image": [28, 28, 1]}
    assert found["with_training"]["task"] == "multiclass_classification"
    assert found["said"] == (
        "tuned has no edge.require_mapped, edge.targets: these defaults of digits are left out.\n"
    )


def test_what_trains_nothing_and_what_is_given_twice_is_refused(asked: Any) -> None:
    with pytest.raises(UsageError, match="pretrained is not a pipeline of edgeline's that trains"):
        asked("pretrained")
    with pytest.raises(UsageError, match="--set trials is given beside an option for it"):
        asked("taxi", "--trials", "3", "--set", "trials=4")
