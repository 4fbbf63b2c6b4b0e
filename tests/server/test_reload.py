"""Versions come and go while requests are answered."""

from __future__ import annotations

import dataclasses
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from publishing import bundle, model
from running import MIXED, MOBILENET, eventually

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import sha256
from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.server.models.loading import load

pytestmark = pytest.mark.slow

ROW = {"instances": [{"amount": [1, 2], "count": [1], "name": ["a"]}]}


def put(root: Path, version: int, data: bytes, name: str = "m") -> Path:
    """Write a version's folder beside its place and rename it, as any publisher should."""
    partial = root / f".{version}"
    partial.mkdir(parents=True)
    (partial / "model.tflite").write_bytes(data)
    (root / name).mkdir(exist_ok=True)
    partial.rename(root / name / str(version))
    return root / name / str(version)


def version(server, name: str = "m") -> str:
    return server.ask("GET", f"/v1/models/{name}/metadata")[1]["model_spec"]["version"]


def test_a_new_version_replaces_the_old_one(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    server = start(tmp_path, "--poll=0.1")
    assert version(server) == "1"
    put(tmp_path, 2, MIXED.read_bytes())
    eventually(lambda: version(server) == "2")
    assert server.ask("GET", "/v2/models/m/versions/1/ready")[0] == 404


def test_an_empty_store_is_live_and_serves_what_comes(start, tmp_path):
    store = tmp_path / "store"
    (store / "lost+found").mkdir(parents=True)
    server = start(store, "--poll=0.1")
    assert server.ask("GET", "/v2/health/live")[0] == 200
    assert server.ask("GET", "/v2/health/ready")[0] == 503
    assert server.ask("GET", "/")[0] == 200
    assert server.ask("POST", "/v2/repository/index")[1] == []
    assert server.ask("POST", "/v1/models/m:predict", ROW)[0] == 404
    put(store, 1, MIXED.read_bytes())
    eventually(lambda: server.ask("GET", "/v2/health/ready")[0] == 200)
    assert version(server) == "1"
    assert f"{store} is empty: the server is not ready until a model is there." in server.stop()[1]


def test_a_version_that_does_not_load_changes_nothing(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    server = start(tmp_path, "--poll=0.1")
    put(tmp_path, 2, MIXED.read_bytes()[:1000])
    put(tmp_path, 3, b"no model at all")

    def failed() -> set[str]:
        index = server.ask("POST", "/v2/repository/index")[1]
        return {e["version"] for e in index if e["state"] == "UNAVAILABLE" and e["reason"]}

    eventually(lambda: failed() == {"2", "3"})
    assert version(server) == "1"
    assert server.ask("POST", "/v1/models/m:predict", ROW)[0] == 200
    assert server.ask("GET", "/v2/health/ready")[0] == 200
    states = server.ask("GET", "/v1/models/m")[1]["model_version_status"]
    assert [(s["version"], s["state"]) for s in states] == [
        ("3", "END"),
        ("2", "END"),
        ("1", "AVAILABLE"),
    ]
    put(tmp_path, 4, MIXED.read_bytes())
    eventually(lambda: version(server) == "4")


def test_the_last_good_version_is_found_at_start(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes())
    put(tmp_path, 2, b"no model at all")
    server = start(tmp_path)
    assert version(server) == "1"


def test_a_changed_file_is_loaded_again(start, tmp_path):
    file = tmp_path / "m.tflite"
    file.write_bytes(MOBILENET.read_bytes())
    server = start(file, "--poll=0.1")
    (tmp_path / "new").write_bytes(MIXED.read_bytes())
    (tmp_path / "new").rename(file)
    eventually(lambda: len(server.ask("GET", "/v2/models/m")[1]["inputs"]) == 3)
    file.write_bytes(b"")
    eventually(lambda: server.metric('edgeline_model_loads_total{model="m",result="failed"}') > 0)
    assert server.ask("POST", "/v1/models/m:predict", ROW)[0] == 200
    file.unlink()
    assert server.ask("POST", "/v1/models/m:predict", ROW)[0] == 200


def test_models_come_and_go(start, tmp_path):
    put(tmp_path, 1, MIXED.read_bytes(), "first")
    server = start(tmp_path, "--poll=0.1")
    put(tmp_path, 1, MIXED.read_bytes(), "second")
    eventually(lambda: server.ask("GET", "/v2/models/second/ready")[0] == 200)
    (tmp_path / "first").rename(tmp_path.parent / f"{tmp_path.name}-gone")
    eventually(lambda: server.ask("GET", "/v2/models/first")[0] == 404)


def test_a_bundle(start, tmp_path):
    model = tmp_path / "taxi" / "model.tflite"
    model.parent.mkdir()
    model.write_bytes(MIXED.read_bytes())
    signature = load(model, "taxi", 7, 1, 1)[0].description.signature
    entry = {"sha256": sha256(model), "size": model.stat().st_size}
    write_manifest(
        model.parent,
        Bundle(
            name="taxi",
            version=7,
            target="cpu",
            model="model.tflite",
            task="regression",
            quantisation="none",
            takes="raw",
            signature=signature,
            features=(),
            files={"model.tflite": entry},
        ),
    )
    server = start(model.parent)
    assert version(server, "taxi") == "7"
    missing = {"instances": [{"amount": [1, 2], "count": [None], "name": [None]}]}
    answer = server.ask("POST", "/v1/models/taxi:predict", missing)[1]["predictions"][0]
    assert answer["echo"] == [""]  # a raw feature that is missing has its agreed value
    assert answer["next"] == [-(2**63) + 1]


def test_a_damaged_bundle_is_named(tmp_path):
    import subprocess
    import sys

    (tmp_path / "manifest.json").write_text("{}")
    ended = subprocess.run(
        [sys.executable, "-m", "edgeline.server", str(tmp_path)], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: ")
    assert "manifest.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_no_request_is_lost_or_wrong_while_versions_change(start, tmp_path):
    """Eight clients while models that answer differently replace each other."""
    image = np.arange(49152, dtype=np.uint32).astype(np.uint8).reshape(1, 128, 128, 3)
    good = MOBILENET.read_bytes()
    (instance,) = load(MOBILENET, "m", 1, 1, 1)
    name = instance.description.signature.outputs[0].name
    right = instance.run({"input": image})[name].tobytes()
    put(tmp_path, 1, good)
    server = start(tmp_path, "--poll=0.1")
    stop, wrong, counts = threading.Event(), [], [0] * 8
    head = {"Inference-Header-Content-Length": "0"}

    def client(place: int) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
        while not stop.is_set():
            connection.request("POST", "/v2/models/m/infer", image.tobytes(), head)
            answer = connection.getresponse()
            body = answer.read()
            size = int(answer.getheader("Inference-Header-Content-Length") or 0)
            if answer.status != 200 or body[size:] != right:
                wrong.append((answer.status, body[:200]))
            else:
                json.loads(body[:size])
                counts[place] += 1

    threads = [threading.Thread(target=client, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for number in range(2, 7):
        put(tmp_path, number, good)
        eventually(lambda number=number: version(server) == str(number))
        before = sum(counts)
        eventually(lambda before=before: sum(counts) > before + 50)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(counts) > 0


def test_a_bundle_for_another_runtime_does_not_hold_a_common_store_back(start, tmp_path):
    store = tmp_path / "store"
    bundle(store / "m" / "1", model(2.0))
    other = bundle(store / "m-tvm" / "1", b"\x08\x09 some library")
    manifest = bundles.read(other)
    write_manifest(other, dataclasses.replace(manifest, name="m-tvm", target="tvm"))
    server = start(store, "--poll=0")
    assert server.ask("GET", "/v2/health/ready")[0] == 200
    states = {e["name"]: e for e in server.ask("POST", "/v2/repository/index", {})[1]}
    assert states["m"]["state"] == "READY"
    assert states["m-tvm"]["state"] == "UNAVAILABLE"
    said = "made for tvm, and this server runs LiteRT, ONNX Runtime and OpenVINO"
    assert said in states["m-tvm"]["reason"]

    # one that is for this runtime and does not work does
    bundle(store / "n" / "1", b"no model at all")
    assert server.ask("POST", "/v2/repository/models/n/load", {})[0] == 400
    assert server.ask("GET", "/v2/health/ready")[0] == 503
