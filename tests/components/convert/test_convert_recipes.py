"""Recipes of ai-edge-quantizer, and which layer hurts."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgeline.components.convert import recipes, running
from edgeline.components.convert.convert import convert_arrays
from edgeline.errors import EdgelineError
from edgeline.runtimes import interpreter

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
COMPUTES = {  # what the convolution gives
    "dynamic_wi4_afp32": "FLOAT32",
    "dynamic_wi4_afp32_gptq": "FLOAT32",
    "weight_only_wi8_afp32": "FLOAT32",
    "static_wi8_ai8": "INT8",
    "static_wi8_ai16": "INT16",
}


def run(network, folder, pictures, quantisation, **parameters):
    rows, edge, page = {"image": pictures}, folder / "edge", folder / "r.html"
    done = convert_arrays(str(network), rows, str(edge), str(page), quantisation, **parameters)
    layers = json.loads((edge / "layers.json").read_text())
    return done, layers, {row["name"]: row for row in read(edge / "operators.json")}


def read(path):
    return json.loads(path.read_text())


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", COMPUTES)
def test_a_named_recipe_quantises_the_network(network, pictures, tmp_path, name):
    done, layers, kinds = run(network, tmp_path, pictures, name)
    assert done.metadata["quantisation"] == name and done.metadata["recipe"]
    assert 0 < done.metrics["max_difference"] < 0.02
    assert kinds["CONV_2D"]["gives"] == [COMPUTES[name]]
    assert {layer["operator"] for layer in layers} >= {"CONV_2D", "DEPTHWISE_CONV_2D"}
    effects = [layer["effect"] for layer in layers if layer["quantised"]]
    assert effects == sorted(effects, reverse=True) and 0 < effects[0] < 0.1
    assert "Layers that lose most" in (tmp_path / "r.html").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_a_recipe_file_mixes_precisions_by_layer(network, pictures, tmp_path):
    rules = [*recipes.named("static_wi8_ai8")]
    rules.append({"regex": "depthwise", "operation": "*", "algorithm_key": "no_quantize"})
    (tmp_path / "mixed.json").write_text(json.dumps(rules))
    done, layers, kinds = run(network, tmp_path, pictures, str(tmp_path / "mixed.json"), io="int8")
    assert done.metadata["quantisation"] == "recipe" and done.metadata["recipe"] == rules
    assert kinds["CONV_2D"]["gives"] == ["INT8"]
    assert kinds["DEPTHWISE_CONV_2D"]["gives"] == ["FLOAT32"]
    kept = [layer["operator"] for layer in layers if not layer["quantised"]]
    assert kept == ["DEPTHWISE_CONV_2D"]
    edge = interpreter.load(tmp_path / "edge" / "model.tflite")
    assert edge.signature.inputs[0].dtype == edge.signature.outputs[0].dtype == "int8"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a list of at least one rule"),
        ('[{"regex": ".*"}]', "Rule 0 of recipe .* has no operation"),
        (
            '[{"regex": "(", "operation": "*", "algorithm_key": "no_quantize"}]',
            "Rule 0 .* regex that is none",
        ),
        (
            '[{"regex": ".*", "operation": "*", "algorithm_key": "HADAMARD_ROTATION", '
            '"op_config": {}}]',
            "Rule 0 .* uses HADAMARD_ROTATION.*: use DECOMPOSED_HADAMARD_ROTATION",
        ),
    ],
)
def test_a_recipe_that_is_none_is_named(network, pictures, tmp_path, text, sentence):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(EdgelineError, match=sentence):
        run(network, tmp_path, pictures, str(tmp_path / "recipe.json"))


@pytest.mark.usefixtures("in_this_process")
def test_a_rule_that_ai_edge_quantizer_refuses_is_a_sentence(network, pictures, tmp_path):
    rule = {**recipes.named("static_wi8_ai8")[0], "algorithm_key": "magic"}
    (tmp_path / "recipe.json").write_text(json.dumps([rule]))
    with pytest.raises(EdgelineError, match=r"refuses the recipe .*magic"):
        run(network, tmp_path, pictures, str(tmp_path / "recipe.json"))


def error(network, name, rows):
    """The largest difference of a network's answers by a recipe from the floating ones."""
    recipe = recipes.named(name)
    made = recipes.quantise(network, recipe, recipes.calibrate(network, recipe, rows))
    quantised, plain = (running.load(model)(rows)["prediction"] for model in (made, network))
    return float(np.abs(quantised - plain).max())


def test_algorithms_for_few_bits_lose_less_than_the_range_alone():
    network = (DATA / "cnn_float.tflite").read_bytes()
    rows = {"image": np.random.default_rng(0).random((16, 28, 28, 1), np.float32)}
    plain = error(network, "dynamic_wi4_afp32", rows)
    assert error(network, "dynamic_wi4_afp32_gptq", rows) < 0.5 * plain
    assert error(network, "dynamic_wi4_afp32_octav", rows) < plain
    assert error(network, "dynamic_wi4_afp32_mse", rows) < 1.2 * plain  # of weights, not answers


def test_an_algorithm_that_cannot_be_applied_is_refused(monkeypatch):
    network = (DATA / "cnn_float.tflite").read_bytes()  # its batch is free
    rows = {"image": np.zeros((4, 28, 28, 1), np.float32)}
    with pytest.raises(EdgelineError, match=r"takes a fixed number of rows: set batch=1"):
        recipes.calibrate(network, recipes.named("dynamic_wi4_afp32_hadamard"), rows)
    monkeypatch.setattr(recipes, "MOST_HESSIAN", 100)
    with pytest.raises(EdgelineError, match=r"FULLY_CONNECTED\) takes 400 x 400 numbers.*octav"):
        recipes.calibrate(network, recipes.named("dynamic_wi4_afp32_gptq"), rows)
