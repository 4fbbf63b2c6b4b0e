"""The search space as an object, and the objectives: what they are, and what is refused by name."""

from __future__ import annotations

import pytest

from edgeline.components.compile import target as targets
from edgeline.components.tune import objectives, space
from edgeline.errors import EdgelineError

BINARY = "binary_classification"


class Highest:
    """A trial that takes the last choice and the high end, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}

    def suggest_categorical(self, name, choices):
        self.asked[name] = list(choices)
        return choices[-1]

    def suggest_int(self, name, low, high, *, step=1, log=False):
        self.asked[name] = ("int", low, high, step, log)
        return high

    def suggest_float(self, name, low, high, *, step=None, log=False):
        self.asked[name] = ("float", low, high, step, log)
        return high


def test_a_space_asks_optuna_for_what_it_says() -> None:
    given = {
        "hidden_units": {"choices": [[32], [64, 32]]},
        "rate": {"low": 1e-4, "high": 0.1, "log": True},
        "layers": {"low": 1.0, "high": 4.0},  # as Kubeflow hands on 1 and 4
        "dropout": {"low": 0, "high": 1, "type": "float"},
        "momentum": {"low": 0.5, "high": 1.0, "step": 0.1},
    }
    trial = Highest()
    assert space.suggest(trial, space.parse(given)) == {
        "hidden_units": [64, 32],
        "rate": 0.1,
        "layers": 4,
        "dropout": 1,
        "momentum": 1.0,
    }
    assert trial.asked == {
        "hidden_units": ["[32]", "[64, 32]"],
        "rate": ("float", 1e-4, 0.1, None, True),
        "layers": ("int", 1, 4, 1, False),
        "dropout": ("float", 0, 1, None, False),
        "momentum": ("float", 0.5, 1, 0.1, False),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "search_space is not an object"),
        ({"units": 3}, r"search_space\.units is not a range and no choices"),
        ({"units": {"low": 1, "hihg": 3}}, r"units\.hihg: there is no such field\. .*high"),
        ({"units": {"low": 1}}, "units has not both low and high"),
        ({"units": {"low": 3, "high": 1}}, "units is empty, since low is not below high"),
        ({"units": {"low": 3, "high": 3}}, "units is empty"),
        ({"units": {"choices": []}}, "units.choices is not a list with something"),
        ({"units": {"choices": [1, 1.0]}}, "units.choices has 1 twice"),
        ({"units": {"choices": [1], "low": 2}}, "units has choices and other fields"),
        ({"rate": {"low": 0, "high": 0.1, "log": True}}, "rate is logarithmic, but its low is 0"),
        ({"rate": {"low": 0.1, "high": 1, "log": 1}}, "rate.log is not true or false"),
        ({"rate": {"low": 0.1, "high": 1, "log": True, "step": 0.1}}, "rate has log and step"),
        ({"rate": {"low": float("nan"), "high": 1}}, "rate.low is not a finite number"),
        ({"rate": {"low": "0", "high": 1}}, "rate.low is not a finite number"),
        ({"rate": {"low": 0, "high": 4, "step": 7}}, "rate.step is 7, which does not fit"),
        ({"rate": {"low": 0.5, "high": 3, "type": "int"}}, "rate is of the type int, but has a"),
        ({"rate": {"low": 0, "high": 3, "type": "real"}}, "rate.type is 'real': give int or float"),
        # dropout from 0 to 1, where nobody wants 0 or 1
        ({"dropout": {"low": 0.0, "high": 1.0}}, "dropout is 0 or 1 and nothing between"),
    ],
)
def test_what_is_no_space_is_refused_by_name(given: object, said: str) -> None:
    with pytest.raises(EdgelineError, match=said):
        space.parse(given)


def test_objectives_have_directions_and_targets() -> None:
    given = [
        "auc",
        "size_bytes",
        "tflite-micro.arena_bytes",
        {"name": "tflite-micro.latency_p99_ms", "direction": "minimize"},
    ]
    found = objectives.parse(given, BINARY)
    assert [each.direction for each in found] == ["maximize", "minimize", "minimize", "minimize"]
    assert objectives.targets_of(found) == ["tflite-micro"]
    assert objectives.run_targets_of(found) == ["tflite-micro"]
    assert not objectives.run_targets_of(found[:3])
    share = objectives.parse(["ethos-u55.share_on_accelerator"], BINARY)[0]
    assert share.is_maximized


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], r'objectives is not a list such as \["auc", "size_bytes"\]'),
        ("auc", "objectives is not a list"),
        (["auc", "auc"], "objectives has auc twice"),
        (["acuracy"], r"objectives\[0\] is 'acuracy', which nothing measures\. .*accuracy"),
        (["mean_squared_error"], "'mean_squared_error', which nothing measures"),
        (["tflite-micro.arena"], "'tflite-micro.arena', which nothing measures. .*arena_bytes"),
        (["tflite.arena_bytes"], "there is no target 'tflite'"),
        (["edgetpu.latency_p99_ms"], "only the device runs models of edgetpu"),
        ([{"name": "auc", "way": "up"}], r"objectives\[0\]\.way: there is no such field"),
        ([{"name": "auc", "direction": "up"}], "direction is 'up': give maximize or minimize"),
        ([{"direction": "minimize"}], "is neither a name nor an object"),
        (["auc", "accuracy", "size_bytes", "parameters", "cloud_auc"], "5 objectives, more than 4"),
    ],
)
def test_what_is_no_objective_is_refused_before_a_trial(given: object, said: str) -> None:
    with pytest.raises(EdgelineError, match=said):
        objectives.parse(given, BINARY)


def test_a_target_that_cannot_be_compiled_for_is_told_before_a_trial(monkeypatch) -> None:
    found = objectives.parse(["auc", "tflite-micro.arena_bytes"], BINARY)
    assert not list(objectives.faults(found, "int8"))
    assert list(objectives.faults(found, "dynamic")) == [
        "objectives: tflite-micro takes models of quantisation int8 or int16x8 or float, but the "
        "edge models are dynamic: set quantisation=int8."
    ]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert list(objectives.faults(found, "int8")) == [
        "objectives: tflite-micro cannot be measured: tflite-micro is not installed: pip install "
        "'edgeline[tflite-micro]'."
    ]


def test_a_targets_facts_are_numbers_by_which_models_can_be_compared() -> None:
    for name in targets.MODULES:
        for fact in targets.find(name).facts:
            assert objectives.direction_of(fact, name), (name, fact)
