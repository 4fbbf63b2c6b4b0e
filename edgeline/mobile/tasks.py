"""What a model is exported for, and why MediaPipe's tasks could not take it.

The rules are those of MediaPipe Tasks' vision graphs (mediapipe/tasks/cc/vision/utils/
image_tensor_specs.cc, components/processors/classification_postprocessing_graph.cc and
detection_postprocessing_graph.cc), so that a refusal comes here and not in the app.
"""

from __future__ import annotations

from edgeline.artifacts.bundle import BINARY, Bundle, Tensor
from edgeline.artifacts.calibration import MULTICLASS
from edgeline.formats.tflite import Model, Subgraph
from edgeline.mobile.tensors import ordered

CLASSIFIER, DETECTOR, INTERPRETER = "image-classifier", "object-detector", "interpreter"
TASKS = (CLASSIFIER, DETECTOR, INTERPRETER)
WORDS = {
    CLASSIFIER: "MediaPipe's image classifier",
    DETECTOR: "MediaPipe's object detector",
    INTERPRETER: "LiteRT's interpreter",
}
DETECTION = "TFLite_Detection_PostProcess"
TYPES = ("float32", "uint8")
_PICTURE = f"one RGB picture of {' or '.join(TYPES)}"
TAKES = {
    CLASSIFIER: f"a classifier of {_PICTURE}, with one score of these types for each class",
    DETECTOR: f"{_PICTURE} and the four outputs of {DETECTION}",
}


def usual(model: Model) -> str:
    """The task of a model whose export says none."""
    return DETECTOR if _detections(model.subgraphs[0]) else CLASSIFIER


def fault(task: str, bundle: Bundle, model: Model) -> str:
    """Why a task of MediaPipe's cannot take a model, as the end of "… cannot take it: "; or ""."""
    if len(model.subgraphs) > 1:
        return f"it has {len(model.subgraphs)} subgraphs"
    tensors = ordered(model)
    if found := _of_inputs(tensors.inputs):
        return found
    if task == DETECTOR:
        return "" if _detections(model.subgraphs[0]) else f"it does not end with {DETECTION}"
    return _of_scores(tensors.outputs, bundle.task)


def _of_inputs(inputs: tuple[Tensor, ...]) -> str:
    if len(inputs) != 1:
        return f"it takes {len(inputs)} inputs ({_few([tensor.name for tensor in inputs])})"
    [tensor] = inputs
    shape = list(tensor.shape)
    if len(shape) != 4 or -1 in shape[1:]:
        return f"its input has shape {shape}, not that of a picture"
    if shape[0] not in (1, -1):
        return f"its input has a batch of {shape[0]}, not 1"
    if shape[3] != 3:
        return (
            f"its pictures have {shape[3]} channel{'s' * (shape[3] != 1)}, not 3 (trained here, "
            f"they have as many as the parameter images says: [{shape[1]}, {shape[2]}, 3])"
        )
    if tensor.dtype not in TYPES:
        return f"its input is {tensor.dtype} (an integer model made with io=uint8 takes uint8)"
    return ""


def _of_scores(outputs: tuple[Tensor, ...], task: str) -> str:
    if task not in (BINARY, MULTICLASS):
        return f"its task is {task or 'unknown'}, which has no classes"
    if len(outputs) != 1:
        return f"it gives {len(outputs)} outputs ({_few([tensor.name for tensor in outputs])})"
    [tensor] = outputs
    if len(tensor.shape) != 2 or tensor.shape[1] < 1:
        return f"its output has shape {list(tensor.shape)}, not one score for each class"
    if tensor.dtype not in TYPES:
        return f"its output is {tensor.dtype} (an integer model made with io=uint8 gives uint8)"
    return ""


def _detections(graph: Subgraph) -> bool:
    """Whether the outputs are those of the operator that ends a detector, in its order."""
    last = graph.operators[-1] if graph.operators else None
    return last is not None and last.name == DETECTION and last.outputs == graph.outputs


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
