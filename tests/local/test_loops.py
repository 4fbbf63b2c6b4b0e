"""Loops of a local run: what is collected of them, of none as of two rounds."""

# no `from __future__ import annotations`: kfp reads the annotations

import pytest
from kfp import dsl

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


@pytest.mark.parametrize("words", [["one", "two"], []])
def test_what_a_loop_made_is_collected(tmp_path, words):
    result = run(loops, {"words": words}, tmp_path, False, lambda _: None, False)
    states = {name: task.state for name, task in result.tasks.items()}
    assert set(states.values()) == {"succeeded"}, states
    assert len(states) == 1 + 2 * len(words)
    assert result.tasks["join"].outputs["Output"] == " ".join(words)
    assert draw(result.tasks).count("<rect") == len(states)
