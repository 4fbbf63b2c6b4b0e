"""What a KFP server tells of a run's tasks.

KFP 2 tells it in the run (`run_details.task_details`), KFP 3 beside it (`runs/{id}/tasks`, see
kubeflow/pipelines#13986), which kfp-server-api 2 does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgeline.local.tasks import TaskState

PAGE = 200
STATES: dict[str, TaskState] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "CACHED": "cached",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELING": "running",
    "CANCELED": "failed",
    "PAUSED": "waiting",
}


@dataclass(frozen=True)
class ServerTask:
    """A task: its state in our words, seconds it took, and why it failed, where that is told."""

    state: TaskState
    seconds: float = 0.0
    error: str = ""


def tasks_of(server: Any, run: Any) -> dict[str, ServerTask]:
    """A run's tasks by their names in the pipeline; empty where the server tells of none.

    Args:
        server: a `kfp.Client`.
        run: as its `get_run` gives it.
    """
    if details := (run.run_details.task_details if run.run_details else None):
        return {
            task.display_name: ServerTask(
                STATES.get(str(task.state), "waiting"),
                _seconds(task.start_time, task.end_time),
                (task.error.message if task.error else "") or "",
            )
            for task in details
        }
    return {
        name: ServerTask(
            STATES.get(task.get("state", ""), "waiting"),
            _seconds(_time(task.get("create_time")), _time(task.get("end_time"))),
            _why(task),
        )
        for task in _listed(server, run.run_id)
        for name in (task.get("display_name"), task.get("name"))
        if name
    }


def _listed(server: Any, run: str) -> list[dict[str, Any]]:
    """All of them or none: what is missing from half a list would pass for skipped."""
    from kfp_server_api import ApiException

    found: list[dict[str, Any]] = []
    api, token = server.runs.api_client, ""
    seen: set[str] = set()
    while True:
        try:
            page = api.call_api(
                f"/apis/v2beta1/runs/{run}/tasks",
                "GET",
                query_params=[("page_size", PAGE), ("page_token", token)],
                header_params={"Accept": "application/json"},
                response_type="object",
                auth_settings=["Bearer"],
                _return_http_data_only=True,
            )
        except ApiException:  # of KFP 2; the run itself is told all the same
            return []
        found += page.get("tasks") or []
        token = page.get("next_page_token") or ""
        if not token:
            return found
        if token in seen:  # the pages would have no end
            return []
        seen.add(token)


def _why(task: dict[str, Any]) -> str:
    if task.get("state") not in ("FAILED", "CANCELED"):
        return ""
    told = (task.get("status_metadata") or {}).get("message") or task.get("lifecycle_message")
    return str(told or "")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """What has not ended ended, by the server's words, in 1970."""
    return max(0.0, (end - start).total_seconds()) if start and end else 0.0
