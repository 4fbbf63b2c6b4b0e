"""What MediaPipe answers; run by MediaPipe's own Python (see build_mediapipe.sh).

python mediapipe_answers.py classify|detect MODEL PICTURES.npy, uint8 [n, height, width, 3]; prints
a list of each picture's answers as JSON.
"""

import json
import sys

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def classify(model, pictures):
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=model), max_results=3)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for picture in pictures:
            [found] = classifier.classify(picture).classifications
            yield [[each.index, each.category_name, each.score] for each in found.categories]


def detect(model, pictures):
    options = vision.ObjectDetectorOptions(BaseOptions(model_asset_path=model))
    with vision.ObjectDetector.create_from_options(options) as detector:
        for picture in pictures:
            yield [
                [
                    [box.origin_x, box.origin_y, box.width, box.height],
                    each.categories[0].category_name,
                    each.categories[0].score,
                ]
                for each in detector.detect(picture).detections
                for box in [each.bounding_box]
            ]


def main(task, model, file):
    pictures = (
        mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(array))
        for array in np.load(file)
    )
    print(json.dumps(list({"classify": classify, "detect": detect}[task](model, pictures))))


main(*sys.argv[1:])
