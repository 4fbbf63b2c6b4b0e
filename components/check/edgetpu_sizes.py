"""Up to which size the Edge TPU compiler takes an operator: data, each with its source.

The documentation says only that "certain reshapes" or some resizes may not map. `SIZES` has
the largest size known to map and the smallest known not to, from models of Coral's and from
logs that people published.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeline.components.check.edgetpu_rules import ISSUE, OPERATIONS, PAIRS


@dataclass(frozen=True)
class Size:
    """A limit on size that is known from both sides.

    `measure` names a number in `edgetpu_conditions`. Up to `maps` it is known to map, from
    `fails` on known not to (None: no such size is known); between them the middle (their
    geometric mean) decides what is predicted, and the state is size-dependent.
    """

    measure: str
    maps: int
    fails: int | None
    sentence: str
    fix: str
    source: str


SIZES = {
    "RESIZE_BILINEAR": (
        Size(
            "resize_side",
            128,
            512,
            "height and width of the output: 128 maps, 512 does not",
            "Upsample less inside the model, and resize its output on the host.",
            ISSUE + "31",
        ),
        # Enlarging 8x16 4 times maps (262,144 elements, issue 377), 1x1 33 times does not.
        Size(
            "far_enlarged_elements",
            55_296,
            278_784,
            "elements, where it enlarges more than 4 times: 55,296 map, 278,784 do not",
            "Upsample in steps of 2, or resize on the host; for a pooled 1x1 branch multiply "
            "or add it by broadcasting instead of resizing it.",
            PAIRS,
        ),
    ),
    "RESIZE_NEAREST_NEIGHBOR": (
        Size(
            "resize_side",
            128,
            256,
            "height and width of the output: 128 maps, 256 was reported not to",
            "Upsample less inside the model, and resize its output on the host.",
            ISSUE + "187",
        ),
    ),
    # The first of an EfficientNet-B0 of 224 pixels (112x112) is taken: its log, as TRANSPOSE's,
    # has all 17 left out only by the cut.
    "MEAN": (
        Size(
            "reduced_positions",
            12_544,
            32_768,
            "values reduced to one: 12,544 map, 32,768 do not",
            "Pool in steps, or split the tensor, reduce the parts and add them.",
            ISSUE + "461",
        ),
    ),
    # The finest level of an EfficientDet-Lite2 (56x56x810, issue 557) maps, that of an SSD
    # FPN-Lite of 640 pixels (80x80x546) does not.
    "RESHAPE": (
        Size(
            "output_elements",
            2_540_160,
            3_494_400,
            "elements: 2,540,160 map, 3,494,400 do not",
            "Use a smaller input, fewer anchors or fewer classes.",
            ISSUE + "356",
        ),
    ),
    # Of the 66 of an EfficientNet-B0 of 224 pixels that keeps PyTorch's layout, the log has 38
    # that do not map by themselves: 37 have 122,880 elements or more, 2 have 112,896, and the
    # next 94,080.
    "TRANSPOSE": (
        Size(
            "output_elements",
            94_080,
            122_880,
            "elements: 94,080 map, 122,880 do not",
            "Keep the layout that Keras uses (height, width, channels), so that none is needed.",
            "https://github.com/hatef2003/a/blob/main/model_int8_edgetpu.log",
        ),
    ),
    "SOFTMAX": (
        Size(
            "softmax_outside",
            36_864,
            134_400,
            "elements, where it has more than one row: 36,864 map, 134,400 do not",
            "Use a smaller input, or leave the softmax to the host.",
            OPERATIONS,
        ),
    ),
    # Documented are strides of 1, and compiler 15 says "Only Strided-Slice with unitary strides
    # supported"; compiler 16 maps the four slices with stride 2 at the head of a YOLOv5.
    "STRIDED_SLICE": (
        Size(
            "largest_stride",
            1,
            None,
            "strides: the documentation promises 1, compiler 16 was seen to map 2",
            "Slice with step 1; for a stride use a pooling or a convolution with strides.",
            "https://github.com/jveitchmichaelis/edgetpu-yolo",
        ),
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        Size(
            "input_width",
            900,
            1_000,
            "features a step: about 900 map, from 1,000 on the compiler fails",
            "Put a Dense layer of fewer units before the LSTM.",
            ISSUE + "598",
        ),
    ),
    "FULLY_CONNECTED": (
        Size(
            "output_rows",
            1,
            None,
            "rows of the output: the documentation promises one",
            "Flatten before Dense, or use Conv2D with a 1x1 kernel.",
            OPERATIONS,
        ),
    ),
}
