"""What a real KFP 2.17 ends a task over, in pipelines as kfp itself compiles them."""

# no `from __future__ import annotations`: kfp reads the annotations
from collections.abc import Callable
from pathlib import Path
from typing import List, NamedTuple, Optional, Union  # noqa: UP035 - as kfp's users write them

import pytest
import yaml
from kfp import dsl
from kfp.compiler import Compiler
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from edgeline.lint.lint import lint
from edgeline.lint.traps import rules

RULES = {rule.id for rule in rules}
IMAGE = "registry.example/python@sha256:" + "0" * 64
component = dsl.component(base_image=IMAGE, install_kfp_package=False)
Found = Callable[..., list[str]]


@component
def make(name: str, model: Output[Model]):
    model.metadata["name"] = name


@component
def both(first: Input[Model], second: Input[Model]):
    print(first.path, second.path)


@component
def several(models: Input[List[Model]]):  # noqa: UP006
    print(models)


@component
def texts(values: list):
    print(values)


@component
def count(targets: list) -> NamedTuple("Counted", [("targets", list), ("any", bool)]):  # type: ignore[valid-type]
    return (targets, bool(targets))  # type: ignore[return-value]


@component
def judge(model: Input[Model]) -> bool:
    return bool(model.path)


@component
def shout(text: str) -> str:
    return text.upper()


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """What the rules find in a pipeline: rule and where."""

    def look(graph: Callable[..., None]) -> list[str]:
        path = tmp_path / "pipeline.yaml"
        Compiler().compile(dsl.pipeline(name="mine")(graph), str(path))
        return sorted(
            f"{finding.rule} {finding.path.rpartition('.tasks.')[2]}"
            for finding in lint([path])
            if finding.rule in RULES
        )

    return look


# Optional inputs


@component
def optional(
    a: Optional[Input[Model]] = None,  # noqa: UP045
    b: Union[Input[Model], None] = None,  # noqa: UP007
    c: Input[Model] = None,
    d: Optional[Input[List[Model]]] = None,  # noqa: UP006, UP045
    e: Optional[str] = None,  # noqa: UP045
):
    print(a, b, c, d, e)


@dsl.container_component
def program(model: Optional[Input[Model]] = None):  # noqa: UP045
    return dsl.ContainerSpec(image=IMAGE, command=["cat"], args=[model.path])


def test_an_optional_input_that_is_given(found: Found) -> None:
    def graph(x: str = "x"):
        a, b, c = make(name="a"), make(name="b"), make(name="c")
        optional(a=a.output, c=c.output, e=x)
        with dsl.If(x == "y"):
            optional(b=b.output)

    assert found(graph) == [
        "optional-input-given optional-2.inputs.artifacts.b",
        "optional-input-given optional.inputs.artifacts.a",
    ]


def test_optional_inputs_that_do_no_harm(found: Found) -> None:
    def graph(x: str = "x"):
        made = make(name="a")
        with dsl.ParallelFor(["a", "b"]) as name:
            each = make(name=name)
        optional(c=made.output, d=dsl.Collected(each.output), e=x)
        program(model=made.output)  # kfp's executor is not asked

    assert found(graph) == []


# One artifact twice


@dsl.pipeline
def compared(one: Input[Model], other: Input[Model]):
    both(first=one, second=other)


@dsl.pipeline
def twins() -> NamedTuple("Twins", a=Model, b=Model):  # type: ignore[valid-type]
    made = make(name="twin")
    outputs = NamedTuple("Twins", a=Model, b=Model)  # noqa: UP014  # type: ignore[misc]
    return outputs(made.output, made.output)  # type: ignore[call-arg, return-value]


def test_one_artifact_for_two_inputs(found: Found) -> None:
    def graph(x: str = "x"):
        made, pair = make(name="a"), twins()
        both(first=made.output, second=made.output)
        both(first=pair.outputs["a"], second=pair.outputs["b"])  # through the outputs of a graph
        compared(one=made.output, other=made.output)  # the graph itself is given it twice
        with dsl.If(x == "y"):
            both(first=made.output, second=made.output)

    assert found(graph) == [
        "artifact-given-twice both-2.inputs.artifacts.second",
        "artifact-given-twice both-3.inputs.artifacts.second",
        "artifact-given-twice both.inputs.artifacts.second",
        "artifact-given-twice compared.inputs.artifacts.other",
    ]


def test_an_alternative_may_be_the_same_artifact(found: Found) -> None:
    def graph(x: str = "x"):
        with dsl.If(x == "y"):
            one = make(name="a")
        with dsl.Else():
            other = make(name="b")
        chosen = dsl.OneOf(one.output, other.output)
        both(first=chosen, second=make(name="c").output)
        both(first=chosen, second=dsl.OneOf(one.output, other.output))

    assert found(graph) == ["artifact-given-twice both-2.inputs.artifacts.second"]


def test_equal_tasks_give_one_artifact_from_the_cache(found: Found) -> None:
    def graph(x: str = "x"):
        a, b, c = make(name=x), make(name=x), make(name="other")
        both(first=a.output, second=b.output)
        both(first=a.output, second=c.output)
        fresh = make(name=x).set_caching_options(False)
        both(first=a.output, second=fresh.output)

    assert found(graph) == ["artifact-given-twice both.inputs.artifacts.second"]


def test_an_importer_finds_the_artifact_of_another(found: Found) -> None:
    def graph(uri: str = "s3://b/m"):
        def imported(uri: str, reimport: bool = False) -> Model:
            return dsl.importer(artifact_uri=uri, artifact_class=Model, reimport=reimport).output

        both(first=imported(uri), second=imported(uri))
        both(first=imported(uri), second=imported("s3://b/other"))
        both(first=imported(uri), second=imported(uri, reimport=True))

    assert found(graph) == ["artifact-given-twice both.inputs.artifacts.second"]


# Loops


@dsl.pipeline
def each_of(names: list) -> List[Model]:  # noqa: UP006
    with dsl.ParallelFor(names) as name:
        made = make(name=name)
    return dsl.Collected(made.output)


def test_a_loop_over_a_parameter_and_what_collects_it(found: Found) -> None:
    def graph(targets: list = ["a"]):  # noqa: B006 - a run may give an empty one
        with dsl.ParallelFor(targets) as target:
            made, said = make(name=target), shout(text=target)
        several(models=dsl.Collected(made.output))
        texts(values=dsl.Collected(said.output))

    assert found(graph) == [
        "collected-over-nothing several.inputs.artifacts.models",
        "collected-over-nothing texts.inputs.parameters.values",
        "loop-over-nothing for-loop-1",
    ]


def test_a_loop_over_a_task_s_output(found: Found) -> None:
    def graph(targets: list):
        with dsl.ParallelFor(count(targets=targets).outputs["targets"]) as target:
            make(name=target)

    assert found(graph) == ["loop-over-nothing for-loop-1"]


def test_a_loop_over_items_that_are_there(found: Found) -> None:
    def graph():
        with dsl.ParallelFor(["a", "b"]) as name:
            made = make(name=name)
        several(models=dsl.Collected(made.output))
        several(models=each_of(names=["a", "b"]).output)
        with dsl.ParallelFor([{"of": "a", "names": ["b"]}]) as item:
            make(name=item.of)
            with dsl.ParallelFor(item.names) as inner:
                make(name=inner)

    assert found(graph) == []


def test_a_loop_inside_of_a_graph_is_judged_by_what_it_is_given(found: Found) -> None:
    def graph(targets: list = []):  # noqa: B006
        several(models=each_of(names=["a", "b"]).output)
        several(models=each_of(names=targets).output)
        lists = [{"names": ["b"]}, {"names": []}]
        with dsl.ParallelFor(lists) as item, dsl.ParallelFor(item.names) as inner:
            make(name=inner)

    assert found(graph) == [
        "collected-over-nothing several-2.inputs.artifacts.models",
        "loop-over-nothing for-loop-1",
        "loop-over-nothing for-loop-3",
    ]


def test_an_if_on_the_list_guards_the_loop(found: Found) -> None:
    def graph(targets: list = []):  # noqa: B006
        planned = count(targets=targets)
        with dsl.If(planned.outputs["any"] == False):  # noqa: E712
            make(name="none")
        with dsl.Else():
            with dsl.ParallelFor(planned.outputs["targets"]) as target:
                made = make(name=target)
            several(models=dsl.Collected(made.output))
        with dsl.If(planned.outputs["any"] == True):  # noqa: E712, SIM117
            with dsl.ParallelFor(targets) as target:
                make(name=target)

    assert found(graph) == []


def test_an_if_on_something_else_guards_nothing(found: Found) -> None:
    def graph(targets: list = []):  # noqa: B006
        good = judge(model=make(name="a").output)
        with dsl.If(good.output == True):  # noqa: E712
            with dsl.ParallelFor(targets) as target:
                made = make(name=target)
            several(models=dsl.Collected(made.output))

    assert found(graph) == [
        "collected-over-nothing several.inputs.artifacts.models",
        "loop-over-nothing for-loop-2",
    ]


def test_what_a_condition_leaves_out_of_a_round_cannot_be_collected(found: Found) -> None:
    def graph():
        with dsl.ParallelFor(["a", "b"]) as name, dsl.If(name == "a"):
            made = make(name=name)
        several(models=dsl.Collected(made.output))

    assert found(graph) == ["collected-over-nothing several.inputs.artifacts.models"]


# Metadata


@component
def fills(
    given: str, a: Output[Model], b: Output[Artifact], c: Output[Dataset], d: Input[Model]
) -> None:
    a.metadata["item"] = None
    a.metadata["nested"] = {"fine": None, "list": [None]}
    b.metadata.update(keyword=None, fine=0)
    b.metadata.update({"dict": None, **dict(inner=None)})  # noqa: C408
    b.metadata |= {"or": None}
    c.metadata = {"whole": given or None, "fine": ""}
    c.metadata.setdefault("default")
    facts = c.metadata
    facts["alias"] = 1 if given else None
    d.metadata["an input is not stored"] = None


@component
def returns(given: str) -> Model:
    return dsl.Model(uri=dsl.get_uri(), metadata={"returned": None, "given": given})


def keys(file: Path) -> list[str]:
    return [
        finding.message.partition(": ")[0].rpartition("metadata ")[2]
        for finding in lint([file])
        if finding.rule == "null-in-metadata"
    ]


def test_metadata_that_is_set_to_none(tmp_path: Path) -> None:
    def graph(x: str = "x"):
        made = make(name=x)
        fills(given=x, d=made.output)
        fills(given="y", d=made.output)  # the same component: told once
        returns(given=x)

    path = tmp_path / "pipeline.yaml"
    Compiler().compile(dsl.pipeline(name="mine")(graph), str(path))
    wanted = {"item", "keyword", "dict", "inner", "or", "whole", "default", "alias", "returned"}
    assert sorted(part.partition(" to None")[0] for part in keys(path)) == sorted(wanted)


def test_an_importer_with_null(tmp_path: Path) -> None:
    def graph(uri: str = "s3://b/m"):
        dsl.importer(artifact_uri=uri, artifact_class=Model, metadata={"a": "x", "b": 1})

    path = tmp_path / "pipeline.yaml"
    Compiler().compile(dsl.pipeline(name="mine")(graph), str(path))
    assert keys(path) == []
    pipeline = yaml.load(path.read_text(), yaml.CSafeLoader)
    pipeline["deploymentSpec"]["executors"]["exec-importer"]["importer"]["metadata"]["b"] = None
    path.write_text(yaml.safe_dump(pipeline))
    assert keys(path) == ["b"]


# Files that nobody means well


def nested(depth: int) -> dict:
    """A graph in which each component is used twice by the one around it."""

    def tasks(name: str) -> dict:
        return {x: {"componentRef": {"name": f"comp-{name}"}} for x in "ab"}

    components = {
        f"comp-{level}": {"dag": {"tasks": tasks(str(level + 1))}} for level in range(depth)
    }
    return {
        "pipelineInfo": {"name": "nested"},
        "components": components,
        "root": {"dag": {"tasks": tasks("0")}},
    }


@pytest.mark.parametrize(
    "pipeline",
    [
        nested(40),
        {
            **nested(1),
            "components": {"comp-0": {"dag": {"tasks": nested(0)["root"]["dag"]["tasks"]}}},
        },
        {"pipelineInfo": 3, "root": [], "components": "x"},
        {
            "pipelineInfo": {},
            "root": {"dag": {"tasks": {"a": None, "b": {"inputs": {"artifacts": [1]}}}}},
        },
        {
            "pipelineInfo": {},
            "root": {
                "dag": {"tasks": {"a": {"parameterIterator": {"items": {"raw": "[" * 9999}}}}}
            },
        },
    ],
    ids=["wide", "circle", "scalars", "nulls", "deep"],
)
def test_a_malformed_pipeline_does_not_stop_the_linter(pipeline: dict, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    assert isinstance(lint([tmp_path]), list)
