"""Say how a pipeline ended: one line in the log, one JSON file, and a webhook if there is one.

It runs as the exit handler, so it must not fail for a reason of its own: a webhook that does
not answer is one more line in the log.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.components.notify.truth import Truth, find_out
from edgeline.kubeflow.task import reason
from edgeline.stores import redirects

SCHEMA = "outcome/v1"
OUTCOME = "outcome.json"
TIMEOUT = 10.0  # seconds
SHOWN = 3  # reasons in one line; the file has all
SUCCEEDED, FAILED, CANCELED, UNKNOWN = "SUCCEEDED", "FAILED", "CANCELED", "UNKNOWN"
# KFP's words for a state that is final; others, above all RUNNING, say nothing of the end
FINAL = {
    "SUCCEEDED": SUCCEEDED,
    "COMPLETE": SUCCEEDED,
    "FAILED": FAILED,
    "CANCELED": CANCELED,
    "CANCELLED": CANCELED,
}
SECRET = re.compile(r"KEY|SECRET|TOKEN|PASS|CREDENTIAL|WEBHOOK", re.IGNORECASE)
SHORTEST_SECRET = 6  # characters; what is shorter stands in other words, too


def notify(
    *,
    outcome_path: str | Path,
    state: str,
    task: str = "",
    error_code: int | None = None,
    error: str = "",
    pipeline_name: str = "",
    run_id: str = "",
    webhook: str = "",
    outcome_uri: str = "",
) -> dict[str, Any]:
    """Report how a pipeline ended.

    Args:
        outcome_path: folder for `outcome.json`, the object that a webhook gets too:
            text, pipeline, run, state, task, error_code, error, published, refused and page.
            `text` is the line; `state` SUCCEEDED, FAILED, CANCELED or UNKNOWN; `published` null
            where it is not known.
        state: as KFP names it, which may be RUNNING of a run that has ended.
        task: the task or group of tasks that KFP's state belongs to.
        error_code, error: what KFP says of the failure.
        pipeline_name, run_id: which run it was.
        webhook: a URL to POST the object to. A URL that is a secret belongs into the
            environment variable EDGELINE_WEBHOOK, which is read where this is empty:
            parameters are kept in the compiled pipeline and the run's record.
        outcome_uri: where the folder goes in the artifacts' store; beside it are the run's
            other artifacts.

    Returns:
        The metadata of `outcome/v1`: state and task.
    """
    try:
        truth = find_out(run_id, Path(outcome_path), outcome_uri)
    except Exception as error_here:  # whatever it is, a good run is not to fail for it
        print(f"What became of the run cannot be found out: {reason(error_here)}")
        truth = Truth()
    hook = webhook or os.environ.get("EDGELINE_WEBHOOK", "")
    outcome = _outcome(truth, state, task, error)
    outcome = {"pipeline": pipeline_name, "run": run_id, "error_code": error_code, **outcome}
    outcome["text"] = _line(outcome, truth)
    outcome = _without_secrets(outcome, hook)
    print(outcome["text"])
    with artifacts.writing(outcome_path, SCHEMA) as draft:
        artifacts.write_json(draft.path / OUTCOME, outcome)
        draft.metadata.update(state=outcome["state"], task=outcome["task"])
    if hook:
        _post(hook, outcome)
    return {"edgeline_schema": SCHEMA, **draft.metadata}


def _outcome(truth: Truth, state: str, task: str, error: str) -> dict[str, Any]:
    """How it ended, by what is known, or else by KFP's word where that is final."""
    failed = [name for name, end in truth.states.items() if end == "failed"]
    if not truth.states:
        failed = list(truth.reasons)
    if failed and not truth.canceled:
        end = FAILED
    elif truth.canceled:
        end = CANCELED
    elif truth.states and "unknown" not in truth.states.values():
        end = SUCCEEDED
    else:
        end = FINAL.get(state, UNKNOWN)
    reason = truth.reasons.get(failed[0], "") if failed else ""
    return {
        "state": end,
        # of a failure in a group, KFP names the group, and that of the exit handler for all
        "task": ", ".join(failed) or (task if end == FAILED and error else ""),
        "error": reason or (error if end == FAILED else ""),
        "published": None if truth.published is None else list(truth.published),
        "refused": list(truth.refused),
        "page": truth.page,
    }


def _line(outcome: Mapping[str, Any], truth: Truth) -> str:
    run = " ".join(
        part
        for part in ("Pipeline", outcome["pipeline"], outcome["run"] and f"({outcome['run']})")
        if part
    )
    page = truth.page or "the run's page"
    found = list(filter(None, [_deliveries(outcome, truth)]))
    if outcome["state"] == UNKNOWN:
        return f"{run}: {'; '.join(['how it ended is not known here', *found])}: see {page}"
    if outcome["state"] == FAILED:
        error = " ".join(str(outcome["error"]).split())
        where = outcome["task"] and f" in {outcome['task']}"
        why = error or f"why is not known here: see {page}"
        return "; ".join([f"{run}: {FAILED}{where}: {why.rstrip('.') if found else why}", *found])
    text = f"{run}: {outcome['state']}"
    return f"{text}: {'; '.join(found)}" if found else text


def _deliveries(outcome: Mapping[str, Any], truth: Truth) -> str:
    """What was published, or why nothing was."""
    published, refused = outcome["published"], outcome["refused"]
    found = [f"published {', '.join(published)}"] if published else []
    if refused:
        more = len(refused) - SHOWN
        reasons = [*refused[:SHOWN], *([f"{more} more"] if more > 0 else [])]
        found.append(f"refused by {'; '.join(reasons)}")
    publishing = {end for name, end in truth.states.items() if name.startswith("publish")}
    if not found and publishing and outcome["state"] == SUCCEEDED:
        if publishing <= {"skipped"}:
            found.append("nothing was published, since a condition was false")
        elif published is None:
            found.append("published, and where is not known here")
    return "; ".join(found)


def _without_secrets(value: Any, hook: str) -> Any:
    """The same without what the environment keeps under a secret's name, and the webhook."""
    secrets = {text for name, text in os.environ.items() if SECRET.search(name)} | {hook}
    if isinstance(value, str):
        for secret in secrets:
            if len(secret) >= SHORTEST_SECRET:
                value = value.replace(secret, "***")
        return value
    if isinstance(value, dict):
        return {key: _without_secrets(each, hook) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_secrets(each, hook) for each in value]
    return value


def _post(url: str, outcome: dict[str, Any]) -> None:
    """POST JSON; a failure is logged without the URL, which may be a secret."""
    if not url.startswith(("http://", "https://")):
        print("The webhook was not called: its URL begins with neither http:// nor https://.")
        return
    try:
        request = urllib.request.Request(
            url, json.dumps(outcome).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with redirects.urlopen(request, timeout=TIMEOUT):
            pass
    except redirects.RedirectError as error:
        print(f"The webhook was not reached: {error}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The message of an invalid URL quotes it; a status code or reason does not.
        status = getattr(error, "code", None) or getattr(error, "reason", None)
        print(f"The webhook was not reached ({status or type(error).__name__}).")
