"""The static check against what Coral's compiler made of real models, and its own rules."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from edgetpu_graph import Graph, one
from rich.console import Console

from edgeline.components.check import edgetpu_rules as rules
from edgeline.components.check.check import check, check_edge_model, require
from edgeline.components.check.console import print_placement
from edgeline.components.check.edgetpu_conditions import MEASURES, MET
from edgeline.components.check.edgetpu_memory import exactly
from edgeline.components.check.edgetpu_sizes import SIZES
from edgeline.components.check.placement import partitions
from edgeline.errors import EdgelineError
from edgeline.formats import flatbuffer
from edgeline.formats.tflite_schema import OPERATORS

CORAL = Path(__file__).parents[2] / "data" / "coral"
PAIRS = [
    pair
    for pair in json.loads((CORAL / "pairs.json").read_text())
    if (CORAL / pair["model"]).exists()
]


def pairs_with_truth() -> list[dict]:
    return [pair for pair in PAIRS if pair["compiled"] and (CORAL / pair["compiled"]).exists()]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["model"])
def test_operators_left_on_the_cpu_are_those_the_compiler_left(pair):
    placement = check(CORAL / pair["model"])
    assert placement.left_on_cpu == pair["left_on_cpu"]
    assert len(placement.operators) == sum(pair["operations"].values())


@pytest.mark.parametrize("pair", pairs_with_truth(), ids=lambda pair: pair["model"])
def test_a_compiled_model_is_decoded_and_the_prediction_is_near_it(pair):
    placement = check(CORAL / pair["model"], compiled=CORAL / pair["compiled"])
    truth = placement.compiled
    assert truth.on_cpu == pair["left_on_cpu"]
    assert len(truth.segments) == pair["custom_ops"]
    assert truth.runtime_version == 12
    assert truth.segments[0].executables[0].chip == "beagle"
    memory = placement.memory
    assert truth.cached_bytes in memory.cached
    assert truth.streamed_bytes in memory.streamed
    assert truth.cached_bytes + truth.streamed_bytes in memory.parameters
    assert truth.instruction_bytes in memory.executable
    assert truth.runtime_version in placement.runtime
    if placement.mapped > 10:
        assert memory.cached.likely == pytest.approx(truth.cached_bytes, rel=0.06)


def test_a_compiled_model_is_its_own_truth():
    placement = check(CORAL / "keras_lstm_mnist_ptq_edgetpu.tflite")
    assert placement.share == 1
    assert placement.compiled.cached_bytes == 43968
    assert placement.memory.cached == exactly(43968)
    assert placement.runtime == exactly(12)


def test_deeplab_is_cut_where_the_compiler_cut_it_and_says_why():
    placement = check(CORAL / "deeplabv3_mnv2_dm05_pascal_quant.tflite")
    assert placement.operators[placement.cut].operator == "RESIZE_BILINEAR"
    assert placement.operators[placement.cut].shape == (1, 33, 33, 256)
    behind = placement.operators[placement.cut + 1]
    assert (behind.operator, behind.status) == ("QUANTIZE", rules.SECOND)
    assert placement.advice[0].operator == "RESIZE_BILINEAR"
    assert "broadcasting" in placement.advice[0].fix


def test_every_rule_has_a_source_and_every_breach_a_remedy():
    assert set(rules.RULES) <= set(OPERATORS.values())
    assert set(rules.UNSUPPORTED).isdisjoint(rules.RULES)
    assert set(rules.CONDITIONS) == set(MET)
    for rule in rules.RULES.values():
        assert rule.source.startswith("https://")
        assert rule.sentence
        assert rule.newest > 0
        assert set(rule.conditions) <= set(rules.CONDITIONS)
    for condition in rules.CONDITIONS.values():
        assert condition.sentence.endswith(".")
        assert condition.fix.endswith(".")
        assert condition.source.startswith("https://")
    for operator, sizes in SIZES.items():
        for size in sizes:
            assert operator in rules.RULES
            assert size.measure in MEASURES
            assert size.fix.endswith(".")
            assert size.source.startswith("https://")
            assert size.fails is None or size.maps < size.fails
    used = {name for rule in rules.RULES.values() for name in rule.conditions}
    assert used | set(rules.EVERY) == set(rules.CONDITIONS)


# Small graphs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "state", "status"),
    [
        (one("LOGISTIC"), "yes", rules.MAPPED),
        (one("LOGISTIC", dtype="FLOAT32"), "no", rules.TYPE),
        (one("LOGISTIC", dtype="INT16"), "no", rules.TYPE),
        (one("LOGISTIC", (2, 8, 8, 16)), "no", rules.RANK),
        (one("RESHAPE", (1, 1, 4, 4, 16), (16, 16), params=([16, 16],)), "yes", rules.MAPPED),
        (one("RESHAPE", (16, 16), (2, 2, 4, 16), params=([2, 2, 4, 16],)), "no", rules.RANK),
        (one("HARD_SWISH"), "no", rules.UNKNOWN),
        (one("LEAKY_RELU"), "no", rules.UNKNOWN),
        (one("TFLite_Detection_PostProcess", custom=True), "no", rules.TYPE),
        (one("MAX_POOL_2D", activation=1), "no", rules.LIMITATION),
        (one("MAX_POOL_2D"), "yes", rules.MAPPED),
        (one("PAD", after=(1, 9, 9, 16), params=([0, 0, 0, 1, 0, 1, 0, 0],)), "yes", rules.MAPPED),
        (one("MEAN", after=(1, 16), params=([1, 2],)), "yes", rules.MAPPED),
        (one("MEAN", after=(1, 8, 8), params=([3],)), "yes", rules.MAPPED),
        (one("MEAN", (1, 8, 8, 6), (1, 8, 8), params=([-1],)), "no", rules.LIMITATION),
        (one("MEAN", (1, 8, 8, 6), (8, 8, 6), params=([0],)), "no", rules.LIMITATION),
        (one("MEAN", (1, 256, 128, 3), (1, 3), params=([1, 2],)), "no", rules.LIMITATION),
        (one("MEAN", (1, 64, 128, 3), (1, 3), params=([1, 2],)), "yes", rules.MAPPED),
        (one("SUM", after=(8, 8, 16), params=([0],)), "no", rules.LIMITATION),
        (one("SPLIT", after=(1, 8, 8, 8), before=(3,)), "yes", rules.MAPPED),
        (one("SPLIT", after=(1, 8, 8, 16), before=(0,), parts=2), "no", rules.LIMITATION),
        (one("STRIDED_SLICE", params=([0] * 4, [1] * 4, [1] * 4)), "yes", rules.MAPPED),
        (one("STRIDED_SLICE", params=([0] * 4, [1] * 4, [1, 1, 1, -1])), "no", rules.LIMITATION),
        (one("SOFTMAX", (1, 1001)), "yes", rules.MAPPED),
        (one("SOFTMAX", (1, 16384)), "yes", rules.MAPPED),
        (one("SOFTMAX", (1, 16385)), "no", rules.LIMITATION),
        (one("SOFTMAX", (1, 1917, 21)), "size-dependent", rules.MAPPED),
        (one("TILE", params=([1, 1, 1, 1],)), "yes", rules.MAPPED),
        (
            one("RESIZE_BILINEAR", (1, 24, 24, 24), (1, 48, 48, 24), params=([48, 48],)),
            "yes",
            rules.MAPPED,
        ),
        (
            one("RESIZE_BILINEAR", (1, 100, 100, 8), (1, 200, 200, 8), params=([200, 200],)),
            "size-dependent",
            rules.MAPPED,
        ),
        (
            one("RESIZE_BILINEAR", (1, 256, 256, 32), (1, 512, 512, 32), params=([512, 512],)),
            "no",
            rules.LIMITATION,
        ),
        (one("PACK", (1, 8, 8), (1, 1, 8, 8), axis=1), "yes", rules.MAPPED),
        (one("PACK", (1, 8, 8), (1, 1, 8, 8), axis=0), "no", rules.LIMITATION),
    ],
)
def test_a_rule_is_kept_or_broken(verdict, state, status):
    assert (verdict.state, verdict.status) == (state, status)
    assert verdict.source.startswith("https://")
    assert verdict.fix or state == "yes"


def test_parameters_must_be_constant_and_shapes_static():
    graph = Graph()
    image = graph.tensor((1, 4, 4, 8))
    graph.op("RESHAPE", [image, graph.tensor((2,), "INT32")], [graph.tensor((1, 128))])
    batch = graph.tensor((1, 4), signature=(-1, 4))
    graph.op("RELU", [batch], [graph.tensor((1, 4), signature=(-1, 4))])
    wide = graph.tensor((1, 4), signature=(1, -1))
    graph.op("RELU", [wide], [graph.tensor((1, 4))])
    states = [(verdict.state, verdict.status) for verdict in graph.verdicts()]
    assert states == [("no", rules.CONSTANT), ("yes", rules.MAPPED), ("no", rules.LIMITATION)]


def test_a_constant_to_concatenate_must_be_zero():
    graph = Graph()
    image = graph.tensor((1, 4, 4, 8))
    zeros = graph.tensor((1, 4, 4, 8), values=np.zeros(128, np.int8))
    ones = graph.tensor((1, 4, 4, 8), values=np.ones(128, np.int8))
    for inputs in ([image, image, image], [image, zeros], [image, ones], [image, image, zeros]):
        graph.op("CONCATENATION", inputs, [graph.tensor((1, 4, 4, 16))], axis=3)
    assert [verdict.state for verdict in graph.verdicts()] == ["yes", "yes", "no", "no"]


def test_the_first_partition_takes_branches_of_their_own_but_nothing_behind_the_cut():
    graph = Graph()
    image = graph.tensor((1, 8))
    trunk = graph.op("RELU", [image], [graph.tensor((1, 8))])
    left = graph.op("ELU", [trunk], [graph.tensor((1, 8))])
    right = graph.op("RELU", [trunk], [graph.tensor((1, 8))])
    graph.op("ADD", [left, right], [graph.tensor((1, 8))])
    assert partitions(graph.graph(), [True, False, True, True]) == [{0, 2}, {3}]


def test_with_several_subgraphs_what_stands_behind_the_cut_maps_too():
    graph = Graph()
    image = graph.apply("RELU", [graph.tensor((1, 8))], (1, 8))
    image = graph.apply("ELU", [image], (1, 8))
    graph.apply("LOGISTIC", [image], (1, 8))
    first, every = graph.placement(), graph.placement(multiple_subgraphs=True)
    assert [placed.mapped for placed in first.operators] == [True, False, False]
    assert first.operators[2].status == rules.SECOND
    assert [placed.mapped for placed in every.operators] == [True, False, True]
    assert (first.segments, every.segments) == (1, 2)
    assert any("2 parts run on the TPU" in warning for warning in every.warnings)


def test_a_float_input_does_not_keep_the_model_from_the_tpu():
    graph = Graph()
    image = graph.tensor((1, 8), "FLOAT32")
    quantised = graph.op("QUANTIZE", [image], [graph.tensor((1, 8))])
    logits = graph.op("LOGISTIC", [quantised], [graph.tensor((1, 8))])
    graph.op("DEQUANTIZE", [logits], [graph.tensor((1, 8), "FLOAT32")])
    verdicts = graph.verdicts()
    # The words of the compiler's logs for such models (15.0 and 16.0).
    assert [verdict.status for verdict in verdicts] == [rules.LIMITATION, rules.MAPPED, rules.TYPE]
    assert partitions(graph.graph(), [verdict.maps for verdict in verdicts]) == [{1}]


def test_a_detector_keeps_only_what_follows_its_heads_on_the_cpu():
    """As the log of an EfficientDet-Lite (16.0): LOGISTIC and both CONCATENATION mapped;
    DEQUANTIZE 2 and CUSTOM 1 on an unsupported data type."""
    graph = Graph()
    image = graph.op(
        "QUANTIZE", [graph.tensor((1, 32, 32, 3), "UINT8")], [graph.tensor((1, 32, 32, 3))]
    )
    tails = []
    for head in (None, "LOGISTIC"):  # boxes first, so that scores come after a DEQUANTIZE
        levels = [graph.op("RELU", [image], [graph.tensor((1, 100, 4))]) for _ in range(2)]
        scores = graph.op("CONCATENATION", levels, [graph.tensor((1, 200, 4))], axis=1)
        if head:
            scores = graph.op(head, [scores], [graph.tensor((1, 200, 4))])
        tails.append(graph.op("DEQUANTIZE", [scores], [graph.tensor((1, 200, 4), "FLOAT32")]))
    graph.op(
        "TFLite_Detection_PostProcess", tails, [graph.tensor((1, 10, 4), "FLOAT32")], custom=True
    )
    verdicts = graph.verdicts()
    (chosen,) = partitions(graph.graph(), [verdict.maps for verdict in verdicts])
    left = [operator.name for operator in graph.operators if operator.index not in chosen]
    assert left == ["DEQUANTIZE", "DEQUANTIZE", "TFLite_Detection_PostProcess"]
    assert {verdicts[index].status for index in range(len(verdicts)) if index not in chosen} == {
        rules.TYPE
    }


# The gate, the page, the terminal -----------------------------------------------------------


def test_the_gate_names_the_operator_and_the_remedy():
    placement = check(CORAL / "deeplabv3_mnv2_dm05_pascal_quant.tflite")
    require(placement, 0.8)
    with pytest.raises(EdgelineError, match=r"88\.9%.*95\.0%.*operator 64 \(RESIZE_BILINEAR\)"):
        require(placement, 0.95)
    with pytest.raises(EdgelineError, match="between 0 and 1"):
        require(placement, 95)


def test_an_unknown_target_and_a_missing_file_are_told():
    with pytest.raises(EdgelineError, match="no static check for target 'ethos-u55'"):
        check(CORAL / "keras_lstm_mnist_ptq.tflite", "ethos-u55")
    with pytest.raises(EdgelineError, match="cannot be read"):
        check(CORAL / "missing.tflite")


def test_in_a_pipeline_it_writes_the_placement_and_a_page(tmp_path):
    model = CORAL / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    facts = check_edge_model(model, "edgetpu", 0.9, tmp_path / "placement", tmp_path / "page.html")
    assert facts["left_on_cpu"] == {"PosenetDecoderOp": 1}
    document = json.loads((tmp_path / "placement" / "placement.json").read_text())
    assert document["share"] == facts["mapped_share"] == pytest.approx(37 / 38)
    page = (tmp_path / "page.html").read_text()
    assert "PosenetDecoderOp" in page
    assert "http-equiv" in page
    with pytest.raises(EdgelineError, match="PosenetDecoderOp"):
        check_edge_model(model, "edgetpu", 1.0, tmp_path / "placement", tmp_path / "page.html")


def test_the_terminal_shows_the_truth_beside_the_prediction():
    model = CORAL / "keras_lstm_mnist_ptq.tflite"
    stream = io.StringIO()
    print_placement(
        Console(file=stream, width=200),
        check(model, compiled=CORAL / "keras_lstm_mnist_ptq_edgetpu.tflite"),
    )
    text = stream.getvalue()
    assert "6 of 6 operators map" in text
    assert "44.0 kB cached" in text


def test_a_version_beyond_the_compiler_stops_the_whole_model(tmp_path):
    data = bytearray((CORAL / "keras_lstm_mnist_ptq.tflite").read_bytes())
    root = flatbuffer.root(flatbuffer.view(bytes(data)), "TFL3", "model")
    places = [code.at(2) for code in root.tables(1) if code.at(2) and code.integer(2, "i") == 4]
    data[places[0]] = 99
    changed = tmp_path / "new.tflite"
    changed.write_bytes(data)
    placement = check(changed)
    assert placement.mapped == 0
    assert "FULLY_CONNECTED up to version 9, this is version 99" in placement.failure
