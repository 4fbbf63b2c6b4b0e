"""The standard clients, each in a process of its own: kserve's and tritonclient's clash in one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache" / "edgeline-tests"))
GRPCURL = CACHE / "bin" / "grpcurl"


@pytest.fixture(scope="session")
def client_python() -> str:
    script = HERE / "build_clients.sh"
    built = subprocess.run(
        ["sh", str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    if built.returncode:
        pytest.skip(f"NO CLIENTS: {script} failed: {built.stderr.strip()[-300:]}")
    return built.stdout.strip()


@pytest.mark.parametrize(
    ("program", "ports"),
    [
        ("triton_http", ["http"]),
        pytest.param("triton_grpc", ["grpc"], marks=pytest.mark.long),
        ("triton_grpc", ["http"]),  # one port speaks both
        ("grpc_services", ["grpc"]),
        ("kserve_clients", ["http", "grpc"]),
    ],
)
def test_every_call_of_a_standard_client(start, store, client_python, program, ports):
    server = start(store, "--versions", "0", "--poll", "0")
    arguments = [str(getattr(server, port)) for port in ports]
    ended = subprocess.run(
        [client_python, "-B", str(HERE / "clients" / f"{program}.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="NO TENSORFLOW: its stubs need it"
)
def test_every_call_of_tensorflow_servings_stubs(start, store, client_python):
    (store / "regression" / "1").mkdir(parents=True)
    shutil.copy(HERE.parent / "data" / "line.tflite", store / "regression" / "1")
    server = start(store, "--versions", "0", "--poll", "0")
    stubs = Path(client_python).parents[1] / "tfserving"
    ended = subprocess.run(
        [sys.executable, "-B", str(HERE / "clients" / "tfserving_grpc.py"), str(server.grpc)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(stubs)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="NO CURL on this machine")
def test_curl(server, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(bytes(128 * 128 * 3))
    url = f"http://127.0.0.1:{server.http}"

    def curl(*arguments: str) -> str:
        return subprocess.run(
            ["curl", "-sS", "--fail", "--max-time", "30", *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    raw = ["-H", "Inference-Header-Content-Length: 0", "--data-binary", f"@{body}"]
    curl(*raw, "-o", str(tmp_path / "answer"), f"{url}/v2/models/mobilenet/infer")
    assert (tmp_path / "answer").read_bytes().startswith(b'{"model_name":"mobilenet"')
    large = tmp_path / "large.json"  # curl asks 100-continue before it sends one
    large.write_text('{"instances": [' + ",".join(["0.5"] * 400_000) + "]}")
    said = curl("--no-fail", "-d", f"@{large}", f"{url}/v1/models/mobilenet:predict")
    assert said.startswith('{"error":"Input')
    assert '"live":true' in curl("--http2", f"{url}/v2/health/live")


@pytest.mark.skipif(
    not GRPCURL.exists(), reason="NOT TESTED: grpcurl: run tests/server/build_grpcurl.sh"
)
def test_grpcurl_needs_no_proto_file(server):
    def ask(*arguments: str, port: int = server.grpc) -> str:
        *given, method = arguments
        return subprocess.run(
            [GRPCURL, "-plaintext", *given, f"127.0.0.1:{port}", *method.split()],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    service = "inference.GRPCInferenceService"
    for port in (server.grpc, server.http):
        assert service in ask("list", port=port).split()
    told = ask(f"describe {service}")
    assert "rpc ModelStreamInfer ( stream .inference.ModelInferRequest )" in told
    assert '"status": "SERVING"' in ask("-d", '{"service": "mixed"}', "grpc.health.v1.Health/Check")
    config = json.loads(ask("-d", '{"name": "mixed"}', f"{service}/ModelConfig"))["config"]
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert "tensorflow.Example" in ask("describe .tensorflow.serving.ExampleList")
    asked = {
        "model_name": "mixed",
        "id": "7",
        "inputs": [
            {"name": "amount", "datatype": "FP32", "shape": [1, 2],
             "contents": {"fp32_contents": [1, 2]}},
            {"name": "count", "datatype": "INT64", "shape": [1, 1],
             "contents": {"int64_contents": [1]}},
            {"name": "name", "datatype": "BYTES", "shape": [1, 1],
             "contents": {"bytes_contents": ["YQ=="]}},
        ],
    }  # fmt: skip
    twice = json.dumps(asked) + json.dumps({**asked, "model_name": "none"})
    said = ask("-d", twice, f"{service}/ModelStreamInfer")
    assert said.count('"triton_final_response"') == 2
    assert "There is no model 'none'." in said
