"""Make detector.tflite: red and blue squares on a grid of 4 x 4, by TFLite_Detection_PostProcess.

The score of a cell is a sigmoid of how much more red (blue) it is on average than the other colour.
It is as small as a detector can be, and ends as all SSD-like ones do.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

SIDE, CELLS, MOST = 64, 4, 10
SIGNATURE = " ".join(
    [
        'name: "TFLite_Detection_PostProcess"',
        f'attr {{ key: "max_detections" value {{ i: {MOST} }} }}',
        'attr { key: "max_classes_per_detection" value { i: 1 } }',
        'attr { key: "use_regular_nms" value { b: false } }',
        'attr { key: "nms_score_threshold" value { f: 0.1 } }',
        'attr { key: "nms_iou_threshold" value { f: 0.5 } }',
        *(f'attr {{ key: "{axis}_scale" value {{ f: 10.0 }} }}' for axis in "yx"),
        *(f'attr {{ key: "{axis}_scale" value {{ f: 5.0 }} }}' for axis in "hw"),
        'attr { key: "num_classes" value { i: 2 } }',
    ]
)


@tf.function(experimental_implements=SIGNATURE)
def detections(boxes, scores, anchors):  # noqa: ARG001
    """What the converter replaces by the operator; only the shapes count."""
    return (
        tf.zeros([1, MOST, 4], name="boxes"),
        tf.zeros([1, MOST], name="classes"),
        tf.zeros([1, MOST], name="scores"),
        tf.zeros([1], name="count"),
    )


class Detector(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([1, SIDE, SIDE, 3], tf.float32, name="picture")])
    def serve(self, picture):
        means = tf.nn.avg_pool2d(picture / 255, SIDE // CELLS, SIDE // CELLS, "VALID")
        colours = tf.reshape(means, [1, CELLS * CELLS, 3])
        difference = colours[..., :1] - colours[..., 2:]
        foreground = tf.sigmoid(8 * tf.concat([difference, -difference], -1) - 4)
        scores = tf.concat([tf.zeros([1, CELLS * CELLS, 1]), foreground], -1)  # 0: the background
        centres = (np.stack(np.meshgrid(*2 * [np.arange(CELLS)], indexing="ij"), -1) + 0.5) / CELLS
        anchors = np.concatenate([centres.reshape(-1, 2), np.full([CELLS**2, 2], 1 / CELLS)], -1)
        boxes = tf.reshape(colours[..., :1] * 0.0, [1, -1, 1]) + tf.zeros([1, CELLS**2, 4])
        found = detections(boxes, scores, tf.constant(anchors, tf.float32))
        return dict(zip(("boxes", "classes", "scores", "count"), found, strict=True))


def main() -> None:
    module = Detector()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.serve.get_concrete_function()], module
    )
    converter.allow_custom_ops = True
    Path(__file__).with_name("detector.tflite").write_bytes(converter.convert())


main()
