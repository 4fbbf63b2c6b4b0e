"""What the Edge TPU compiler takes: data, each rule with its source and how to fix a breach.

Nothing here is executed. `RULES` has one entry an operator; `CONDITIONS` says in words what
the names in its `conditions` mean (`edgetpu_conditions` evaluates them); `UNSUPPORTED` says
what to do about operators that are in no table. Limits on size are in `edgetpu_sizes`.
"""

from __future__ import annotations

from dataclasses import dataclass

OPERATIONS = "https://coral.ai/docs/edgetpu/models-intro/#supported-operations"
REQUIREMENTS = "https://coral.ai/docs/edgetpu/models-intro/#model-requirements"
COMPILER = "https://coral.ai/docs/edgetpu/compiler/"
MEMORY = "https://coral.ai/docs/edgetpu/compiler/#parameter-data-caching"
ISSUE = "https://github.com/google-coral/edgetpu/issues/"
PAIRS = "https://github.com/google-coral/test_data"

# What the compiler's log says, by kind of breach
MAPPED = "Mapped to Edge TPU"
SECOND = "More than one subgraph is not supported"
TYPE = "Operation is working on an unsupported data type"
LIMITATION = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
UNKNOWN = "Operation not supported"
VERSION = "Operation version not supported"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"
CONSTANT = "Filter, bias, or other param is not constant at compile-time"

# The oldest runtime that compiled models name: by any compiler, by compiler 16, the newest of all
RUNTIMES = (10, 14, 14)

# TensorFlow releases of which the compiler knows the operator versions
NEWEST_RUNTIME = (2, 5, 0)


@dataclass(frozen=True)
class Condition:
    """Something an operator must meet: in words, what the log says else, and the remedy."""

    sentence: str
    status: str
    fix: str
    source: str = OPERATIONS


@dataclass(frozen=True)
class EdgeTpuRule:
    """An operator the compiler takes.

    Attributes:
        runtime: the Edge TPU runtime that first takes it, 0 for every one.
        newest: the highest operator version that the compiler's parser knows.
        parameters: positions of inputs that are not data: they must be constant.
        conditions: names in `CONDITIONS`, beyond those of every operator.
        sentence: the rule in words.
    """

    runtime: int
    newest: int
    parameters: tuple[int, ...] = ()
    conditions: tuple[str, ...] = ()
    sentence: str = "Taken without limits."
    source: str = OPERATIONS


# What every operator must meet, in the order of asking
EVERY = ("rank", "data_type", "static_shape", "constant_parameters")

CONDITIONS = {
    "data_type": Condition(
        "Data is int8 or uint8; the state of an LSTM may be int16.",
        TYPE,
        "Quantise the whole model to int8 with representative examples, and give it integer "
        "inputs and outputs (inference_input_type, inference_output_type).",
        REQUIREMENTS,
    ),
    "static_shape": Condition(
        "Tensor sizes are constant at compile time; a batch of 1 may be stored as dynamic.",
        LIMITATION,
        "Export with a fixed input signature (keras.export.ExportArchive, batch size 1).",
        REQUIREMENTS,
    ),
    "rank": Condition(
        "Only the three innermost dimensions are above 1.",
        RANK,
        "Reshape so that all dimensions but the last three are 1; use a batch size of 1.",
        REQUIREMENTS,
    ),
    "constant_parameters": Condition(
        "Filters, biases and other parameters are constant.",
        CONSTANT,
        "Make it a weight or a Python number instead of something the model computes.",
        REQUIREMENTS,
    ),
    "no_activation": Condition(
        "No fused activation function.",
        LIMITATION,
        "Put the activation into a layer of its own behind a convolution.",
    ),
    "zero_constant": Condition(
        "With a constant input there are two inputs only, and the constant is all zeros.",
        LIMITATION,
        "Concatenate only what the model computes, or pad with zeros.",
    ),
    "same_dilation": Condition(
        "The dilation is the same in x and y, unless the filter is 1 high or wide.",
        LIMITATION,
        "Use one dilation_rate for both dimensions.",
    ),
    "one_group": Condition(
        "The filter spans all input channels (no grouped convolution).",
        LIMITATION,
        "Use groups=1, or DepthwiseConv2D with Conv2D of 1x1.",
        ISSUE + "193",
    ),
    "default_weights": Condition(
        "The default format of fully connected weights.",
        LIMITATION,
        "Convert without shuffled weights (the converter's default).",
    ),
    "reduces_no_batch": Condition(
        "No reduction over the batch dimension.",
        LIMITATION,
        "Reduce over axes 1, 2 or 3 only.",
    ),
    "depth_of_four": Condition(
        "A reduction over the channels needs a multiple of 4 of them.",
        LIMITATION,
        "Make the number of channels a multiple of 4.",
    ),
    "packs_no_batch": Condition(
        "No packing in the batch dimension.", LIMITATION, "Stack along axis 1 or later."
    ),
    "pads_no_batch": Condition(
        "No padding in the batch dimension.", LIMITATION, "Pad height, width or channels only."
    ),
    "splits_no_batch": Condition(
        "No split over the batch dimension into several parts.",
        LIMITATION,
        "Split along axis 1 or later.",
    ),
    "plain_slice": Condition(
        "No negative stride, no ellipsis, no new axis.",
        LIMITATION,
        "Slice forwards and over every axis; reverse or expand on the host.",
    ),
    "flat_alpha": Condition(
        "Alpha has one dimension, the channels.",
        LIMITATION,
        "Use PReLU(shared_axes=[1, 2]).",
    ),
    "long_softmax": Condition(
        "A softmax over at most 16,384 values: documented are 16,000, compiler 16 maps 16,384.",
        LIMITATION,
        "Use fewer classes, or leave the softmax to the host.",
        "https://github.com/ricardodeazambuja/LibrEdgeTPU",
    ),
}


RULES = {
    "ADD": EdgeTpuRule(0, 3),
    "AVERAGE_POOL_2D": EdgeTpuRule(0, 3, (), ("no_activation",), "No fused activation function."),
    "CONCATENATION": EdgeTpuRule(
        0,
        3,
        (),
        ("no_activation", "zero_constant"),
        "No fused activation; a constant input only as the second of two, all zeros.",
    ),
    "CONV_2D": EdgeTpuRule(
        0, 5, (1, 2), ("same_dilation", "one_group"), "The same dilation in x and y (from 13)."
    ),
    "DEPTHWISE_CONV_2D": EdgeTpuRule(
        0, 6, (1, 2), ("same_dilation",), "The same dilation in x and y (from 13)."
    ),
    "EXPAND_DIMS": EdgeTpuRule(13, 1, (1,)),
    "FULLY_CONNECTED": EdgeTpuRule(
        0, 9, (1, 2), ("default_weights",), "Weights in the default format, output of one row."
    ),
    "L2_NORMALIZATION": EdgeTpuRule(0, 2),
    "LOGISTIC": EdgeTpuRule(0, 3),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": EdgeTpuRule(
        14, 3, tuple(range(1, 18)), (), "Unidirectional, fully quantised; int16 state is taken."
    ),
    "LSTM": EdgeTpuRule(14, 4, tuple(range(1, 18)), (), "Unidirectional, fully quantised."),
    "MAXIMUM": EdgeTpuRule(0, 4),
    "MAX_POOL_2D": EdgeTpuRule(0, 3, (), ("no_activation",), "No fused activation function."),
    "MEAN": EdgeTpuRule(
        13,
        3,
        (1,),
        ("reduces_no_batch", "depth_of_four"),
        "Not over the batch; over the channels only when they are a multiple of 4.",
    ),
    "MINIMUM": EdgeTpuRule(0, 4),
    "MUL": EdgeTpuRule(0, 4),
    "PACK": EdgeTpuRule(13, 3, (), ("packs_no_batch",), "Not in the batch dimension."),
    "PAD": EdgeTpuRule(13, 3, (1,), ("pads_no_batch",), "Not in the batch dimension."),
    "PRELU": EdgeTpuRule(13, 1, (1,), ("flat_alpha",), "Alpha over the channels only."),
    "QUANTIZE": EdgeTpuRule(13, 2, (), (), "Between int8 and uint8, or from one scale to another."),
    "REDUCE_MAX": EdgeTpuRule(14, 3, (1,), ("reduces_no_batch",), "Not over the batch."),
    "REDUCE_MIN": EdgeTpuRule(14, 3, (1,), ("reduces_no_batch",), "Not over the batch."),
    "RELU": EdgeTpuRule(0, 2),
    "RELU6": EdgeTpuRule(0, 3),
    "RELU_N1_TO_1": EdgeTpuRule(0, 1),
    "RESHAPE": EdgeTpuRule(0, 1, (1,), (), "May not map at large sizes."),
    "RESIZE_BILINEAR": EdgeTpuRule(
        0, 4, (1,), (), "May not map, depending on input and output size."
    ),
    "RESIZE_NEAREST_NEIGHBOR": EdgeTpuRule(
        0, 4, (1,), (), "May not map, depending on input and output size."
    ),
    "RSQRT": EdgeTpuRule(14, 2),
    "SLICE": EdgeTpuRule(0, 5, (1, 2)),
    "SOFTMAX": EdgeTpuRule(0, 3, (), ("long_softmax",), "One-dimensional, at most 16,384 values."),
    "SPACE_TO_DEPTH": EdgeTpuRule(0, 2),
    "SPLIT": EdgeTpuRule(0, 4, (0,), ("splits_no_batch",), "Not over the batch."),
    "SQUARED_DIFFERENCE": EdgeTpuRule(14, 2),
    "SQUEEZE": EdgeTpuRule(13, 2),
    "STRIDED_SLICE": EdgeTpuRule(
        0, 5, (1, 2, 3), ("plain_slice",), "Strides of 1, no ellipsis, no new axis."
    ),
    "SUB": EdgeTpuRule(0, 5),
    "SUM": EdgeTpuRule(13, 2, (1,), ("reduces_no_batch",), "Not over the batch."),
    "TANH": EdgeTpuRule(0, 3),
    "TILE": EdgeTpuRule(14, 2, (1,), (), "Not in the documentation, but taken.", PAIRS),
    "TRANSPOSE": EdgeTpuRule(14, 5, (1,), (), "Taken; large ones may not map."),
    "TRANSPOSE_CONV": EdgeTpuRule(13, 3, (0, 1, 3)),
}

# What to change in the Keras model, by operator that is in no table of the documentation
UNSUPPORTED = {
    "HARD_SWISH": "Use relu6 (keras.applications.MobileNetV3Small(minimalistic=True)).",
    "LEAKY_RELU": "Use ReLU, or PReLU(shared_axes=[1, 2]).",
    "ELU": "Use ReLU, or PReLU(shared_axes=[1, 2]).",
    "GELU": "Use ReLU.",
    "ARG_MAX": "Give the scores as output and take the largest on the host.",
    "ARG_MIN": "Give the scores as output and take the smallest on the host.",
    "TOPK_V2": "Give the scores as output and sort them on the host.",
    "DEQUANTIZE": "Convert with integer outputs (inference_output_type=tf.int8 or tf.uint8).",
    "CAST": "Take integer inputs as they are (inference_input_type=tf.uint8), without a cast.",
    "DEPTH_TO_SPACE": "Use Conv2DTranspose or UpSampling2D.",
    "DIV": "Multiply by the reciprocal.",
    "EXP": "Use sigmoid or tanh, or leave it to the host.",
    "SQRT": "Use rsqrt, or leave it to the host.",
    "POW": "Multiply, or leave it to the host.",
    "PADV2": "Pad with zero (ZeroPadding2D), which is PAD.",
    "MIRROR_PAD": "Pad with zero (ZeroPadding2D).",
    "SPLIT_V": "Split into equal parts (SPLIT), or slice.",
    "UNPACK": "Slice and squeeze.",
    "GATHER": "Slice, or choose on the host.",
    "GATHER_ND": "Slice, or choose on the host.",
    "BATCH_MATMUL": "Use Dense or Conv2D, whose weights are constant.",
    "BROADCAST_TO": "Rely on broadcasting in ADD or MUL, or use UpSampling2D.",
    "SPACE_TO_BATCH_ND": "Use Conv2D with dilation_rate, converted by a recent TensorFlow.",
    "BATCH_TO_SPACE_ND": "Use Conv2D with dilation_rate, converted by a recent TensorFlow.",
    "NON_MAX_SUPPRESSION_V4": "Leave it to the host.",
    "NON_MAX_SUPPRESSION_V5": "Leave it to the host.",
    "HASHTABLE_FIND": "Look the words up on the host and give the model their numbers.",
}
OTHERWISE = "Replace it by operators of the table, or leave it to the host behind the last layer."
CUSTOM = "Keep it the last operator of the model: a custom operator always runs on the CPU."

# The compiler runs the model in its own interpreter first, which must know every custom
# operator (else: "Encountered unresolved custom op") and give every tensor a constant size
# (else: "Attempting to use a delegate that only supports static-sized tensors", issue 654).
KNOWN_CUSTOM = ("TFLite_Detection_PostProcess", "PosenetDecoderOp", "edgetpu-custom-op")
# Inputs that give the output its size
SIZED_BY = {
    "BROADCAST_TO": (1,),
    "FILL": (0,),
    "PAD": (1,),
    "PADV2": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "TILE": (1,),
    "TRANSPOSE_CONV": (0,),
}

# Operators the compiler does not take but parses: highest version known
PARSED = {
    "ARG_MAX": 2,
    "ARG_MIN": 2,
    "CAST": 1,
    "DEQUANTIZE": 4,
    "EXP": 1,
    "GATHER": 5,
    "GATHER_ND": 3,
    "BATCH_MATMUL": 4,
    "BROADCAST_TO": 3,
    "DEPTH_TO_SPACE": 2,
    "LEAKY_RELU": 2,
    "SPLIT_V": 2,
    "UNPACK": 4,
}
