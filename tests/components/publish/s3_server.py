"""A real S3 server: MinIO in a process of its own."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

BUCKET = "bundles"


@dataclass(frozen=True)
class S3:
    """A running server. `environment` is what a publisher needs to reach it."""

    address: str
    access_key: str
    secret_key: str

    @property
    def environment(self):
        return {
            "MINIO_ENDPOINT": self.address,
            "MINIO_ACCESS_KEY": self.access_key,
            "MINIO_SECRET_KEY": self.secret_key,
            "MINIO_SECURE": "false",
        }

    @property
    def client(self):
        import urllib3
        from minio import Minio

        pool = urllib3.PoolManager(timeout=10, retries=False)
        keys = self.access_key, self.secret_key
        return Minio(self.address, *keys, secure=False, http_client=pool)


def start(binary, folder, keys, told=None):
    """A server process and what reaches it; `told` are further variables of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("MINIO_")},
        "MINIO_ROOT_USER": keys[0],
        "MINIO_ROOT_PASSWORD": keys[1],
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CI_CD": "on",  # the data may lie on the root drive
        "HOME": str(folder),
        **(told or {}),
    }
    command = [binary, "server", "--address", address, folder / "data"]
    with open(folder / "log", "ab") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    return server, S3(address, *keys)


def ready(server, s3):
    """Wait until the bucket is made: the health check answers before requests are taken."""
    from minio.error import S3Error
    from urllib3.exceptions import HTTPError

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            s3.client.make_bucket(BUCKET)
            return True
        except (S3Error, HTTPError):
            time.sleep(0.05)
    return False


def stop(server):
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def built():
    """The server's program; without it the test is skipped by name."""
    cache = os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")
    binary = Path(cache).expanduser() / "bin" / "minio"
    if not binary.exists():
        script = Path(__file__).parents[2] / "build_s3_server.sh"
        if not shutil.which("go"):
            pytest.skip("NOT TESTED: the real S3 server could not be built, there is no Go")
        if subprocess.run([script], stdin=subprocess.DEVNULL).returncode:
            pytest.skip(f"NOT TESTED: the real S3 server could not be built, {script.name} failed")
    return binary


def running(tmp_path_factory):
    """For a fixture: a server on a free loopback port, with random keys and a bucket."""
    binary = built()
    folder = tmp_path_factory.mktemp("s3")
    keys = secrets.token_hex(8), secrets.token_hex(16)
    for _ in range(3):  # another process may take the free port first
        server, s3 = start(binary, folder, keys)
        try:
            if ready(server, s3):
                yield s3
                return
        finally:
            stop(server)
    pytest.fail(f"The S3 server did not start: {(folder / 'log').read_text()[-2000:]}")
