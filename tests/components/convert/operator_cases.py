"""What the converter accepts beside the arithmetic of `extreme_cases`: what moves, picks and pools
numbers, and convolutions. Functions of one column of floats; it imports TensorFlow, so tests import
it in their bodies."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

RAW = tf.raw_ops
KERNEL = np.array([0.5, -1.0, 2.0, 1.5, -0.5], np.float32)


def _row(x):
    """[rows, 4], the value between others."""
    one = tf.ones_like(x)
    return tf.concat([one, x, -one, 2 * one], 1)


def _square(x):
    """[rows, 2, 2]."""
    return tf.reshape(_row(x), [-1, 2, 2])


def _pictures(x):
    """[rows, 4, 4, 2], the value in one place."""
    one = tf.ones_like(x)
    plain = tf.stack([_row(one), _row(-one)], 2)
    return tf.stack([plain, tf.stack([_row(0.5 * one), _row(x)], 2), plain, plain], 1)


def _series(x):
    """[rows, 8, 1], the value in the middle."""
    one = tf.ones_like(x)
    columns = [one, -one, 0.5 * one, x, 2 * one, 0 * one, one, one]
    return tf.expand_dims(tf.concat(columns, 1), 2)


def _kernel(taps, given=1, made=1):
    return tf.constant(np.resize(KERNEL, [taps, given, made]))


def _flat(x):
    return tf.reshape(x, [tf.shape(x)[0], -1])


def _number(x):
    return tf.cast(x, tf.int32)


def _convolved(taps, padding="SAME", made=3):
    return lambda x: tf.nn.conv1d(_series(x), _kernel(taps, 1, made), 1, padding)


def _depthwise(height, width):
    kernel = np.resize(KERNEL, [height, width, 2, 1])
    return lambda x: tf.nn.depthwise_conv2d(_pictures(x), kernel, [1, 1, 1, 1], "SAME")


def _places(x):
    """0 or 1, by what is in the column."""
    return _number(x > 1)


OF_FLOATS = {
    # arithmetic
    "add n": lambda x: tf.add_n([x, tf.ones_like(x), tf.reverse(x, [0])]),
    "bias": lambda x: tf.nn.bias_add(_row(x), [1.0, 2.0, 3.0, 4.0]),
    "div": lambda x: RAW.Div(x=x, y=tf.reverse(x, [0])),
    "inverse": lambda x: RAW.Inv(x=x),
    "xlogy": lambda x: tf.math.xlogy(x, tf.reverse(x, [0])),
    "xdivy": lambda x: tf.math.xdivy(x, tf.reverse(x, [0])),
    "mul no nan": lambda x: tf.math.multiply_no_nan(x, tf.reverse(x, [0])),
    "rint": tf.math.rint,
    "hard swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "hard sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
    "relu to 1": lambda x: tf.minimum(tf.maximum(x, -1.0), 1.0),
    "gelu as tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "prelu": lambda x: tf.nn.relu(x) - 0.25 * tf.nn.relu(-x),
    "prelu of constants": lambda x: tf.nn.relu(x) + tf.nn.relu(-x) * np.float32([-0.25]),
    "relu from 0 to 1": lambda x: tf.maximum(tf.minimum(x, 1.0), 0.0),
    "buckets": lambda x: RAW.Bucketize(input=x, boundaries=[-1.0, 0.0, 300.0]),
    "select": lambda x: RAW.Select(condition=x > 1, x=x, y=-x),
    "either": lambda x: tf.cond(tf.reduce_any(x > 1), lambda: x + 1.0, lambda: x),
    "checked": lambda x: tf.ensure_shape(tf.identity(x), [None, 1]),
    "half the squares": lambda x: x + 0.0 * tf.nn.l2_loss(tf.ones([3])),
    "fake quantisation": lambda x: tf.quantization.fake_quant_with_min_max_args(x, -6.0, 6.0),
    "logical": lambda x: _number((x > 0) & (x < 300) | ~(x > -5)),
    "logical xor": lambda x: _number(tf.math.logical_xor(x > 0, x < 300)),
    "less or equal": lambda x: _number(x <= 1),
    "approximately equal": lambda x: _number(tf.abs(x - 1.0) < 0.1),
    "any": lambda x: _number(tf.reduce_any(_row(x) > 2.0, 1)),
    "all": lambda x: _number(tf.reduce_all(_row(x) > -2.0, 1)),
    "variance": lambda x: tf.math.reduce_variance(_row(x), 1),
    "norm": lambda x: tf.norm(_row(x), axis=1),
    "unit": lambda x: tf.math.l2_normalize(_row(x), 1),
    "local response": lambda x: tf.nn.local_response_normalization(_pictures(x)),
    "batch of matrices": lambda x: tf.matmul(_square(x), _square(x)),
    "batch of matrices, first version": lambda x: RAW.BatchMatMul(x=_square(x), y=_square(x)),
    "x log1p y": lambda x: tf.math.xlog1py(x, tf.reverse(x, [0])),
    "cross entropy": lambda x: tf.nn.softmax_cross_entropy_with_logits(
        tf.constant([[0.25, 0.5, 0.25, 0.0]]) + 0.0 * _row(tf.ones_like(x)), _row(x)
    ),
    "spectrum of pictures": lambda x: tf.abs(tf.signal.rfft2d(_pictures(x)[..., 1])),
    "adjoint": lambda x: tf.matmul(_square(x), _square(x), transpose_b=True),
    "einsum": lambda x: tf.einsum("bij,jk->bik", _square(x), tf.constant(KERNEL[:4].reshape(2, 2))),
    "cumulated before": lambda x: tf.cumsum(_row(x), 1, exclusive=True),
    "cumulated behind": lambda x: tf.cumsum(_row(x), 1, reverse=True),
    "spectrum": lambda x: tf.abs(tf.signal.rfft(_row(x))),
    "real part": lambda x: tf.math.real(tf.signal.rfft(_row(x))),
    "imaginary part": lambda x: tf.math.imag(tf.signal.rfft(_row(x))),
    # what moves numbers
    "cast and back": lambda x: tf.cast(_number(tf.clip_by_value(x, 0.0, 9.0)), tf.float32),
    "bits": lambda x: tf.bitcast(x, tf.int32),
    "halves": lambda x: tf.cast(tf.cast(x, tf.float16), tf.float32),
    "broadcast": lambda x: tf.broadcast_to(x, tf.stack([tf.shape(x)[0], 3])),
    "broadcast together": lambda x: tf.broadcast_to(
        x, RAW.BroadcastArgs(s0=tf.shape(x), s1=tf.constant([1, 3]))
    ),
    "filled": lambda x: x + tf.fill(tf.shape(x), 2.0),
    "ones": tf.ones_like,
    "zeros": tf.zeros_like,
    "rank": lambda x: x * tf.cast(tf.rank(x), tf.float32),
    "size": lambda x: x * 0.0 + tf.cast(tf.size(x), tf.float32),
    "range": lambda x: _number(x > 1) + tf.range(tf.shape(x)[1]),
    "stacked": lambda x: tf.stack([x, -x], 1),
    "unstacked": lambda x: tf.unstack(_row(x), axis=1)[1],
    "split": lambda x: tf.split(_row(x), 2, 1)[0],
    "split unevenly": lambda x: tf.split(_row(x), [1, 3], 1)[1],
    "slice": lambda x: tf.slice(_row(x), [0, 1], [-1, 2]),
    "every second": lambda x: _row(x)[:, ::2],
    "backwards": lambda x: _row(x)[:, ::-1],
    "reversed": lambda x: tf.reverse(_row(x), [1]),
    "reversed in part": lambda x: (
        tf.reverse_sequence(_square(x)[:1], tf.constant([2]), seq_axis=1, batch_axis=0)
        + 0.0 * _square(x)
    ),
    "tiled": lambda x: tf.tile(_row(x), [1, 2]),
    "repeated": lambda x: tf.repeat(_row(x), 2, 1),
    "transposed": lambda x: tf.transpose(_square(x), [0, 2, 1]),
    "padded": lambda x: tf.pad(_row(x), [[0, 0], [1, 2]]),
    "padded with a number": lambda x: tf.pad(_row(x), [[0, 0], [1, 2]], constant_values=3.0),
    "padded with infinity": lambda x: tf.pad(_row(x), [[0, 0], [1, 2]], constant_values=np.inf),
    "mirrored": lambda x: tf.pad(_row(x), [[0, 0], [1, 2]], "REFLECT"),
    "mirrored with its edge": lambda x: tf.pad(_row(x), [[0, 0], [1, 2]], "SYMMETRIC"),
    "gathered": lambda x: tf.gather(_row(x), [1, 1, 0], axis=1),
    "gathered by batch": lambda x: tf.gather(_row(x), _places(_row(x)), batch_dims=1),
    "gathered by place": lambda x: tf.gather_nd(
        _row(x), tf.stack([tf.range(tf.shape(x)[0]), _places(x)[:, 0]], 1)
    ),
    "looked up": lambda x: tf.gather(tf.constant(KERNEL[:3]), _places(x)),
    "embedded": lambda x: tf.nn.embedding_lookup(
        tf.constant(np.resize(KERNEL, [3, 2])), _places(x)
    ),
    "each once": lambda x: tf.gather(*tf.unique(x[:, 0])),
    "where it is": lambda x: tf.shape(tf.where(x > 1))[:1] + _places(x),
    "of the best boxes": lambda x: (
        _places(x)
        + RAW.NonMaxSuppressionV4(
            boxes=tf.constant(np.resize(KERNEL, [3, 4])),
            scores=tf.add(tf.cast(_places(x)[:3, 0], tf.float32), [0.3, 0.2, 0.1]),
            max_output_size=3,
            iou_threshold=0.5,
            score_threshold=0.0,
            pad_to_max_output_size=True,
        ).selected_indices[None]
    ),
    "of the best boxes, less": lambda x: (
        x * 0.0
        + RAW.NonMaxSuppressionV5(
            boxes=tf.constant(np.resize(KERNEL, [3, 4])),
            scores=tf.add(tf.cast(_places(x)[:3, 0], tf.float32), [0.3, 0.2, 0.1]),
            max_output_size=3,
            iou_threshold=0.5,
            score_threshold=0.0,
            soft_nms_sigma=0.5,
            pad_to_max_output_size=True,
        ).selected_scores[None]
    ),
    "made dense": lambda x: (
        x
        + RAW.SparseToDense(
            sparse_indices=_places(x)[:1, 0],
            output_shape=[4],
            sparse_values=[2.0],
            default_value=0.0,
        )
    ),
    "permutation": lambda x: tf.gather(
        _row(x), tf.math.invert_permutation(tf.constant([2, 0, 3, 1])), axis=1
    ),
    "scattered": lambda x: tf.scatter_nd([[1], [3]], tf.stack([KERNEL[0], 2.0]), [4]) + _row(x),
    "added at": lambda x: tf.tensor_scatter_nd_add(_row(x), [[0, 0]], [5.0]),
    "updated": lambda x: tf.tensor_scatter_nd_update(_row(x), [[0, 0]], [5.0]),
    "sums of segments": lambda x: tf.transpose(
        tf.math.segment_sum(tf.transpose(_row(x)), tf.constant([0, 0, 1, 2]))
    ),
    "sums of unsorted segments": lambda x: tf.transpose(
        tf.math.unsorted_segment_sum(tf.transpose(_row(x)), tf.constant([2, 0, 1, 0]), 3)
    ),
    "largest of segments": lambda x: tf.transpose(
        tf.math.unsorted_segment_max(tf.transpose(_row(x)), tf.constant([2, 0, 1, 0]), 3)
    ),
    "least of segments": lambda x: tf.transpose(
        tf.math.unsorted_segment_min(tf.transpose(_row(x)), tf.constant([2, 0, 1, 0]), 3)
    ),
    "products of segments": lambda x: tf.transpose(
        tf.math.unsorted_segment_prod(tf.transpose(_row(x)), tf.constant([2, 0, 1, 0]), 3)
    ),
    "diagonal": lambda x: tf.linalg.diag(_row(x)),
    "diagonal set": lambda x: tf.linalg.set_diag(_square(x), _row(x)[:, :2]),
    "band": lambda x: tf.linalg.band_part(_square(x), 0, -1),
    "depth to space": lambda x: tf.nn.depth_to_space(tf.reshape(_row(x), [-1, 1, 1, 4]), 2),
    "space to depth": lambda x: tf.nn.space_to_depth(_pictures(x), 2),
    "batch to space": lambda x: tf.batch_to_space(
        tf.space_to_batch(_pictures(x), [2, 2], [[0, 0], [0, 0]]) * 2.0, [2, 2], [[0, 0], [0, 0]]
    ),
    "resized": lambda x: tf.compat.v1.image.resize_bilinear(_pictures(x), [8, 8]),
    "resized between": lambda x: tf.image.resize(_pictures(x), [8, 8]),
    "resized to the nearest": lambda x: tf.image.resize(_pictures(x), [8, 8], "nearest"),
    # what pools, and convolutions
    "mean pool": lambda x: tf.nn.avg_pool1d(_series(x), 3, 1, "SAME"),
    "mean pool of pictures": lambda x: tf.nn.avg_pool2d(_pictures(x), 2, 2, "VALID"),
    "global mean": lambda x: tf.reduce_mean(_pictures(x), [1, 2]),
    "global max": lambda x: tf.reduce_max(_series(x), 1),
    "convolution": _convolved(3),
    "convolution without padding": _convolved(3, "VALID"),
    "convolution of pictures": lambda x: tf.nn.conv2d(
        _pictures(x), np.resize(KERNEL, [3, 3, 2, 3]), 1, "SAME"
    ),
    "strided": lambda x: tf.nn.conv2d(_pictures(x), np.resize(KERNEL, [3, 3, 2, 3]), 2, "SAME"),
    "convolution of one channel": _convolved(5, made=1),
    "convolution of volumes": lambda x: tf.nn.conv3d(
        tf.expand_dims(_pictures(x), 1), np.resize(KERNEL, [1, 2, 2, 2, 2]), [1] * 5, "SAME"
    ),
    "transposed convolution of volumes": lambda x: tf.nn.conv3d_transpose(
        tf.expand_dims(_pictures(x), 1),
        np.resize(KERNEL, [1, 2, 2, 3, 2]),
        tf.stack([tf.shape(x)[0], 1, 8, 8, 3]),
        [1, 2, 2],
    ),
    "transposed convolution": lambda x: tf.nn.conv2d_transpose(
        _pictures(x), np.resize(KERNEL, [2, 2, 3, 2]), tf.stack([tf.shape(x)[0], 8, 8, 3]), 2
    ),
    "depthwise of 1": _depthwise(1, 1),
    "depthwise of 3 x 3": _depthwise(3, 3),
    "depthwise of 1 x 5": _depthwise(1, 5),
}

PICTURE = "pictures and volumes have no missing and no infinite values, and a test is a map each"
NEIGHBOUR = "a neighbour that counts 0 times is multiplied by 0, which is NaN for an infinite one"
BOUNDED = "LiteRT's own kernels, which run where XNNPACK does not, have no infinity"
# where LiteRT differs, at what is not finite or overflows, and why that may be
MAY_DIFFER = {
    "convolution of one channel": NEIGHBOUR,
    "convolution of volumes": PICTURE,
    "depthwise of 1 x 5": NEIGHBOUR,
    "each once": "two NaN are not equal, so LiteRT does not find the numbers behind one",
    "fake quantisation": "what is trained for integers has no missing values",
    "mean pool of pictures": PICTURE,
    "resized": NEIGHBOUR,
    "resized between": NEIGHBOUR,
    "spectrum of pictures": PICTURE,
    "transposed convolution": BOUNDED,
    "transposed convolution of volumes": BOUNDED,
}
EVERYWHERE = ("each once",)  # one NaN moves the others' places
# LiteRT's operators that none of these tables makes, and why
CHANCE = "gives what chance has it"
NONE = "made of no operator of TensorFlow"
STATE = "of variables, which are constants once a model is converted"
TABLES = "a lookup, which lowering_cases asks"
ABSENT = {
    **dict.fromkeys(("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"), CHANCE),
    **dict.fromkeys(("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE"), STATE),
    **dict.fromkeys(("HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE"), TABLES),
    **dict.fromkeys(("BITWISE_XOR", "RIGHT_SHIFT"), "of whole numbers, which integer_cases asks"),
    **dict.fromkeys(("DYNAMIC_UPDATE_SLICE", "WHILE"), "of loops, see test_convert_recurrent"),
    **dict.fromkeys(("L2_NORMALIZATION", "ADD_N"), "lowered to others that have infinity"),
    "FLOOR_DIV": "lowered to others: LiteRT divides, and then rounds down",
    **dict.fromkeys(("RANK", "SQUEEZE"), "known when a model is converted, or a reshape"),
    **dict.fromkeys(("PRELU", "RELU_0_TO_1"), "asked as what they are made of"),
    "FAKE_QUANT": "integers there and back, once converted",
    **dict.fromkeys(
        (
            *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "CALL"),
            *("CONCAT_EMBEDDINGS", "CUSTOM", "DELEGATE", "DENSIFY", "DILATE", "EMBEDDING_LOOKUP"),
            *("EMBEDDING_LOOKUP_SPARSE", "HASHTABLE_LOOKUP", "L2_POOL_2D", "LSH_PROJECTION"),
            *("LSTM", "PLACEHOLDER_FOR_GREATER_OP_CODES", "REDUCE_WINDOW", "RNN", "SKIP_GRAM"),
            *("SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
        ),
        NONE,
    ),
}
