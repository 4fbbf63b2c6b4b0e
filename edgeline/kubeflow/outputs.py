"""What a task says of its outputs, shortened before KFP's launcher adds to it.

The launcher notes with each artifact how its store is reached, unless the task has said something
of that (backend/src/v2/metadata/client.go, RecordArtifact). No task reads the note, which has the
settings of the run's root, and it is the longest part of an artifact's metadata: with a secret some
3 kB of a run's workflow for each input of each task, as it is written six times, each quote of it
as eight bytes. Kubeflow's page reads it, to open an artifact from a store that is not its own. So
reports, curves and bundles keep it, and folders that tasks hand to each other have an empty one,
with which the page uses its own settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeline.artifacts.folder import write_text

STORE = "store_session_info"
SCHEMA = "edgeline_schema"
KEPT = ("bundle/",)  # what people take from the page


def shorten(executor_input: Mapping[str, Any]) -> None:
    """Say of the folders that a task has made nothing of their store, in its output file.

    Args:
        executor_input: what the launcher hands a task, KFP's message ExecutorInput.
    """
    place = executor_input.get("outputs", {}).get("outputFile")
    if not place or not Path(place).is_file():  # a task may say nothing of its outputs
        return
    said = json.loads(Path(place).read_text("utf-8"))
    for metadata in _metadata(said):
        if is_handed_on(metadata):
            metadata.setdefault(STORE, "")
    write_text(Path(place), json.dumps(said))


def is_handed_on(metadata: Mapping[str, Any]) -> bool:
    """Whether an artifact is a folder of edgeline's that tasks hand to each other."""
    schema = str(metadata.get(SCHEMA) or "")
    return bool(schema) and not schema.startswith(KEPT)


def _metadata(said: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for made in said.get("artifacts", {}).values():
        for artifact in made.get("artifacts", ()):
            if isinstance(artifact.get("metadata"), dict):
                yield artifact["metadata"]
