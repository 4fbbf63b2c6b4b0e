"""What publish leaves of a version: the bundle with what is known of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts.bundle import Bundle, Signature, write_manifest

MODEL = Path(__file__).parents[1] / "data" / "line.tflite"


def publish(folder: Path, name: str, task: str = "regression", destination: str = "models") -> Path:
    """A bundle of version 1 in a folder, as published to DESTINATION/NAME/1 below it.

    Args:
        task: what makes its content another one.
    """
    with artifacts.writing(folder / "bundle", "bundle/v1") as draft:
        shutil.copy(MODEL, draft.path / "model.tflite")
        bundle = Bundle(
            name=name,
            version=1,
            target="litert",
            model="model.tflite",
            task=task,
            quantisation="float",
            takes="raw",
            signature=Signature((), ()),
            features=(),
            files=artifacts.list_files(draft.path),
            provenance={"data_digest": "d" * 64, "git_commit": "c0ffee", "run": "run-9"},
        )
        write_manifest(draft.path, bundle)
        draft.metadata |= {
            "name": name,
            "version": 1,
            "uri": str(folder / destination / name / "1"),
        }
    return folder / "bundle"
