"""A bundle's model in the words of TFLite Metadata: names, pictures, labels, score calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest

import numpy as np

from edgeline.artifacts import pixels
from edgeline.artifacts.bundle import BINARY, Bundle, Tensor, content_digest
from edgeline.errors import EdgelineError
from edgeline.formats.tflite import Model
from edgeline.formats.tflite_metadata import (
    AssociatedFile,
    FileKind,
    ModelMetadata,
    PerChannel,
    TensorContent,
    TensorMetadata,
    normalisations,
)
from edgeline.mobile.score_sigmoid import ScoreSigmoid
from edgeline.mobile.tasks import CLASSIFIER, DETECTOR
from edgeline.mobile.tensors import ordered

LABELS, CALIBRATION = "labels.txt", "score_calibration.txt"
MISSING = {"float32": "NaN", "int64": "-2**63", "string": "the empty string"}
GROUP = "detection_result"


def describe(
    task: str, bundle: Bundle, model: Model, sigmoid: ScoreSigmoid | None
) -> ModelMetadata:
    """The metadata of a model; `task` is one of `tasks.TASKS`.

    Raises:
        EdgelineError: a label breaks its line, or a classifier has more or fewer than scores.
    """
    tensors = ordered(model)
    groups = {}
    if task == DETECTOR:
        told = _detections(bundle)
        groups = {GROUP: tuple(tensor.name for tensor in told[:3])}
    else:
        told = tuple(_output(tensor, bundle, sigmoid) for tensor in tensors.outputs)
        if task == CLASSIFIER and bundle.labels and not _labels_of(tensors.outputs[0], bundle):
            raise EdgelineError(
                f"{bundle.name} {bundle.version} has {len(bundle.labels)} labels, but its output "
                f"{tensors.outputs[0].name!r} has {tensors.outputs[0].shape[1]} scores: publish it "
                "with the labels of its classes."
            )
    return ModelMetadata(
        name=bundle.name,
        version=str(bundle.version),
        description=_about(bundle),
        inputs=tuple(
            _input(tensor, bundle, own)
            for tensor, own in zip_longest(
                tensors.inputs, normalisations(model)[: len(tensors.inputs)]
            )
        ),
        outputs=told,
        groups=groups,
    )


def normalisation(tensor: Tensor) -> tuple[PerChannel, PerChannel]:
    """Mean and standard deviation of a picture's tensor: real value = (pixel - mean) / std.

    Whatever a model does with pixels before its network is inside it, so a tensor of floats takes
    them as they are; of integers that spread them over their range the scale says it.
    """
    if not pixels.over_range(tensor):
        return (0.0,), (1.0,)
    lowest = int(np.iinfo(tensor.dtype).min)
    return (float((tensor.zero_point or 0) - lowest),), (1.0 / (tensor.scale or 1.0),)


def unknown_pixels(bundle: Bundle, model: Model) -> bool:
    """Whether nobody told which numbers an imported model wants of a picture.

    A file of a trained network rarely says it; its own metadata do, and `scaling` at its import.
    """
    origin = bundle.provenance.get("origin")
    if not isinstance(origin, Mapping) or origin.get("scaling"):
        return False
    own = normalisations(model)
    pictures = [
        (pixels.takes_images(each) and each.dtype == "float32") for each in ordered(model).inputs
    ]
    return any(
        picture and own_ is None for picture, own_ in zip_longest(pictures, own[: len(pictures)])
    )


def _about(bundle: Bundle) -> str:
    said = [f"Version {bundle.version} of {bundle.name}, published by edgeline."]
    if bundle.decision_threshold is not None:
        said.append(f"Positive where the model's own score is above {bundle.decision_threshold:g}.")
    return " ".join([*said, f"sha256 of its content: {content_digest(bundle)}."])


def _input(
    tensor: Tensor, bundle: Bundle, own: tuple[PerChannel, PerChannel] | None
) -> TensorMetadata:
    if pixels.takes_images(tensor) and len(tensor.shape) == 4:
        height, width, channels = tensor.shape[1:]
        return TensorMetadata(
            tensor.name,
            f"A picture of {height} x {width}, {channels} channels, 0 is black.",
            TensorContent.RGB if channels == 3 else TensorContent.GREY,
            normalisation=(own if tensor.dtype == "float32" else None) or normalisation(tensor),
        )
    about = f"{tensor.dtype} {list(tensor.shape)}"
    if tensor.name in (bundle.not_proven_missing or ()):
        about += ", always with a value"
    elif tensor.dtype in MISSING and bundle.takes == "raw":
        about += f", {MISSING[tensor.dtype]} where it is missing"
    return TensorMetadata(tensor.name, f"{about}.")


def _output(tensor: Tensor, bundle: Bundle, sigmoid: ScoreSigmoid | None) -> TensorMetadata:
    about = f"{tensor.dtype} {list(tensor.shape)}"
    files = []
    if labels := _labels_of(tensor, bundle):
        files.append(_labels(labels, FileKind.AXIS_LABELS, bundle))
    if sigmoid is not None:
        content = sigmoid.lines(tensor.shape[1])
        about += ", scores; calibrated on the rows by which the bundle was verified"
        files.append(AssociatedFile(CALIBRATION, FileKind.SCORE_CALIBRATION, content))
    return TensorMetadata(
        tensor.name, f"{about}.", calibrated=sigmoid is not None, files=tuple(files)
    )


def _labels_of(tensor: Tensor, bundle: Bundle) -> tuple[str, ...]:
    """A label for each score of an output; none where it has as many others, or none at all."""
    if not bundle.labels or len(tensor.shape) != 2:
        return ()
    labels = bundle.labels
    if bundle.task == BINARY and tensor.shape[1] == 1:  # the positive class's score alone
        labels = labels[-1:]
    return labels if len(labels) == tensor.shape[1] else ()


def _detections(bundle: Bundle) -> tuple[TensorMetadata, ...]:
    """The four outputs of TFLite_Detection_PostProcess, by the names that MediaPipe looks for."""
    files = (_labels(bundle.labels, FileKind.VALUE_LABELS, bundle),) if bundle.labels else ()
    feature = TensorContent.FEATURE
    return (
        TensorMetadata(
            "location", "Top, left, bottom, right of each box, 0 to 1.", TensorContent.BOXES, axis=2
        ),
        TensorMetadata("category", "The class of each box, from 0.", feature, axis=2, files=files),
        TensorMetadata("score", "The score of each box.", feature, axis=2),
        TensorMetadata("number of detections", "How many boxes there are."),
    )


def _labels(labels: Iterable[str], kind: FileKind, bundle: Bundle) -> AssociatedFile:
    for label in labels:
        if not label or len(label.splitlines()) > 1:
            raise EdgelineError(
                f"The label {label[:40]!r} of {bundle.name} {bundle.version} is not one line, as a "
                "file of labels needs: name the class otherwise, and publish it again."
            )
    return AssociatedFile(LABELS, kind, "".join(f"{label}\n" for label in labels).encode())
