"""Stores that are reached by an identity alone, on this machine.

| cloud  | store                                       | who gives the identity         |
|--------|---------------------------------------------|--------------------------------|
| aws    | MinIO, which is its own token service (STS) | a stand-in for a cluster's API |
| google | fake-gcs-server behind `TokenGate`          | a stand-in metadata server     |
| azure  | Azurite, by HTTPS and OAuth                 | a stand-in for Entra ID        |

MinIO and Azurite check themselves whether a token has ended. fake-gcs-server takes any, so the gate
before it checks; and it takes uploads by JSON alone, so the gate makes such ones of those by XML,
whole or in parts, as Google documents them.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.client
import http.server
import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from s3_server import start, stop

LIFE = 600  # seconds that a token counts, where a test says no other
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
AZURITE = CACHE / "azurite-3.37.0/node_modules/.bin/azurite-blob"
GOOGLE = CACHE / "bin/fake-gcs-server"


@dataclass
class Cloud:
    """A running store with a container `models` for whoever has the identity.

    Attributes:
        place: the address of a prefix that nobody else uses.
        environment: what a pod with the identity has.
        issued: when each token ends, in seconds since 1970.
        life: of the next token, in seconds; those after it count LIFE.
        refused: whether no more tokens are given.
        rotate: has what was changed of these count from the next token on.
        address: host and port of the store.
    """

    place: str
    environment: dict[str, str]
    address: str
    issued: list[float] = field(default_factory=list)
    life: int = LIFE
    refused: bool = False
    rotate: Callable[[], None] = lambda: None

    def next_end(self) -> float:
        """When a token ends that is made now."""
        life, self.life = self.life, LIFE
        return time.time() + life

    def issue(self) -> float:
        self.issued.append(self.next_end())
        return self.issued[-1]


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers with what `self.server.answer` makes of the path and the body."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, found = self.server.answer(self.path, body, self.headers)  # type: ignore[attr-defined]
        text = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Silence."""


@contextlib.contextmanager
def answering(answer: Callable[[str, bytes, Any], tuple[int, Any]]) -> Iterator[str]:
    """A web server on a free port: `host:port`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.answer = answer  # type: ignore[attr-defined]
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def encoded(value: bytes | dict[str, Any]) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(ready: Callable[[], Any], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for a server that has just been started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ready():
                return
        time.sleep(0.05)
    pytest.fail(f"The store did not start: {log.read_text(errors='replace')[-2000:]}")


def asked(address: str, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    """The status of a request."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


# AWS: MinIO, its token service and a cluster's issuer


class ClusterIssuer:
    """Signs tokens as a cluster does, and shows its public keys (RFC 7517)."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.address = ""

    def answer(self, path: str, _: bytes, __: Any) -> tuple[int, Any]:
        here = f"http://{self.address}"
        if path.startswith("/.well-known/"):
            return 200, {"issuer": here, "jwks_uri": f"{here}/keys"}
        numbers = self.key.public_key().public_numbers()
        n, e = (
            encoded(x.to_bytes((x.bit_length() + 7) // 8, "big")) for x in (numbers.n, numbers.e)
        )
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": n, "e": e}
        return 200, {"keys": [key]}

    def token(self, ends: float) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        said = {"iss": f"http://{self.address}", "aud": "sts", "sub": "kubeflow", "exp": int(ends)}
        text = f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': '1'})}.{encoded(said)}"
        proof = self.key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{encoded(proof)}"


class ProjectedToken:
    """The file of a service account's token, and what lies between it and the token service.

    The file is written anew whenever its token was taken to the service, as a kubelet does long
    before it ends, so the next one counts as long as the test wants it at that moment.
    """

    def __init__(self, path: Path, issuer: ClusterIssuer, service: str) -> None:
        self.path, self._issuer, self._service = path, issuer, service
        self.cloud: Cloud | None = None
        self._ends = 0.0

    def rotate(self) -> None:
        assert self.cloud
        self._ends = self.cloud.next_end()
        token = "no token" if self.cloud.refused else self._issuer.token(self._ends)
        beside = self.path.with_suffix(".new")
        beside.write_text(token)
        beside.replace(self.path)

    def answer(self, path: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._service, timeout=30)
        try:
            kind = {"Content-Type": headers["Content-Type"]}
            connection.request("POST", path, body, kind)
            found = connection.getresponse()
            text = found.read()
        finally:
            connection.close()
        assert self.cloud
        if found.status == 200:
            self.cloud.issued.append(self._ends)
            self.rotate()
        return found.status, text


@contextlib.contextmanager
def aws(folder: Path, minio: Path) -> Iterator[Cloud]:
    issuer = ClusterIssuer()
    with answering(issuer.answer) as issuer.address:
        root = secrets.token_hex(8), secrets.token_hex(16)
        told = {
            "MINIO_IDENTITY_OPENID_CONFIG_URL": (
                f"http://{issuer.address}/.well-known/openid-configuration"
            ),
            "MINIO_IDENTITY_OPENID_CLIENT_ID": "sts",
            "MINIO_IDENTITY_OPENID_ROLE_POLICY": "readwrite",
        }
        server, s3 = start(minio, folder, root, told)
        try:
            log = folder / "log"
            until(lambda: _made(s3), server, log)
            role = _role(log, server)
            made = ProjectedToken(folder / "token", issuer, s3.address)
            with answering(made.answer) as service:
                cloud = made.cloud = Cloud(
                    f"s3://models/{secrets.token_hex(4)}",
                    {
                        "AWS_ENDPOINT_URL": f"http://{s3.address}",
                        "AWS_ENDPOINT_URL_STS": f"http://{service}",
                        "AWS_REGION": "us-east-1",
                        "AWS_ROLE_ARN": role,
                        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "token"),
                    },
                    s3.address,
                    rotate=made.rotate,
                )
                yield cloud
        finally:
            stop(server)


def _made(s3: Any) -> bool:
    from minio.error import S3Error
    from urllib3.exceptions import HTTPError

    try:
        s3.client.make_bucket("models")
    except (S3Error, HTTPError):
        return False
    return True


def _role(log: Path, server: subprocess.Popen[bytes]) -> str:
    """The name that MinIO gives the role, which it says when it starts."""
    import re

    def found() -> re.Match[str] | None:
        return re.search(r"arn:minio:iam:\S*:role/[\w-]+", log.read_text(errors="replace"))

    until(found, server, log)
    said = found()
    assert said
    return said[0]


# Google: fake-gcs-server behind a gate that knows tokens


class TokenGate(http.server.BaseHTTPRequestHandler):
    """Lets requests through whose token still counts."""

    protocol_version = "HTTP/1.1"

    def through(self) -> None:
        gate: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        gate.on_bytes(len(body))
        if gate.tokens.get(token, 0.0) < time.time():
            return self.answer(401, b"<Error><Code>AuthenticationRequired</Code></Error>", {})
        address = urlsplit(self.path)
        query = parse_qs(address.query, keep_blank_values=True)
        parts = gate.parts.setdefault(query.get("uploadId", [""])[0], {})
        if "uploads" in query:
            made = "InitiateMultipartUploadResult"
            text = f"<{made}><UploadId>{secrets.token_hex(8)}</UploadId></{made}>"
            return self.answer(200, text.encode(), {})
        if "partNumber" in query:
            parts[int(query["partNumber"][0])] = body
            return self.answer(200, b"", {"ETag": '"part"'})
        method, path = self.command, self.path
        bucket, _, key = address.path.lstrip("/").partition("/")
        if bucket != "models":  # the emulator's answer is another than Google's
            return self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>", {})
        if "uploadId" in query:
            method, body = "PUT", b"".join(parts[number] for number in sorted(parts))
        if method == "PUT":
            method, name = "POST", quote(unquote(key), safe="")
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
        upstream = http.client.HTTPConnection(gate.upstream, timeout=30)
        kept = ("range", "content-type", "cache-control")
        headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
        headers["Host"] = gate.public
        try:
            upstream.request(method, path, body, headers)
            found = upstream.getresponse()
            content = found.read()
        finally:
            upstream.close()
        if "uploadId" in query:
            content = (
                b"<CompleteMultipartUploadResult><Location>x</Location><Bucket>models</Bucket>"
                b'<Key>x</Key><ETag>"whole"</ETag></CompleteMultipartUploadResult>'
            )
        wanted = ("etag", "last-modified", "content-type", "content-range", "x-goog-generation")
        told = {name: value for name, value in found.getheaders() if name.lower() in wanted}
        told.setdefault("ETag", '"x"')
        told.setdefault("Last-Modified", "Mon, 30 Nov 2026 12:00:00 GMT")
        if self.command == "HEAD":
            told["Content-Length"] = found.getheader("Content-Length") or "0"
        return self.answer(found.status, content, told)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = through  # noqa: N815

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silence."""


@contextlib.contextmanager
def google(folder: Path) -> Iterator[Cloud]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenGate) as server:
        gate: Any = server
        gate.daemon_threads = True
        gate.tokens, gate.parts, gate.on_bytes = {}, {}, lambda _: None
        address = f"127.0.0.1:{server.server_port}"
        gate.public = address
        gate.upstream = f"127.0.0.1:{free_port()}"
        port = gate.upstream.rpartition(":")[2]
        command = [GOOGLE, "-scheme", "http", "-host", "127.0.0.1", "-port", port]
        command += ["-backend", "memory", "-public-host", address]
        log = folder / "google.log"
        with open(log, "wb") as stream:
            process = subprocess.Popen(command, stdout=stream, stderr=stream)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            until(lambda: asked(gate.upstream, "GET", "/_internal/healthcheck"), process, log)
            made = json.dumps({"name": "models"}).encode()
            assert asked(gate.upstream, "POST", "/storage/v1/b", made) == 200
            cloud = Cloud(f"gs://models/{secrets.token_hex(4)}", {}, address)

            def metadata(path: str, _: bytes, headers: Any) -> tuple[int, Any]:
                wanted = "/computeMetadata/v1/instance/service-accounts/default/token"
                if path != wanted or headers.get("Metadata-Flavor") != "Google" or cloud.refused:
                    return 404, {"error": "no service account"}
                token = secrets.token_hex(8)
                gate.tokens[token] = ends = cloud.issue()
                seconds = round(ends - time.time())
                return 200, {
                    "access_token": token,
                    "expires_in": seconds,
                    "token_type": "Bearer",
                }

            with answering(metadata) as host:
                cloud.environment |= {
                    "STORAGE_EMULATOR_HOST": f"http://{address}",
                    "GCE_METADATA_HOST": host,
                }
                yield cloud
        finally:
            server.shutdown()
            stop(process)


# Azure: Azurite and Entra ID


def certificate(folder: Path) -> None:
    """`ca.pem`, and `key.pem` with `cert.pem`, which that authority gave 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = dt.datetime.now(dt.timezone.utc)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def made(name: str, public: Any, is_authority: bool) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([here]), critical=False)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(authority, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    own = made("authority of the tests", authority.public_key(), True)
    (folder / "ca.pem").write_bytes(own)
    (folder / "cert.pem").write_bytes(made("the store", key.public_key(), False))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextlib.contextmanager
def azure(folder: Path) -> Iterator[Cloud]:
    certificate(folder)
    port, log = free_port(), folder / "azure.log"
    command = [str(AZURITE), "--inMemoryPersistence", "--disableTelemetry", "--oauth", "basic"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    accounts = {"AZURITE_ACCOUNTS": f"fleet:{base64.b64encode(secrets.token_bytes(32)).decode()}"}
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command, env={**os.environ, **accounts}, stdout=stream, stderr=stream
        )
    try:
        address = f"127.0.0.1:{port}"
        until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, process, log)
        cloud = Cloud(f"abfs://models/{secrets.token_hex(4)}", {}, address)

        def token() -> str:
            now = int(time.time())
            said = {
                "aud": "https://storage.azure.com",
                "iss": "https://sts.windows.net/tenant/",
                "iat": now - 1,
                "nbf": now - 1,
                "exp": int(cloud.issue()),
            }
            return f"{encoded({'alg': 'RS256', 'typ': 'JWT'})}.{encoded(said)}.{encoded(b'any')}"

        def entra(path: str, body: bytes, _: Any) -> tuple[int, Any]:
            form = parse_qs(body.decode())
            if cloud.refused or form["client_assertion"] != ["a cluster's token"]:
                said = "AADSTS70021: No matching federated identity record found."
                return 400, {"error": "invalid_request", "error_description": said}
            assert path == "/tenant/oauth2/v2.0/token"
            assert form["scope"] == ["https://storage.azure.com/.default"]
            made = token()
            seconds = round(cloud.issued[-1] - time.time())
            return 200, {"access_token": made, "expires_in": seconds, "token_type": "Bearer"}

        with answering(entra) as authority:
            (folder / "federated").write_text("a cluster's token\n")
            cloud.environment |= {
                "AZURE_CLIENT_ID": "client",
                "AZURE_TENANT_ID": "tenant",
                "AZURE_FEDERATED_TOKEN_FILE": str(folder / "federated"),
                "AZURE_AUTHORITY_HOST": f"http://{authority}/",
                "AZURE_STORAGE_ACCOUNT": "fleet",
                "AZURE_STORAGE_SERVICE_ENDPOINT": f"https://{address}/fleet",
                "SSL_CERT_FILE": str(folder / "ca.pem"),
            }
            _make_container(address, folder, token())
            yield cloud
    finally:
        stop(process)


def _make_container(address: str, folder: Path, token: str) -> None:
    import ssl

    trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    connection = http.client.HTTPSConnection(address, timeout=10, context=trusted)
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2023-11-03"}
    connection.request("PUT", "/fleet/models?restype=container", b"", headers)
    status = connection.getresponse().status
    connection.close()
    assert status == 201


def built(what: Path, script: str) -> None:
    """Skip, by name, where a store could not be had."""
    if not what.exists():
        at = Path(__file__).parents[2] / script
        tool = "npm" if what == AZURITE else "go"
        ready = shutil.which(tool)
        if not ready or (subprocess.run([at], stdin=subprocess.DEVNULL) and not what.exists()):
            pytest.skip(f"NOT TESTED: {what.name}, which could not be had")
