"""The search for the smallest model that holds an accuracy."""

import json

import pytest

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.components.convert import fallback
from edgeline.components.convert.convert import convert
from edgeline.components.convert.fallback import Candidate
from edgeline.errors import EdgelineError
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow

BASE = {
    "dynamic_wi4_afp32": 100,
    "static_wi8_ai8": 150,
    "dynamic_wi8_afp32": 160,
    "fp16": 400,
    "float": 800,
}


class Maker:
    """Models of 20 layers, each 20 bytes larger in higher precision."""

    def fits(self, row):
        return row.name in BASE

    def layers(self, recipe):
        return [f"{recipe}/{number}" for number in range(20)]

    def model(self, row, kept, _):
        size = BASE[row.name] + 20 * len(kept)
        return bytes([list(BASE).index(row.name), len(kept)]).ljust(size)


def search(needed, max_drop=0.1):
    """Search where a family holds once `needed` of its layers are kept."""

    def judge(model):
        drop = 0.0 if model[1] >= needed.get(list(BASE)[model[0]], 99) else 0.5
        return {"accuracy": 0.9 - drop}, drop

    model, best, _, candidates = fallback.search(Maker(), judge, max_drop, len)
    assert len(model) == best.size
    return best, [(t.quantisation, len(t.kept), t.holds) for t in candidates]


def test_what_holds_at_once_is_taken_and_larger_is_not_judged():
    best, candidates = search({"dynamic_wi4_afp32": 0, "static_wi8_ai8": 0})
    assert best == Candidate("dynamic_wi4_afp32", (), 100, {"accuracy": 0.9}, 0.0, True)
    assert candidates == [
        ("dynamic_wi4_afp32", 0, True),
        ("static_wi8_ai8", 0, False),
        ("dynamic_wi8_afp32", 0, False),
    ]


def test_the_worst_layers_are_kept_until_it_holds():
    best, candidates = search({"dynamic_wi4_afp32": 3, "dynamic_wi8_afp32": 0})
    assert best.quantisation == "dynamic_wi8_afp32"  # 160 bytes, where 4 kept layers make 180
    assert [count for name, count, _ in candidates if name == "dynamic_wi4_afp32"] == [0, 1, 2, 4]
    best, _ = search({"dynamic_wi4_afp32": 2})
    assert best.kept == ("dynamic_wi4_afp32/0", "dynamic_wi4_afp32/1")


def test_float_is_the_last_and_says_whether_it_holds():
    best, _ = search({"fp16": 0})
    assert (best.quantisation, best.holds) == ("fp16", True)
    best, candidates = search({})
    assert (best.quantisation, best.holds) == ("float", False)
    assert candidates[-2:] == [("fp16", 0, False), ("float", 0, False)]


def test_the_algorithm_that_loses_least_gets_the_kept_layers(monkeypatch):
    monkeypatch.setitem(BASE, "dynamic_wi4_afp32_gptq", 101)
    drops = {"dynamic_wi4_afp32": 0.4, "dynamic_wi4_afp32_gptq": 0.3}

    def judge(model):
        name = list(BASE)[model[0]]
        drop = 0.0 if model[1] >= 2 else drops.get(name, 0.5)
        return {"accuracy": 0.9 - drop}, drop

    _, best, _, candidates = fallback.search(Maker(), judge, 0.1, len)
    assert (best.quantisation, len(best.kept)) == ("dynamic_wi4_afp32_gptq", 2)
    tried = [(each.quantisation, len(each.kept)) for each in candidates]
    assert ("dynamic_wi4_afp32", 1) not in tried


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process")
def test_auto_finds_the_smallest_taxi_model_that_holds(trained_taxi):
    folder = trained_taxi.folder

    def run(name, max_drop):
        page = folder / f"{name}.html"
        done = convert(
            str(folder / "model"),
            str(folder / "examples"),
            str(folder / name),
            str(page),
            "auto",
            max_drop=max_drop,
            representative_rows=100,
        )
        found = json.loads((folder / name / "candidates.json").read_text())
        wanted = done.metadata["size"], done.metadata["quantisation"]
        chosen = next(t for t in found["candidates"] if (t["size"], t["quantisation"]) == wanted)
        assert chosen["holds"] and chosen["drop"] <= max_drop
        assert chosen["size"] == min(t["size"] for t in found["candidates"] if t["holds"])
        assert "Every candidate" in page.read_text()
        return done, found

    loose, found = run("loose", 0.05)
    assert found["candidates"][0]["holds"] and found["cloud"].keys() == {"auc", "accuracy"}
    strict, found = run("strict", 0.0)
    assert loose.metadata["size"] <= strict.metadata["size"] < loose.metadata["source_size"]
    assert not found["candidates"][0]["holds"]
    edge = artifacts.read(folder / "strict", models.EDGE_SCHEMA)
    assert interpreter.load(models.edge_model_path(edge)).signature.outputs[0].dtype == "float32"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"labelled_split": "test"}, "has no split 'test'"),
        ({"max_drop": -1.0}, "max_drop is -1.0: give 0 or more"),
        ({"decision_threshold": 1.0}, "decision_threshold is 1.0"),
        ({"quantisation": "float", "decision_threshold": 0.0}, "decision_threshold is 0.0"),
    ],
)
def test_parameters_of_auto_that_do_not_fit_are_named(trained_taxi, parameters, sentence):
    folder = trained_taxi.folder
    with pytest.raises(EdgelineError, match=sentence):
        convert(
            *(str(folder / name) for name in ("model", "examples", "none", "none.html")),
            **{"quantisation": "auto", **parameters},
        )
