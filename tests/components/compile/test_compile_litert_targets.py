"""LiteRT, tflite-micro and Ethos-U: real compilers on a small network and Coral's models."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgeline.components.compile import tflite_micro
from edgeline.components.compile.compile import options_of
from edgeline.components.compile.fixed_shapes import fix_shapes
from edgeline.components.compile.target import Source, find
from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import load

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
CORAL = DATA / "coral"


def compile_(target: str, path: Path, folder: Path, **options: str):
    found = find(target)
    folder.mkdir(exist_ok=True)
    if found.fixed_shapes:
        path = fix_shapes(path, folder.with_name(f"{path.stem}_fixed.tflite"))
    return found.compile(Source(tflite=path), folder, options_of(found, options))


def images(count: int = 4, seed: int = 0):
    random = np.random.default_rng(seed)
    return {"image": random.integers(-128, 127, (count, 28, 28, 1), np.int8, endpoint=True)}


def test_litert_is_the_model_itself(tmp_path):
    compiled = compile_("litert", DATA / "cnn_int8.tflite", tmp_path / "out")
    made = tmp_path / "out" / compiled.model
    assert made.read_bytes() == (DATA / "cnn_int8.tflite").read_bytes()
    assert {placed.device for placed in compiled.placed} == {"cpu"}
    assert len(compiled.placed) == 14
    # the integer softmax and what reads shapes are LiteRT's own
    assert 4 <= compiled.facts["xnnpack_operators"] < 14
    again = find("litert").load(tmp_path / "out", compiled)
    np.testing.assert_array_equal(again(images())["prediction"], load(made)(images())["prediction"])


def test_litert_counts_what_xnnpack_takes(tmp_path):
    compiled = compile_("litert", DATA / "mixed.tflite", tmp_path / "mixed")
    assert compiled.facts["xnnpack_operators"] == 3  # the sum and what is done with it
    odd = compile_("litert", DATA / "cnn_odd.tflite", tmp_path / "odd")
    plain = compile_("litert", DATA / "cnn_int8.tflite", tmp_path / "plain")
    assert odd.facts["xnnpack_partitions"] > plain.facts["xnnpack_partitions"]


def test_litert_refuses_an_operator_it_lacks(tmp_path):
    model = CORAL / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    with pytest.raises(EdgelineError, match="PosenetDecoderOp"):
        compile_("litert", model, tmp_path / "out")


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    folder = tmp_path_factory.mktemp("micro") / "out"
    return folder, compile_("tflite-micro", DATA / "cnn_int8.tflite", folder, name="digits")


def test_tflite_micro_gives_litert_s_answers(micro):
    folder, compiled = micro
    model = find("tflite-micro").load(folder, compiled)
    expected = load(DATA / "cnn_int8.tflite")(images())["prediction"].astype(int)
    given = model(images())["prediction"].astype(int)
    assert given.shape == expected.shape == (4, 10)
    assert np.abs(given - expected).max() <= 1  # a step of the scale


def test_tflite_micro_s_arena_is_the_smallest(micro):
    folder, compiled = micro
    data, arena = (folder / compiled.model).read_bytes(), compiled.facts["arena_bytes"]
    assert arena % 16 == 0
    assert tflite_micro._in_child(tflite_micro._try, data, arena, True) == ""
    assert tflite_micro._in_child(tflite_micro._try, data, arena - 16, True) != ""


@pytest.mark.skipif(
    shutil.which("g++") is None, reason="g++ is missing: the C array is not compiled"
)
def test_tflite_micro_s_array_compiles_to_the_model(micro, tmp_path):
    folder, compiled = micro
    (tmp_path / "main.cc").write_text(
        '#include "digits.h"\n#include <cstdint>\n#include <cstdio>\n'
        "int main() {\n"
        "  if (reinterpret_cast<std::uintptr_t>(digits_data) % 16) return 1;\n"
        "  std::fwrite(digits_data, 1, digits_length, stdout);\n"
        '  std::fprintf(stderr, "%zu %d", digits_arena_size, digits_operator_count);\n'
        "}\n"
    )
    program = tmp_path / "program"
    sources = [tmp_path / "main.cc", folder / "digits.cc"]
    subprocess.run(["g++", "-Wall", "-Werror", f"-I{folder}", *sources, "-o", program], check=True)
    run = subprocess.run([program], capture_output=True, check=True)
    assert run.stdout == (folder / compiled.model).read_bytes()
    facts = compiled.facts
    assert run.stderr.decode() == f"{facts['arena_bytes']} {facts['operator_kinds']}"
    assert "DEPTHWISE_CONV_2D" in (folder / "digits.h").read_text()


def test_tflite_micro_runs_float_and_an_lstm(tmp_path):
    compiled = compile_("tflite-micro", DATA / "cnn_float.tflite", tmp_path / "float")
    model = find("tflite-micro").load(tmp_path / "float", compiled)
    rows = {"image": np.random.default_rng(0).random((2, 28, 28, 1), np.float32)}
    expected = load(DATA / "cnn_float.tflite")(rows)["prediction"]
    np.testing.assert_allclose(model(rows)["prediction"], expected, atol=1e-5)
    lstm = compile_("tflite-micro", CORAL / "keras_lstm_mnist_ptq.tflite", tmp_path / "lstm")
    assert lstm.facts["arena_bytes"] < 10_000


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (DATA / "cnn_dynamic.tflite", "int8 weights and float activations.*quantisation='int8'"),
        (CORAL / "mobilenet_v1_0.25_128_quant.tflite", "uint8 as TensorFlow 1 did.*CONV_2D"),
        (CORAL / "bodypix_mobilenet_v1_075_512_512_16_quant_decoder.tflite", "CUSTOM"),
        (DATA / "mixed.tflite", "does not run"),
    ],
)
def test_tflite_micro_refuses_in_one_sentence(tmp_path, model, sentence):
    with pytest.raises(EdgelineError, match=sentence) as caught:
        compile_("tflite-micro", model, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").glob("*.cc"))


def test_tflite_micro_refuses_a_name_that_c_has_not(tmp_path):
    with pytest.raises(EdgelineError, match=r"tflite-micro.name is '3d model'"):
        compile_("tflite-micro", DATA / "cnn_int8.tflite", tmp_path / "out", name="3d model")


@pytest.mark.parametrize("target", ["ethos-u55", "ethos-u65", "ethos-u85"])
def test_vela_takes_an_int8_network_wholly(tmp_path, target):
    compiled = compile_(target, DATA / "cnn_int8.tflite", tmp_path / "out")
    assert compiled.share == 1
    assert len(compiled.placed) == 8  # what read shapes is gone
    assert (tmp_path / "out" / compiled.model).stat().st_size > 1000
    facts = compiled.facts
    assert facts["accelerator"].startswith(target)
    assert 1000 < facts["sram_bytes"] < 100_000
    assert 10_000 < facts["macs"] < 100_000
    assert 0 < facts["npu_cycles"] <= facts["estimated_cycles"]
    assert 0 < facts["estimated_ms"] < 1
    assert "NPU operators" in compiled.log


def test_vela_leaves_operators_to_the_cpu_with_its_reason(tmp_path):
    compiled = compile_("ethos-u55", DATA / "cnn_odd.tflite", tmp_path / "out")
    on_cpu = {p.operator: p.reason for p in compiled.placed if p.device == "cpu"}
    assert on_cpu.keys() == {"DEQUANTIZE", "SIN", "CUMSUM", "QUANTIZE"}
    assert on_cpu["SIN"] == "Unsupported opType"
    assert "Float32" in on_cpu["QUANTIZE"]
    assert compiled.share == pytest.approx(8 / 12)


def test_vela_on_coral_s_models(tmp_path):
    whole = compile_("ethos-u55", CORAL / "mobilenet_v1_0.25_128_quant.tflite", tmp_path / "a")
    assert (len(whole.placed), whole.share) == (31, 1)
    pose = CORAL / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    most = compile_("ethos-u65", pose, tmp_path / "b")
    assert Counter(p.operator for p in most.placed if p.device == "cpu") == {"PosenetDecoderOp": 1}


@pytest.mark.parametrize("model", ["cnn_float", "cnn_dynamic"])
def test_vela_that_did_nothing_is_a_failure(tmp_path, model):
    """It exits with 0 and writes a model, all of it on the CPU."""
    with pytest.raises(EdgelineError, match=r"all 8 operators .* on the CPU") as caught:
        compile_("ethos-u55", DATA / f"{model}.tflite", tmp_path / "out")
    text = str(caught.value)
    assert "CONV_2D" in text
    assert "quantisation='int8'" in text


def test_vela_s_options(tmp_path):
    small = compile_(
        "ethos-u55",
        DATA / "cnn_int8.tflite",
        tmp_path / "a",
        accelerator="ethos-u55-32",
        system_config="Ethos_U55_Deep_Embedded",
        memory_mode="Sram_Only",
        optimise="Size",
    )
    large = compile_("ethos-u55", DATA / "cnn_int8.tflite", tmp_path / "b")
    assert small.facts["system_config"] == "Ethos_U55_Deep_Embedded"
    assert small.facts["memory_mode"] == "Sram_Only"
    assert small.facts["estimated_ms"] > large.facts["estimated_ms"]
    assert not small.notes
    assert "default system" in large.notes[0]


@pytest.mark.parametrize(
    "options", [{"memory_mode": "Dreamt"}, {"system_config": "Nobody_s"}, {"config": "no.ini"}]
)
def test_vela_s_refusal_is_one_sentence(tmp_path, options):
    with pytest.raises(EdgelineError, match="Vela failed") as caught:
        compile_("ethos-u55", DATA / "cnn_int8.tflite", tmp_path / "out", **options)
    text = str(caught.value)
    assert re.search("|".join(options.values()), text)
    assert "\n" not in text
