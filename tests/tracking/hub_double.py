"""A double of Kubeflow's registry of models (Hub): what of its API v1 a registration asks.

NOT TESTED: the real server, whose Go module is not to be had from the module proxy. Behaviour is
that of its sources (internal/core, 2025): names are taken once a model and externalIds once a kind,
a second one is a conflict, of an artifact an internal error; what is not found is a 404. Bodies are
read by the models of its own client, which hold them to the API's schema.
"""

from __future__ import annotations

import http.server
import json
import socket
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = "/api/model_registry/v1/"
FOUND_BY = {
    "registered_model": "models",
    "model_version": "versions",
    "model_artifact": "artifacts",
}


class HubDouble:
    """A registry that does not answer before it is started, at an address that is known."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.kept: dict[str, list[dict[str, Any]]] = {"models": [], "versions": [], "artifacts": []}
        self.tokens: set[str] = set()
        self._server: http.server.ThreadingHTTPServer | None = None
        self._one_at_a_time = threading.Lock()

    def start(self) -> HubDouble:
        if self._server is None:
            handler = type("Handler", (_Handler,), {"hub": self})
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), handler)
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    @property
    def client(self) -> Any:
        """Kubeflow's own client, as a person uses it."""
        from kubeflow.hub import ModelRegistryClient

        return ModelRegistryClient(self.start().url, author="ada", user_token="none")

    def get(self, path: str, asked: dict[str, str]) -> tuple[int, Any]:
        if path == "registered_models":
            return 200, _listed(self.kept["models"])
        kind, _, rest = path.partition("/")
        if kind == "registered_models" and rest.endswith("/versions"):
            parent = rest.partition("/")[0]
            return 200, _listed(
                [each for each in self.kept["versions"] if each["registeredModelId"] == parent]
            )
        wanted = {"externalId": asked["externalId"]} if "externalId" in asked else {}
        if not wanted and path != "registered_model":
            wanted["parent"] = asked["parentResourceId"]
        if not wanted or "parent" in wanted:
            wanted["name"] = asked["name"]
        for each in self.kept[FOUND_BY[path]]:
            if all(each.get(name) == value for name, value in wanted.items()):
                return 200, {name: value for name, value in each.items() if name != "parent"}
        return 404, {"code": "404", "message": f"no {path} found"}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        from mr_openapi import ModelArtifactCreate, ModelVersionCreate, RegisteredModelCreate

        if path == "registered_models":
            kind, schema, parent = "models", RegisteredModelCreate, ""
        elif path == "model_versions":
            kind, schema, parent = "versions", ModelVersionCreate, body["registeredModelId"]
        else:
            kind, schema, parent = "artifacts", ModelArtifactCreate, path.split("/")[1]
            assert any(each["id"] == parent for each in self.kept["versions"])
        assert schema.from_dict(body) is not None
        with self._one_at_a_time:
            for each in self.kept[kind]:
                named = (each["name"], each["parent"]) == (body["name"], parent)
                if named or (body.get("externalId") and body["externalId"] == each["externalId"]):
                    return (500 if kind == "artifacts" else 409), {"message": "already exists"}
            own = {"state": "LIVE", "externalId": None, **body, "parent": parent}
            own |= {"id": str(1 + sum(map(len, self.kept.values()))), "createTimeSinceEpoch": "1"}
            self.kept[kind].append(own)
        return 201, {name: value for name, value in own.items() if name != "parent"}


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: HubDouble

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self._answer(*self.hub.get(parts.path.removeprefix(ROOT), asked))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.hub.post(urlsplit(self.path).path.removeprefix(ROOT), body))

    def _answer(self, status: int, value: Any) -> None:
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


def _listed(items: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [{name: value for name, value in each.items() if name != "parent"} for each in items]
    return {"items": shown, "nextPageToken": "", "pageSize": 100, "size": len(shown)}
