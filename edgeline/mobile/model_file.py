"""`edgeline mobile`: the model of a bundle as one .tflite file with TFLite Metadata.

The file is written beside the bundle and not into it, whose digests and signatures stay those of
what was verified; its description has the digest of the bundle's content. The model in it gives the
same answers as the bundle's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import calibration, pixels
from edgeline.artifacts.bundle import Bundle, Tensor
from edgeline.artifacts.folder import write_output
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.extras import extra_of
from edgeline.formats import tflite
from edgeline.formats.tflite_metadata import with_metadata
from edgeline.mobile import score_sigmoid, tasks
from edgeline.mobile.description import LABELS, describe, unknown_pixels
from edgeline.mobile.score_sigmoid import ScoreSigmoid
from edgeline.mobile.tasks import CLASSIFIER, INTERPRETER, TAKES, TASKS, WORDS
from edgeline.mobile.tensors import ordered
from edgeline.runtimes import isolated

FILE = "model.tflite"
LITERT, PACKAGE = "litert", "ai_edge_litert"


@dataclass(frozen=True)
class MobileModel:
    """What was written.

    Attributes:
        task: one of `tasks.TASKS`.
        sigmoid: by which its metadata calibrate scores; None where they do not.
        notes: sentences that whoever uses the file must read.
    """

    path: Path
    bundle: Bundle
    task: str
    labels: int
    sigmoid: ScoreSigmoid | None
    notes: tuple[str, ...]


def write(folder: Path, output: Path, task: str = "", model_scores: bool = False) -> MobileModel:
    """Write `model.tflite` of a bundle into a folder, whole or not at all.

    Args:
        folder: of the bundle.
        task: one of `tasks.TASKS`; "" for that of MediaPipe's tasks which the model is for.
        model_scores: whether scores stay the model's own, also where the bundle has a calibration.

    Raises:
        UsageError: there is no such task, or the output is a bundle.
        EdgelineError: the bundle is damaged or its model is not one for an app, or the task cannot
            take it.
    """
    if task and task not in TASKS:
        raise UsageError(f"There is no task {task!r}. {did_you_mean(task, TASKS)}")
    if (output / bundles.MANIFEST).exists():
        raise UsageError(f"{output} is a bundle, which is not written into: name another folder.")
    if importlib.util.find_spec(PACKAGE) is None:  # whose schema writes the file
        hint = f"pip install 'edgeline[{extra_of(PACKAGE)}]'"
        raise EdgelineError(f"Package {PACKAGE} is not installed: {hint}")
    bundle = bundles.read(folder)
    file = folder / bundle.model
    _refuse_what_no_app_runs(bundle)
    sigmoid = None if model_scores else _sigmoid(folder, bundle)
    result: tuple[bytes, MobileModel] = isolated.call(
        file, _made, file, bundle, task, sigmoid, output / FILE
    )
    content, made = result
    write_output(output / FILE, content, what="folder")
    return made


def _refuse_what_no_app_runs(bundle: Bundle) -> None:
    named = f"{bundle.name} {bundle.version}"
    if bundle.target != LITERT or not bundle.model.endswith(".tflite"):
        raise EdgelineError(
            f"{named} is made for {bundle.target}, which phones do not have: give the bundle of "
            "the same model for litert."
        )
    if bundle.host_operations is not None:
        raise EdgelineError(
            f"{named} needs {', '.join(bundle.host_operations.named)} before its model, and an "
            "app does not have these host operations: train without text, or serve it."
        )
    if bundle.windows is not None:
        raise EdgelineError(
            f"{named} answers windows of {bundle.windows.size} rows that its server keeps, and an "
            "app has no server: publish it with windows that the client keeps."
        )


def _sigmoid(folder: Path, bundle: Bundle) -> ScoreSigmoid | None:
    """What the bundle's calibration becomes; None where it has none."""
    if calibration.FILE not in bundle.files:
        return None
    return score_sigmoid.fit(calibration.read(folder / calibration.FILE))


def _made(
    tell: Callable[[str], None],
    file: Path,
    bundle: Bundle,
    task: str,
    sigmoid: ScoreSigmoid | None,
    path: Path,
) -> tuple[bytes, MobileModel]:
    """In a process of its own, as the bundle may be anybody's."""
    tell("read")
    model = tflite.read(file)
    task = task or tasks.usual(model)
    named = f"{bundle.name} {bundle.version}"
    if task != INTERPRETER and (fault := tasks.fault(task, bundle, model)):
        raise EdgelineError(
            f"{WORDS[task]} cannot take {named}: {fault}. It takes {TAKES[task]}; `--for "
            f"{INTERPRETER}` writes a file for LiteRT's own interpreter."
        )
    notes = []
    used = sigmoid if task == CLASSIFIER else None
    if used is not None and not used.useful:
        used = None
        notes.append(
            "The scores are the model's own: no sigmoid brings them nearer to how often they are "
            "right, and TFLite Metadata has nothing else."
        )
    metadata = describe(task, bundle, model, used)
    notes += _notes(task, bundle, model)
    tell("given its metadata")
    content = with_metadata(file.read_bytes(), metadata)
    labels = [file.content.splitlines() for file in metadata.files if file.name == LABELS]
    return content, MobileModel(path, bundle, task, sum(map(len, labels)), used, tuple(notes))


def _notes(task: str, bundle: Bundle, model: tflite.Model) -> list[str]:
    notes = []
    if unknown_pixels(bundle, model):
        notes.append(
            "The model was imported, and nobody said by which mean and deviation it wants pixels: "
            "it gets them from 0 to 255, as verify gave them. If it was trained on others, import "
            "it with scaling, or with metadata of its own."
        )
    if task != INTERPRETER:
        tensor = ordered(model).inputs[0]
        if not bundle.labels:
            notes.append("The bundle has no labels: MediaPipe gives numbers of classes.")
        if _shifts_pixels(tensor):
            notes.append(
                "MediaPipe gives pixels as they are, which the model's input reads as "
                f"{tensor.scale:g} times as much: answers may differ a little from the server's."
            )
    if bundle.decision_threshold is not None:
        notes.append(
            f"The bundle decides by the threshold {bundle.decision_threshold:g} of the model's own "
            "scores, which neither MediaPipe nor the interpreter does: decide by it in the app."
        )
    return notes


def _shifts_pixels(tensor: Tensor) -> bool:
    """Whether a stored integer that is the pixel is another real value than the pixel's."""
    if tensor.dtype != "uint8" or tensor.scale is None or pixels.over_range(tensor):
        return False
    return tensor.scale != 1 or bool(tensor.zero_point)
