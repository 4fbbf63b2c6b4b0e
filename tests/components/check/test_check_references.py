"""`edgeline check` of what lies elsewhere, in one table: a stand-in of Hugging Face's server for
its own client, a copy in Kaggle's cache, and a web server over TLS."""

from __future__ import annotations

import datetime as dt
import hashlib
import http.server
import ipaddress
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
LSTM = DATA / "coral" / "keras_lstm_mnist_ptq.tflite"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class HuggingFaceStandIn(Quiet):
    """The few answers of huggingface.co that its client needs for a file."""

    def do_HEAD(self):
        self._begin()

    def do_GET(self):
        if self._begin():
            self.wfile.write(LSTM.read_bytes())

    def _begin(self):
        if self.path != f"/org/small/resolve/{COMMIT}/lite/model.tflite":
            self.send_error(404)
            return False
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(LSTM.read_bytes()).hexdigest()}"')
        self.send_header("Content-Length", str(LSTM.stat().st_size))
        self.end_headers()
        return True


@pytest.fixture
def serve():
    """`serve(handler, context)`: the port of a server."""
    servers = []

    def start(handler, context=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def certificate(file):
    """A key and a certificate of its own for 127.0.0.1, in one file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.timezone.utc)
    place = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(place, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    encoding = serialization.Encoding.PEM
    file.write_bytes(key.private_bytes(encoding, kind, plain) + made.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_hubs_and_web_servers_are_one_table(serve, tmp_path):
    for client in ("huggingface_hub", "kagglehub"):
        pytest.importorskip(client)
    version = tmp_path / "kaggle" / "models" / "google" / "small" / "tfLite" / "tiny" / "3"
    version.mkdir(parents=True)
    shutil.copy(LSTM, version / "model.tflite")
    version.with_name("3.complete").touch()
    tls = serve(partial(Quiet, directory=str(LSTM.parent)), certificate(tmp_path / "own.pem"))
    pin = hashlib.sha256(LSTM.read_bytes()).hexdigest()
    hub, kaggle = f"hf://org/small@{COMMIT}/lite/", "kaggle://google/small/tfLite/tiny/3"
    web = f"https://127.0.0.1:{tls}/{LSTM.name}"
    asked = (f"{hub}model.tflite", kaggle, f"{web}#sha256={pin}", f"{hub}other.tflite")
    done = subprocess.run(
        [sys.executable, "-m", "edgeline", "check", *asked, f"{web}#sha256={'0' * 64}", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
            "HF_ENDPOINT": f"http://127.0.0.1:{serve(HuggingFaceStandIn)}",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "KAGGLEHUB_CACHE": str(tmp_path / "kaggle"),
            "DISABLE_KAGGLE_CACHE": "1",
            "SSL_CERT_FILE": str(tmp_path / "own.pem"),
        },
    )
    found = json.loads(done.stdout)
    names = [f"{hub}model.tflite", f"{kaggle}/model.tflite", web]
    assert [each["model"] for each in found] == names
    assert {(each["mapped"], len(each["operators"])) for each in found} == {(6, 6)}
    assert done.returncode == 1
    assert "2 of 5 models cannot be checked" in done.stderr
    assert f"{hub}other.tflite could not be fetched" in done.stderr
