"""The list of metrics that a pipeline offers is what the engine of one machine takes."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from edgeline.artifacts.models import TASKS
from edgeline.components.analyze import supported
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow
BINARY, MULTICLASS, REGRESSION = TASKS
OPTIONS: dict[str, dict[str, Any]] = {
    "ConfusionMatrixAtThresholds": {"thresholds": [0.5]},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtFalsePositiveRate": {"false_positive_rate": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "ThresholdAtRecall": {"recall": 0.5},
}


def planned(*names: str, options: dict[str, Any] | None = None) -> list[Any]:
    from edgeline.components.analyze import evaluation_config, metrics

    listed = [{"class_name": name, "config": options or OPTIONS.get(name, {})} for name in names]
    config = {"metrics_specs": [{"metrics": listed}]}
    return metrics.plans(evaluation_config.parse(config, "binary_classification", False, False))


def test_every_metric_that_is_offered_is_computed() -> None:
    assert len(planned(*supported.METRICS)) >= len(supported.METRICS)


def test_options_that_are_refused_are_those_of_means_and_of_the_others() -> None:
    from edgeline.components.analyze import metrics

    assert {*supported.MEANS} == {*metrics._MEANS}
    for name, option in [("BinaryCrossentropy", "from_logits"), ("Precision", "top_k")]:
        assert option in supported.OPTIONS_REFUSED[name in supported.MEANS]
        with pytest.raises(EdgelineError, match=f"{name} with config .*{option}.* on Beam only"):
            planned(name, options={option: 1})


def test_no_other_metric_is() -> None:
    import tensorflow as tf
    from tensorflow_model_analysis.metrics import metric_types

    planned("AUC")  # registers ours
    known = {*metric_types.registered_metrics(), *dir(tf.keras.metrics)}
    others = {name for name in known if name[0].isupper()}
    taken = set()
    for name in others - {*supported.METRICS, *supported.UNOFFERED}:
        with contextlib.suppress(EdgelineError, ValueError):
            planned(name)
            taken.add(name)
    assert taken == set()


def test_the_fields_are_those_of_the_proto() -> None:
    from tensorflow_model_analysis.proto import config_pb2

    messages = {
        "": config_pb2.EvalConfig,
        "metrics_specs": config_pb2.MetricsSpec,
        "metrics": config_pb2.MetricConfig,
        "slicing_specs": config_pb2.SlicingSpec,
    }
    assert {
        name: tuple(field.name for field in message.DESCRIPTOR.fields)
        for name, message in messages.items()
    } == supported.FIELDS
    assert {
        name: tuple(
            config_pb2.MetricThreshold.DESCRIPTOR.fields_by_name[name].message_type.fields_by_name
        )
        for name in supported.THRESHOLDS
    } == supported.THRESHOLDS


@pytest.mark.parametrize(("task", "classes"), [(BINARY, 0), (MULTICLASS, 3), (REGRESSION, 0)])
def test_the_metrics_of_a_task_are_those_that_its_predictions_have(task: str, classes: int) -> None:
    from edgeline.components.analyze.metrics import SliceRows

    scores = np.float32([0.1, 0.9, 0.6, 0.4, 0.2])
    if classes:
        scores = np.tile(scores[:, None], classes)
    rows = SliceRows(np.float32([0, 1, 0, 1, 0]), scores, np.ones((1, 5)))
    for plan in planned(*supported.OF_TASK[task]):
        plan.value(*(statistic(rows)[0] for statistic in plan.statistics))


def test_a_metric_of_another_task_is_refused() -> None:
    from edgeline.components.analyze import evaluation_config

    given = {"metrics_specs": [{"metrics": [{"class_name": "BinaryAccuracy"}]}]}
    config = evaluation_config.parse(given, MULTICLASS, False, False)
    with pytest.raises(
        EdgelineError, match=r"metrics\[0\].class_name 'BinaryAccuracy' is not for m"
    ):
        evaluation_config.check_task(config, MULTICLASS)
    evaluation_config.check_task(config, BINARY)
