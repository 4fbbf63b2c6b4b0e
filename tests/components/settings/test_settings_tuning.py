"""The search of a run is checked by its first task."""

from __future__ import annotations

from typing import Any

import pytest

from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError

SPACE = {"units": {"choices": [8, 16]}}


def told(**training: Any) -> dict[str, Any]:
    return dict(zip(names(), settings(kind="tuned", defaults={}, training=training), strict=True))


def test_a_search_is_handed_to_tune_and_its_hyperparameters_to_nobody_else() -> None:
    found = told(objectives=["auc", "size_bytes"], search_space=SPACE, trials=7)
    of_tune, of_train = found["for_tune"], found["for_train"]
    assert of_tune["objectives"] == ["auc", "size_bytes"] and of_tune["trials"] == 7
    assert of_tune["search_space"] == SPACE
    assert not {"objectives", "trials", "search_space"} & {*of_train}


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"objectives": ["acuracy"]}, r"Parameter training\.objectives\[0\] is 'acuracy'"),
        ({"search_space": {"units": {"low": 3}}}, r"Parameter training\.search_space\.units has"),
        ({"pruning": "median", "objectives": ["auc", "size_bytes"]}, "would end small models"),
        ({"trials": 0}, r"training\.trials: 0 is not an integer of at least 1"),
        ({"study_folder": "postgresql://a:b@c/d"}, r"training\.study_folder has the password of"),
        ({"study_folder": "s3://bucket/study"}, "is at s3://, where no search can be kept"),
        ({"sampler": "grid"}, r"training\.sampler: 'grid' is not one of tpe, nsga2, random"),
    ],
)
def test_what_is_no_search_is_refused(training: dict[str, Any], said: str) -> None:
    with pytest.raises(EdgelineError, match=said):
        told(**training)


def test_a_device_of_a_target_that_only_trials_are_compiled_for_may_be_required() -> None:
    device = {"devices": {"mcu": {"target": "tflite-micro", "memory_mb": 0.064}}}
    edge = {"requirements": device, "quantisation": "int8"}
    given: dict[str, Any] = {"kind": "tuned", "defaults": {}, "edge": edge}
    settings(**given, training={"objectives": ["auc", "tflite-micro.arena_bytes"]})
    with pytest.raises(EdgelineError, match="for which this run makes no model"):
        settings(**given, training={"objectives": ["auc"]})


def test_what_decides_has_to_be_measured() -> None:
    given: dict[str, Any] = {"kind": "tuned", "defaults": {}}
    with pytest.raises(EdgelineError, match="which no trial measures: add it to objectives"):
        settings(**given, evaluation={"choose_by": "tflite-micro.arena_bytes"})
