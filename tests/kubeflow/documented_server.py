"""KFP's API v2beta1 as its OpenAPI document describes it, in memory. NOT a real KFP server.

The real one could not be had: its sources come from no package registry. What this answers was
written after the documents of kfp-server-api 2.17; it knows what edgeline asks and nothing more,
and refuses everything else, so that a request of another kind cannot pass unseen.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
import uuid
from datetime import datetime, timezone
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
API = "/apis/v2beta1"


class DocumentedServer(http.server.ThreadingHTTPServer):
    """Pipelines, versions, experiments, recurring runs and runs in dictionaries by id."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pipelines: dict[str, Object] = {}
        self.versions: dict[str, Object] = {}
        self.experiments: dict[str, Object] = {}
        self.recurring: dict[str, Object] = {}
        self.runs: dict[str, Object] = {}
        self.tasks: dict[str, list[Object]] = {}
        self.asked: list[str] = []
        self.page = 2  # small, so that everything has several pages
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def changes(self) -> list[str]:
        """The requests that changed something."""
        return [line for line in self.asked if not line.startswith("GET")]

    def deploy(self, name: str, spec: Object) -> str:
        """A new version of a pipeline, which is made where there is none."""
        found = [entry for entry in self.pipelines.values() if entry["display_name"] == name]
        owner = found[0] if found else self._make(self.pipelines, "pipeline_id", display_name=name)
        number = len(self.versions) + 1
        version = self._make(
            self.versions,
            "pipeline_version_id",
            pipeline_id=owner["pipeline_id"],
            display_name=f"{name}-{number}",
            pipeline_spec=spec,
        )
        return str(version["display_name"])

    def _make(self, where: dict[str, Object], key: str, **fields: Any) -> Object:
        made = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        entry = {key: str(uuid.uuid4()), "created_at": made, **fields}
        where[entry[key]] = entry
        return entry


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: DocumentedServer

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with self.server.lock:
            self.server.asked.append(f"{self.command} {url.path}")
            for method, pattern, function in _ROUTES:
                match = re.fullmatch(API + pattern, url.path)
                if match and method == self.command:
                    try:
                        answer = function(self, content, query, *match.groups())
                    except KeyError as error:
                        return self._answer(404, {"error": f"not found: {error}", "code": 5})
                    return self._answer(200, answer)
        return self._answer(501, {"error": f"not in this server: {self.command} {url.path}"})

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815

    def _answer(self, status: int, value: Object) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _listed(self, name: str, entries: list[Object], query: dict[str, str]) -> Object:
        if "filter" in query:
            (predicate,) = json.loads(query["filter"])["predicates"]
            key, value = (
                predicate["key"],
                predicate["stringValue" if "stringValue" in predicate else "string_value"],
            )
            key = "display_name" if key == "name" else key
            entries = [entry for entry in entries if entry.get(key) == value]
        if query.get("sort_by") == "created_at desc":
            entries = sorted(entries, key=lambda entry: entry["created_at"], reverse=True)
        first = int(query.get("page_token") or 0)
        last = first + self.server.page
        token = str(last) if last < len(entries) else ""
        return {name: entries[first:last], "next_page_token": token, "total_size": len(entries)}

    def health(self, *_: Any) -> Object:
        return {"multi_user": False}

    def pipelines(self, _: bytes, query: dict[str, str]) -> Object:
        return self._listed("pipelines", list(self.server.pipelines.values()), query)

    def versions(self, _: bytes, query: dict[str, str], owner: str) -> Object:
        found = [entry for entry in self.server.versions.values() if entry["pipeline_id"] == owner]
        return self._listed("pipeline_versions", found, query)

    def upload(self, content: bytes, query: dict[str, str]) -> Object:
        name = query.get("display_name") or query["name"]
        if any(entry["display_name"] == name for entry in self.server.pipelines.values()):
            raise KeyError(f"pipeline {name} exists")
        spec = self._uploaded(content)
        self.server.deploy(name, spec)
        return next(x for x in self.server.pipelines.values() if x["display_name"] == name)

    def upload_version(self, content: bytes, query: dict[str, str]) -> Object:
        owner = self.server.pipelines[query["pipelineid"]]
        name = self.server.deploy(owner["display_name"], self._uploaded(content))
        version = next(x for x in self.server.versions.values() if x["display_name"] == name)
        version["display_name"] = query.get("display_name") or query["name"]
        return version

    def _uploaded(self, content: bytes) -> Object:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = BytesParser().parsebytes(head + content).get_payload()
        documents = list(yaml.safe_load_all(part.get_payload(decode=True)))
        spec = documents[0]
        if len(documents) > 1:
            spec = {"pipeline_spec": documents[0], "platform_spec": documents[1]}
        return spec

    def experiments(self, _: bytes, query: dict[str, str]) -> Object:
        return self._listed("experiments", list(self.server.experiments.values()), query)

    def make_experiment(self, content: bytes, _: dict[str, str]) -> Object:
        fields = json.loads(content)
        return self.server._make(self.server.experiments, "experiment_id", **fields)

    def experiment(self, _: bytes, __: dict[str, str], key: str) -> Object:
        return self.server.experiments[key]

    def recurring(self, _: bytes, query: dict[str, str]) -> Object:
        return self._listed("recurringRuns", list(self.server.recurring.values()), query)

    def make_recurring(self, content: bytes, _: dict[str, str]) -> Object:
        fields = json.loads(content)
        mode = fields.pop("mode", "ENABLE")
        fields["status"] = "ENABLED" if mode == "ENABLE" else "DISABLED"
        # the server keeps parameters as protobuf values: every number a double
        config = fields.get("runtime_config", {})
        config["parameters"] = json.loads(json.dumps(config.get("parameters", {})), parse_int=float)
        return self.server._make(self.server.recurring, "recurring_run_id", **fields)

    def delete_recurring(self, _: bytes, __: dict[str, str], key: str) -> Object:
        del self.server.recurring[key]
        return {}

    def switch(self, _: bytes, __: dict[str, str], key: str, to: str) -> Object:
        self.server.recurring[key]["status"] = {"enable": "ENABLED", "disable": "DISABLED"}[to]
        return {}

    def make_run(self, content: bytes, _: dict[str, str]) -> Object:
        fields = {**json.loads(content), "state": "RUNNING"}
        return self.server._make(self.server.runs, "run_id", **fields)

    def run(self, _: bytes, __: dict[str, str], key: str) -> Object:
        entry = self.server.runs[key]
        tasks = self.server.tasks.get(entry["display_name"], [])
        known = entry.setdefault("seen", 0)
        entry["seen"] = known + 1  # a task more is done each time somebody asks
        done = tasks[: known + 1]
        entry["run_details"] = {"task_details": done}
        if len(done) == len(tasks):
            failed = any(task["state"] == "FAILED" for task in tasks)
            entry["state"] = "FAILED" if failed else "SUCCEEDED"
        return {key: value for key, value in entry.items() if key != "seen"}

    def terminate(self, _: bytes, __: dict[str, str], key: str) -> Object:
        self.server.runs[key]["state"] = "CANCELED"
        return {}


_ID = "/([0-9a-f-]{36})"
_ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/healthz", _Handler.health),
    ("GET", "/pipelines", _Handler.pipelines),
    ("GET", f"/pipelines{_ID}/versions", _Handler.versions),
    ("POST", "/pipelines/upload", _Handler.upload),
    ("POST", "/pipelines/upload_version", _Handler.upload_version),
    ("GET", "/experiments", _Handler.experiments),
    ("POST", "/experiments", _Handler.make_experiment),
    ("GET", f"/experiments{_ID}", _Handler.experiment),
    ("GET", "/recurringruns", _Handler.recurring),
    ("POST", "/recurringruns", _Handler.make_recurring),
    ("DELETE", f"/recurringruns{_ID}", _Handler.delete_recurring),
    ("POST", f"/recurringruns{_ID}:(enable|disable)", _Handler.switch),
    ("POST", "/runs", _Handler.make_run),
    ("GET", f"/runs{_ID}", _Handler.run),
    ("POST", f"/runs{_ID}:terminate", _Handler.terminate),
]
