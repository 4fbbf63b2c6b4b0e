"""What LiteRT's GPU delegate takes: data, each condition with how to fix a breach.

The conditions are those of CheckGpuDelegateCompatibility, which the delegate itself asks, and
TensorFlow's analyzer (`tf.lite.experimental.Analyzer`, gpu_compatibility=True) up to 2.17: from
2.18 on its wheels come without that check and call every model compatible, so the table is what
decides. `tests/components/check/test_mobile_gpu.py` holds it to what the analyzer of 2.17 says.
`SHAPES_AND_TYPES` is what the delegate asks of tensors beyond it, and the analyzer does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeline.components.check import mobile_gpu_conditions as conditions
from edgeline.components.check.edgetpu_conditions import OperatorSite

OPERATORS = (
    "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/tools/versioning/"
    "gpu_compatibility.cc"
)
TENSORS = (
    "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/delegates/gpu/common/"
    "model_builder_helper.cc"
)
SIGN_BIT = 5  # ActivationFunctionType
REFLECT = 0  # MirrorPadMode


@dataclass(frozen=True)
class GpuCondition:
    """Something an operator must meet: in words, and what to do where it does not."""

    met: Callable[[OperatorSite], bool]
    sentence: str
    fix: str
    source: str = OPERATORS


def _counts(*allowed: tuple[int, int | None], outputs: int = 1) -> GpuCondition:
    """Computed and constant inputs (None: any number) and outputs."""

    def met(site: OperatorSite) -> bool:
        found = any(
            conditions.computed(site) == many and fixed in (None, conditions.constant(site))
            for many, fixed in allowed
        )
        return found and len(site.operator.outputs) == outputs

    words = ", or ".join(
        f"{many} computed" + ("" if fixed is None else f" and {fixed} constant")
        for many, fixed in allowed
    )
    return GpuCondition(
        met,
        f"Inputs: {words}; outputs: {outputs}.",
        "Give the other inputs as constants, or compute the operator on the CPU.",
    )


def _condition(met: Callable[[OperatorSite], bool], sentence: str, fix: str) -> GpuCondition:
    return GpuCondition(met, sentence, fix)


SHAPES_AND_TYPES = (
    GpuCondition(
        conditions.few_dimensions,
        "Tensors have one to four dimensions.",
        "Reshape so that batch, height, width and channels are all there is.",
        TENSORS,
    ),
    GpuCondition(
        conditions.types_taken,
        "Tensors are float32, float16, bool, int8 or uint8; indices may be int32.",
        "Keep whole numbers and text out of the network: look words up before it, and cast once.",
        TENSORS,
    ),
)

_ONE = _counts((1, None))
_ALONE = _counts((1, 0))
_TWO = _counts((2, 0), (1, 1))
_ACTIVATION = _condition(
    lambda site: site.option("activation") != SIGN_BIT,
    "A fused activation is any but the sign bit.",
    "Use a layer of its own for the activation.",
)
_STRIDES = _condition(
    conditions.positive("stride_h", "stride_w"),
    "Strides are positive.",
    "Give strides of at least 1.",
)
_DILATED = _condition(
    conditions.positive("stride_h", "stride_w", "dilation_h", "dilation_w"),
    "Strides and dilations are positive.",
    "Give strides and dilations of at least 1.",
)
_KERNEL = _condition(
    conditions.positive("filter_height", "filter_width", "stride_h", "stride_w"),
    "Windows and strides are positive.",
    "Give windows and strides of at least 1.",
)
_CONVOLUTION = _condition(
    lambda site: conditions.computed(site) <= 2 and len(site.operator.outputs) == 1,
    "At most two inputs are computed, and there is one output.",
    "Make the weights constants of the model.",
)
_BROADCAST = _condition(
    lambda site: len(site.operator.inputs) == 2 and conditions.broadcasts(site),
    "Two inputs that can be broadcast to each other.",
    "Reshape both to four dimensions first.",
)
_AXES = _condition(
    conditions.constant_axes,
    "Axes are constant and int32.",
    "Give the axes as Python numbers in the model.",
)
_BLOCK = _condition(
    lambda site: site.option("block_size") > 1, "The block is larger than 1.", "Leave it out."
)
_FOUR = _condition(
    lambda site: len(conditions.shape(site, 0)) in (3, 4) and len(site.operator.inputs) >= 3,
    "The tensor has three or four dimensions.",
    "Reshape it to three or four dimensions before the slice, and back behind it.",
)
_PADDING = _condition(
    conditions.paddings,
    "Paddings are of three or four dimensions.",
    "Reshape to four dimensions before.",
)
_SELECT = _condition(
    conditions.selects,
    "The condition is bool or float; both choices are floats, scalars or as large as the output.",
    "Broadcast both choices to the output, or compute with a mask: m * a + (1 - m) * b.",
)


def _names(words: str) -> list[str]:
    return words.split()


_UNARY = _names("""
ABS CEIL COS ELU EXP FLOOR GELU LOG LOGISTIC NEG RSQRT SIGN SIN SQRT SQUARE TANH
""")
_BINARY = _names("""
ATAN2 DIV EQUAL FLOOR_DIV FLOOR_MOD GREATER GREATER_EQUAL LOGICAL_AND LESS LESS_EQUAL MAXIMUM
MINIMUM NOT_EQUAL POW SQUARED_DIFFERENCE SUB
""")
_ALWAYS = _names("""
CONCATENATION LEAKY_RELU PACK PRELU RELU RELU6 RELU_N1_TO_1 SPLIT SPLIT_V
""")

RULES: dict[str, tuple[GpuCondition, ...]] = {
    **dict.fromkeys(_UNARY, (_ALONE,)),
    **dict.fromkeys(_BINARY, (_TWO, _ACTIVATION)),
    **dict.fromkeys(_ALWAYS, ()),
    **dict.fromkeys(("HARD_SWISH", "QUANTIZE", "RESHAPE", "TILE", "TRANSPOSE"), (_ONE,)),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"), (_ONE, _AXES)),
    **dict.fromkeys(("PAD", "PADV2"), (_ONE, _PADDING)),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), (_ONE, _KERNEL, _ACTIVATION)),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), (_ONE, _BLOCK)),
    **dict.fromkeys(("SELECT", "SELECT_V2"), (_SELECT,)),
    "ADD": (_BROADCAST,),
    "ADD_N": (
        _condition(lambda s: len(s.operator.inputs) == 2, "Two inputs.", "Add two at a time."),
    ),
    "BATCH_MATMUL": (
        _condition(lambda s: len(s.operator.inputs) == 2, "Two inputs.", "Multiply two matrices."),
    ),
    "CAST": (
        _ONE,
        _condition(
            conditions.casts,
            "Between float32 and int32, or between floats and bool.",
            "Take floats as input, so that nothing has to be cast.",
        ),
    ),
    "CONV_2D": (_CONVOLUTION, _DILATED, _ACTIVATION),
    "CUMSUM": (
        _condition(
            conditions.cumulates, "Floats, along a constant axis.", "Cast before, or use the CPU."
        ),
    ),
    "DENSIFY": (_counts((0, None)),),
    "DEPTHWISE_CONV_2D": (
        _CONVOLUTION,
        _DILATED,
        _ACTIVATION,
        _condition(
            conditions.depthwise,
            "Four dimensions, and a depth multiplier above 1 for one channel only.",
            "Use depth_multiplier=1, or Conv2D.",
        ),
    ),
    "DEQUANTIZE": (
        _condition(
            lambda s: len(s.operator.inputs) == 1 and conditions.dtype(s, 0) != "INT16",
            "Not from int16.",
            "Quantise to int8, or leave the model in float16.",
        ),
    ),
    "DYNAMIC_UPDATE_SLICE": (
        _condition(
            conditions.updates, "One type and rank, batch 1, int32 starts.", "Use a batch of 1."
        ),
    ),
    "EMBEDDING_LOOKUP": (
        _condition(
            conditions.embeds, "A list of ids; int8, int4 or float32.", "Look it up on the CPU."
        ),
    ),
    "FULLY_CONNECTED": (
        _condition(
            conditions.dense,
            "The input is computed, the weights are in the default format, the rank is kept.",
            "Convert with the converter's defaults, and flatten before Dense.",
        ),
    ),
    "GATHER": (
        _TWO,
        _condition(
            lambda s: (
                conditions.dtype(s, 0) != "INT32"
                and conditions.dtype(s, 1) == "INT32"
                and len(conditions.shape(s, 1)) == 1
            ),
            "A list of int32 indices, of values that are not int32.",
            "Give the indices as one list of int32, or gather on the CPU.",
        ),
    ),
    "LSTM": (
        _condition(
            conditions.plain_lstm,
            "The plain kernel, with tanh.",
            "Unroll the recurrent layer (unroll=True).",
        ),
    ),
    "MEAN": (_counts((1, 1)), _AXES),
    "MIRROR_PAD": (
        _condition(
            lambda s: s.option("mode") == REFLECT, "Padding reflects.", "Use mode='REFLECT'."
        ),
        _ONE,
        _PADDING,
    ),
    "MUL": (
        _condition(
            lambda s: len(s.operator.inputs) == 2 and conditions.one_is_larger(s),
            "One of two inputs is at least as large as the other in every dimension.",
            "Use a convolution or a matrix product instead of an outer product by broadcasting.",
        ),
        _ACTIVATION,
    ),
    "ONE_HOT": (
        _condition(
            conditions.one_hot,
            "int32 indices along the last axis, constant float values.",
            "Encode before the network, or compare with tf.range in floats.",
        ),
    ),
    "RESIZE_BILINEAR": (
        _ONE,
        _condition(
            lambda s: (
                not (s.operator.options.get("align_corners") and s.option("half_pixel_centers"))
            ),
            "Not both align_corners and half_pixel_centers.",
            "Resize with half_pixel_centers alone.",
        ),
    ),
    "RESIZE_NEAREST_NEIGHBOR": (_ONE,),
    "SLICE": (_FOUR,),
    "SOFTMAX": (
        _condition(
            lambda s: s.operator.options.get("beta") == 1,
            "Beta is 1.",
            "Scale the logits before the softmax.",
        ),
    ),
    "STABLEHLO_CLAMP": (_counts((3, 0)),),
    "STRIDED_SLICE": (
        _condition(
            lambda s: (
                not any(
                    s.option(f"{name}_mask") for name in ("ellipsis", "new_axis", "shrink_axis")
                )
            ),
            "No ellipsis, no new axis, no axis dropped.",
            "Slice x[:, a:b] instead of x[:, a], and reshape behind it.",
        ),
        _FOUR,
    ),
    "TRANSPOSE_CONV": (_CONVOLUTION, _STRIDES),
}
CUSTOM = ("Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Resampler")
