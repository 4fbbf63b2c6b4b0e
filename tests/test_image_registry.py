"""Digests and copies, against a small registry in this process that asks for tokens.

`make test-images` does the same against a real one.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from edgeline import __version__, images
from edgeline.errors import EdgelineError
from edgeline.images import closure
from edgeline.images.lock import lock
from edgeline.stores import registry

INDEX, MANIFEST = registry.INDEXES[0], registry.MANIFESTS[0]


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Manifests and blobs in a dictionary; each repository wants a token of its own."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, content=b"", **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def handle_any(self):
        server, url = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if url.path == "/token":
            scope = parse_qs(url.query)["scope"][0]
            return self.answer(200, json.dumps({"token": scope}).encode())
        repository = url.path.removeprefix("/v2/").split("/manifests/")[0].split("/blobs/")[0]
        scope = self.headers.get("Authorization", "").removeprefix("Bearer ")
        right = "pull" if self.command in ("GET", "HEAD") else "push"
        if not scope.startswith(f"repository:{repository}:") or right not in scope:
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="test"'
            return self.answer(401, WWW_Authenticate=realm)
        if repository.startswith("secret/"):
            return self.answer(403)
        server.requests.append(f"{self.command} {url.path}")
        if server.busy and self.command == server.busy[0]:
            server.busy.pop(0)
            return self.answer(503)
        if self.command == "POST":
            return self.answer(202, Location=f"/v2/{repository}/blobs/uploads/1?state=x")
        if self.command == "PUT" and "/uploads/" in url.path:
            digest = parse_qs(url.query)["digest"][0]
            assert digest == digest_of(body)
            server.store[f"/v2/{repository}/blobs/{digest}"] = ("", body)
            return self.answer(201)
        if self.command == "PUT":
            kind = self.headers["Content-Type"]
            server.store[url.path] = (kind, body)
            server.store[f"/v2/{repository}/manifests/{digest_of(body)}"] = (kind, body)
            return self.answer(201)
        if url.path not in server.store:
            return self.answer(404)
        kind, content = server.store[url.path]
        return self.answer(200, content, Content_Type=kind or "application/octet-stream")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815


@pytest.fixture
def server():
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.store, found.requests, found.busy = {}, [], []
    threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
    registry._authorisations.clear()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def host(server) -> str:
    return f"127.0.0.1:{server.server_port}"


def push(server, repository: str, tag: str) -> str:
    """An image for two platforms, straight into the store; its digest."""

    def put(kind, name, content):
        server.store[f"/v2/{repository}/{kind}/{name}"] = ("", content)
        kind = "application/octet-stream"
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}

    parts = []
    for platform in ("amd64", "arm64"):
        blobs = [b"config " + platform.encode(), b"layer shared", b"layer " + platform.encode()]
        config, *layers = [put("blobs", digest_of(blob), blob) for blob in blobs]
        content = json.dumps({"config": config, "layers": layers}).encode()
        server.store[f"/v2/{repository}/manifests/{digest_of(content)}"] = (MANIFEST, content)
        parts.append({"mediaType": MANIFEST, "digest": digest_of(content), "size": len(content)})
    content = json.dumps({"manifests": parts}).encode()
    for name in (tag, digest_of(content)):
        server.store[f"/v2/{repository}/manifests/{name}"] = (INDEX, content)
    return digest_of(content)


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("python", ("docker.io", "library/python", "", "")),
        ("grafana/agent:1", ("docker.io", "grafana/agent", "1", "")),
        ("docker.io/library/python:3", ("docker.io", "library/python", "3", "")),
        ("localhost/a/b", ("localhost", "a/b", "", "")),
        ("registry.example.com:5000/a:v1", ("registry.example.com:5000", "a", "v1", "")),
        (f"g.io/a:1@{digest_of(b'')}", ("g.io", "a", "1", digest_of(b""))),
    ],
)
def test_references(reference, parts):
    assert registry.parse(reference) == registry.Image(*parts)


@pytest.mark.parametrize("reference", ["", "UPPER/case", "a b", "a@sha256:1", "a:", "https://a/b"])
def test_what_is_no_reference_is_a_sentence(reference):
    with pytest.raises(EdgelineError, match="is not an image reference"):
        registry.parse(reference)


def test_lock_writes_the_digests_of_the_indexes(server, host, tmp_path, monkeypatch):
    pushed = {
        name: push(server, f"team/{entry.repository.rpartition('/')[2]}", entry.version)
        for name, entry in images.entries(images.lock_file()).items()
    }
    file = lock(f"{host}/team", tmp_path / "lock.yaml")
    written = yaml.safe_load(file.read_text())
    assert {name: entry["digest"] for name, entry in written.items()} == pushed
    monkeypatch.setenv("EDGELINE_IMAGES", str(file))
    assert images.reference("train") == f"{host}/team/train-python@{pushed['train']}"


def test_lock_writes_nothing_where_an_image_is_missing(server, host, tmp_path):
    push(server, "team/pipeline-python", __version__)
    with pytest.raises(EdgelineError, match=rf"no image .*team/train-python:{__version__}: build"):
        lock(f"{host}/team", tmp_path / "lock.yaml")
    assert not list(tmp_path.iterdir())


def test_mirror_copies_all_platforms_with_the_same_digest_and_nothing_twice(server, host):
    digest = push(server, "team/server", "1")
    uses = [closure.Use(f"{host}/team/server:1", "a.yaml", place) for place in ("x", "y")]
    [(image, copied)] = closure.mirror(uses, f"{host}/site")
    assert (image, copied) == (f"{host}/team/server:1", f"{host}/site/server@{digest}")
    assert registry.digest(f"{host}/site/server:1") == digest
    copies = {name for name in server.store if name.startswith("/v2/site/")}
    assert {name.replace("/site/", "/team/") for name in copies} <= set(server.store)
    assert len([name for name in copies if "/blobs/" in name]) == 5  # the shared layer once
    server.requests.clear()
    list(closure.mirror(uses, f"{host}/site"))
    assert not [request for request in server.requests if request.startswith("POST")]


def test_changed_content_is_refused(server, host):
    digest = push(server, "team/server", "1")
    server.store[f"/v2/team/server/manifests/{digest}"] = (INDEX, b'{"manifests": []}')
    with pytest.raises(EdgelineError, match="gave other content for team/server@"):
        registry.copy(f"{host}/team/server@{digest}", f"{host}/site/server")
    blob = next(name for name in server.store if "/blobs/" in name)
    server.store[blob] = ("", b"changed")
    with pytest.raises(EdgelineError, match="gave other content for team/server sha256:"):
        registry.copy(f"{host}/team/server:1", f"{host}/site/server:1")
    assert "/v2/site/server/manifests/1" not in server.store


def test_a_registry_that_is_not_ready_is_asked_again(server, host, capsys, monkeypatch):
    monkeypatch.setattr(registry, "ATTEMPTS", 1)
    push(server, "team/server", "1")
    for method in ("GET", "POST", "PUT"):
        server.busy = [method, method]
        registry.copy(f"{host}/team/server:1", f"{host}/site/{method.lower()}:1")
        assert f"/v2/site/{method.lower()}/manifests/1" in server.store
    assert capsys.readouterr().err.count("Trying again") == 6
    with pytest.raises(EdgelineError, match="403"):
        registry.digest(f"{host}/secret/a:1")
    assert capsys.readouterr().err == ""


def test_faults_are_sentences(host):
    with pytest.raises(EdgelineError, match=r"refuses to pull secret/a \(403.*docker login"):
        registry.digest(f"{host}/secret/a:1")
    with pytest.raises(EdgelineError, match=r"Registry 127\.0\.0\.1:1 cannot be reached"):
        registry.digest("127.0.0.1:1/a:1")


def test_images_that_would_be_one_in_the_mirror_are_refused(host):
    uses = [closure.Use(f"{host}/{team}/server:1", "a.yaml", "x") for team in ("a", "b")]
    with pytest.raises(EdgelineError, match=r"would both be server:1 in .*: mirror them apart"):
        list(closure.mirror(uses, host))
