"""Why the tasks of a run failed: the termination messages of its pods, from the Kubernetes API.

KFP's API tells no reason. Its driver and launcher are pods that carry the run's identifier as a
label and, from Argo, the name of their node in the workflow, such as
`taxi-x7k2p(0).root(0).exit-handler-1(0).train(0).executor(0)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, first_line

RUN = "pipeline/runid"  # a label that KFP puts on each pod of a run
NODE = "workflows.argoproj.io/node-name"
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
TIMEOUT = (5.0, 20.0)  # seconds to connect, and of silence
PLAIN = ("Completed", "Error")  # reasons of Kubernetes that say nothing more than the exit code


def own_cluster() -> Any:
    """The Kubernetes API as this pod's service account may ask it, a `kubernetes` ApiClient.

    Raises:
        EdgelineError: this is not a pod, or one without a service account.
    """
    from kubernetes import client, config

    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as error:
        raise EdgelineError(f"There is no service account here ({first_line(error)}).") from error
    return client.ApiClient(settings)


def failures(cluster: Any, namespace: str, run: str) -> dict[str, str]:
    """What the failed pods of a run left as their message, by the name of their task.

    An attempt that another one made good is not a failure.

    Args:
        cluster: a `kubernetes` ApiClient.
        namespace: of the run.
        run: its identifier.

    Raises:
        EdgelineError: the API server refuses, or does not answer.
    """
    from kubernetes import client
    from urllib3.exceptions import HTTPError

    try:
        answer = client.CoreV1Api(cluster).list_namespaced_pod(
            namespace,
            label_selector=f"{RUN}={run}",
            _preload_content=False,
            _request_timeout=TIMEOUT,
        )
        pods = json.loads(answer.data)["items"]
        made_good = {_attempted(pod) for pod in pods if pod["status"].get("phase") == "Succeeded"}
        return {
            task: message
            for pod in pods
            if _attempted(pod) not in made_good
            and (task := _task(pod))
            and (message := _message(pod))
        }
    except client.ApiException as error:
        raise EdgelineError(
            f"The pods of {namespace} may not be listed here ({error.status})."
        ) from error
    except (HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise EdgelineError(f"The Kubernetes API cannot be asked ({first_line(error)}).") from error


def _node(pod: Mapping[str, Any]) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(NODE, ""))


def _attempted(pod: Mapping[str, Any]) -> str:
    """What a pod was one attempt at: Argo numbers the attempts."""
    return re.sub(r"\(\d+\)$", "", _node(pod))


def _task(pod: Mapping[str, Any]) -> str:
    """The task that a pod belongs to; "" where its node has no name."""
    parts = [re.sub(r"\([^)]*\)$", "", part) for part in _node(pod).split(".")]
    if parts[-1] == "executor" and len(parts) > 1:
        return str(parts[-2])
    return parts[-1].removesuffix("-driver") if parts[-1].endswith("-driver") else ""


def _message(pod: Mapping[str, Any]) -> str:
    """What its failed container left, or what Kubernetes calls the end, such as OOMKilled."""
    for container in pod["status"].get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated") or {}
        if container.get("name") != "main" or not ended.get("exitCode"):
            continue
        reason = ended.get("reason") or ""
        return " ".join(str(ended.get("message") or "").split()) or (
            "" if reason in PLAIN else f"its container was ended: {reason}"
        )
    return ""
