"""The trainings of runs as logs that TensorBoard reads, by epoch and by step.

A log is a TFRecord file of `Event` messages (tensorflow/core/util/event.proto), which are few
fields: they are written here, so that nothing has to be imported or installed for it.
"""

from __future__ import annotations

import calendar
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from edgeline.errors import EdgelineError
from edgeline.formats import typed
from edgeline.local import embeddings
from edgeline.local.comparison import OF_EPOCHS
from edgeline.local.runs import KeptRun

OF_STEPS = "steps.json"  # of train, in the folder of its model: points of `steps.watched`
_OF_STEP = ("step_loss", "learning_rate", "step_gradient_norm")
TRAIN, EVAL = "train", "eval"  # as folders, so that TensorBoard draws both into one figure
_VALIDATION = "val_"
_EPOCHS = Mapping[str, tuple[float | None, ...]]  # null is what was not finite
_STEPS = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class _Training:
    """The model of a training, where its logs go, and when its run began (s since 1970)."""

    model: Path
    folder: Path
    began: int


def write(runs: Sequence[KeptRun], folder: Path, projector: bool = False) -> list[Path]:
    """Write the logs of some runs, a folder for each training.

    Args:
        projector: whether the vectors of Embedding layers are written, too, which needs
            TensorFlow (see `edgeline.local.embeddings`).

    Returns:
        The files: `RUN[/TASK]/train/events.out.tfevents.…` and the same of `eval`, and what the
        projector reads beside the former.

    Raises:
        EdgelineError: none of the runs has trained, or none a network with an Embedding layer.
    """
    trainings = [training for run in runs for training in _of_run(run, folder)]
    names = ", ".join(run.name for run in runs) or "that are there"
    if not trainings:
        raise EdgelineError(f"No task of the runs {names} has trained a model: name others.")
    with_vectors = [each for each in trainings if projector and embeddings.told(each.model)]
    if projector and not with_vectors:
        raise EdgelineError(
            f"No model of the runs {names} has an Embedding layer, or says so (those of older "
            "versions do not): name others, or leave --projector out."
        )
    found = []
    for each in trainings:
        for side, events in _events(each.model, float(each.began)).items():
            if events:
                found.append(_file(each.folder / side, each.began, events))
        if each in with_vectors:
            found += embeddings.write(each.model, each.folder / TRAIN)
    return found


def _of_run(run: KeptRun, folder: Path) -> Iterator[_Training]:
    models = {
        task: Path(str(artifact["uri"]))
        for task, each in run.result.tasks.items()
        for artifact in each.artifacts.values()
        if str(artifact["metadata"].get("edgeline_schema", "")).startswith("model/")
    }
    trained = {task: path for task, path in models.items() if (path / OF_EPOCHS).is_file()}
    began = calendar.timegm(time.strptime(run.record["started"][:19], "%Y-%m-%dT%H:%M:%S"))
    for task, path in trained.items():
        place = folder / run.name if len(trained) == 1 else folder / run.name / task
        yield _Training(path, place, began)


def _events(model: Path, began: float) -> dict[str, list[bytes]]:
    """The events of a model's training. No time is known but that of the run, so it is theirs."""
    found: dict[str, list[bytes]] = {TRAIN: [], EVAL: []}
    epochs = typed.convert(typed.read(model / OF_EPOCHS), _EPOCHS, str(model / OF_EPOCHS))
    for name, values in epochs.items():
        side = EVAL if name.startswith(_VALIDATION) else TRAIN
        tag = f"epoch_{name.removeprefix(_VALIDATION)}"
        found[side] += [
            _scalar(began, number, tag, value)
            for number, value in enumerate(values)
            if value is not None
        ]
    file = model / OF_STEPS
    for step, *values in (
        typed.convert(typed.read(file), _STEPS, str(file)) if file.is_file() else ()
    ):
        for tag, value in zip(_OF_STEP, values, strict=False):  # older versions have no norm
            if step is not None and value is not None:
                found[TRAIN].append(_scalar(began, int(step), tag, value))
    return found


def _file(folder: Path, began: int, events: Sequence[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{began:010}.edgeline"
    version = _double(1, float(began)) + _bytes(3, b"brain.Event:2")
    path.write_bytes(b"".join(map(_record, [version, *events])))
    return path


def _scalar(when: float, step: int, tag: str, value: float) -> bytes:
    """An Event: wall_time 1, step 2, summary 5, with one value: tag 1, simple_value 2."""
    told = _bytes(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
    return _double(1, when) + b"\x10" + _varint(step) + _bytes(5, _bytes(1, told))


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    found = []
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _record(data: bytes) -> bytes:
    """As `edgeline.components.ingest.tfrecord_file` says."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc: int = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
