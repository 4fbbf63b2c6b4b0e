"""What is particular to an object store, against a real S3 server."""

import http.server
import io
import json
import secrets
import socket
import subprocess
import sys
import threading
import time

import pytest

from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.stores.store import fetch, open_store

BUCKET = "bundles"
PUBLISH = """
import json, sys
from edgeline.components.publish.publish import publish
publish(**json.loads(sys.argv[1]))
"""


class Gate:
    """A TCP proxy before the server that stops for good once `limit` bytes went up."""

    def __init__(self, upstream, limit):
        host, port = upstream.split(":")
        self.upstream, self.limit = (host, int(port)), limit
        self.sent, self.lock, self.reached = 0, threading.Lock(), threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                down, _ = self.listener.accept()
            except OSError:
                return
            up = socket.create_connection(self.upstream)
            for source, target, counts in ((down, up, True), (up, down, False)):
                threading.Thread(target=self.pump, args=(source, target, counts)).start()

    def pump(self, source, target, counts):
        try:
            while data := source.recv(1 << 16):
                if counts:
                    with self.lock:
                        self.sent += len(data)
                    if self.sent > self.limit:
                        self.reached.set()
                        continue  # swallowed: the upload never ends
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()


def arguments(inputs, tmp_path, destination, **change):
    output = str(tmp_path / "outputs" / secrets.token_hex(6))
    return {**inputs, "bundle_path": output, "name": "taxi", "destination": destination, **change}


def test_a_killed_upload_is_never_visible_and_is_completed(s3, inputs, tmp_path, s3_destination):
    store = open_store(s3_destination)
    publish(**arguments(inputs(b"old"), tmp_path, s3_destination))
    big = arguments(inputs(b"big", size=24 << 20), tmp_path, s3_destination)
    gate = Gate(s3.address, limit=12 << 20)
    environment = {**s3.environment, "MINIO_ENDPOINT": gate.address}
    process = subprocess.Popen([sys.executable, "-c", PUBLISH, json.dumps(big)], env=environment)
    try:
        assert gate.reached.wait(60)
        # While it uploads, a reader sees and gets the old version, and only that.
        assert store.versions("taxi") == [1]
        fetch(f"{s3_destination}/taxi/1", tmp_path / "during")
        # Another publisher with other content passes by.
        other = publish(**arguments(inputs(b"other"), tmp_path, s3_destination, name="tram"))
        assert other.version == 1
    finally:
        process.kill()
        process.wait()
        gate.listener.close()
    assert store.versions("taxi") == [1]
    with pytest.raises(EdgelineError, match="taxi/2 is not published"):
        fetch(f"{s3_destination}/taxi/2", tmp_path / "half")

    assert publish(**big).version == 2  # the same content takes its number up again
    assert store.versions("taxi") == [1, 2]
    fetch(f"{s3_destination}/taxi/2", tmp_path / "after")
    assert (tmp_path / "after/model.tflite").stat().st_size == 24 << 20


def test_other_content_skips_the_number_of_a_killed_upload(s3, inputs, tmp_path, s3_destination):
    prefix = s3_destination.split("/", 3)[3]
    for key in (".claims/1/" + "0" * 64, "1/model.tflite"):
        s3.client.put_object(BUCKET, f"{prefix}/taxi/{key}", io.BytesIO(b"x"), 1)
    assert open_store(s3_destination).versions("taxi") == []
    assert publish(**arguments(inputs(), tmp_path, s3_destination)).version == 2
    assert open_store(s3_destination).versions("taxi") == [2]
    with pytest.raises(EdgelineError, match="taxi/1 is taken"):
        publish(**arguments(inputs(), tmp_path, s3_destination, version=1))


def test_processes_that_race(inputs, tmp_path, s3_destination):
    races = [
        arguments(inputs(content, size=6 << 20), tmp_path, s3_destination)
        for content in (b"one", b"two")
    ]
    processes = [
        subprocess.Popen([sys.executable, "-c", PUBLISH, json.dumps(race)]) for race in races
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    versions = open_store(s3_destination).versions("taxi")
    assert len(versions) == 2
    found = set()
    for version in versions:
        fetch(f"{s3_destination}/taxi/{version}", tmp_path / str(version))
        found.add((tmp_path / str(version) / "model.tflite").read_bytes()[8:11])
    assert found == {b"one", b"two"}


def test_damage_is_found_on_fetch(s3, inputs, tmp_path, s3_destination):
    uri = publish(**arguments(inputs(), tmp_path, s3_destination)).uri
    key = uri.split("/", 3)[3] + "/model.tflite"
    size = s3.client.stat_object(BUCKET, key).size
    s3.client.put_object(BUCKET, key, io.BytesIO(b"x" * size), size)
    with pytest.raises(EdgelineError, match=r"/taxi/1/model.tflite is damaged"):
        fetch(uri, tmp_path / "fetched")
    s3.client.remove_object(BUCKET, key)
    with pytest.raises(EdgelineError, match=r"lacks .*taxi/1/model.tflite, which its manifest"):
        fetch(uri, tmp_path / "fetched")
    assert not list(tmp_path.glob("fetched*"))


def test_the_names_of_aws_work_too(s3, inputs, tmp_path, monkeypatch, s3_destination):
    for name in s3.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3.address}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    uri = publish(**arguments(inputs(), tmp_path, s3_destination)).uri
    fetch(uri, tmp_path / "fetched")


def test_faults_are_one_sentence(s3, inputs, tmp_path, monkeypatch):
    def fault(destination=f"s3://{BUCKET}/x"):
        with pytest.raises(EdgelineError) as caught:
            publish(**arguments(inputs(), tmp_path, destination))
        assert s3.secret_key not in str(caught.value)
        assert s3.access_key not in str(caught.value)
        assert caught.value.__cause__ is None
        return str(caught.value)

    at = f"at http://{s3.address}"
    assert fault("s3://nowhere/x") == (
        f"s3://nowhere {at} does not exist: create the bucket or fix the destination."
    )
    assert fault("s3://No_Bucket/x").startswith(f"s3://No_Bucket {at} answered InvalidBucketName")
    assert fault("s3://b/x").startswith(f"s3://b {at} cannot be used (invalid bucket name")
    monkeypatch.setenv("MINIO_SECRET_KEY", "wrong")
    assert fault() == (
        f"s3://{BUCKET} {at} refuses the keys in the environment (SignatureDoesNotMatch): "
        "check them."
    )
    monkeypatch.delenv("MINIO_SECRET_KEY")
    assert fault() == f"s3://{BUCKET} needs keys: set MINIO_ACCESS_KEY and MINIO_SECRET_KEY."
    monkeypatch.delenv("MINIO_ENDPOINT")
    assert fault("minio://b/x").startswith("MINIO_ENDPOINT is not set: minio://")


def test_an_endpoint_that_is_down_or_silent(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeline.stores.objects.READ_TIMEOUT", 0.2)
    monkeypatch.setenv("MINIO_ACCESS_KEY", "who")
    monkeypatch.setenv("MINIO_SECRET_KEY", "sesame-sesame")
    monkeypatch.setenv("MINIO_SECURE", "false")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("MINIO_ENDPOINT", address)
        begun = time.monotonic()
        with pytest.raises(EdgelineError, match=r"cannot be reached \(read timeout error\)"):
            publish(**arguments(inputs(), tmp_path, "s3://bucket/x"))
    with pytest.raises(EdgelineError) as caught:
        publish(**arguments(inputs(), tmp_path, "s3://bucket/x"))
    assert time.monotonic() - begun < 10
    assert str(caught.value) == (
        f"s3://bucket at http://{address} cannot be reached (new connection error): "
        "check the endpoint and the network."
    )
    assert not list((tmp_path / "outputs").iterdir())


def test_a_store_that_is_not_ready(inputs, tmp_path, monkeypatch):
    """Its wish to be asked again in an hour is not granted."""

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503)
            self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("MINIO_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("MINIO_ACCESS_KEY", "who")
        monkeypatch.setenv("MINIO_SECRET_KEY", "sesame-sesame")
        begun = time.monotonic()
        with pytest.raises(EdgelineError, match=r"cannot be reached \(too many 503 error"):
            publish(**arguments(inputs(), tmp_path, "s3://bucket/x"))
        assert time.monotonic() - begun < 10
        server.shutdown()
