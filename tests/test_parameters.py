"""Values of parameters are refused by name before any task: on the command line, in Python and in
schedules."""

# no `from __future__ import annotations`: kfp reads the annotations
import enum
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from kfp import compiler, dsl

from edgeline.cli.run import run_pipeline
from edgeline.client.client import Client
from edgeline.client.compiling import compile_pipeline
from edgeline.errors import EdgelineError, UsageError
from edgeline.pipelines.constants import check_constants
from edgeline.pipelines.parameters import (
    Parameter,
    check,
    from_spec,
    missing,
    parameters_of,
    parse,
)
from edgeline.schedules.declaration import read

KINDS = {
    "data": "STRING",
    "steps": "NUMBER_INTEGER",
    "rate": "NUMBER_DOUBLE",
    "fast": "BOOLEAN",
    "names": "LIST",
    "options": "STRUCT",
}
PARAMETERS = {name: Parameter(name, kind, name == "data") for name, kind in KINDS.items()}


class Mode(str, enum.Enum):
    INT8 = "int8"


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


def test_settings_get_their_types() -> None:
    given = ("data=a=b.csv", "steps=5", "rate=1", "fast=true", 'names=["x"]', 'options={"a": 1}')
    assert parse(given, PARAMETERS) == {
        "data": "a=b.csv",
        "steps": 5,
        "rate": 1,
        "fast": True,
        "names": ["x"],
        "options": {"a": 1},
    }
    assert type(parse(("rate=1",), PARAMETERS)["rate"]) is float  # KFP refuses an int


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps=1.5", "steps: 1.5 is not an integer"),
        ("steps=true", "steps: true is not an integer"),
        ("steps=many", "steps: 'many' is not an integer"),
        ("steps=", "steps: '' is not an integer"),
        ("steps=null", "steps is null, which Kubeflow cannot pass: leave it out"),
        ("steps=9007199254740993", "steps is 9007199254740993, more than 9007199254740992"),
        (f"steps={'1' * 5000}", "steps: '111.* contains too many digits"),
        ("fast=1", "fast: 1 is not true or false"),
        ("fast=yes", "fast: 'yes' is not true or false"),
        ('names="x"', "names: 'x' is not a JSON list"),
        ("names=[1, null]", r"names\[1\] is null"),
        ("options=[]", r"options: \[\] is not a JSON object"),
        ('options={"dropout": null}', "options.dropout is null, .* leave it out, or give"),
        ('options={"a": [{"b": NaN}]}', r"options.a\[0\].b is NaN"),
        ('options={"a": 1, "a": 2}', "options has the key 'a' twice"),
        ('options={"a": 12345678901234567890}', "options.a is 12345678901234567890, more than"),
        ('options={"a": "\\ud800"}', "options.a contains a NUL or a character that UTF-8"),
        ("options=" + '{"a":' * 40 + "1" + "}" * 40, ".* is nested more than 32 levels deep"),
        ("options=" + "[" * 100_000, "options is nested more than 32 levels deep"),
        ("rate=x", "rate: 'x' is not a number"),
        ("rate=NaN", "rate is NaN, which Kubeflow cannot pass"),
        ("rate=1e999", "rate is infinity, which Kubeflow cannot pass"),
        ("rate=-Infinity", "rate is -infinity, which Kubeflow cannot pass"),
        (f"rate={10**400}", "rate is an integer of more than 60 digits, too large for a double"),
        ("data=a\0b", "data contains a NUL"),
        ("data=\udcff", "data contains a NUL or a character that UTF-8"),
        ("stepz=1", "stepz: the pipeline has no such parameter. Did you mean steps?"),
        ("steps", "'steps': write it as NAME=VALUE"),
        ("=1", "'=1': write it as NAME=VALUE"),
    ],
)
def test_a_wrong_setting_names_the_parameter(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^--set {said}"):
        parse((setting,), PARAMETERS)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"steps": None}, "steps is null"),
        ({"steps": "abc"}, "steps: 'abc' is not an integer"),
        ({"steps": 3.0}, "steps: 3.0 is not an integer"),
        ({"steps": np.float64("nan")}, "steps is NaN"),
        ({"rate": np.float32("inf")}, "rate is infinity"),
        ({"rate": np.datetime64("2026-01-01")}, "rate is of the type date, which JSON"),
        ({"names": np.array([1.0, np.nan])}, r"names\[1\] is NaN"),
        ({"names": 3}, "names: 3 is not a JSON list"),
        ({"names": {1, 2}}, "names is of the type set, which JSON does not have"),
        ({"options": {"a": (1, {"b": -math.inf})}}, r"options.a\[1\].b is -infinity"),
        ({"options": {1: 2}}, "options has the key 1, which is not a string"),
        ({"options": {"a": nested(32)}}, ".* is nested more than 32 levels deep"),
        ({"data": Path("x")}, "data is of the type PosixPath"),
        ({"data": b"x"}, "data is of the type bytes"),
    ],
)
def test_a_wrong_value_in_python_names_the_parameter(value: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"^Parameter {said}"):
        check(value, PARAMETERS)


def test_what_python_has_beside_json_becomes_json() -> None:
    given = {
        "data": Mode.INT8,
        "steps": np.int64(3),
        "fast": np.bool_(True),
        "names": (np.str_("a"), np.arange(2)),
        "options": {"rate": np.float32(0.5)},
    }
    found = check(given, PARAMETERS)
    assert found == {
        "data": "int8",
        "steps": 3,
        "fast": True,
        "names": ["a", [0, 1]],
        "options": {"rate": 0.5},
    }
    assert [type(value) for value in found.values()] == [str, int, bool, list, dict]


def test_a_model_name_that_cannot_be_published_is_refused_unless_it_is_no_string() -> None:
    text = {"model_name": Parameter("model_name", "STRING", True)}
    with pytest.raises(UsageError, match=r"^--set model_name 'Bad Name!' is impossible"):
        parse(("model_name=Bad Name!",), text)
    number = {"model_name": Parameter("model_name", "NUMBER_INTEGER", True)}
    assert parse(("model_name=5",), number) == {"model_name": 5}


@pytest.mark.parametrize(
    "value", [{"steps": "abc"}, {"split_ratios": 3}, {"model_name": "Bad Name!"}, {"seed": None}]
)
def test_the_client_refuses_what_the_command_line_refuses(
    value: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"^Parameter {next(iter(value))}"):
        Client(root=str(tmp_path)).submit("taxi", **value)
    assert not list(tmp_path.iterdir())  # no run was begun


def test_a_parameter_may_be_called_as_an_argument_of_submit(tmp_path: Path) -> None:
    file = tmp_path / "greeting.py"
    file.write_text(
        "from kfp import dsl\n\n"
        "@dsl.component(base_image='python', install_kfp_package=False)\n"
        "def greet(name: str) -> str:\n    return name\n\n"
        "@dsl.pipeline(name='greeting')\n"
        "def pipeline(name: str = 'nobody', cache: str = ''):\n    greet(name=name)\n"
    )
    run_pipeline(str(file), ("name=Ada", "cache=x"), tmp_path / "runs", cache=False)
    (record,) = (tmp_path / "runs").glob("greeting-*/run.json")
    assert json.loads(record.read_text())["tasks"]["greet"]["outputs"]["Output"] == "Ada"
    with pytest.raises(UsageError, match="Parameter steps is given twice"):
        Client(root=str(tmp_path)).submit("taxi", {"steps": 1}, steps=2)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("null", "steps is null"),
        (".nan", "steps is NaN"),
        ("{a: [.inf]}", r"steps.a\[0\] is infinity"),
        ("2026-01-01", "steps is of the type date"),
    ],
)
def test_a_schedule_names_itself_and_the_parameter(value: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "schedules.yaml"
    file.write_text(
        "schedules:\n"
        f"  - {{name: nightly, pipeline: taxi, every: 60, parameters: {{steps: {value}}}}}\n"
    )
    with pytest.raises(EdgelineError, match=f"^Schedule 'nightly' of .*: parameter {said}"):
        read(file)


def _own(default: float, constant: float) -> Any:
    @dsl.component(base_image="python:3.12")
    def task(rate: float, names: list) -> str:
        return f"{rate} {names}"

    @dsl.pipeline(name="own")
    def pipeline(second: int, rate: float = default):  # noqa: ARG001
        """A pipeline.

        Args:
            second: A required parameter.
            rate: How fast.
        """
        task(rate=rate, names=[constant])

    return pipeline


def test_parameters_of_a_pipeline_have_type_default_and_description_in_order() -> None:
    found = parameters_of(_own(0.5, 1.0))
    assert list(found.values()) == [
        Parameter("second", "NUMBER_INTEGER", True, None, "A required parameter."),
        Parameter("rate", "NUMBER_DOUBLE", False, 0.5, "How fast."),
    ]
    assert missing(found, {"rate": 1.0}) == ["second"]


def test_nan_within_a_pipeline_of_ones_own_is_named() -> None:
    with pytest.raises(UsageError, match="default of parameter rate of pipeline own is"):
        parameters_of(_own(math.nan, 1.0))
    with pytest.raises(UsageError, match="gives its task task NaN or infinity as names"):
        check_constants(_own(0.5, math.inf))


def _edited(path: Path, change: str) -> Path:
    """The pipeline above in YAML, with one of its values written by hand."""
    compiler.Compiler().compile(_own(0.5, 1.0), str(path))
    (document,) = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    place, _, value = change.partition(": ")
    *parents, last = place.split("/")
    within = document
    for name in parents:
        within = within[name]
    within[last] = yaml.load(value, yaml.CSafeLoader)
    path.write_text(yaml.safe_dump(document))
    return path


TASK = "root/dag/tasks/task/inputs/parameters"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "root/inputDefinitions/parameters/rate/defaultValue: .nan",
            "The default of parameter rate of pipeline own is or contains NaN or infinity,",
        ),
        (
            "root/inputDefinitions/parameters/rate/defaultValue: ~",
            "The default of parameter rate of pipeline own is or contains null,",
        ),
        (f"{TASK}/rate: {{runtimeValue: {{constant: -.inf}}}}", "task NaN or infinity as rate,"),
        (f"{TASK}/names: {{runtimeValue: {{constant: [{{a: ~}}]}}}}", "task null as names,"),
        (
            "components/comp-task/inputDefinitions/parameters/names/defaultValue: [1, [.inf]]",
            "The default of input names of component task is or contains NaN or infinity,",
        ),
        (
            "root/dag/tasks/task/parameterIterator: {items: {raw: '[1, NaN]'}}",
            "Loop task of pipeline own goes over NaN or infinity,",
        ),
        (
            "root/dag/tasks/task/parameterIterator: {items: {raw: '[{\"a\": null}]'}}",
            "Loop task of pipeline own goes over null,",
        ),
    ],
)
def test_what_a_compiled_pipeline_holds_is_named_before_any_task(
    change: str, said: str, tmp_path: Path
) -> None:
    file = str(_edited(tmp_path / "own.yaml", change))
    with pytest.raises(UsageError, match=said):
        run_pipeline(file, ("second=1",), tmp_path / "runs", cache=False)
    with pytest.raises(UsageError, match=said):
        compile_pipeline(file, str(tmp_path / "out.yaml"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.yaml"]


def test_nan_as_a_default_of_a_component_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from kfp import dsl\n"
        "@dsl.component(base_image='a')\n"
        "def ends(rate: float = float('nan')):\n"
        "    pass\n"
        "@dsl.pipeline(name='own')\n"
        "def pipeline():\n"
        "    ends()\n"
    )
    with pytest.raises(UsageError, match="The default of input rate of component ends is"):
        compile_pipeline(str(file), str(tmp_path / "out.yaml"))


def test_an_optional_parameter_without_a_value_cannot_run_here(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from kfp import dsl\n"
        "@dsl.container_component\n"
        "def ends():\n"
        "    return dsl.ContainerSpec(image='a', command=['true'])\n"
        "@dsl.pipeline(name='own')\n"
        "def pipeline(most: int = None):\n"
        "    ends()\n"
    )
    with pytest.raises(UsageError, match=r"most has no value and no default.*--set most=VALUE"):
        run_pipeline(str(file), (), tmp_path / "runs", cache=False)
    assert not (tmp_path / "runs").exists()


def test_a_default_that_a_double_only_approximates_is_shown_as_it_was_written() -> None:
    entry = {"parameterType": "NUMBER_DOUBLE", "defaultValue": 1e300}
    spec = {"root": {"inputDefinitions": {"parameters": {"most": entry}}}}
    assert repr(from_spec(spec)["most"].default) == "1e+300"
