"""Data sets of Hugging Face's hub, by the hub's own client against a stand-in of its HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeline.components.ingest.ingest import ingest
from edgeline.errors import EdgelineError

COMMIT = "a" * 40
FILES = {"README.md": b"# trips", "data/a.csv": b"a,b\n1,2\n", "data/b.csv": b"a,b\n3,4\n"}
ROOT = "/api/datasets/acme/trips"


class Hub(BaseHTTPRequestHandler):
    """What the client asks: a revision's commit, the tree of files, a file."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        file = path.removeprefix(f"/datasets/acme/trips/resolve/{COMMIT}/")
        if path in (ROOT, f"{ROOT}/revision/main"):
            self.answer({"id": "acme/trips", "sha": COMMIT})
        elif path == f"{ROOT}/tree/{COMMIT}":
            self.answer([{"type": "file", "path": p, "size": 1, "oid": "0"} for p in FILES])
        elif file in FILES and self.headers["authorization"] == "Bearer hf_secret":
            self.answer(FILES[file])
        else:
            self.answer({"error": "Repository not found"}, 404)

    def answer(self, content: object, status: int = 200) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import huggingface_hub.constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", place)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        place + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert place == huggingface_hub.constants.ENDPOINT
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("location", "files"),
    [
        ("hf://datasets/acme/trips/data", ["a", "b"]),
        ("hf://datasets/acme/trips@main/**/*.csv", ["a", "b"]),
        ("hf://datasets/acme/trips@main/data/b.csv", ["b"]),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_was_read_is_recorded_by_its_commit(
    location: str, files: list[str], tmp_path: Path
) -> None:
    facts = ingest(location, tmp_path / "out", split_ratios={"all": 1})
    names = [source["name"] for source in facts["sources"]]
    assert names == [f"hf://datasets/acme/trips@{COMMIT}/data/{name}.csv" for name in files]
    assert facts["splits"] == {"all": {"rows": len(files)}}


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("hf://datasets/acme/none/a.csv", "hf://datasets/acme/none/a.csv could not be read ("),
        ("hf://datasets/acme/trips/none.csv", "names no file: check the path and the pattern"),
        ("hf://datasets/acme", "names no data set of the hub: write hf://datasets/owner/name@"),
        ("hf://acme/model/a.csv", "hf://acme/model/a.csv names no data set of the hub"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_is_not_there_is_one_sentence(location: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EdgelineError) as raised:
        ingest(location, tmp_path / "out")
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(EdgelineError, match=r"could not be read \(.*the network and HF_TOKEN\.$"):
        ingest("hf://datasets/acme/trips/data", tmp_path / "out")
