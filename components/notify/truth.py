"""What became of a run, asked while its exit handler runs, when everything else has ended.

KFP tells the exit handler a state and the name of a group, and the state is RUNNING for ever where
a loop had nothing to do. So the tasks are asked for: on this machine what `edgeline run` noted; in
a pod KFP's API, and Kubernetes' for why they failed. What was published or refused stands in the
run's own artifacts. Each of these may be out of reach; what is not known is not claimed.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline.artifacts.candidates import CHOICE_SCHEMA, reasons_where_none_is_chosen
from edgeline.artifacts.folder import LISTING
from edgeline.artifacts.verdicts import VERDICTS, reasons_against
from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow import endpoint, pods
from edgeline.kubeflow.api import asking, connect
from edgeline.kubeflow.run_tasks import run_state, task_names, tasks_of
from edgeline.stores import storage

if TYPE_CHECKING:
    from kfp import Client as KfpClient

NOTE = "tasks.json"  # beside the tasks' folders: what `edgeline run` tells the exit handler
API = "http://ml-pipeline.kubeflow:8888"  # where KFP's manifests put it
DEPTH = 2  # of EXECUTION/NAME/file, behind a task's folder
LOOKS, PAUSE = 6, 5.0  # KFP's agent tells the server of a node within seconds
PENDING = ("running", "waiting", "unknown")


@dataclass(frozen=True)
class Truth:
    """What is known of a run.

    Attributes:
        states: of its tasks without exit handlers, in the words of
            `edgeline.kubeflow.states.TaskState`; empty: not known.
        reasons: why tasks failed, as far as it is known.
        canceled: a person ended it.
        published: URIs of the bundles that it published; None: not known.
        refused: why models were refused, each after its task's name.
        page: the address of the run's page, "" where nobody told it.
    """

    states: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    canceled: bool = False
    published: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()
    page: str = ""


def find_out(run: str, outcome_path: Path, outcome_uri: str) -> Truth:
    """What is known of a run; nothing is raised for what cannot be asked.

    Args:
        run: its identifier on the server.
        outcome_path: the exit handler's output on this disk.
        outcome_uri: where it goes, in the run's folder: `.../RUN/TASK/EXECUTION/NAME`.
    """
    note = outcome_path.parents[1] / NOTE
    if note.is_file():
        told = json.loads(note.read_text("utf-8"))
        return Truth(
            {name: task["state"] for name, task in told["tasks"].items()},
            {name: task["error"] for name, task in told["tasks"].items() if task["error"]},
            published=tuple(told["published"]),
            refused=tuple(told["refused"]),
        )
    if not os.environ.get("KUBERNETES_SERVICE_HOST"):
        return Truth()
    pages = os.environ.get("KF_PIPELINES_UI_ENDPOINT", "").rstrip("/")
    folder, mark, rest = outcome_uri.partition("?")[0].partition(f"/{run}/")
    states, canceled = _states(run, rest.partition("/")[0]) if run else ({}, False)
    failed = "failed" in states.values()
    published, refused = _artifacts(f"{folder}{mark}") if run and mark else (None, ())
    return Truth(
        states,
        _reasons(run) if run and (failed or not states) else {},
        canceled,
        published,
        refused,
        f"{pages}/#/runs/details/{run}" if pages and run else "",
    )


def _states(run: str, own: str) -> tuple[dict[str, str], bool]:
    """The tasks' states, and whether the run was terminated."""
    try:
        server = connect(_endpoint())
        return asking(lambda: _asked(server, run, own))
    except EdgelineError as error:
        print(f"KFP's API does not tell the run's tasks here: {error}")
        return {}, False


def _asked(server: KfpClient, key: str, own: str) -> tuple[dict[str, str], bool]:
    run = server.get_run(key)
    names = task_names(_specification(server, run))
    # before the server knows that this task runs, it does not know how the others ended
    for _ in range(LOOKS):
        told = tasks_of(server, run, names)
        current = own in told and told[own].state == "running"
        if current:
            break
        time.sleep(PAUSE)
        run = server.get_run(key)
    found: dict[str, str] = {}
    for name, is_exit_handler in names.items():
        if is_exit_handler:
            continue
        state = told[name].state if name in told else "skipped"
        found[name] = "unknown" if state in PENDING or (not current and name not in told) else state
    canceled = any(entry.state == "CANCELING" for entry in run.state_history or ())
    return found, canceled or run_state(run) == "canceled"


def _specification(server: KfpClient, run: Any) -> Any:
    if run.pipeline_spec:
        return run.pipeline_spec
    version = run.pipeline_version_reference
    found = server.get_pipeline_version(version.pipeline_id, version.pipeline_version_id)
    return found.pipeline_spec


def _endpoint() -> str:
    if given := endpoint.of_environment():
        return given
    host = os.environ.get("ML_PIPELINE_SERVICE_HOST")  # in KFP's own namespace
    port = os.environ.get("ML_PIPELINE_SERVICE_PORT", "8888")
    return f"http://{host}:{port}" if host else API


def _reasons(run: str) -> dict[str, str]:
    try:
        namespace = pods.NAMESPACE.read_text().strip()
        return pods.failures(pods.own_cluster(), namespace, run)
    except (EdgelineError, OSError) as error:
        print(f"Why tasks failed is not told here: {error}")
        return {}


def _artifacts(folder: str) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The bundles and the reasons against models in the run's folder in the artifacts' store."""
    from edgeline.artifacts.bundle import FORMAT  # brings numpy, which a run here does without

    published: list[str] = []
    refused: list[str] = []
    try:
        for file in storage.resolve([folder]):
            task, _, rest = file.location.removeprefix(folder).partition("/")
            name = rest.rpartition("/")[2]
            if name == LISTING:
                listing = json.loads(_text(file))
                if listing.get("edgeline_schema") == FORMAT:
                    published.append(str(listing["metadata"]["uri"]))
                elif listing.get("edgeline_schema") == CHOICE_SCHEMA:
                    against = reasons_where_none_is_chosen(listing["metadata"])
                    refused += [f"{task}: {reason}" for reason in against]
            elif name in VERDICTS and rest.count("/") == DEPTH:  # else of one of several candidates
                refused += [f"{task}: {reason}" for reason in reasons_against(name, _text(file))]
    except UsageError:  # nothing is there
        return (), ()
    except (EdgelineError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"The run's artifacts cannot be read here: {error}")
        return None, ()
    return tuple(published), tuple(refused)


def _text(file: storage.LocatedFile) -> str:
    with storage.open_source(file) as stream:
        return stream.read().decode("utf-8", errors="replace")
