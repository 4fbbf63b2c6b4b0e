"""A compiled pipeline hands a task its fields of `settings` as one object; its face sees none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from rich.console import Console

import edgeline
from edgeline import artifacts
from edgeline.client.compiling import compile_definition, compile_pipeline
from edgeline.components import catalogue as components
from edgeline.components.settings.fields import defaults_of, fields_of
from edgeline.components.settings.objects import FORMS
from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError
from edgeline.formats.names import CHANNEL
from edgeline.kubeflow import face, handed
from edgeline.pipelines import catalogue

OWN = """
from kfp import dsl

from edgeline.components.faces import settings, train, verify

@dsl.pipeline(name="own")
def pipeline():
    known = settings(kind="tabular")
    train(
        transformed_examples=dsl.importer("s3://a/b", dsl.Dataset).output,
        transform_graph=dsl.importer("s3://a/c", dsl.Artifact).output,
        module="m",
        label="l",
        steps=known.outputs["steps"],
        seed=known.outputs["seed"],
    )
"""

READ = """
from kfp import dsl

from edgeline.components.faces import ingest, settings

@dsl.pipeline(name="own")
def pipeline(data: str):
    known = settings(kind="tabular", schema={{"delimiter": ";", "rename": {{"b": "n"}}}})
    ingest(data=data, **{{name: known.outputs[name] for name in {names}}})
"""


@cache
def compiled(name: str) -> dict[str, Any]:
    return dict(compile_definition(catalogue.load(name), {}, None, {}).documents[0])


def tasks(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task with the face that it has."""
    for holder in (spec["root"], *spec["components"].values()):
        for task in holder.get("dag", {}).get("tasks", {}).values():
            component = spec["components"][task["componentRef"]["name"]]
            executors = spec["deploymentSpec"]["executors"]
            container = executors.get(component.get("executorLabel"), {}).get("container", {})
            named = face.of_container(container) or face.embedded(container)
            yield (named.name if named else ""), task


def given(task: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = task.get("inputs", {}).get("parameters", {})
    return found


def kind_of(spec: dict[str, Any]) -> str:
    (task,) = (task for name, task in tasks(spec) if name == "settings")
    return str(given(task)["kind"]["runtimeValue"]["constant"])


def form_of(kind: str) -> set[str]:
    return {name for struct in FORMS[kind].objects.values() for name in fields_of(struct)}


def named_inputs(task: dict[str, Any]) -> set[str]:
    """A task's own parameters, without those that a condition on it reads."""
    return {key for key in given(task) if not key.startswith(CHANNEL)}


@pytest.mark.parametrize("name", ["taxi", "digits", "pretrained"])
def test_the_object_has_what_the_pipeline_s_author_gave_field_by_field(name: str) -> None:
    whole = json_format.MessageToDict(catalogue.load(name).pipeline_spec)
    form = form_of(kind_of(whole))
    wanted = sorted((each, sorted(named_inputs(task))) for each, task in tasks(whole) if each)
    found, with_object = [], set()
    for each, task in tasks(compiled(name)):
        own = named_inputs(task)
        if handed.PARAMETER in own:
            with_object.add(each)
            own = (own - {handed.PARAMETER}) | handed.taken(each, form)
        found += [(each, sorted(own))] if each else []
    assert sorted(found) == wanted
    assert with_object >= {"convert", "verify", "publish"}


def test_a_task_that_leaves_a_field_to_its_face_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    definition = catalogue.load(str(tmp_path / "own.py"))
    spec = dict(compile_definition(definition, {}, None, {}).documents[0])
    (task,) = (task for each, task in tasks(spec) if each == "train")
    assert given(task).keys() == {"module", "label", "steps", "seed"}


def worked_out(**objects: Any) -> dict[str, Any]:
    return dict(zip(names(), settings("tabular", {}, **objects), strict=True))


def test_a_field_of_another_task_changes_no_task_s_place_in_the_cache() -> None:
    one, other = worked_out(), worked_out(edge={"max_metric_drop": 0.5}, training={"steps": 3})
    changed = {name for name in one if name.startswith("for_") and one[name] != other[name]}
    verify = {"for_train_candidate", "for_tune"}
    assert changed == {"for_verify", "for_train", *verify}
    assert other["for_train"] == {**one["for_train"], "steps": 3}


@pytest.mark.parametrize("name", handed.COMPONENTS)
def test_a_face_is_run_with_every_value_of_the_form(name: str) -> None:
    """In the types that it declares, though KFP makes each number in an object a double."""
    kind = "pretrained" if name == "import_model" else "tabular"
    values = {k: x for fields in defaults_of(FORMS[kind]).values() for k, x in fields.items()}
    values |= {"steps": 3, "max_metric_drop": 1.0, "comparison_rows": 9, "representative_rows": 4}
    made = handed.together(name, values)
    doubles = {
        key: float(x) if isinstance(x, int) and not isinstance(x, bool) else x
        for key, x in made.items()
    }
    named = face.Face(name, face.digest(face.source(name) or ""))
    told = {"inputs": {"parameterValues": {"module": "m", "settings": doubles}}}
    found = handed.apart(told, named)["inputs"]["parameterValues"]
    assert found.pop("module") == "m"
    known = {key: each.default for key, each in face.optional(name).items()}
    run_with = {**known, **found}
    assert handed.PARAMETER not in run_with
    for key in handed.taken(name, values):
        assert run_with[key] == values[key]
        assert type(run_with[key]) is type(known[key])


def test_what_a_task_is_given_alone_counts_before_its_object() -> None:
    named = face.Face("convert", face.digest(face.source("convert") or ""))
    made = handed.together("convert", {"quantisation": "dynamic", "io": "int8"})
    told = {"inputs": {"parameterValues": {"settings": made, "quantisation": "int8"}}}
    found = handed.apart(told, named)["inputs"]["parameterValues"]
    assert found == {"quantisation": "int8", "io": "int8"}


def test_settings_of_another_release_are_refused() -> None:
    """Its face may have other defaults than those that were left out."""
    made = handed.together("train", {"steps": 3})
    told = {"inputs": {"parameterValues": {"settings": made}}}
    with pytest.raises(EdgelineError, match="The settings of train come from an image"):
        handed.apart(told, face.Face("train", "0" * 16))


def test_no_face_has_a_parameter_of_that_name() -> None:
    for name in components.names():
        assert handed.PARAMETER not in components.load(name).component_spec.inputs, name


def test_an_image_that_knows_no_such_object_starts_no_task_that_has_one() -> None:
    """It would run the face with its defaults: the word with the face's digest is another one."""
    commands = {
        name: each["container"]["command"][-1].partition("=")[0]
        for name, each in compiled("taxi")["deploymentSpec"]["executors"].items()
    }
    assert commands["exec-train"] == "--face"
    assert commands["exec-notify"] == "--face_digest"


@pytest.mark.slow
def test_what_was_compiled_runs_here_with_the_values_of_its_objects(tmp_path: Path) -> None:
    """kfp.local gives a task the defaults of what its component declares."""
    (tmp_path / "rows.csv").write_text("a;b\n" + "".join(f"{n};{n % 3}\n" for n in range(90)))
    (tmp_path / "own.py").write_text(
        READ.format(names=sorted(handed.taken("ingest", form_of("tabular"))))
    )
    path = compile_pipeline(str(tmp_path / "own.py"), str(tmp_path / "own.yaml"))
    client = edgeline.Client(root=str(tmp_path / "runs"), console=Console(file=io.StringIO()))
    run = client.submit(str(path), {"data": str(tmp_path / "rows.csv")})
    assert run.tasks["ingest"].state == "succeeded"
    (folder,) = (tmp_path / "runs").glob("*/*/ingest/examples")
    assert artifacts.read(folder, "examples/v1").metadata["columns"] == {"a": "int64", "n": "int64"}


def test_every_component_with_several_fields_gets_an_object() -> None:
    several = {
        name
        for name in components.names()
        for kind in FORMS
        if name not in ("plan", "settings") and len(handed.taken(name, form_of(kind))) > 1
    }
    assert several == set(handed.COMPONENTS)
