"""What a phone's GPU takes, against TensorFlow's analyzer; see tests/data/make_mobile_gpu.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edgetpu_graph import Graph

from edgeline.components.check import mobile_gpu, mobile_gpu_rules
from edgeline.components.check.check import check, check_edge_model
from edgeline.errors import UsageError
from edgeline.formats import tflite

DATA = Path(__file__).parents[2] / "data"
OPERATORS = DATA / "mobile_gpu" / "operators.tflite"
# taken by the delegate of today, not yet by that of 2.17, whose analyzer was recorded
SINCE = {
    "CEIL": "Not supported op CEIL",
    "ATAN2": "Not supported op ATAN2",
    "ADD": "Doesn't support broadcasting - input0: [1,8,8,4], input1: [8,4]",
}


def test_each_operator_is_judged_as_by_tensorflows_analyzer():
    recorded = json.loads((DATA / "mobile_gpu" / "analyzer.json").read_text())
    graph = tflite.read(OPERATORS).subgraphs[0]
    assert len({operator.name for operator in graph.operators}) > 80
    differ = {}
    for operator in graph.operators:
        verdict = mobile_gpu.judge(graph, operator)
        taken = verdict.maps or verdict.source == mobile_gpu_rules.TENSORS
        theirs = recorded["refused"].get(str(operator.index))
        if taken != (theirs is None):
            differ[operator.name] = theirs
    assert differ == SINCE


@pytest.mark.parametrize(
    ("shape", "dtype", "sentence"),
    [
        ((1, 2, 3, 4, 5), "FLOAT32", "Tensors have one to four dimensions."),
        ((1, 8), "INT64", "Tensors are float32, float16, bool, int8 or uint8"),
    ],
)
def test_tensors_that_the_delegate_cannot_hold_stay_on_the_cpu(shape, dtype, sentence):
    """What the analyzer does not ask."""
    net = Graph()
    net.apply("RELU", [net.tensor(shape, dtype)], shape, dtype)
    graph = net.graph()
    verdict = mobile_gpu.judge(graph, graph.operators[0])
    assert not verdict.maps
    assert verdict.rule.startswith(sentence)


def test_a_model_is_told_operator_by_operator_with_what_to_change():
    placement = check(DATA / "cnn_float.tflite", "mobile-gpu")
    by_name = {placed.operator: placed for placed in placement.operators}
    assert by_name["CONV_2D"].mapped
    assert not by_name["SHAPE"].mapped
    assert {advice.operator for advice in placement.advice} >= {"SHAPE"}
    assert all(advice.fix.endswith((".", ")")) for advice in placement.advice)
    assert any("dimension is dynamic" in warning for warning in placement.warnings)
    assert any(f"in {placement.segments} parts" in warning for warning in placement.warnings)


def test_in_a_pipeline_it_writes_the_placement_and_a_page(tmp_path):
    page = tmp_path / "page.html"
    facts = check_edge_model(
        DATA / "cnn_float.tflite", "mobile-gpu", 0.0, tmp_path / "placement", page
    )
    assert 0 < facts["mapped_share"] < 1
    assert "operators on the GPU" in page.read_text()
    assert "Memory of the Edge TPU" not in page.read_text()
    document = json.loads((tmp_path / "placement" / "placement.json").read_text())
    assert document["memory"] is None


def test_options_of_the_edge_tpus_compiler_are_refused():
    with pytest.raises(UsageError, match="mobile-gpu has no compiler"):
        check(OPERATORS, "mobile-gpu", multiple_subgraphs=True)
