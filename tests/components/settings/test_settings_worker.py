"""settings: what a form gave, filled in and checked before anything else."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline.components import catalogue as components
from edgeline.components.settings.fields import outputs
from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError
from edgeline.pipelines import catalogue
from edgeline.stores.destinations import LOCAL_RUN


def worked_out(kind: str = "tabular", **given: Any) -> dict[str, Any]:
    given = {"splits": {}, "schema": {}, "edge": {}, "delivery": {}, **given}
    themes = ("model",) if kind == "pretrained" else ("training", "evaluation")
    given = {**{theme: {} for theme in themes}, **given}
    return dict(zip(names(), settings(kind, given.pop("defaults", {}), **given), strict=True))


def test_what_a_dict_leaves_out_is_the_pipeline_s_own_default() -> None:
    """KFP puts it in the place of the whole default, thresholds included."""
    found = worked_out(
        defaults={"evaluation": {"eval_config": {"threshold": 1}}, "training": {"steps": 70}},
        evaluation={"baseline_model_uri": "s3://bucket/model"},
        training={"batch_size": 8.0},  # as KFP hands an 8
    )
    assert found["eval_config"] == {"threshold": 1}
    assert found["baseline_model_uri"] == "s3://bucket/model"
    assert (found["steps"], found["batch_size"], found["patience"]) == (70, 8, 0)
    assert type(found["batch_size"]) is int
    assert type(found["max_metric_drop"]) is float


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"training": {"step": 3}}, r"training\.step: there is no such field\. Did you mean steps"),
        ({"training": {"steps": "many"}}, "training.steps: 'many' is not an integer of at least 1"),
        ({"training": {"steps": 0.5}}, "training.steps: 0.5 is not an integer of at least 1"),
        ({"training": {"steps": True}}, "training.steps: true is not an integer"),
        ({"training": {"steps": None}}, "training.steps: null is not an integer"),
        ({"training": [1]}, r"training: \[1\] is not an object with fields such as task, steps"),
        ({"training": {"task": "ranking"}}, "'ranking' is not one of binary_classification, "),
        ({"edge": {"quantisation": "int-8"}}, "edge.quantisation: 'int-8' is not one of float, "),
        ({"edge": {"max_metric_drop": -1}}, "edge.max_metric_drop: -1 is not a number of at least"),
        ({"schema": {"on_anomalies": "ignore"}}, "'ignore' is not one of fail, flag"),
        ({"schema": {"images": {"i": [28, 28]}}}, "is not an object with lists of 3 integers"),
        ({"splits": {"split_ratios": {}}}, "splits.split_ratios: {} is not an object with numbers"),
        ({"model": {"label": "x"}}, "model is given, but a pipeline of the kind tabular has only"),
        ({"model_name": "Bad Name"}, "model_name 'Bad Name' is impossible"),
        ({"delivery": {"sites": [{"site": "cluster://edge"}]}}, "no models_repository to push"),
        ({"training": {"workers": 3}}, "'batch_size' is 40, which 3 workers cannot share equally"),
        ({"training": {"workers": 0}}, "training.workers: 0 is not an integer from 1 to 1000"),
    ],
)
def test_what_no_parameter_can_be_is_told_in_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(EdgelineError, match=said) as raised:
        worked_out(**given)
    assert len(str(raised.value).splitlines()) == 1


def test_workers_of_a_cluster_need_a_place_where_they_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worked_out(training={"workers": 2})["workers"] == 2
    monkeypatch.delenv(LOCAL_RUN, raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(EdgelineError, match="'workers' is 2, and 'checkpoint_dir' is empty, which"):
        worked_out(training={"workers": 2})
    worked_out(training={"workers": 2, "checkpoint_dir": "s3://bucket/checkpoints"})


def test_a_target_is_looked_for_and_gone_through_once() -> None:
    images = {"images": {"i": [1, 1, 1]}}
    found = worked_out("vision", schema=images, edge={"targets": ["tvm"] * 2})
    assert (found["each_target"], found["has_targets"], found["has_sites"]) == (
        ["tvm"],
        True,
        False,
    )
    with pytest.raises(EdgelineError, match="targets, entry 1: 'tensorRT' is not one of litert"):
        worked_out("vision", schema=images, edge={"targets": ["tensorRT"]})


def test_a_site_with_an_edge_tpu_is_refused_with_the_command_for_it() -> None:
    coral = {"site": "git+https://host/a.git//b", "form": "compose", "accelerator": "coral-usb"}
    images, sites = {"images": {"i": [1, 1, 1]}}, {"sites": [coral], "models_repository": "a.b/m"}
    for kind, schema in (("vision", images), ("tabular", {})):
        with pytest.raises(EdgelineError, match="for edgetpu with `edgeline site commit`"):
            worked_out(kind, schema=schema, delivery=sites)


def test_what_a_pipeline_needs_is_asked_for() -> None:
    with pytest.raises(EdgelineError, match=r"Parameter schema\.images is required"):
        worked_out("vision")


def test_a_recipe_s_file_is_a_quantisation() -> None:
    own = "s3://bucket/mine.json"
    assert worked_out(edge={"quantisation": own})["quantisation"] == own


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(
        EdgelineError, match="kind is 'table', but must be one of tabular, candidates, tuned, "
    ):
        settings("table", {})


def test_in_a_cluster_a_destination_on_the_pod_s_own_disk_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(LOCAL_RUN, raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with pytest.raises(EdgelineError, match="The destination edgeline-models is a folder on"):
        worked_out(destination="edgeline-models")


def test_the_face_gives_every_field_of_every_form() -> None:
    kinds = {"STRING": "String", "BOOLEAN": "Boolean", "NUMBER_INTEGER": "Integer",
             "NUMBER_DOUBLE": "Float", "LIST": "List", "STRUCT": "Dict"}  # fmt: skip
    face = components.load("settings").component_spec.outputs
    assert list(face) == names()
    fields = {name: kinds[each.kind] for name, each in outputs().items() if name in face}
    assert {name: each.type for name, each in face.items() if name in fields} == fields


@pytest.mark.parametrize("name", sorted({*catalogue.names()} - {"monitor"}))
def test_each_pipeline_asks_before_its_work(name: str) -> None:
    root = catalogue.load(name).pipeline_spec.components["comp-exit-handler-1"].dag.tasks
    given = root["settings"].inputs.parameters["destination"]
    assert given.component_input_parameter == "pipelinechannel--destination"
    waiting = {key for key, task in root.items() if not task.dependent_tasks}
    assert waiting == {"settings"}
