"""Bundles of the models in tests/data, as publish leaves them, and pictures for these models."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from edgeline import artifacts
from edgeline.artifacts import calibration
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.artifacts.features import Feature
from edgeline.components.compile import forms

DATA = Path(__file__).parents[1] / "data"
MOBILENET = DATA / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
PHOTOGRAPHS = (DATA / "coral" / "cat_720p.jpg", DATA / "coral" / "parrot.jpg")


def bundle(
    folder: Path,
    model: Path,
    task: str = "multiclass_classification",
    made: calibration.Calibration | None = None,
    **fields: object,
) -> Path:
    """A bundle of a LiteRT file.

    Args:
        made: becomes its `calibration.json`.
        fields: of the manifest, beside or in place of the usual ones.
    """
    folder.mkdir(parents=True)
    shutil.copy(model, folder / "model.tflite")
    if made is not None:
        (folder / calibration.FILE).write_bytes(calibration.dumps(made))
    signature = fields.pop("signature", None) or forms.litert(model).signature
    told = {
        "name": "pictures",
        "version": 3,
        "target": "litert",
        "model": "model.tflite",
        "quantisation": "float",
        "takes": "raw",
        "features": tuple(
            Feature(each.name, each.dtype, each.shape[1:]) for each in signature.inputs
        ),
        **fields,
    }
    write_manifest(
        folder,
        Bundle(task=task, signature=signature, files=artifacts.list_files(folder), **told),
    )
    return folder


def names_of_imagenet() -> tuple[str, ...]:
    """One for each of the 1,001 classes of MobileNet."""
    return tuple((DATA / "coral" / "imagenet_labels.txt").read_text().splitlines())


def crops(count: int, side: int) -> np.ndarray:
    """Parts of two photographs, of any size, scaled: uint8 [count, side, side, 3]."""
    random = np.random.default_rng(24)
    photographs = [Image.open(file).convert("RGB") for file in PHOTOGRAPHS]
    found = []
    for number in range(count):
        photograph = photographs[number % 2]
        size = int(random.integers(side, min(photograph.size)))
        left, top = (int(random.integers(0, whole - size + 1)) for whole in photograph.size)
        part = photograph.crop((left, top, left + size, top + size)).resize((side, side))
        found.append(np.asarray(part))
    return np.stack(found)


def input_of(model: Path) -> str:
    """The name of a model's one input."""
    [tensor] = forms.litert(model).signature.inputs
    return tensor.name
