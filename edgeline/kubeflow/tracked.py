"""What a task tells MLflow of itself, where Kubeflow gives it a run there, and what it registers.

With its MLflow plugin, Kubeflow Pipelines 2.17 makes a run in MLflow for each task, sets its
identifier and the server's address in the task's environment, and when the task has ended logs its
parameters and the numbers of its Metrics outputs (backend/src/v2/common/plugins/mlflow/handler.go).
So a task adds what Kubeflow does not log, and nothing else: the training by epoch, reports,
digests, the data that it read, and what it published.

Kubeflow's registry of models is told of what a task published where the environment names one
(`edgeline.tracking.registry`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

URI, RUN = "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"  # as the launcher sets them
NUMBERS = ("system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics")


def is_asked() -> bool:
    """Whether this task has a run in MLflow; those of `edgeline run` are told of by that."""
    from edgeline.stores.destinations import LOCAL_RUN

    return bool(os.environ.get(URI) and os.environ.get(RUN)) and LOCAL_RUN not in os.environ


def tell(executor_input: Mapping[str, Any]) -> None:
    """Log what a task has made, when it has ended well. It stays so whatever happens here.

    Args:
        executor_input: what the launcher hands a task, KFP's message ExecutorInput.
    """
    if not is_asked():
        return
    from edgeline.tracking.entries import of_pod
    from edgeline.tracking.sending import send

    try:
        places, uris = _artifacts(executor_input)
        entry = of_pod(round(1000 * time.time()), places, uris)
        why = "" if entry.is_empty else send(entry)
    except Exception as error:  # whatever it is, a good task is not to fail for it
        why = f"{type(error).__name__}: {error}"
    if why:
        print(
            f"MLflow has not got this task's reports, curves and digests: {why}. The run's store "
            "has them, and `edgeline runs track RUN --host URL` sends them when MLflow is back.",
            flush=True,
        )


def register(executor_input: Mapping[str, Any]) -> None:
    """Register what a task has published, when it has ended well. It stays so whatever happens.

    Args:
        executor_input: see `tell`.
    """
    from edgeline.stores.destinations import LOCAL_RUN
    from edgeline.tracking.registry import URL

    if not os.environ.get(URL) or LOCAL_RUN in os.environ:
        return
    from edgeline.artifacts.folder import schema_of
    from edgeline.tracking.entries import version_of
    from edgeline.tracking.registering import send

    try:
        places, _ = _artifacts(executor_input)
        bundles = [place for place in places.values() if schema_of(place).startswith("bundle/")]
        why = send([version_of(place) for place in bundles]) if bundles else ""
    except Exception as error:  # whatever it is, a good task is not to fail for it
        why = f"{type(error).__name__}: {error}"
    if why:
        print(
            f"Kubeflow's registry has not got what this task published: {why}. The run's store has "
            "it, and `edgeline runs register RUN --host URL` registers it when it is back.",
            flush=True,
        )


def _artifacts(executor_input: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Where the outputs of a task are in its pod and in the store, by name, without the numbers."""
    from kfp import dsl

    outputs = executor_input.get("outputs", {})
    places, uris = {}, {}
    for name, value in outputs.get("artifacts", {}).items():
        for artifact in value.get("artifacts", ())[:1]:
            if artifact.get("type", {}).get("schemaTitle") in NUMBERS:
                continue
            uris[name] = str(artifact.get("uri", ""))
            places[name] = str(artifact.get("customPath") or dsl.Artifact(uri=uris[name]).path)
    file = outputs.get("outputFile", "")
    if file and Path(file).is_file():  # what the task itself says of a place counts
        said = json.loads(Path(file).read_text("utf-8")).get("artifacts", {})
        for name, value in said.items():
            for artifact in value.get("artifacts", ())[:1]:
                if name in uris and artifact.get("uri"):
                    uris[name] = str(artifact["uri"])
    return places, uris
