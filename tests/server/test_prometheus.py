"""A real Prometheus asks a served model for its metrics: with and without TLS and tokens, by
HTTP/1.1 and HTTP/2; Debian's package `prometheus` has it."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import MIXED, Running, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("promtool")),
        reason="NOT TESTED: metrics by a real Prometheus: install Debian's package prometheus",
    ),
]
TOKEN = "its-own"
ROW = {"amount": [1.0, 2.0], "count": 1, "name": "a"}


class Prometheus:
    """One that asks every second, on a free port."""

    def __init__(self, jobs: list[dict[str, Any]], folder: Path) -> None:
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}"
        self._log = open(folder / "log", "wb")  # noqa: SIM115
        self._process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"],
            stderr=self._log,
        )  # fmt: skip

    def found(self, asked: str) -> dict[str, float]:
        """The value of an expression by job; nothing before it listens."""
        query = urllib.parse.urlencode({"query": asked})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=20) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            assert self._process.poll() is None, Path(self._log.name).read_text()[-2000:]
            return {}
        return {each["metric"]["job"]: float(each["value"][1]) for each in result}

    def faults(self) -> dict[str, str]:
        """Why a job's target could not be asked."""
        with urllib.request.urlopen(f"{self.url}/api/v1/targets", timeout=20) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        return {each["labels"]["job"]: each["lastError"] for each in targets}

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)
        self._log.close()


@pytest.fixture(scope="module")
def served(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Running]]:
    """A server without tokens and TLS, and one with both."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "m.tflite").write_bytes(MIXED.read_bytes())
    entry = {"sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "scopes": ["metadata"]}
    (folder / "tokens.json").write_text(json.dumps({"tokens": [entry]}))
    plain = Running(folder / "m.tflite")
    closed = Running(
        folder / "m.tflite",
        *(f"--certificate={certificates}/server.pem", f"--key={certificates}/server.key"),
        f"--tokens={folder}/tokens.json",
    )
    yield [plain, closed]
    for server in (plain, closed):
        _, log = server.stop()
        assert "Traceback" not in log, log


def test_it_has_every_target_up_that_may_be_asked(served, certificates, tmp_path):
    plain, closed = served
    for _ in range(3):
        assert plain.ask("POST", "/v1/models/m:predict", {"instances": [ROW]})[0] == 200

    def job(name: str, port: int, **more: Any) -> dict[str, Any]:
        targets = [{"targets": [f"127.0.0.1:{port}"]}]
        return {"job_name": name, "static_configs": targets, **more}

    tls = {"scheme": "https", "tls_config": {"ca_file": f"{certificates}/ca.pem"}}
    with_token = {**tls, "authorization": {"credentials": TOKEN}}
    jobs = [
        job("plain", plain.http),
        job("HTTP/1.1", closed.http, **with_token, enable_http2=False),
        # this port speaks HTTP/2 alone
        job("HTTP/2", closed.grpc, **with_token),
        job("no token", closed.http, **tls),
        job("a wrong token", closed.http, **tls, authorization={"credentials": "another"}),
        job("a CA that it does not know", closed.http, scheme="https"),
    ]
    prometheus = Prometheus(jobs, tmp_path)
    try:
        eventually(lambda: len(prometheus.found("up")) == len(jobs), 60)
        up = {name for name, value in prometheus.found("up").items() if value == 1}
        assert up == {"plain", "HTTP/1.1", "HTTP/2"}, prometheus.faults()
        ready = prometheus.found('edgeline_model_ready{model="m",version="1"}')
        assert ready == dict.fromkeys(up, 1.0)
        answered = prometheus.found('edgeline_requests_total{model="m",code="OK"}')
        assert answered == {"plain": 3.0}
        seconds = prometheus.found("histogram_quantile(0.5, edgeline_request_seconds_bucket)")
        assert 0 < seconds["plain"] < 10
        faults = prometheus.faults()
        for name in ("no token", "a wrong token"):
            assert "401 Unauthorized" in faults[name]
        assert "certificate" in faults["a CA that it does not know"]
    finally:
        prometheus.stop()


def test_promtool_finds_nothing_to_say_of_the_metrics(served):
    said = served[0].ask("GET", "/metrics")[1]
    checked = subprocess.run(["promtool", "check", "metrics"], input=said, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
