"""Make mobile_gpu/operators.tflite: many operators side by side, taken by a GPU or not.

`python tests/data/make_mobile_gpu.py` writes it with the TensorFlow that edgeline has. What
TensorFlow's analyzer says of each is in mobile_gpu/analyzer.json, written by

    python tests/data/make_mobile_gpu.py --analyse

with TensorFlow 2.17, the last whose wheels check anything (see
edgeline/components/check/mobile_gpu_rules.py).
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent / "mobile_gpu"


def build() -> bytes:
    import tensorflow as tf

    image = tf.TensorSpec([1, 8, 8, 4], tf.float32, "image")
    other = tf.TensorSpec([1, 8, 8, 4], tf.float32, "other")
    row = tf.TensorSpec([1, 16], tf.float32, "row")
    one = tf.TensorSpec([1, 8, 8, 1], tf.float32, "one")
    whole = tf.TensorSpec([1, 4], tf.int32, "whole")
    five = tf.TensorSpec([1, 2, 3, 4, 5], tf.float32, "five")
    steps = tf.TensorSpec([4], tf.int32, "steps")
    amounts = tf.TensorSpec([4, 2], tf.int32, "amounts")
    kernel = tf.ones([3, 3, 4, 8])
    deep = tf.ones([3, 3, 4, 1])
    deep_two = tf.ones([3, 3, 4, 2])
    matrix = tf.ones([16, 10])

    @tf.function(
        input_signature=[image, other, row, one, whole, five, steps, amounts], autograph=False
    )
    def all_of_them(image, other, row, one, whole, five, steps, amounts):
        positive = tf.abs(image) + 1.0
        mask = image > other
        found = [
            *(f(image) for f in (tf.abs, tf.math.ceil, tf.cos, tf.nn.elu, tf.exp, tf.floor)),
            *(f(image) for f in (tf.nn.gelu, tf.sigmoid, tf.negative, tf.sign, tf.sin)),
            *(f(image) for f in (tf.square, tf.tanh, tf.round, tf.nn.relu, tf.nn.relu6)),
            *(f(positive) for f in (tf.math.log, tf.math.rsqrt, tf.sqrt)),
            tf.nn.leaky_relu(image),
            tf.atan2(image, other),
            image / other,
            tf.math.floordiv(image, other),
            tf.math.floormod(image, other),
            tf.maximum(image, other),
            tf.minimum(image, 0.5),
            tf.pow(positive, other),
            tf.math.squared_difference(image, other),
            image - other,
            image - 1.0,
            image + other,
            image + tf.ones([4]),
            image + tf.ones([8, 4]),
            tf.add_n([image, other, positive]),
            image * other,
            image * tf.ones([4]),
            image[:, :1] * image[:, :, :1],
            tf.cast(mask, tf.float32),
            tf.cast(image > other, tf.int32),
            tf.cast(tf.logical_and(mask, image < 1.0), tf.float32),
            tf.cast(tf.logical_or(mask, image <= 1.0), tf.float32),
            tf.cast(tf.logical_not(tf.equal(image, other)), tf.float32),
            tf.cast(tf.not_equal(image, other), tf.float32),
            tf.cast(image >= other, tf.float32),
            tf.cast(whole, tf.float32),
            tf.cast(whole, tf.int64),
            tf.where(mask, image, other),
            tf.where(mask, image, 0.0),
            tf.where(mask, image, tf.ones([4])),
            tf.nn.conv2d(image, kernel, 1, "SAME"),
            tf.nn.conv2d(image, kernel, 1, "SAME", dilations=2),
            tf.nn.conv2d(image, tf.reshape(row[:, :16], [1, 1, 4, 4]), 1, "SAME"),
            tf.nn.depthwise_conv2d(image, deep, [1, 1, 1, 1], "SAME"),
            tf.nn.depthwise_conv2d(image, deep_two, [1, 1, 1, 1], "SAME"),
            tf.nn.depthwise_conv2d(one, tf.ones([3, 3, 1, 4]), [1, 1, 1, 1], "SAME"),
            tf.nn.conv2d_transpose(image, tf.ones([3, 3, 2, 4]), [1, 16, 16, 2], 2),
            tf.nn.avg_pool2d(image, 2, 2, "SAME"),
            tf.nn.max_pool2d(image, 2, 2, "SAME"),
            tf.matmul(row, matrix),
            tf.matmul(image, other, transpose_b=True),
            tf.nn.softmax(row),
            tf.nn.log_softmax(row),
            tf.concat([image, other], 3),
            tf.stack([row, row], 1),
            *tf.unstack(row, axis=0),
            *tf.split(image, 2, 3),
            *tf.split(image, [1, 3], 3),
            tf.reshape(image, [1, 256]),
            tf.expand_dims(image, 1),
            tf.squeeze(image[:, :1], 1),
            tf.transpose(image, [0, 3, 1, 2]),
            tf.tile(image, [1, 2, 1, 1]),
            tf.tile(image, steps),
            tf.slice(image, [0, 1, 1, 0], [1, 2, 2, 4]),
            tf.slice(row, [0, 1], [1, 2]),
            image[:, 1:3, ::2],
            image[:, 1],
            row[:, 2:4],
            tf.reverse(image, [1]),
            tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]]),
            tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1.0),
            tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"),
            tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"),
            tf.pad(row, [[0, 0], [1, 1]]),
            tf.pad(image, amounts),
            tf.image.resize(image, [16, 16]),
            tf.image.resize(image, [16, 16], "nearest"),
            tf.nn.depth_to_space(image, 2),
            tf.nn.space_to_depth(image, 2),
            tf.space_to_batch(image, [2, 2], [[0, 0], [0, 0]]),
            tf.batch_to_space(tf.tile(image, [4, 1, 1, 1]), [2, 2], [[0, 0], [0, 0]]),
            tf.reduce_mean(image, [1, 2]),
            tf.reduce_sum(image, [1, 2]),
            tf.reduce_max(image, [1, 2]),
            tf.reduce_min(image, [3]),
            tf.reduce_prod(image, [3]),
            tf.reduce_any(mask, [3]),
            tf.argmax(row, 1),
            tf.argmin(row, 1, tf.int32),
            *tf.math.top_k(row, 3),
            tf.cumsum(image, 1),
            tf.one_hot(whole, 10),
            tf.gather(image, [1, 2], axis=1),
            tf.gather(image, steps[:2], axis=1),
            tf.gather(tf.ones([10, 4]), whole),
            tf.gather_nd(image, [[0, 1], [0, 2]]),
            tf.nn.local_response_normalization(image),
            tf.nn.l2_normalize(row, 1),
            tf.shape(five),
            five * 2.0,
            tf.reshape(five, [1, 2, 3, 20]),
            tf.range(tf.reduce_max(steps)),
            tf.fill(steps[:1], 1.0),
            tf.broadcast_to(row, [3, 16]),
        ]
        return {f"out_{number:03}": value for number, value in enumerate(found)}

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [all_of_them.get_concrete_function()], all_of_them
    )
    return converter.convert()


def analyse(content: bytes) -> dict[str, str]:
    """What the analyzer says against each operator of the first subgraph, by its index."""
    import tensorflow as tf

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        tf.lite.experimental.Analyzer.analyze(model_content=content, gpu_compatibility=True)
    refused, last = {}, ""
    for line in printed.getvalue().split("\n\nTensors of Subgraph#0")[0].splitlines():
        if found := re.match(r"\s+Op#(\d+) ", line):
            last = found[1]
        elif line.startswith("GPU COMPATIBILITY WARNING: ") and "Subgraph#" not in line:
            refused[last] = line.partition(": ")[2]
    return refused


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    if "--analyse" in sys.argv:
        import tensorflow as tf

        document = {
            "tensorflow": tf.__version__,
            "refused": analyse((HERE / "operators.tflite").read_bytes()),
        }
        (HERE / "analyzer.json").write_text(json.dumps(document, indent=1) + "\n")
    else:
        (HERE / "operators.tflite").write_bytes(build())
