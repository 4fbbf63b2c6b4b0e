"""Numbers and names of TensorFlow Lite's schema: operators, types, the options that matter.

Data only. Numbers never change once released; the source is tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

# BuiltinOperator, by number
_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6
RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL
CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST
PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN
TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM
STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM
STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG
STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER
STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER
STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE
STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT
STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""
OPERATORS = dict(enumerate(_NAMES.split()))

# TensorType, by number
_TYPES = """
FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64
RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2
"""
DTYPES = dict(enumerate(_TYPES.split()))

# Bits of a value, for the types of fixed size
BITS = {
    "FLOAT32": 32,
    "FLOAT16": 16,
    "INT32": 32,
    "UINT8": 8,
    "INT64": 64,
    "BOOL": 8,
    "INT16": 16,
    "COMPLEX64": 64,
    "INT8": 8,
    "FLOAT64": 64,
    "COMPLEX128": 128,
    "UINT64": 64,
    "UINT32": 32,
    "UINT16": 16,
    "INT4": 4,
    "BFLOAT16": 16,
    "INT2": 2,
    "UINT4": 4,
    "FLOAT8_E4M3FN": 8,
    "FLOAT8_E5M2": 8,
}

# BuiltinOptions, by number: name, field number, form as in `struct` ("[i]" a vector), default
OPTIONS: dict[int, tuple[tuple[str, int, str, int], ...]] = {
    # Conv2DOptions
    1: (
        ("padding", 0, "b", 0),
        ("stride_w", 1, "i", 0),
        ("stride_h", 2, "i", 0),
        ("activation", 3, "b", 0),
        ("dilation_w", 4, "i", 1),
        ("dilation_h", 5, "i", 1),
    ),
    # DepthwiseConv2DOptions
    2: (
        ("padding", 0, "b", 0),
        ("stride_w", 1, "i", 0),
        ("stride_h", 2, "i", 0),
        ("depth_multiplier", 3, "i", 0),
        ("activation", 4, "b", 0),
        ("dilation_w", 5, "i", 1),
        ("dilation_h", 6, "i", 1),
    ),
    # Pool2DOptions
    5: (
        ("padding", 0, "b", 0),
        ("stride_w", 1, "i", 0),
        ("stride_h", 2, "i", 0),
        ("filter_width", 3, "i", 0),
        ("filter_height", 4, "i", 0),
        ("activation", 5, "b", 0),
    ),
    # FullyConnectedOptions
    8: (
        ("activation", 0, "b", 0),
        ("weights_format", 1, "b", 0),
        ("keep_num_dims", 2, "?", 0),
    ),
    # SoftmaxOptions
    9: (("beta", 0, "f", 0),),
    # ConcatenationOptions
    10: (
        ("axis", 0, "i", 0),
        ("activation", 1, "b", 0),
    ),
    # AddOptions
    11: (("activation", 0, "b", 0),),
    # L2NormOptions
    12: (("activation", 0, "b", 0),),
    # LSTMOptions
    14: (
        ("activation", 0, "b", 0),
        ("cell_clip", 1, "f", 0),
        ("proj_clip", 2, "f", 0),
        ("kernel_type", 3, "b", 0),
    ),
    # ResizeBilinearOptions
    15: (
        ("align_corners", 2, "?", 0),
        ("half_pixel_centers", 3, "?", 0),
    ),
    # ReshapeOptions
    17: (("new_shape", 0, "[i]", 0),),
    # SpaceToDepthOptions
    19: (("block_size", 0, "i", 0),),
    # MulOptions
    21: (("activation", 0, "b", 0),),
    # GatherOptions
    23: (
        ("axis", 0, "i", 0),
        ("batch_dims", 1, "i", 0),
    ),
    # ReducerOptions
    27: (("keep_dims", 0, "?", 0),),
    # SubOptions
    28: (("activation", 0, "b", 0),),
    # DivOptions
    29: (("activation", 0, "b", 0),),
    # SqueezeOptions
    30: (("squeeze_dims", 0, "[i]", 0),),
    # StridedSliceOptions
    32: (
        ("begin_mask", 0, "i", 0),
        ("end_mask", 1, "i", 0),
        ("ellipsis_mask", 2, "i", 0),
        ("new_axis_mask", 3, "i", 0),
        ("shrink_axis_mask", 4, "i", 0),
    ),
    # SplitOptions
    35: (("num_splits", 0, "i", 0),),
    # TransposeConvOptions
    49: (
        ("padding", 0, "b", 0),
        ("stride_w", 1, "i", 0),
        ("stride_h", 2, "i", 0),
        ("activation", 3, "b", 0),
    ),
    # PackOptions
    59: (
        ("values_count", 0, "i", 0),
        ("axis", 1, "i", 0),
    ),
    # OneHotOptions
    61: (("axis", 0, "i", 0),),
    # UnpackOptions
    64: (
        ("num", 0, "i", 0),
        ("axis", 1, "i", 0),
    ),
    # UnidirectionalSequenceLSTMOptions
    71: (
        ("activation", 0, "b", 0),
        ("cell_clip", 1, "f", 0),
        ("proj_clip", 2, "f", 0),
        ("time_major", 3, "?", 0),
    ),
    # ResizeNearestNeighborOptions
    74: (
        ("align_corners", 0, "?", 0),
        ("half_pixel_centers", 1, "?", 0),
    ),
    # LeakyReluOptions
    75: (("alpha", 0, "f", 0),),
    # MirrorPadOptions
    77: (("mode", 0, "b", 0),),
    # SplitVOptions
    79: (("num_splits", 0, "i", 0),),
    # DepthToSpaceOptions
    94: (("block_size", 0, "i", 0),),
}

# Which options an operator may carry
OPTIONS_OF: dict[str, tuple[int, ...]] = {
    "AVERAGE_POOL_2D": (5,),
    "MAX_POOL_2D": (5,),
    "L2_POOL_2D": (5,),
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (8,),
    "SOFTMAX": (9,),
    "CONCATENATION": (10,),
    "ADD": (11,),
    "MUL": (21,),
    "SUB": (28,),
    "DIV": (29,),
    "RESIZE_BILINEAR": (15,),
    "RESIZE_NEAREST_NEIGHBOR": (74,),
    "RESHAPE": (17,),
    "MEAN": (27,),
    "SUM": (27,),
    "REDUCE_MAX": (27,),
    "REDUCE_MIN": (27,),
    "TRANSPOSE_CONV": (49,),
    "SQUEEZE": (30,),
    "STRIDED_SLICE": (32,),
    "PACK": (59,),
    "UNPACK": (64,),
    "SPLIT": (35,),
    "SPLIT_V": (79,),
    "GATHER": (23,),
    "LEAKY_RELU": (75,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (71,),
    "SPACE_TO_DEPTH": (19,),
    "DEPTH_TO_SPACE": (94,),
    "PAD": (22,),
    "TRANSPOSE": (26,),
    "MAXIMUM": (39,),
    "MINIMUM": (39,),
    "SLICE": (48,),
    "ARG_MAX": (40,),
    "QUANTIZE": (89,),
    "CAST": (37,),
    "HARD_SWISH": (91,),
    "LSTM": (14,),
    "ONE_HOT": (61,),
    "MIRROR_PAD": (77,),
}
