"""A declared search as an OptimizationJob of Kubeflow Trainer (trainer.kubeflow.org/v1alpha1).

Each trial is a TrainJob of one node, made of the TrainingRuntime that stands beside it. Trainer
tells it hyperparameters by variables and takes the objective from the status that it reports.
https://github.com/kubeflow/trainer/tree/master/proposals/2605-optimization-job-crd
"""

from __future__ import annotations

from typing import Any

from edgeline.client.declared_search import (
    COMMAND,
    COMPONENT,
    IMAGE,
    LABELS,
    POD_LABELS,
    TRIAL,
    DeclaredSearch,
)
from edgeline.components.tune import texts
from edgeline.components.tune.search import RANDOM
from edgeline.components.tune.space import Dimension
from edgeline.environments.environment import Environment
from edgeline.environments.workload_pod import pod_template, take_queue
from edgeline.errors import UsageError

Json = dict[str, Any]
NAME = "An OptimizationJob"
NODE = "node"  # the job and the container that Trainer looks for
VERSION = "trainer.kubeflow.org/v1alpha1"
MOST = 100  # trials


def documents(
    search: DeclaredSearch, environment: Environment, namespace: str
) -> tuple[Json, Json]:
    """The TrainingRuntime with a trial's pod, and the OptimizationJob.

    An OptimizationJob has one objective, the first; what else a trial measured is in the status of
    its TrainJob.

    Raises:
        UsageError: it has no such sampler, or fewer trials than asked for.
        EdgelineError: as `edgeline.environments.workload_pod.pod_template`.
    """
    if search.sampler != RANDOM:
        raise UsageError(
            f"An OptimizationJob has no sampler {search.sampler} yet: set sampler={RANDOM}."
        )
    if search.trials > MOST:
        raise UsageError(f"An OptimizationJob has at most {MOST} trials: set fewer trials.")
    pod = pod_template(
        *(environment, COMPONENT, IMAGE, NODE, COMMAND),
        {TRIAL: search.told},
        POD_LABELS,
    )
    queue = take_queue(pod)
    runtime_spec = _runtime(pod)
    first = search.objectives[0]
    spec: Json = {
        "objectives": [{"metric": first.name, "direction": first.direction.title()}],
        "searchAlgorithm": {"random": {"seed": search.seed}},
        "parameters": [
            {"name": each.name, "searchSpace": _search_space(each)} for each in search.dimensions
        ],
        "numTrials": search.trials,
        "parallelTrials": search.jobs,
    }
    name = search.named({"runtime": runtime_spec, "search": spec, "queue": queue})
    spec["trainJobTemplate"] = {
        "metadata": {"labels": {**LABELS, **queue}},
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "TrainingRuntime",
                "name": name,
            }
        },
    }
    metadata = {"name": name, "namespace": namespace, "labels": LABELS}
    return (
        {
            "apiVersion": VERSION,
            "kind": "TrainingRuntime",
            "metadata": metadata,
            "spec": runtime_spec,
        },
        {"apiVersion": VERSION, "kind": "OptimizationJob", "metadata": metadata, "spec": spec},
    )


def _runtime(pod: Json) -> Json:
    labels = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    job = {"backoffLimit": 0, "template": pod}
    return {
        "mlPolicy": {"numNodes": 1},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {"name": NODE, "template": {"metadata": {"labels": labels}, "spec": job}}
                ]
            }
        },
    }


def _search_space(dimension: Dimension) -> Json:
    if found := texts.choices(dimension, dimension.name):
        return {"categorical": {"choices": list(found)}}
    kind = "Int" if dimension.integer else "Float"
    ends = {**texts.ends(dimension), "type": kind}
    return {"logUniform" if dimension.log else "uniform": ends}
