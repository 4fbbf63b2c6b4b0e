"""Loops of a local run: what is collected of two rounds, and what is said where there is none."""

# no `from __future__ import annotations`: kfp reads the annotations

import pytest
from kfp import dsl

from edgeline.errors import EdgelineError
from edgeline.local.graph import draw
from edgeline.local.runner import run


@dsl.component(base_image="python", install_kfp_package=False)
def make(word: str, made: dsl.Output[dsl.Artifact]):
    with open(made.path, "w") as stream:
        stream.write(word)


@dsl.component(base_image="python", install_kfp_package=False)
def copy(made: dsl.Input[dsl.Artifact], copied: dsl.Output[dsl.Artifact]):
    with open(made.path) as read, open(copied.path, "w") as stream:
        stream.write(read.read())


@dsl.component(base_image="python", install_kfp_package=False)
def join(all_made: dsl.Input[list[dsl.Artifact]]) -> str:
    words = []
    for made in all_made or ():
        with open(made.path) as stream:
            words.append(stream.read())
    return " ".join(words)


@dsl.pipeline
def loops(words: list):
    with dsl.ParallelFor(words) as word:
        made = make(word=word)
        copied = copy(made=made.outputs["made"])
    join(all_made=dsl.Collected(copied.outputs["copied"]))


def test_what_a_loop_made_is_collected(tmp_path):
    result = run(loops, {"words": ["one", "two"]}, tmp_path, False, lambda _: None, False)
    states = {name: task.state for name, task in result.tasks.items()}
    assert set(states.values()) == {"succeeded"}, states
    assert len(states) == 5
    assert result.tasks["join"].outputs["Output"] == "one two"
    assert draw(result.tasks).count("<rect") == len(states)


def test_what_a_cluster_does_not_collect_is_not_collected_here(tmp_path):
    with pytest.raises(EdgelineError, match=r"copied of the loop for-loop-.* Put the loop"):
        run(loops, {"words": []}, tmp_path, False, lambda _: None, False)
