"""What the environment says of an object store means the same to all that read and write one."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest

from edgeline.errors import EdgelineError
from edgeline.server.updates import fetching
from edgeline.stores import storage
from edgeline.stores.endpoints import SCHEMES, endpoint
from edgeline.stores.object_put import bucket
from edgeline.stores.sigv4 import Credentials, signed_headers
from edgeline.stores.store import open_store

KEYS = {
    "MINIO_ACCESS_KEY": "minio-key",
    "MINIO_SECRET_KEY": "minio-secret",
    "AWS_ACCESS_KEY_ID": "aws-key",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
}
READERS: dict[str, Callable[[str], Any]] = {
    "ingest": lambda scheme: storage.resolve(f"{scheme}://data/x.csv"),
    "publish": lambda scheme: open_store(f"{scheme}://data/models").versions("taxi"),
    "updates": lambda scheme: fetching.origin(f"{scheme}://data/fleet").open("root.json"),
    "payloads": lambda scheme: bucket(f"{scheme}://data/payloads").put("part", b"{}"),
}


class Asked(http.server.BaseHTTPRequestHandler):
    """Has nothing, and remembers who asked."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, self.headers.get("Authorization") or ""))  # type: ignore[attr-defined]
        text = b"<Error><Code>AccessDenied</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_PUT = do_HEAD = do_POST = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def store() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        server.asked = asked = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MINIO_ENDPOINT", "MINIO_SECURE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("scheme", ["s3", "minio"])
@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"MINIO_ENDPOINT": "HOST", "MINIO_SECURE": "false"}, "minio-key"),
        ({"MINIO_ENDPOINT": "HOST", "MINIO_SECURE": "Off"}, "minio-key"),
        ({"MINIO_ENDPOINT": "http://HOST/"}, "minio-key"),
        ({"MINIO_ENDPOINT": "http://HOST", "AWS_ENDPOINT_URL": "http://OTHER"}, "minio-key"),
        ({"AWS_ENDPOINT_URL": "http://HOST"}, "aws-key"),
        ({"AWS_ENDPOINT_URL_S3": "http://HOST", "AWS_ENDPOINT_URL": "http://OTHER"}, "aws-key"),
    ],
    ids=["host", "off", "url", "minio first", "aws", "s3 first"],
)
def test_all_readers_ask_the_same_store_with_its_own_keys(
    given: dict[str, str], key: str, scheme: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store() as (address, asked), store() as (other, never):
        for name, value in given.items():
            monkeypatch.setenv(name, value.replace("HOST", address).replace("OTHER", other))
        with pytest.raises((EdgelineError, OSError)):
            READERS[reader](scheme)
    assert not never
    assert asked
    path, authorisation = asked[-1]
    assert path.startswith("/data")
    assert f"Credential={key}/" in authorisation


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"MINIO_ENDPOINT": "http://a:9000", "MINIO_SECURE": "true"},
            "MINIO_ENDPOINT begins with http:// and MINIO_SECURE is true: leave one of them out.",
        ),
        (
            {"MINIO_ENDPOINT": "a:9000", "MINIO_SECURE": "maybe"},
            "MINIO_SECURE is 'maybe': set it to true or false.",
        ),
        ({"MINIO_ENDPOINT": "http://who:secret@a:9000"}, "MINIO_ENDPOINT is not of the form"),
        ({"MINIO_ENDPOINT": "a:port"}, "MINIO_ENDPOINT is not of the form"),
        ({"AWS_ENDPOINT_URL": "ftp://a"}, "AWS_ENDPOINT_URL is not of the form"),
        ({"AWS_ENDPOINT_URL_S3": "https://"}, "AWS_ENDPOINT_URL_S3 is not of the form"),
    ],
)
def test_all_readers_refuse_the_same(
    given: dict[str, str], said: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EdgelineError) as caught:
        READERS[reader]("s3")
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["on", "1", "TRUE", "yes", ""])
def test_a_host_is_asked_by_https_unless_it_is_said_otherwise(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIO_ENDPOINT", "minio:9000")
    monkeypatch.setenv("MINIO_SECURE", value)
    assert {endpoint(scheme).url for scheme in ("s3", "minio")} == {"https://minio:9000"}


@pytest.mark.parametrize("reader", ["ingest", "publish"])
def test_a_path_that_a_client_cannot_ask_below_is_a_sentence(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://gw.example.com/s3")
    with pytest.raises(EdgelineError, match="AWS_ENDPOINT_URL has the path /s3"):
        READERS[reader]("s3")


def test_below_a_path_what_is_signed_is_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signature of S3's own documentation is checked below; here, that the path is whole."""
    signed = []

    def remember(method: str, url: str, *rest: Any) -> dict[str, str]:
        signed.append(urlsplit(url).path)
        return signed_headers(method, url, *rest)

    monkeypatch.setattr("edgeline.stores.access.signed_headers", remember)
    with store() as (address, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{address}/s3")
        for reader in ("updates", "payloads"):
            with pytest.raises((EdgelineError, OSError)):
                READERS[reader]("s3")
    assert [path for path, _ in asked] == signed
    assert signed == ["/s3/data/fleet/root.json", "/s3/data/payloads/part"]


def test_a_scheme_without_an_endpoint_is_its_cloud() -> None:
    assert {scheme: endpoint(scheme).url for scheme in SCHEMES if scheme != "minio"} == {
        "s3": "https://s3.us-east-1.amazonaws.com",
        "gs": "https://storage.googleapis.com",
    }
    with pytest.raises(EdgelineError, match="MINIO_ENDPOINT is not set"):
        endpoint("minio")


def test_the_signature_of_the_documentation_s_example() -> None:
    """'PUT Object' without the headers that only S3 has; botocore 1.44 signs it so."""
    keys = Credentials(
        "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "", "us-east-1"
    )
    now = datetime(2013, 5, 24, tzinfo=timezone.utc)
    url = "https://examplebucket.s3.amazonaws.com/test%24file.text"
    headers = signed_headers("PUT", url, keys, b"Welcome to Amazon S3.", now)
    assert headers["authorization"].endswith(
        "Signature=1e15d288c066d54cc20d8f664ade3fa96e6744b2861304671f6eb633045a2d4a"
    )
