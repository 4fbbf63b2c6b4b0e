"""A declared search as an Experiment of Katib (kubeflow.org/v1beta1).

Katib makes each trial of a template, in which it replaces `${trialParameters.NAME}`, and reads what
the trial prints. It joins a container's command and arguments to one line of a shell without any
quoting, so a trial is told everything by variables.
"""

from __future__ import annotations

import json
from typing import Any

from edgeline.client.declared_search import (
    COMMAND,
    COMPONENT,
    IMAGE,
    LABELS,
    POD_LABELS,
    TRIAL,
    DeclaredSearch,
    variable,
)
from edgeline.client.trial_inputs import fields
from edgeline.components.tune import texts
from edgeline.components.tune.search import RANDOM, TPE
from edgeline.components.tune.space import Dimension
from edgeline.environments.environment import Environment
from edgeline.environments.workload_pod import pod_template, take_queue
from edgeline.errors import UsageError

Json = dict[str, Any]
NAME, CONTAINER = "Katib", "trial"
SAMPLERS = {TPE: "tpe", RANDOM: "random"}  # Katib's names of them
# The one line of a trial's for each number, which nothing that the module prints looks like. A name
# may have a dot in it, which Katib's own filter would cut at.
PRINTED = "edgeline-trial {name}={value}"
FILTER = r"^edgeline-trial ([\w.-]+)=([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)$"
MARK = "${trialParameters."


def experiment(search: DeclaredSearch, environment: Environment, namespace: str) -> Json:
    """The Experiment.

    Katib has one objective, the first; the others are recorded of each trial. A trial that fails,
    or whose edge model could not be published, fails and is never the best; only where all fail
    does the Experiment.

    Raises:
        UsageError: Katib has no such sampler, or would replace a part of what a trial is told.
        EdgelineError: as `edgeline.environments.workload_pod.pod_template`.
    """
    if search.sampler not in SAMPLERS:
        raise UsageError(
            f"Katib has no sampler {search.sampler}: set sampler to one of {', '.join(SAMPLERS)}."
        )
    first, *others = search.objectives
    spec: Json = {
        "objective": {
            "type": first.direction,
            "objectiveMetricName": first.name,
            "additionalMetricNames": [each.name for each in others],
            "metricStrategies": [
                {"name": each.name, "value": "latest"} for each in search.objectives
            ],
        },
        "algorithm": {
            "algorithmName": SAMPLERS[search.sampler],
            "algorithmSettings": [{"name": "random_state", "value": str(search.seed)}],
        },
        "maxTrialCount": search.trials,
        "parallelTrialCount": search.jobs,
        "maxFailedTrialCount": search.trials,
        "parameters": [_parameter(each) for each in search.dimensions],
        "metricsCollectorSpec": {
            "collector": {"kind": "StdOut"},
            "source": {"filter": {"metricsFormat": [FILTER]}},
        },
        "trialTemplate": _template(search, environment),
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": search.named(spec), "namespace": namespace, "labels": LABELS},
        "spec": spec,
    }


def _parameter(dimension: Dimension) -> Json:
    feasible: Json
    if found := texts.choices(dimension, dimension.name):
        kind, feasible = "discrete" if dimension.step else "categorical", {"list": list(found)}
    else:
        kind = "int" if dimension.integer else "double"
        feasible = texts.ends(dimension)
        feasible |= {"distribution": "logUniform"} if dimension.log else {}
    return {"name": dimension.name, "parameterType": kind, "feasibleSpace": feasible}


def _template(search: DeclaredSearch, environment: Environment) -> Json:
    names = [each.name for each in search.dimensions]
    pod = pod_template(
        *(environment, COMPONENT, IMAGE, CONTAINER, COMMAND),
        {TRIAL: search.told},
        POD_LABELS,
    )
    if MARK in json.dumps(pod):
        told = fields(search.trial).items()
        holders = [name for name, value in told if MARK in json.dumps({name: value})]
        holder = ", ".join(holders) or f"Environment {environment.name}"
        raise UsageError(
            f"{holder} holds {MARK}…}}, which "
            "Katib replaces wherever it stands: write it another way."
        )
    [container] = pod["spec"]["containers"]
    container["env"] += [
        {"name": variable(name), "value": f"${{trialParameters.{name}}}"} for name in names
    ]
    return {
        "primaryContainerName": CONTAINER,
        "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
        "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
        "trialParameters": [{"name": name, "reference": name} for name in names],
        "trialSpec": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"labels": {**LABELS, **take_queue(pod)}},
            "spec": {"backoffLimit": 0, "template": pod},
        },
    }
