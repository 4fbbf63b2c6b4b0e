"""What the task of a training asks the cluster's API: a Job and a Service of its own namespace."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgeline.errors import EdgelineError, first_line

TIMEOUT = (5.0, 30.0)  # seconds to connect, and of silence
TRIES = 10  # of a request that changes nothing, while the API server is away
PAUSE = 3.0  # seconds between these
GONE_WITHIN = 120.0  # seconds until the pods of a deleted Job are gone
LOOK = 1.0  # seconds between two looks
MANIFEST = "manifests/base/pipelines (a profile: manifests/components/profile)"


@dataclass(frozen=True)
class Jobs:
    """The API of a namespace, by a `kubernetes` ApiClient.

    Every operation raises EdgelineError where the API server refuses it, or is away for longer
    than it takes to start again.
    """

    cluster: Any
    namespace: str

    def pod(self, name: str) -> dict[str, Any]:
        """A pod as the API server has it."""
        found: dict[str, Any] = self._read(
            f"read the pod {name}", lambda: self._core.read_namespaced_pod, name, self.namespace
        )
        return found

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods with some labels."""
        listed = lambda: self._core.list_namespaced_pod  # noqa: E731
        found = self._read("list pods", listed, self.namespace, label_selector=selector)
        items: list[dict[str, Any]] = found["items"]
        return items

    def create_job(self, job: dict[str, Any]) -> str:
        """Create a Job; its uid."""
        name = job["metadata"]["name"]
        create = self._batch.create_namespaced_job
        with _sentences(f"create the Job {name}"):
            made = create(self.namespace, job, _preload_content=False, _request_timeout=TIMEOUT)
        return str(json.loads(made.data)["metadata"]["uid"])

    def create_service(self, service: dict[str, Any]) -> None:
        """Create a Service."""
        with _sentences(f"create the Service {service['metadata']['name']}"):
            self._core.create_namespaced_service(
                self.namespace, service, _preload_content=False, _request_timeout=TIMEOUT
            )

    def failure(self, name: str) -> str:
        """Why a Job has failed; "" as long as it has not."""
        read = lambda: self._batch.read_namespaced_job  # noqa: E731
        job = self._read(f"read the Job {name}", read, name, self.namespace)
        for each in (job.get("status") or {}).get("conditions") or ():
            if each.get("type") in ("Failed", "FailureTarget") and each.get("status") == "True":
                return str(each.get("message") or each.get("reason") or "no reason is told")
        return ""

    def log(self, pod: str) -> Iterator[str]:
        """The lines of a pod's log as they come; none where it cannot be had."""
        from kubernetes import client
        from urllib3.exceptions import HTTPError

        try:
            stream = self._core.read_namespaced_pod_log(
                pod, self.namespace, follow=True, _preload_content=False
            )
            left = b""
            for piece in stream.stream():
                *lines, left = (left + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
            if left:
                yield left.decode(errors="replace")
        except client.ApiException as error:
            yield f"(its log cannot be followed: {_message(error)})"
        except HTTPError as error:
            yield f"(its log ends here: {first_line(error)})"

    def delete(self, name: str, selector: str) -> None:
        """Delete a Job and wait until its pods are gone; its Service goes with it."""
        from kubernetes import client

        try:
            with _sentences(f"delete the Job {name}"):
                self._batch.delete_namespaced_job(
                    name,
                    self.namespace,
                    propagation_policy="Background",
                    _request_timeout=TIMEOUT,
                )
        except EdgelineError as error:
            cause = error.__cause__
            if not (isinstance(cause, client.ApiException) and cause.status == 404):
                raise
            return
        end = time.monotonic() + GONE_WITHIN
        while any(not _has_ended(pod) for pod in self.pods(selector)):
            if time.monotonic() > end:
                raise EdgelineError(
                    f"Pods of the Job {name} are still there {GONE_WITHIN:.0f} s after it was "
                    "deleted: see whether their nodes are."
                )
            time.sleep(LOOK)

    @property
    def _core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self.cluster)

    @property
    def _batch(self) -> Any:
        from kubernetes import client

        return client.BatchV1Api(self.cluster)

    def _read(
        self, doing: str, method: Callable[[], Any], *arguments: str, **options: str
    ) -> dict[str, Any]:
        """What a request gives that changes nothing, tried again while the server is away."""
        for left in reversed(range(TRIES)):
            try:
                with _sentences(doing):
                    answer = method()(
                        *arguments, **options, _preload_content=False, _request_timeout=TIMEOUT
                    )
                    found: dict[str, Any] = json.loads(answer.data)
                    return found
            except EdgelineError as error:
                status = getattr(error.__cause__, "status", None)
                if not left or (status and 400 <= int(status) < 500 and int(status) != 429):
                    raise
                time.sleep(PAUSE)
        raise AssertionError


def _has_ended(pod: dict[str, Any]) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


@contextlib.contextmanager
def _sentences(doing: str) -> Iterator[None]:
    from kubernetes import client
    from urllib3.exceptions import HTTPError

    try:
        yield
    except client.ApiException as error:
        if error.status in (401, 403):
            raise EdgelineError(
                f"The task may not {doing}, which training with several workers needs: apply "
                f"{MANIFEST} to its namespace."
            ) from error
        raise EdgelineError(f"The cluster does not {doing}: {_message(error)}") from error
    except HTTPError as error:
        raise EdgelineError(
            f"The cluster does not {doing} ({first_line(error)}): run it again."
        ) from error


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (AttributeError, TypeError, ValueError, KeyError):
        return str(first_line(error))
