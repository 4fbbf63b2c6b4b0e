"""Say how a pipeline ended: one line in the log, one JSON file, and a webhook if there is one.

It runs as the exit handler, so it must not fail for a reason of its own: a webhook that does
not answer is one more line in the log.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from edgeline import artifacts

SCHEMA = "outcome/v1"
OUTCOME = "outcome.json"
TIMEOUT = 10.0  # seconds


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
) -> dict[str, Any]:
    """Report the final state of a pipeline.

    Args:
        outcome_path: folder for `outcome.json`, the object that a webhook gets too:
            text, pipeline, run, state, task, error_code and error. `text` is the line.
        state: as KFP names it: SUCCEEDED, FAILED, CANCELLED, ...
        task: the task or group of tasks that the state belongs to.
        error_code, error: what KFP says of the failure.
        pipeline_name, run_id: which run it was.
        webhook: a URL to POST the object to. A URL that is a secret belongs into the
            environment variable EDGELINE_WEBHOOK, which is read where this is empty:
            parameters are kept in the compiled pipeline and the run's record.

    Returns:
        The metadata of `outcome/v1`: state, task and error.
    """
    outcome: dict[str, Any] = {
        "pipeline": pipeline_name,
        "run": run_id,
        "state": state,
        "task": task,
        "error_code": error_code,
        "error": error,
    }
    outcome["text"] = _line(outcome)
    print(outcome["text"])
    with artifacts.writing(outcome_path, SCHEMA) as draft:
        artifacts.write_json(draft.path / OUTCOME, outcome)
        draft.metadata.update(state=state, task=task, error=error)
    if url := webhook or os.environ.get("EDGELINE_WEBHOOK", ""):
        _post(url, outcome)
    return {"edgeline_schema": SCHEMA, **draft.metadata}


def _line(outcome: dict[str, Any]) -> str:
    run = " ".join(
        part
        for part in ("Pipeline", outcome["pipeline"], outcome["run"] and f"({outcome['run']})")
        if part
    )
    if outcome["state"] == "SUCCEEDED":
        return f"{run}: SUCCEEDED"
    error = " ".join(str(outcome["error"]).split())
    where = outcome["task"] and f" in {outcome['task']}"
    return f"{run}: {outcome['state']}{where}" + (f": {error}" if error else "")


def _post(url: str, outcome: dict[str, Any]) -> None:
    """POST JSON; a failure is logged without the URL, which may be a secret."""
    if not url.startswith(("http://", "https://")):
        print("The webhook was not called: its URL begins with neither http:// nor https://.")
        return
    try:
        request = urllib.request.Request(
            url, json.dumps(outcome).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            pass
    except (OSError, ValueError, http.client.HTTPException) as error:
        # The message of an invalid URL quotes it; a status code or reason does not.
        status = getattr(error, "code", None) or getattr(error, "reason", None)
        print(f"The webhook was not reached ({status or type(error).__name__}).")
