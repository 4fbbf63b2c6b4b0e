"""If, Elif and Else of a local run: the alternatives that were not taken are not failure."""

# no `from __future__ import annotations`: kfp reads the annotations

import pytest
from kfp import dsl

from edgeline.local.plan import plan
from edgeline.local.runner import run


@dsl.component(base_image="python", install_kfp_package=False)
def look(word: str) -> str:
    if word == "bad":
        raise ValueError(word)
    return word


@dsl.component(base_image="python", install_kfp_package=False)
def say(word: str) -> str:
    return word


@dsl.pipeline
def choose(word: str, really: str):
    seen = look(word=word)
    with dsl.If(seen.output == "a"):
        say(word="first")
    with dsl.Elif(seen.output == "b"):
        asked = say(word=really)
        with dsl.If(asked.output == "yes"):
            say(word="second")
    with dsl.Else():
        say(word="third")


@pytest.mark.parametrize(
    ("word", "really", "states"),
    [
        ("a", "", {"look": "succeeded", "say": "succeeded"}),
        ("b", "yes", {"look": "succeeded", "say-2": "succeeded", "say-3": "succeeded"}),
        ("b", "no", {"look": "succeeded", "say-2": "succeeded", "say-3": "skipped"}),
        ("c", "", {"look": "succeeded", "say-4": "succeeded"}),
        ("bad", "", {"look": "failed"} | {f"say{n}": "skipped" for n in ("", "-2", "-3", "-4")}),
    ],
)
def test_one_alternative_is_taken_and_the_others_are_not_missed(tmp_path, word, really, states):
    result = run(choose, {"word": word, "really": really}, tmp_path, False, lambda _: None)
    assert {name: task.state for name, task in result.tasks.items()} == states


def test_the_plan_knows_the_alternatives():
    choices = {task.component: dict(task.choices) for task in plan(choose.pipeline_spec)}
    assert choices["look"] == {}
    (choice,) = choices["say"]
    assert len({choices[name][choice] for name in ("say", "say-2", "say-4")}) == 3
    assert choices["say-3"] == choices["say-2"]
