"""KFP's API v2beta1 as it is documented and as real servers were seen to answer. NOT a real one.

The real one could not be had: its sources come from no package registry. This knows what edgeline
asks and nothing more, and refuses everything else, so that no other request can pass unseen. What
real ones were recorded to answer is in recorded_server.py.
Written after, each for what it says:

- kfp-server-api 2.17 (PyPI): paths, names and types of every field.
- kubeflow/pipelines, backend/test/proto_tests/testdata/generated-1791485/*.json: recorded
  messages of the server's own marshaler with everything empty written out (`full`): 64-bit
  numbers are texts, messages that are absent null.
- curl outputs of running servers in kubeflow/manifests (common/oauth2-proxy/README.md) and
  kubeflow/pipelines' issues: `{}` for an empty list and `{"total_size":76}` without the list
  (not `full`), refusals `{"error", "code", "message", "details": [{"@type":
  "type.googleapis.com/google.rpc.Status", ...}]}`.
- kubeflow/pipelines, backend/src/apiserver: server/pipeline_upload_server.go (uploads refuse with
  error_message and error_details), list/list.go (page tokens, 20 objects a page, 200 at most),
  server/api_converter.go (a task carries no error; the nodes of Argo are there beside the tasks),
  resource/resource_manager.go (a recurring run of a version gets the server's service account),
  server/list_request_util.go (a token with other criteria).
- Envoy, before most servers: the text of its 503.
- recordings of this project's own runs (recorded/): refusals, and how a run, its nodes and its
  termination are told.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import uuid
from datetime import datetime, timezone
from email.parser import BytesParser
from typing import Any

import yaml
from documented_messages import Object, RefusedError, Transport, UploadRefusedError, given

ACCOUNT = "pipeline-runner"
NEVER = "1970-01-01T00:00:00Z"  # when a run ended that has not; of a task it is YEAR_ONE
YEAR_ONE = "0001-01-01T00:00:00Z"


class DocumentedServer(http.server.ThreadingHTTPServer):
    """Pipelines, versions, experiments, recurring runs and runs in dictionaries by id.

    Attributes:
        full: whether answers have the fields that are empty; servers of both kinds are about.
        multi_user: whether there are profiles: then lists and uploads need a namespace.
        token: what a request must bear, but one for healthz; None: nothing.
        viewer: whether the user may only look. A version for a shared pipeline is taken from
            anybody all the same, as a real server was seen to do.
        page: objects a page at most.
        troubles: how the next requests fare: a status to answer with, seconds to keep silent, a
            page of HTML, as a proxy before the server shows to those who are not signed in.
        unready: how many changes of schedules are refused first, as while it is rolled out.
    """

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tls = tls
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.pipelines: dict[str, Object] = {}
        self.versions: dict[str, Object] = {}
        self.experiments: dict[str, Object] = {}
        self.recurring: dict[str, Object] = {}
        self.runs: dict[str, Object] = {}
        self.tasks: dict[str, list[Object]] = {}
        self.asked: list[str] = []
        self.full = False
        self.multi_user = False
        self.token: str | None = None
        self.viewer = False
        self.page = 2  # small, so that everything has several pages
        self.troubles: list[int | float | str] = []
        self.unready = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_address[1]}"

    @property
    def changes(self) -> list[str]:
        """The requests that changed something."""
        return [line for line in self.asked if not line.startswith("GET")]

    def handle_error(self, *_: object) -> None:
        """A client that goes away is none of the test's."""

    def deploy(self, name: str, spec: Object, namespace: str = "") -> str:
        """A new version of a pipeline, which is made where there is none."""
        found = [
            entry
            for entry in self.pipelines.values()
            if (entry["display_name"], entry["namespace"]) == (name, namespace)
        ]
        owner = (
            found[0]
            if found
            else self.make(
                self.pipelines, "pipeline_id", display_name=name, name=name, namespace=namespace
            )
        )
        number = len(self.versions) + 1
        version = self.make(
            self.versions,
            "pipeline_version_id",
            pipeline_id=owner["pipeline_id"],
            display_name=f"{name}-{number}",
            name=f"{name}-{number}",
            pipeline_spec=spec,
        )
        return str(version["display_name"])

    def make(self, where: dict[str, Object], key: str, **fields: Any) -> Object:
        entry = {key: str(uuid.uuid4()), "created_at": _now(), **fields}
        where[entry[key]] = entry
        return entry


class _Handler(Transport):
    """The calls."""

    def _check_rights(self, namespace: str, what: str) -> None:
        if self.server.multi_user and (self.server.viewer or not namespace):
            asked = (
                f"Namespace:{namespace or 'kubeflow'},Verb:create,Group:pipelines.kubeflow.org,"
                f"Version:v1beta1,Resource:{what},Subresource:,Name:,FieldSelector:nil,"
                "LabelSelector:nil,"
            )
            said = (
                "User 'somebody' is not authorized with reason:  "
                f"(request: &ResourceAttributes{{{asked}}})"
            )
            context = f"Failed to create {what} due to authorization error: PermissionDenied"
            raise RefusedError(7, said, context, "Unauthorized access")

    def _of_namespace(self, entries: dict[str, Object], query: dict[str, str]) -> list[Object]:
        namespace = query.get("namespace", "")
        if not self.server.multi_user:
            return list(entries.values())
        return [entry for entry in entries.values() if entry["namespace"] == namespace]

    def _needs_namespace(self, namespace: str, what: str) -> None:
        if self.server.multi_user and not namespace:
            raise RefusedError(3, f"{what} cannot have an empty namespace in multi-user mode")

    def health(self, *_: Any) -> Object:
        return {"multi_user": self.server.multi_user}

    def pipelines(self, _: bytes, query: dict[str, str]) -> Object:
        return self._listed("pipelines", self._of_namespace(self.server.pipelines, query), query)

    def make_pipeline(self, content: bytes, _: dict[str, str]) -> Object:
        fields = {"namespace": "", **given(content, "V2beta1Pipeline")}
        self._check_rights(fields["namespace"], "pipelines")
        names = [(entry["name"], entry["namespace"]) for entry in self.server.pipelines.values()]
        if (fields["name"], fields["namespace"]) in names:
            said = (
                f"Failed to create a new pipeline. The name {fields['name']} already exist. "
                "Please specify a new name"
            )
            raise RefusedError(
                6, said, "Failed to create a pipeline due to server error: Already exist error"
            )
        return self.server.make(self.server.pipelines, "pipeline_id", **fields)

    def versions(self, _: bytes, query: dict[str, str], owner: str) -> Object:
        found = [entry for entry in self.server.versions.values() if entry["pipeline_id"] == owner]
        return self._listed("pipeline_versions", found, query)

    def version(self, _: bytes, __: dict[str, str], owner: str, key: str) -> Object:
        found = self._known(self.server.versions, key, "PipelineVersion")
        assert found["pipeline_id"] == owner
        return found

    def upload_version(self, content: bytes, query: dict[str, str]) -> Object:
        owner = self.server.pipelines[query["pipelineid"]]
        found = [
            entry
            for entry in self.server.versions.values()
            if (entry["pipeline_id"], entry["name"]) == (owner["pipeline_id"], query["name"])
        ]
        if found:
            raise UploadRefusedError(409, "Failed to create a pipeline version")
        if self.server.multi_user and self.server.viewer and owner["namespace"]:
            raise UploadRefusedError(400, "Failed to create a pipeline version")
        spec = self._uploaded(content)
        version = self.server.deploy(owner["display_name"], spec, owner["namespace"])
        self._version(version).update(
            name=query["name"],
            display_name=query["name"],
            description=query.get("description", ""),
        )
        return self._version(query["name"])

    def _version(self, name: str) -> Object:
        return next(x for x in self.server.versions.values() if x["display_name"] == name)

    def _uploaded(self, content: bytes) -> Object:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = BytesParser().parsebytes(head + content).get_payload()
        documents = list(yaml.load_all(part.get_payload(decode=True), yaml.CSafeLoader))
        spec = documents[0]
        if len(documents) > 1:
            spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        return spec

    def experiments(self, _: bytes, query: dict[str, str]) -> Object:
        self._needs_namespace(query.get("namespace", ""), "Experiment list")
        found = self._of_namespace(self.server.experiments, query)
        return self._listed("experiments", found, query)

    def make_experiment(self, content: bytes, _: dict[str, str]) -> Object:
        fields = {"namespace": "", **given(content, "V2beta1Experiment")}
        self._needs_namespace(fields["namespace"], "Experiment")
        self._check_rights(fields["namespace"], "experiments")
        names = [(x["display_name"], x["namespace"]) for x in self.server.experiments.values()]
        if (fields["display_name"], fields["namespace"]) in names:
            raise RefusedError(6, f"The name {fields['display_name']} already exist.")
        return self.server.make(
            self.server.experiments,
            "experiment_id",
            **fields,
            storage_state="AVAILABLE",
            last_run_created_at=NEVER,
        )

    def experiment(self, _: bytes, __: dict[str, str], key: str) -> Object:
        return self._known(self.server.experiments, key, "Experiment")

    def _known(self, entries: dict[str, Object], key: str, kind: str) -> Object:
        if key not in entries:
            said = f"{kind} {key} not found"
            raise RefusedError(5, said, f"Failed to fetch {kind.lower()}: ResourceNotFoundError")
        return entries[key]

    def recurring(self, _: bytes, query: dict[str, str]) -> Object:
        self._needs_namespace(query.get("namespace", ""), "Recurring run list")
        found = self._of_namespace(self.server.recurring, query)
        return self._listed("recurringRuns", found, query)

    def _ready(self) -> None:
        if self.server.unready:
            self.server.unready -= 1
            raise RefusedError(14, "schedule writes wait for the rollout", "Unavailable")

    def make_recurring(self, content: bytes, _: dict[str, str]) -> Object:
        self._ready()
        fields = given(content, "V2beta1RecurringRun")
        if not 1 <= int(fields["max_concurrency"]) <= 10:
            said = "Max concurrency of a recurring run must be at least 1 and at most 10."
            raise RefusedError(3, said, "Failed to create a recurring run: Invalid input error")
        mode = fields.get("mode", "MODE_UNSPECIFIED")
        fields["mode"] = "ENABLE" if mode == "ENABLE" else "DISABLE"
        fields["status"] = f"{fields['mode']}D"
        fields["max_concurrency"] = str(fields["max_concurrency"])
        if period := fields["trigger"].get("periodic_schedule"):
            period["interval_second"] = str(period["interval_second"])
        # the server keeps parameters as protobuf values: every number a double
        config = fields.pop("runtime_config", {})
        if config.get("parameters") or config.get("pipeline_root"):
            values = json.loads(json.dumps(config.get("parameters", {})), parse_int=float)
            root = config.get("pipeline_root", "")
            fields["runtime_config"] = {"parameters": values, "pipeline_root": root}
        reference = fields["pipeline_version_reference"]
        if reference.get("pipeline_version_id"):
            fields["service_account"] = fields.get("service_account") or ACCOUNT
        experiment = self._known(self.server.experiments, fields["experiment_id"], "Experiment")
        fields["namespace"] = experiment["namespace"]
        made = self.server.make(self.server.recurring, "recurring_run_id", **fields)
        made["updated_at"] = made["created_at"]
        return made

    def delete_recurring(self, _: bytes, __: dict[str, str], key: str) -> Object:
        self._known(self.server.recurring, key, "Job")
        del self.server.recurring[key]
        return {}

    def switch(self, _: bytes, __: dict[str, str], key: str, to: str) -> Object:
        self._ready()
        entry = self._known(self.server.recurring, key, "Job")
        entry.update(mode=to.upper(), status=f"{to.upper()}D")
        return {}

    def list_runs(self, _: bytes, query: dict[str, str]) -> Object:
        self._needs_namespace(query.get("namespace", ""), "ListRuns")
        ours = {
            entry["experiment_id"] for entry in self._of_namespace(self.server.experiments, query)
        }
        found = [
            {key: value for key, value in entry.items() if key != "seen"}
            for entry in self.server.runs.values()
            if entry["experiment_id"] in ours
        ]
        return self._listed("runs", found, query)

    def make_run(self, content: bytes, _: dict[str, str]) -> Object:
        fields = given(content, "V2beta1Run")
        experiment = self._known(self.server.experiments, fields["experiment_id"], "Experiment")
        self._check_rights(experiment["namespace"], "runs")
        return self.server.make(
            self.server.runs,
            "run_id",
            **{"service_account": ACCOUNT, **fields},
            storage_state="AVAILABLE",
            state="PENDING",
            scheduled_at=_now(),
            finished_at=NEVER,
            state_history=[{"update_time": _now(), "state": "PENDING"}],
        )

    def run(self, _: bytes, __: dict[str, str], key: str) -> Object:
        entry = self._known(self.server.runs, key, "Run")
        tasks = self.server.tasks.get(entry["display_name"], [])
        known = entry.setdefault("seen", 0)
        entry["seen"] = known + 1  # a task more is done each time somebody asks
        done = tasks[: known + 1]
        ended = len(done) == len(tasks)
        state = "RUNNING"
        if ended:
            failed = any(task["state"] == "FAILED" for task in tasks)
            state = "FAILED" if failed else "SUCCEEDED"
        if any(past["state"] == "CANCELING" for past in entry["state_history"]):
            ended, state = True, "FAILED"
        self._becomes(entry, state)
        if ended:
            entry["finished_at"] = _now()
        nodes = _nodes(done, [] if ended else tasks[known + 1 :][:1], state)
        entry["run_details"] = {"task_details": nodes}
        return {key: value for key, value in entry.items() if key != "seen"}

    def _becomes(self, entry: Object, state: str) -> None:
        if entry["state"] != state:
            entry["state"] = state
            entry["state_history"].append({"update_time": _now(), "state": state})

    def terminate(self, _: bytes, __: dict[str, str], key: str) -> Object:
        entry = self._known(self.server.runs, key, "Run")
        if entry["state"] not in ("PENDING", "RUNNING"):
            said = f"Failed to terminate a run {key}. Row not found"
            raise RefusedError(3, said, "Failed to terminate a run: Invalid input error")
        self._becomes(entry, "CANCELING")
        return {}


def _nodes(done: list[Object], running: list[Object], run: str) -> list[Object]:
    """Tasks among the other nodes of Argo's workflow, each of them twice, and without a name those
    of the metadata store; none has an error, whatever happened."""
    found = [{"display_name": "root", "state": run, "end_time": YEAR_ONE}]
    if run != "RUNNING":
        found[0]["end_time"] = _now()
    states = [(task, task["state"]) for task in done] + [(task, "RUNNING") for task in running]
    for task, state in states:
        name, end = task["display_name"], YEAR_ONE if state == "RUNNING" else task["end_time"]
        driver = {**task, "display_name": f"{name}-driver", "state": "SUCCEEDED"}
        executor = {**task, "display_name": "executor", "state": state, "end_time": end}
        pods = [{"pod_name": f"taxi-x7k2p-{abs(hash(name))}"}]
        found += [driver, {**task, "state": state, "end_time": end, "child_tasks": pods}, executor]
    again = [{**node, "display_name": f"{node['display_name']}(0)"} for node in found]
    nameless = {"execution_id": "42", "end_time": "2026-01-01T00:00:07Z"}
    return [*again, nameless, *found]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


_ID = "/([0-9a-f-]{36})"
_Handler.routes = [
    ("GET", "/healthz", _Handler.health, ""),
    ("GET", "/pipelines", _Handler.pipelines, "V2beta1ListPipelinesResponse"),
    ("GET", f"/pipelines{_ID}/versions", _Handler.versions, "V2beta1ListPipelineVersionsResponse"),
    ("POST", "/pipelines", _Handler.make_pipeline, "V2beta1Pipeline"),
    ("POST", "/pipelines/upload_version", _Handler.upload_version, "V2beta1PipelineVersion"),
    ("GET", f"/pipelines{_ID}/versions{_ID}", _Handler.version, "V2beta1PipelineVersion"),
    ("GET", "/experiments", _Handler.experiments, "V2beta1ListExperimentsResponse"),
    ("POST", "/experiments", _Handler.make_experiment, "V2beta1Experiment"),
    ("GET", f"/experiments{_ID}", _Handler.experiment, "V2beta1Experiment"),
    ("GET", "/recurringruns", _Handler.recurring, "V2beta1ListRecurringRunsResponse"),
    ("POST", "/recurringruns", _Handler.make_recurring, "V2beta1RecurringRun"),
    ("DELETE", f"/recurringruns{_ID}", _Handler.delete_recurring, ""),
    ("POST", f"/recurringruns{_ID}:(enable|disable)", _Handler.switch, ""),
    ("GET", "/runs", _Handler.list_runs, "V2beta1ListRunsResponse"),
    ("POST", "/runs", _Handler.make_run, "V2beta1Run"),
    ("GET", f"/runs{_ID}", _Handler.run, "V2beta1Run"),
    ("POST", f"/runs{_ID}:terminate", _Handler.terminate, ""),
]
