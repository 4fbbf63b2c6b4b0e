"""What a KFP server tells of a run and its tasks.

KFP 2 tells the tasks in the run (`run_details.task_details`), KFP 3 beside it (`runs/{id}/tasks`,
see kubeflow/pipelines#13986), which kfp-server-api 2 does not know.

KFP 2 tells the nodes of Argo's workflow rather than tasks, as recorded from 2.17: each of them
twice (`train`, `train(0)`), drivers, executors and groups, nodes of the metadata store without a
name. A task that was left out after a failure has no state, one from the cache is SUCCEEDED and
ended when it began, what has not ended ended in the year 1. Of a workflow above 1 MB it stops
reading the nodes, which then stay as they were when the run ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edgeline.kubeflow import versions
from edgeline.kubeflow.states import RunState, TaskState

if TYPE_CHECKING:
    from kfp import Client as KfpClient

PAGE = 200
FIRST_YEAR = 2000  # before it nothing ended: 0001 of a task, 1970 of a run
RUN_STATES: Mapping[str, RunState] = {
    "SUCCEEDED": "succeeded",
    "COMPLETE": "succeeded",  # what the driver calls it
    "FAILED": "failed",
    "SKIPPED": "skipped",
    "CANCELED": "canceled",
}
STATES: Mapping[str, TaskState] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "succeeded",
    "COMPLETE": "succeeded",
    "CACHED": "cached",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELING": "running",
    "CANCELED": "canceled",
    "PAUSED": "waiting",
}
BEGUN = ("RUNNING", "PENDING")
# of a task that ran several times, in a loop: the first of these that one of its rounds is in
WORST: tuple[TaskState, ...] = (
    *("failed", "canceled", "running", "unknown", "waiting"),
    *("succeeded", "cached", "skipped"),
)


@dataclass(frozen=True)
class ServerTask:
    """A task: its state in our words, seconds it took, and why it failed, where that is told.

    A task in a loop is told once, with the seconds of its longest round.
    """

    state: TaskState
    seconds: float = 0.0
    error: str = ""


def run_state(run: Any) -> RunState:
    """How far a run is.

    A run that was terminated is CANCELING and then FAILED, by KFP 2.17's words; it may be retried
    after that.

    Args:
        run: as a `kfp.Client`'s `get_run` gives it.
    """
    found = RUN_STATES.get(str(run.state), "running")
    return "canceled" if found == "failed" and _canceled_at(run) else found


def task_names(spec: Any) -> dict[str, bool]:
    """The tasks with a container in a pipeline, nested ones too; true for exit handlers.

    Args:
        spec: KFP's IR as the server shows it, with or without its platform document.
    """
    pipeline = versions.pipeline_of(spec)
    components = pipeline.get("components", {})
    found: dict[str, bool] = {}
    for holder in (pipeline["root"], *components.values()):
        for name, task in holder.get("dag", {}).get("tasks", {}).items():
            component = components.get(task.get("componentRef", {}).get("name"), {})
            if "executorLabel" in component:
                strategy = task.get("triggerPolicy", {}).get("strategy", "")
                found[name] = strategy == "ALL_UPSTREAM_TASKS_COMPLETED"
    return found


def tasks_of(server: KfpClient, run: Any, names: Iterable[str]) -> dict[str, ServerTask]:
    """A run's tasks by their names in the pipeline; empty where the server tells of no task.

    Of a run that has ended every task is told: `skipped` where it never began, `unknown` where
    the server stopped reading the workflow.

    Args:
        server: a `kfp.Client`.
        run: as its `get_run` gives it.
        names: of the pipeline's tasks; the server tells other nodes beside them.
    """
    ended = run_state(run) != "running"
    if details := (run.run_details.task_details if run.run_details else None):
        nodes: dict[str, list[Any]] = {}
        for node in details:
            if node.display_name:
                nodes.setdefault(node.display_name, []).append(node)
        frozen = ended and any(node.state in BEGUN for group in nodes.values() for node in group)
        return {
            name: told
            for name in names
            if (told := _told(nodes, name, _canceled_at(run), ended, frozen))
        }
    listed: dict[str, list[ServerTask]] = {}
    for task in _listed(server, run.run_id):
        seconds = _seconds(_time(task.get("create_time")), _time(task.get("end_time")))
        one = ServerTask(STATES.get(task.get("state", ""), "waiting"), seconds, _why(task))
        for name in dict.fromkeys((task.get("display_name"), task.get("name"))):
            if name:
                listed.setdefault(name, []).append(one)
    untold = [ServerTask("skipped")] if ended and listed else []
    return {name: _together(rounds) for name in names if (rounds := listed.get(name, untold))}


def _told(
    nodes: Mapping[str, list[Any]],
    name: str,
    canceled_at: datetime | None,
    ended: bool,
    frozen: bool,
) -> ServerTask | None:
    """A task of KFP 2, by its nodes; None where none has come yet."""
    rounds = [_round(node, canceled_at) for node in nodes.get(name, ())]
    rounds += [
        _round(node, canceled_at)
        for node in nodes.get(f"{name}-driver", ())  # which ends a task before it begins
        if node.state == "FAILED"
    ]
    if not rounds:
        if not ended:
            return None
        return ServerTask("unknown" if frozen else "skipped")
    found = _together(rounds)
    if not ended or found.state not in ("running", "waiting"):
        return found
    return ServerTask("unknown" if frozen else "skipped")


def _round(node: Any, canceled_at: datetime | None) -> ServerTask:
    seconds = _seconds(node.start_time, node.end_time)
    error = (node.error.message if node.error else "") or ""
    if not node.state:  # what follows after a failure is left out at once
        return ServerTask("skipped" if _has_ended(node.end_time) else "waiting")
    found = STATES.get(str(node.state), "waiting")
    if found == "succeeded" and node.start_time and node.start_time == node.end_time:
        found = "cached"
    if found == "failed" and canceled_at and _has_ended(node.end_time):
        found = "canceled" if node.end_time >= canceled_at else found
    return ServerTask(found, seconds, error)


def _together(rounds: list[ServerTask]) -> ServerTask:
    """One task of its rounds."""
    states = {task.state for task in rounds}
    state = next(state for state in WORST if state in states)
    if state == "waiting" and states & {"succeeded", "cached"}:
        state = "running"
    error = next((task.error for task in rounds if task.error), "")
    return ServerTask(state, max(task.seconds for task in rounds), error)


def _canceled_at(run: Any) -> datetime | None:
    """When a run was terminated, if it was not retried after that."""
    found = None
    for entry in run.state_history or ():
        if entry.state in ("CANCELING", "CANCELED"):
            found = entry.update_time
        elif entry.state in BEGUN:
            found = None
    return found


def _listed(server: KfpClient, run: str) -> list[dict[str, Any]]:
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


def _has_ended(end: datetime | None) -> bool:
    return end is not None and end.year >= FIRST_YEAR


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """0 before it has ended."""
    if start is None or end is None or not _has_ended(end):
        return 0.0
    return max(0.0, (end - start).total_seconds())
