"""Where models come from: storage, archives, and copies of model hubs on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from edgeline.components.import_model import onnx_file, source
from edgeline.components.import_model.import_model import import_model
from edgeline.components.import_model.source import fetch
from edgeline.errors import EdgelineError
from edgeline.formats import archives
from edgeline.runtimes import child
from edgeline.stores import storage

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"index"}


@pytest.fixture
def folder(tmp_path):
    """A folder laid out as a SavedModel."""
    for name, content in FILES.items():
        file = tmp_path / "given" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "given"


@pytest.fixture
def served(tmp_path):
    """A folder and the address of a server that serves it."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def content(found):
    return {
        path.relative_to(found).as_posix(): path.read_bytes()
        for path in found.rglob("*")
        if path.is_file()
    }


def packed(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def test_a_local_folder_stays_where_it_is(folder, tmp_path):
    found = fetch(str(folder), "", tmp_path / "new")
    assert found.path == folder
    assert found.sha256 == storage.digest(storage.fetch(storage.resolve([str(folder)]), tmp_path))


def test_a_digest_is_checked(folder, tmp_path):
    right = fetch(str(folder), "", tmp_path).sha256
    assert fetch(str(folder), right, tmp_path).path == folder
    with pytest.raises(EdgelineError, match="is pinned"):
        fetch(str(folder), "0" * 64, tmp_path)
    with pytest.raises(EdgelineError, match="give one of them"):
        fetch(f"{folder}#sha256={right}", "0" * 64, tmp_path)


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_an_archive_on_a_web_server_is_unpacked(served, tmp_path, ending):
    root, address = served
    if ending == "zip":
        with zipfile.ZipFile(root / "model.zip", "w") as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
    else:
        (root / "model.tar.gz").write_bytes(packed(FILES))
    (tmp_path / "work").mkdir()
    assert content(fetch(f"{address}model.{ending}", "", tmp_path / "work").path) == FILES


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b", "a\\b"])
def test_entries_that_lead_outside_are_refused(tmp_path, name):
    (tmp_path / "evil.tar.gz").write_bytes(packed({"saved_model.pb": b"", name: b"x"}))
    with pytest.raises(EdgelineError, match="leads outside"):
        fetch(str(tmp_path / "evil.tar.gz"), "", tmp_path / "work")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(EdgelineError, match="leads outside"):
        fetch(str(tmp_path / "evil.zip"), "", tmp_path / "work2")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        entry = tarfile.TarInfo("saved_model.pb")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(EdgelineError, match="a link or a device"):
        fetch(str(tmp_path / "evil.tar"), "", tmp_path / "work")


def test_an_archive_made_to_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MOST_UNPACKED", 1 << 20)
    (tmp_path / "bomb.tar.gz").write_bytes(packed({"zeros": bytes(3 << 20)}))
    with pytest.raises(EdgelineError, match="unpacks to more than"):
        fetch(str(tmp_path / "bomb.tar.gz"), "", tmp_path / "work")


def test_an_archive_of_too_many_entries_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_ENTRIES", 10)
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for number in range(11):
            archive.writestr(str(number), b"x")
    (tmp_path / "many.tar.gz").write_bytes(packed({str(number): b"x" for number in range(31)}))
    for name in ("many.zip", "many.tar.gz"):
        with pytest.raises(EdgelineError, match=f"{name} has more than 10 entries"):
            fetch(str(tmp_path / name), "", tmp_path / "work")


def test_an_archive_with_damaged_content_is_a_sentence(tmp_path):
    with zipfile.ZipFile(tmp_path / "torn.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(9999))
    content = bytearray((tmp_path / "torn.zip").read_bytes())
    content[31:40] = b"\xff" * 9
    (tmp_path / "torn.zip").write_bytes(content)
    with pytest.raises(EdgelineError, match=r"torn\.zip cannot be unpacked"):
        fetch(str(tmp_path / "torn.zip"), "", tmp_path / "work")


def test_a_cut_archive_is_a_sentence(tmp_path):
    (tmp_path / "cut.tgz").write_bytes(packed({"model": os.urandom(9999)})[:5000])
    with pytest.raises(EdgelineError, match="cannot be unpacked"):
        fetch(str(tmp_path / "cut.tgz"), "", tmp_path / "work")


def test_an_onnx_file_that_crashes_its_checker_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "describe", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork has the line above, too
    (tmp_path / "x.onnx").write_bytes(b"\x08\x09")
    with pytest.raises(EdgelineError, match=r"x\.onnx is not .* checker was killed by SIGKILL"):
        import_model(str(tmp_path / "x.onnx"), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# --- hubs, as copies on this machine --------------------------------------------------------------


def test_tf_hub_over_https_as_it_documents_it(served, tmp_path, monkeypatch):
    root, address = served
    monkeypatch.setattr(source, "TFHUB", address)
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    (root / "google" / "small").mkdir(parents=True)
    (root / "google" / "small" / "1").write_bytes(packed(FILES))  # the server ignores the query
    (tmp_path / "work").mkdir()
    found = fetch("tfhub://google/small/1", "", tmp_path / "work")
    assert content(found.path) == FILES
    (tmp_path / "lite").mkdir()
    lite = fetch(f"{address}google/small/1?lite-format=tflite", "", tmp_path / "lite")
    assert lite.path.name == "model.tflite"


def test_the_cache_of_tf_hub_is_used(folder, tmp_path, monkeypatch):
    handle = "https://tfhub.dev/google/small/1"
    cached = tmp_path / "cache" / hashlib.sha1(handle.encode()).hexdigest()
    cached.parent.mkdir()
    folder.rename(cached)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(cached.parent))
    assert content(fetch(handle, "", tmp_path).path) == FILES


def test_kaggle_models_from_a_copy_in_its_cache(folder, tmp_path, monkeypatch):
    pytest.importorskip("kagglehub")
    variation = tmp_path / "cache" / "models" / "google" / "small" / "tensorFlow2" / "tiny"
    variation.mkdir(parents=True)
    folder.rename(variation / "3")
    (variation / "3.complete").touch()
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DISABLE_KAGGLE_CACHE", "1")
    found = fetch("kaggle://google/small/tensorFlow2/tiny/3", "", tmp_path / "work")
    assert content(found.path) == FILES
    assert found.revision == "3"
    with pytest.raises(EdgelineError, match="names no version"):
        fetch("kaggle://google/small/tensorFlow2/tiny", "", tmp_path / "work")


class HuggingFace(Quiet):
    """The few answers of huggingface.co that a download of a file needs."""

    def _answer(self):
        data = b"TFLITE CONTENT"
        if self.path != f"/org/small/resolve/{COMMIT}/lite/model.tflite":
            self.send_error(404)
            return b""
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return data

    do_HEAD = _answer  # noqa: N815

    def do_GET(self):
        self.wfile.write(self._answer())


def test_hugging_face_over_http_with_its_own_client(tmp_path):
    pytest.importorskip("huggingface_hub")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), HuggingFace)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    program = """
import json, sys
from pathlib import Path
from edgeline.components.import_model.source import fetch
from edgeline.errors import EdgelineError
try:
    found = fetch(sys.argv[1], "", Path(sys.argv[2]))
    print(json.dumps([found.path.read_text(), found.path.name, found.revision]))
except EdgelineError as error:
    print(json.dumps(str(error)))
"""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }

    def run(reference):
        command = [sys.executable, "-c", program, reference, str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout.splitlines()[-1])

    try:
        found = run(f"hf://org/small@{COMMIT}/lite/model.tflite")
        missing = run(f"hf://org/small@{COMMIT}/other.tflite")
    finally:
        server.shutdown()
        server.server_close()
    assert found == ["TFLITE CONTENT", "model.tflite", COMMIT]
    assert "could not be fetched" in missing
    assert run(f"hf://org/small@{COMMIT}/lite/model.tflite") == found  # now from its cache


def test_a_reference_without_a_file_is_refused(tmp_path):
    with pytest.raises(EdgelineError, match="names no file"):
        fetch("hf://org/small@main", "", tmp_path)


def test_a_missing_client_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(EdgelineError, match=r"pip install 'edgeline\[hub\]'"):
        fetch("kaggle://google/small/tensorFlow2/tiny/3", "", tmp_path)


def test_where_the_path_is_kept(folder, tmp_path):
    assert fetch(f"{folder}/", "", tmp_path).path == folder
    file = folder / "saved_model.pb"
    assert fetch(str(file), "", tmp_path).path == file
    assert fetch(f"{folder}/*.pb", "", tmp_path).path == Path(folder)
