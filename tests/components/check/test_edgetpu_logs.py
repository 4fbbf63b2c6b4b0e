"""The static check against logs of Coral's compiler that people published.

Graphs are rebuilt from what each model is known to be; every fact has the address of its log.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from edgetpu_graph import Graph, one

from edgeline.components.check import edgetpu_rules as rules
from edgeline.formats.tflite import TensorQuantisation

GITHUB = "https://github.com/"
ISSUE = GITHUB + "google-coral/edgetpu/issues/"

# coral.ai/docs/edgetpu/models-intro/#supported-operations: the runtime that first takes each
# (the list also at developer.axis.com/computer-vision/on-device/system-on-chip/artpec-7/)
DOCUMENTED = {
    0: "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED "
    "L2_NORMALIZATION LOGISTIC MAXIMUM MAX_POOL_2D MINIMUM MUL RELU RELU6 RELU_N1_TO_1 RESHAPE "
    "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SOFTMAX SPACE_TO_DEPTH SPLIT STRIDED_SLICE "
    "SUB TANH",
    13: "EXPAND_DIMS MEAN PACK PAD PRELU QUANTIZE SQUEEZE SUM TRANSPOSE_CONV",
    14: "UNIDIRECTIONAL_SEQUENCE_LSTM LSTM REDUCE_MAX REDUCE_MIN RSQRT SQUARED_DIFFERENCE "
    "TRANSPOSE",
}
UNDOCUMENTED = {"TILE"}  # it maps in models of google-coral/test_data


def test_the_table_is_that_of_the_documentation():
    documented = {name: runtime for runtime, names in DOCUMENTED.items() for name in names.split()}
    taken = {name: rule.runtime for name, rule in rules.RULES.items() if name not in UNDOCUMENTED}
    assert taken == documented


def focus(stride):
    """A slice of YOLOv5's focus layer."""
    begin, end, strides = [0] * 4, [0, 224, 224, 3], [1, stride, stride, 1]
    return one("STRIDED_SLICE", (1, 224, 224, 3), (1, 112, 112, 3), params=(begin, end, strides))


def resize(name, before, after):
    return one(name, (1, *before), (1, *after), params=(after[:2],))


@pytest.mark.parametrize(
    ("verdict", "status", "source"),
    [
        (focus(2), rules.MAPPED, GITHUB + "jveitchmichaelis/edgetpu-yolo"),  # compiler 16
        (resize("RESIZE_BILINEAR", (64, 64, 32), (128, 128, 32)), rules.MAPPED, ISSUE + "31"),
        (resize("RESIZE_BILINEAR", (8, 16, 128), (32, 64, 128)), rules.MAPPED, ISSUE + "377"),
        (resize("RESIZE_BILINEAR", (32, 64, 19), (256, 512, 19)), rules.LIMITATION, ISSUE + "377"),
        (resize("RESIZE_BILINEAR", (256, 256, 32), (512, 512, 32)), rules.LIMITATION, ISSUE + "31"),
        (
            resize("RESIZE_NEAREST_NEIGHBOR", (512, 512, 3), (1024, 1024, 3)),
            rules.LIMITATION,
            ISSUE + "597",
        ),
        (
            one("TRANSPOSE", (1, 3, 224, 224), (1, 224, 224, 3), params=([0, 2, 3, 1],)),
            rules.LIMITATION,
            ISSUE + "433",
        ),
        (
            one("TRANSPOSE", (1, 480, 16, 16), (1, 16, 16, 480), params=([0, 2, 3, 1],)),
            rules.LIMITATION,
            GITHUB + "hatef2003/a",
        ),
        (
            one("TRANSPOSE", (1, 480, 14, 14), (1, 14, 14, 480), params=([0, 2, 3, 1],)),
            rules.MAPPED,
            GITHUB + "hatef2003/a",
        ),
        (  # the smallest level of a YOLOv8n at 640 pixels
            one("TRANSPOSE", (1, 20, 20, 144), (1, 144, 20, 20), params=([0, 3, 1, 2],)),
            rules.MAPPED,
            GITHUB + "MaxwellHogan/coral_wifi_webserver",
        ),
        (
            one("MEAN", (1, 256, 128, 3), (1, 3), params=([1, 2],)),
            rules.LIMITATION,
            ISSUE + "461",
        ),
        (
            one("PACK", (1, 3, 4, 8), (1, 3, 4, 2, 8), axis=3),
            rules.RANK,
            GITHUB + "maxbbraun/thermal-face/issues/2",
        ),
        (one("CONV_2D", (30, 1, 256, 1)), rules.RANK, ISSUE + "30"),
        (
            one("REDUCE_MAX", after=(1, 16), params=([1, 2],)),
            rules.MAPPED,
            GITHUB + "maxbbraun/thermal-face/issues/2",
        ),
        (one("TANH", (1, 400, 4)), rules.MAPPED, GITHUB + "jiri-kula/EfficientDet"),
        (one("L2_NORMALIZATION", (1, 400, 2)), rules.MAPPED, GITHUB + "jiri-kula/EfficientDet"),
        (one("LEAKY_RELU"), rules.UNKNOWN, ISSUE + "597"),
        (one("GATHER"), rules.UNKNOWN, GITHUB + "dbro/frigate-detector-edgetpu-yolo9"),
        (one("LOGISTIC", (1, 1), dtype="FLOAT32"), rules.TYPE, GITHUB + "zlee113/NASASSAI_board"),
        (one("DEQUANTIZE", dtype="FLOAT32"), rules.TYPE, GITHUB + "zye1996/facemesh_EdgeTPU"),
        (  # the weights of a float16 model
            one("DEQUANTIZE", (64, 3, 3, 32), dtype="FLOAT16"),
            rules.RANK,
            GITHUB + "MaxwellHogan/coral_wifi_webserver",
        ),
        (  # the classes of the finest level of an EfficientDet-Lite2, and of an SSD of 640
            one("RESHAPE", (1, 56, 56, 810), (1, 28224, 90), params=([1, 28224, 90],)),
            rules.MAPPED,
            ISSUE + "557",
        ),
        (
            one("RESHAPE", (1, 80, 80, 546), (1, 38400, 91), params=([1, 38400, 91],)),
            rules.LIMITATION,
            ISSUE + "356",
        ),
    ],
)
def test_an_operator_gets_the_status_of_the_log(verdict, status, source):
    assert verdict.status == status, source


def test_a_dilation_along_a_filter_of_width_one_maps():
    """fredriktegnell/edgetpu-tcn, quantized_model_edgetpu.log (compiler 16): CONV_2D 3, RESHAPE
    1, FULLY_CONNECTED 1, LOGISTIC 1, all mapped; tcn.py dilates (1, 1), (2, 1), (4, 1)."""
    net = Graph()
    image = net.tensor((1, 118, 100, 1))
    for rate in (1, 2, 4):
        image = net.conv(image, 8, kernel=(3, 1), dilation=(rate, 1))
    flat = net.reshape(image, (1, 118 * 100 * 8))
    weights = net.tensor((1, 118 * 100 * 8), values=b"\0" * 118 * 100 * 8)
    dense = net.apply("FULLY_CONNECTED", [flat, weights, net.constant([0])], (1, 1))
    net.apply("LOGISTIC", [dense], (1, 1))
    placement = net.placement()
    assert placement.share == 1
    # as decoded from quantized_model_edgetpu.tflite: though 8 MB are free, the wide layer streams
    assert 1_510_464 in placement.memory.streamed
    assert 1_536 in placement.memory.cached
    assert placement.memory.streamed.likely == pytest.approx(1_510_464, rel=0.01)
    assert 29_088 in placement.memory.executable


def tracker(side):
    """ricardodeazambuja/LibrEdgeTPU, tracker/templates/bright_SIDExSIDE (compiler 16)."""
    net, count = Graph(), side * side
    image = net.apply("QUANTIZE", [net.tensor((1, side, side, 1), "UINT8")], (1, side, side, 1))
    weights = net.apply("SOFTMAX", [net.reshape(image, (1, count))], (1, count))
    sums = []
    for _ in range(2):
        place = net.tensor((1, count), values=b"\0" * count)
        inputs = [weights, place, net.constant([0])]
        sums.append(net.apply("FULLY_CONNECTED", inputs, (1, 1)))
    net.apply("CONCATENATION", sums, (1, 2), axis=1)
    return net.placement()


@pytest.mark.parametrize(
    ("side", "cached", "streamed", "instructions"),
    [(16, 8_384, 0, 19_184), (64, 131_264, 0, 50_128), (128, 192, 524_288, 50_384)],
)
def test_a_layer_of_one_unit_takes_16_rows_and_is_streamed_where_it_is_wide(
    side, cached, streamed, instructions
):
    placement = tracker(side)
    assert placement.share == 1
    assert cached in placement.memory.cached
    assert streamed in placement.memory.streamed
    assert placement.memory.parameters.likely == pytest.approx(cached + streamed, rel=0.05)
    assert instructions in placement.memory.executable


@pytest.mark.parametrize(
    ("layers", "units", "cached", "streamed"),
    [(100, 100, 1_040_896, 281_216), (200, 100, 1_040_896, 1_612_416)],
)
def test_of_many_layers_some_may_be_streamed(layers, units, cached, streamed):
    """iwatake2222/EdgeTPU_Analysis, Ops/model_dense (a compiler of 2019)."""
    net = Graph()
    given = net.tensor((1, units))
    for _ in range(layers):
        weights = net.constant(np.zeros((units, units)), "INT8")
        inputs = [given, weights, net.constant([0] * units)]
        given = net.apply("FULLY_CONNECTED", inputs, (1, units))
    placement = net.placement()
    assert placement.share == 1
    assert cached in placement.memory.cached
    assert streamed in placement.memory.streamed
    assert cached + streamed in placement.memory.parameters


def test_a_dilation_that_differs_in_x_and_y_does_not_map():
    net = Graph()
    net.conv(net.tensor((1, 32, 32, 8)), 8, kernel=(3, 3), dilation=(2, 1))
    net.conv(net.tensor((1, 32, 32, 8)), 8, kernel=(3, 3), dilation=(2, 2))
    assert [verdict.maps for verdict in net.verdicts()] == [False, True]


def test_a_feature_pyramid_keeps_its_coarse_levels_on_the_tpu():
    """An SSD MobileNetV2 FPN-Lite, 320x320: clsandoval/coral_tpu, tflite/model_edgetpu.log
    (compiler 16), and issue 210 with the same 112 operators mapped. The two finer levels wait
    for PACK, which has too many dimensions; everything else stays on the TPU. The log does not
    say where its eight QUANTIZE stand that did not map: here one is behind each PACK and each
    prediction of a finer level.
    """
    net = Graph()
    image = net.apply("QUANTIZE", [net.tensor((1, 320, 320, 3), "UINT8")], (1, 320, 320, 3))
    image = net.conv(image, 32, kernel=(3, 3), stride=2)
    ends = {}
    for expansion, channels, count, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(count):
            before, depth = image, net.tensors[image].shape[-1]
            if expansion > 1:
                image = net.conv(image, expansion * depth)
            image = net.separable(image, channels, stride if block == 0 else 1)
            if block:
                image = net.apply("ADD", [before, image], net.tensors[image].shape)
        ends[net.tensors[image].shape[1]] = image
    ends[10] = net.conv(image, 1280)
    laterals = {side: net.conv(ends[side], 128) for side in (10, 20, 40)}
    levels = {10: laterals[10]}
    for side in (10, 20):
        wide = net.apply("PACK", [levels[side]] * 2, (1, side, side, 2, 128), axis=3)
        wide = net.apply("QUANTIZE", [wide], (1, side, side, 2, 128))
        high = net.apply("PACK", [wide] * 2, (1, side, 2, side, 2, 128), axis=2)
        high = net.apply("QUANTIZE", [high], (1, side, 2, side, 2, 128))
        twice = net.reshape(high, (1, 2 * side, 2 * side, 128))
        levels[2 * side] = net.apply(
            "ADD", [twice, laterals[2 * side]], (1, 2 * side, 2 * side, 128)
        )
    levels |= {side: net.separable(levels[side], 128) for side in (20, 40)}
    levels[5] = net.separable(levels[10], 128, stride=2)
    levels[3] = net.separable(levels[5], 128, stride=2)
    heads = {4: [], 91: []}
    for side, level in sorted(levels.items(), reverse=True):
        for _ in range(4):
            level = net.separable(level, 128)
        for values, found in heads.items():
            anchors = net.reshape(
                net.separable(level, 6 * values), (1, net_side(net, level) ** 2 * 6, values)
            )
            if side > 10:
                anchors = net.apply("QUANTIZE", [anchors], net.tensors[anchors].shape)
            found.append(anchors)
    tails = []
    for values, found in heads.items():
        shape = (1, sum(net.tensors[index].shape[1] for index in found), values)
        all_levels = net.apply("CONCATENATION", found, shape, axis=1)
        if values == 91:
            all_levels = net.apply("LOGISTIC", [all_levels], shape)
        tails.append(net.apply("DEQUANTIZE", [all_levels], shape, "FLOAT32"))
    net.apply("TFLite_Detection_PostProcess", tails, (1, 10, 4), "FLOAT32", custom=True)

    placement = net.placement()
    assert placement.left_on_cpu == {
        "ADD": 2,
        "CONCATENATION": 2,
        "CONV_2D": 14,
        "DEPTHWISE_CONV_2D": 14,
        "DEQUANTIZE": 2,
        "LOGISTIC": 1,
        "PACK": 4,
        "QUANTIZE": 8,
        "RESHAPE": 6,
        "TFLite_Detection_PostProcess": 1,
    }
    mapped = Counter(placed.operator for placed in placement.operators if placed.mapped)
    assert mapped == {
        "ADD": 10,
        "CONV_2D": 58,
        "DEPTHWISE_CONV_2D": 37,
        "QUANTIZE": 1,
        "RESHAPE": 6,
    }


def net_side(net, index):
    return net.tensors[index].shape[1]


def test_a_decoder_is_cut_at_its_largest_enlargement():
    """The decoder of a style transfer: mistake0316/Google-Coral-Style-Transfer,
    model/dark_Decoder_edgetpu.log (compiler 14.1). The log gives no size: 256x256 is assumed."""
    net = Graph()
    image = net.apply("QUANTIZE", [net.tensor((1, 32, 32, 512), "FLOAT32")], (1, 32, 32, 512))
    for step in (256, "up", 256, 256, 256, 128, "up", 128, 64, "up", 64, 3):
        _, height, width, depth = net.tensors[image].shape
        if step == "up":
            twice = (2 * height, 2 * width)
            image = net.apply(
                "RESIZE_NEAREST_NEIGHBOR", [image, net.constant(twice)], (1, *twice, depth)
            )
        else:
            sides = net.constant([[0, 0], [1, 1], [1, 1], [0, 0]])
            padded = net.apply("PAD", [image, sides], (1, height + 2, width + 2, depth))
            weights = net.constant(np.zeros((step, 3, 3, depth)), "INT8")
            bias = net.constant([0] * step)
            image = net.apply("CONV_2D", [padded, weights, bias], (1, height, width, step))
    net.apply("DEQUANTIZE", [image], net.tensors[image].shape, "FLOAT32")
    placement = net.placement()
    assert placement.left_on_cpu == {
        "QUANTIZE": 1,
        "RESIZE_NEAREST_NEIGHBOR": 1,
        "PAD": 2,
        "CONV_2D": 2,
        "DEQUANTIZE": 1,
    }


def test_a_size_computed_by_the_model_stops_the_compiler():
    """Issue 654: "Attempting to use a delegate that only supports static-sized tensors with a
    graph that has dynamic-sized tensors"."""
    net = Graph()
    image = net.apply("RELU", [net.tensor((1, 4, 4, 8))], (1, 4, 4, 8))
    size = net.apply("SHAPE", [image], (4,), "INT32")
    net.apply("RESHAPE", [image, size], (1, 128))
    placement = net.placement()
    assert placement.mapped == 0
    assert "operator 2 (RESHAPE)" in placement.failure


def test_a_custom_operator_of_ones_own_is_warned_of():
    """ "Encountered unresolved custom op", as the compiler's interpreter says of others'."""
    net = Graph()
    image = net.apply("RELU", [net.tensor((1, 8))], (1, 8))
    net.apply("Atan", [image], (1, 8), custom=True)
    said = "Atan is not a custom operator of Coral's"
    assert any(said in text for text in net.placement().warnings)


def test_a_wide_lstm_is_uncertain_and_then_fails():
    """Issue 598: up to about 900 features a step the compiler succeeds, from 1,000 on it fails."""
    states = []
    for width in (100, 950, 1280):
        net = Graph()
        net.apply("UNIDIRECTIONAL_SEQUENCE_LSTM", [net.tensor((1, 5, width))], (1, 32))
        states.append(net.verdicts()[0].state)
    assert states == ["yes", "size-dependent", "no"]


def test_a_scale_a_unit_is_warned_of():
    """tensorflow/tflite-micro, pull request 2602: an interpreter older than such weights (the
    converter makes them since 2024) answers wrongly."""
    net = Graph()
    weights = net.constant(np.zeros((10, 8)), "INT8")
    scales = TensorQuantisation(np.ones(10, np.float32), np.zeros(10, np.int64), 0)
    net.tensors[weights] = replace(net.tensors[weights], quantisation=scales)
    inputs = [net.tensor((1, 8)), weights, net.constant([0] * 10)]
    net.apply("FULLY_CONNECTED", inputs, (1, 10))
    placement = net.placement()
    assert placement.share == 1
    assert any(
        "1 FULLY_CONNECTED have weights with a scale a unit" in w for w in placement.warnings
    )
