"""What stands in the form of a pipeline, and how people write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from edgeline.client.compiling import compile_pipeline
from edgeline.components import catalogue as components
from edgeline.components.settings.objects import FORMS, Training
from edgeline.errors import UsageError
from edgeline.images import reference
from edgeline.pipelines import catalogue
from edgeline.pipelines.description import of_pipeline, of_version
from edgeline.pipelines.parameter import Parameter
from edgeline.pipelines.parameters import (
    check,
    complete,
    missing,
    parameters_of,
    parse,
    settings_tasks,
)
from edgeline.pipelines.specialise import specialise
from edgeline.pipelines.tabular.pipeline import specialise as tabular
from edgeline.pipelines.vision.pipeline import vision

# monitor trains nothing: its form is that of its one component
FORMED = [name for name in catalogue.names() if name != "monitor"]
TAXI = parameters_of(catalogue.load("taxi"))


def form(name: str) -> dict[str, Any]:
    """As the server tells it: sorted, and so it stands in the form."""
    spec = catalogue.load(name).pipeline_spec
    return dict(sorted(spec.root.input_definitions.parameters.items()))


@pytest.mark.parametrize("name", FORMED)
def test_twelve_parameters_at_most_stand_in_the_form_what_is_required_first(name: str) -> None:
    names = list(form(name))
    assert len(names) <= 12
    own = parameters_of(catalogue.load(name))
    kind = name if name in FORMS else {"taxi": "tabular", "digits": "vision"}[name]
    generic = parameters_of(catalogue.load(kind))
    required = [each.name for each in generic.values() if each.required]
    assert names[: len(required)] == required
    others = list(own.values())[len(required) :]
    assert all(each.fields or each.called == "cache_name" for each in others)


@pytest.mark.parametrize("name", catalogue.names())
def test_the_description_has_every_parameter_and_an_example_that_works(name: str) -> None:
    described = catalogue.load(name).pipeline_spec.pipeline_info.description
    rows = [line.split(" | ") for line in described.splitlines() if line.startswith("| ")]
    cells = {row[0].strip("|*`· "): row[1] for row in rows}
    parameters = parameters_of(catalogue.load(name))
    for each in parameters.values():
        assert each.name in cells
        assert cells.keys() >= each.fields.keys()
        if each.fields:
            example = json.loads(cells[each.name].removeprefix("for example ").strip("`"))
            assert example
            assert check({each.name: example}, parameters)


@pytest.mark.parametrize("name", catalogue.names())
def test_what_kubeflow_s_box_shows_of_a_pipeline_fits_it(name: str) -> None:
    """The box has some 60 characters a line, grows upwards, and does not scroll."""
    described = catalogue.load(name).pipeline_spec.pipeline_info.description
    assert of_pipeline(described) == described.splitlines()[0]
    listed = of_version(described)
    assert sum(1 + len(line) // 60 for line in listed.splitlines()) <= 24
    parameters = parameters_of(catalogue.load(name))
    for each in parameters.values():
        # as code, since Markdown takes the underscores of with_cache_name for slanted text
        assert f"`{each.name}`{' (required)' if each.required else ''}" in listed
    for line in listed.splitlines():
        if "for example" in line:
            example = json.loads(line.split("for example ")[1].strip("`"))
            assert check({line.split("`")[1]: example}, parameters)


def test_a_description_of_one_s_own_goes_to_pipeline_and_version_as_it_is() -> None:
    assert of_pipeline("Mine.\n\n| a | b |") == of_version("Mine.\n\n| a | b |")
    assert of_version("long " * 1000) == ("long " * 1000)[:2000]


@pytest.mark.parametrize(
    "settings",
    [
        ("steps=3", "seed=1"),
        ("training.steps=3", "with_training.seed=1"),
        ('training={"steps": 3, "seed": 1}',),
        ('with_training={"steps": 3}', "seed=1"),
    ],
)
def test_a_field_is_set_by_any_of_its_names(settings: tuple[str, ...]) -> None:
    assert parse(settings, TAXI) == {"with_training": {"steps": 3, "seed": 1}}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("training.step=3",), "training.step: there is no such field. Did you mean steps?"),
        (("trainin.steps=3",), "trainin.steps: the pipeline has no such parameter."),
        (("steps=3", "training.steps=4"), "training.steps gives training.steps a second time"),
        (('training={"steps": 1}', "steps=2"), "steps gives training.steps a second time"),
        (("steps=0",), "training.steps: 0 is not an integer of at least 1"),
        (("training=3",), "training: 3 is not a JSON object"),
        (("quantisation=int-8",), "edge.quantisation: 'int-8' is not one of float, fp16, "),
        (("on_anomalies=no",), "schema.on_anomalies: 'no' is not one of fail, flag"),
        (('beam_options=["a", 1]',), r'training.beam_options: \["a", 1\] is not a list of strings'),
        (('images={"image": [28, 28]}',), "schema.images: .* lists of 3 integers of at least 1"),
    ],
)
def test_a_wrong_setting_is_told_in_one_sentence(settings: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=f"^--set {said}"):
        parse(settings, TAXI)


def test_a_name_of_two_fields_is_not_guessed() -> None:
    two = {
        name: Parameter(f"with_{name}", "STRUCT", False, {}, label=name, struct=Training)
        for name in ("first", "second")
    }
    with pytest.raises(UsageError, match=r"--set steps may be first\.steps and second.steps: give"):
        parse(("steps=3",), two)
    assert parse(("second.steps=3",), two) == {"with_second": {"steps": 3}}


def test_a_pipeline_with_plain_parameters_stays_as_it_is() -> None:
    own = {"training": Parameter("training", "STRUCT", False, {"a": 1})}
    assert parse(('training={"steps": "x"}',), own) == {"training": {"steps": "x"}}
    assert complete(own, {"training": {"b": 2}}) == {"training": {"b": 2}}
    with pytest.raises(UsageError, match=r"training\.steps: the pipeline has no such parameter"):
        parse(("training.steps=1",), own)


def test_what_is_given_is_completed_with_the_pipeline_s_defaults() -> None:
    whole = complete(TAXI, check({"steps": 3, "data": "d"}, TAXI))
    assert whole["data"] == "d"
    assert whole["with_training"]["steps"] == 3
    assert whole["with_training"]["batch_size"] == 40
    assert whole["with_evaluation"]["eval_config"]["metrics_specs"]
    assert whole.keys() == TAXI.keys()


def test_vision_asks_for_the_sizes_of_its_images() -> None:
    parameters = parameters_of(catalogue.load("vision"))
    assert missing(parameters, {})[-1] == "schema.images"
    given = check({"images": {"image": [28, 28, 1]}}, parameters)
    assert "schema.images" not in missing(parameters, given)
    assert missing(parameters_of(catalogue.load("digits")), {}) == []


def test_other_defaults_are_objects_or_fields_and_are_checked() -> None:
    flat = tabular("mine", "Mine.", steps=7, label="l")
    nested = tabular("mine", "Mine.", training={"steps": 7}, label="l")
    assert flat.pipeline_spec == nested.pipeline_spec
    parameters = parameters_of(flat)
    assert parameters["with_training"].default["steps"] == 7
    assert not parameters["label"].required
    assert parameters["data"].required
    for wrong in ({"step": 7}, {"steps": "7"}, {"training": {"step": 7}}):
        with pytest.raises(UsageError, match=r"^Default .*step"):
            specialise(vision, "mine", "Mine.", **wrong)


def test_a_compiled_default_is_shown_and_fills_in_what_a_form_leaves_out(tmp_path: Path) -> None:
    path = compile_pipeline(
        "taxi", str(tmp_path / "taxi.yaml"), settings=("training.steps=7", "module=m")
    )
    spec = yaml.safe_load(path.read_text())
    shown = spec["root"]["inputDefinitions"]["parameters"]
    task = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["settings"]["inputs"]
    filled = task["parameters"]["defaults"]["runtimeValue"]["constant"]
    assert shown["module"]["defaultValue"] == "m"
    assert shown["with_training"]["defaultValue"]["steps"] == 7
    assert shown["with_training"]["defaultValue"]["batch_size"] == 40
    assert filled["training"] == {"steps": 7}  # the others are those of every such pipeline
    assert filled.keys() == {"training", "evaluation"}
    assert type(filled["training"]["steps"]) is float  # as it is when it is read again
    # and then it takes the same names
    again = parameters_of(catalogue.load(str(path)))
    assert parse(("steps=9",), again) == {"with_training": {"steps": 9}}
    with pytest.raises(UsageError, match="Did you mean steps"):
        parse(("step=9",), again)


OUTER = """
from kfp import dsl
from edgeline.pipelines.taxi.pipeline import pipeline as taxi

@dsl.pipeline(name="outer")
def pipeline(rows: str, with_training: dict = {"steps": 5}):
    taxi(data=rows, with_training=with_training)
"""


def test_a_pipeline_in_another_keeps_its_own_defaults(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(OUTER)
    path = compile_pipeline(
        str(tmp_path / "outer.py"), str(tmp_path / "outer.yaml"), settings=("rows=r", "steps=7")
    )
    spec = yaml.safe_load(path.read_text())
    assert spec["root"]["inputDefinitions"]["parameters"]["rows"]["defaultValue"] == "r"
    (task,) = settings_tasks(spec)
    filled = task["inputs"]["parameters"]["defaults"]["runtimeValue"]["constant"]
    assert filled["evaluation"]["eval_config"]["metrics_specs"]  # no threshold is lost
    assert filled["training"]["steps"] == 7


def test_the_cache_s_name_reaches_every_task_that_takes_no_artifact() -> None:
    """Tasks that take one have its new place among their inputs, and so another key."""
    for name in FORMED:
        spec = catalogue.load(name).pipeline_spec
        begins = {"notify"}  # never from the cache
        for each in (spec.root, *spec.components.values()):
            for key, task in each.dag.tasks.items():
                inner = spec.components[task.component_ref.name]
                if inner.WhichOneof("implementation") == "dag" or task.inputs.artifacts:
                    continue
                if "cache_name" in task.inputs.parameters:
                    begins.add(key)
                else:
                    assert key == "notify", (name, key)
        assert {"settings", "ingest"} <= begins


@pytest.mark.parametrize("name", FORMED)
def test_a_group_s_inputs_are_called_after_what_they_are(name: str, tmp_path: Path) -> None:
    """Kubeflow draws a box for each."""
    path = compile_pipeline(name, str(tmp_path / "out.yaml"))
    spec = yaml.safe_load(path.read_text())
    drawn = {
        key
        for each in spec["components"].values()
        if "dag" in each
        for key in each["inputDefinitions"].get("artifacts", {})
    }
    assert "ingest-examples" in drawn
    assert not [key for key in drawn if "channel" in key]
    again = compile_pipeline(str(path), str(tmp_path / "again.yaml"))
    assert yaml.safe_load(again.read_text()) == spec


@pytest.mark.parametrize("name", catalogue.names())
def test_groups_and_tasks_have_names_that_people_read(name: str) -> None:
    spec = catalogue.load(name).pipeline_spec
    named = {
        key: task.task_info.name
        for each in (spec.root, *spec.components.values())
        for key, task in each.dag.tasks.items()
        if not key.startswith("condition-branches")  # kfp names these alone
    }
    assert all(" " in text for text in named.values()), named
    assert len(set(named.values())) > (10 if name in FORMED else 2)


@pytest.mark.parametrize("name", catalogue.names())
def test_what_runs_a_target_s_model_is_in_an_image_that_has_its_runtime(name: str) -> None:
    """`train` has none of the targets' runtimes: a cluster failed there with "is not installed"."""
    spec = json_format.MessageToDict(catalogue.load(name).pipeline_spec)
    executors = spec["deploymentSpec"]["executors"]
    groups = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    images = {
        task["taskInfo"]["name"]: executors[label]["container"]["image"]
        for group in groups
        for task in group["tasks"].values()
        if (label := spec["components"][task["componentRef"]["name"]].get("executorLabel"))
    }
    for called in ("compile for the target", "verify for the target"):
        assert images.get(called) in (None, reference("compile"))
    assert ("verify for the target" in images) == ("compile for the target" in images)


def test_monitor_has_the_form_of_its_component_and_never_comes_from_the_cache() -> None:
    spec = json_format.MessageToDict(catalogue.load("monitor").pipeline_spec)
    taken = components.load("monitor").component_spec.inputs
    own = parameters_of(catalogue.load("monitor"))
    assert list(own) == list(taken) and len(own) <= 12
    assert [each.name for each in own.values() if each.required] == ["payloads_uri", "bundle_uri"]
    for name, each in taken.items():
        assert own[name].required or own[name].default == each.default
    tasks = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert tasks["monitor"]["cachingOptions"] == {}
