"""Loops of a local run: what is collected of two rounds, and what is said where there is none."""

# no `from __future__ import annotations`: kfp reads the annotations

import pytest
from kfp import dsl

from edgeline.components.plan.component import plan
from edgeline.errors import EdgelineError
from edgeline.local.graph import draw
from edgeline.local.runner import run

pytestmark = pytest.mark.slow


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


@dsl.component(base_image="python", install_kfp_package=False)
def say(word: str) -> str:
    return word


@dsl.pipeline
def asked(targets: list, sites: list):
    planned = plan(targets=targets, sites=sites, models_repository="ghcr.io/acme/models")
    first = make(word="first")
    with dsl.If(planned.outputs["has_targets"] == False):  # noqa: E712
        say(word="none")
    with dsl.Else():
        with dsl.ParallelFor(planned.outputs["each_target"]) as target:
            made = make(word=target)
            copied = copy(made=made.outputs["made"])
            with dsl.ParallelFor(planned.outputs["each_site"]) as place:
                say(word=place.form).after(first)
        join(all_made=dsl.Collected(copied.outputs["copied"]))


@pytest.mark.parametrize(
    ("targets", "states"),
    [
        ([], {"plan", "make", "say"}),
        (
            ["tvm", "onnx", "tvm"],
            {"plan", "make", "make-2[tvm]", "make-2[onnx]", "copy[tvm]", "copy[onnx]", "join"}
            | {f"say-2[{target},{site}]" for target in ("tvm", "onnx") for site in (0, 1)},
        ),
    ],
)
def test_loops_that_plan_allows_end_here_as_on_a_cluster(tmp_path, targets, states):
    sites = [{"site": "cluster://edge", "form": "kserve"}, {"site": "cluster://edge"}]
    given = {"targets": targets, "sites": sites}
    result = run(asked, given, tmp_path, False, lambda _: None, False)
    found = {name: task.state for name, task in result.tasks.items()}
    assert set(found.values()) == {"succeeded"}, found
    if targets:
        assert result.tasks["join"].outputs["Output"] == "tvm onnx"
        again = run(asked, given, tmp_path, True, lambda _: None, False)
        assert again.tasks.keys() == states  # also of rounds without a file that tells which
    assert found.keys() == states
