"""Who gives an identity, by what; the real token services are in test_publish_identities.py."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edgeline.errors import EdgelineError
from edgeline.stores import access
from edgeline.stores.again import PassingError
from edgeline.stores.identity import aws, azure, google
from edgeline.stores.identity.lease import Lease, Renewed
from edgeline.stores.object_put import bucket

END = "2099-01-01T00:00:00Z"
KEYS = {"AccessKeyId": "key", "SecretAccessKey": "secret", "Token": "token", "Expiration": END}


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A machine of no cloud, and nothing in the environment."""
    for name in list(os.environ):
        if name.startswith(("MINIO_", "AWS_", "AZURE_", "GOOGLE_", "GCE_", "STORAGE_")):
            monkeypatch.delenv(name)
    for module in (aws, azure, google):
        module._renewed.cache_clear()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    for module, name in (
        (aws, "SYSTEM_VENDOR"),
        (google, "PRODUCT"),
        (azure, "ASSET_TAG"),
    ):
        monkeypatch.setattr(module, name, tmp_path / "none")


@contextlib.contextmanager
def agent(*answers: tuple[int, object]) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A stand-in that answers in turn, and remembers paths and headers."""
    asked: list[tuple[str, dict[str, str]]] = []
    left = list(answers)

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = left.pop(0) if len(left) > 1 else left[0]
            text = found.encode() if isinstance(found, str) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_value_is_fetched_once_and_again_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given = [1000.0], iter([Lease("one", 5000.0), Lease("two", 9000.0)])
    monkeypatch.setattr(time, "time", lambda: now[0])
    renewed = Renewed(lambda: next(given))
    assert renewed().value == renewed().value == "one"
    now[0] = 4699.0
    assert renewed().value == "one"
    now[0] = 4701.0  # 300 s before its end
    assert renewed().value == "two"


def test_what_cannot_be_renewed_counts_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now, given = [1000.0], iter([Lease("one", 1100.0)])
    monkeypatch.setattr(time, "time", lambda: now[0])

    def fetch() -> Lease[str]:
        for lease in given:
            return lease
        raise PassingError("nobody answers.")

    renewed = Renewed(fetch)
    renewed()
    now[0] = 1099.0
    assert renewed().value == "one"
    now[0] = 1101.0
    with pytest.raises(PassingError, match="nobody answers"):
        renewed()


def test_pod_identity_of_eks(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A stand-in for the agent, in the form that AWS documents."""
    (tmp_path / "token").write_text("of the pod\n")
    with agent((200, KEYS)) as (url, asked):
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        found = access.access("s3://models/x")
        assert found is not None
        _, headers = found.request("GET", "https://models.example/x")
    assert "Credential=key/" in headers["authorization"]
    assert headers["x-amz-security-token"] == "token"
    (path, sent), *_ = asked
    assert (path, sent["authorization"]) == ("/v1/credentials", "of the pod")


def test_a_pod_s_token_is_told_to_no_stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://203.0.113.1/credentials")
    with pytest.raises(EdgelineError, match="would be told to a stranger"):
        access.access("s3://models/x")


def test_a_machine_of_ec2(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A stand-in for the second version of EC2's metadata service."""
    (tmp_path / "vendor").write_text("Amazon EC2\n")
    monkeypatch.setattr(aws, "SYSTEM_VENDOR", tmp_path / "vendor")
    with agent((200, "session"), (200, "node-role"), (200, KEYS)) as (url, asked):
        monkeypatch.setattr(aws, "METADATA", f"{url}/latest/")
        found = access.access("s3://models/x")
        assert found is not None
        found.request("GET", "https://models.example/x")
    assert [path for path, _ in asked] == [
        "/latest/api/token",
        "/latest/meta-data/iam/security-credentials/",
        "/latest/meta-data/iam/security-credentials/node-role",
    ]
    assert asked[2][1]["x-aws-ec2-metadata-token"] == "session"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example:9000")  # not its cloud's
    assert access.access("s3://models/x") is None


def test_keys_come_first_and_minio_s_have_no_identity_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::1:role/models")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere")
    found = access.access("s3://models/x")
    assert found is not None
    with pytest.raises(EdgelineError, match="names /nowhere, which cannot be read"):
        found.request("GET", "https://models.example/x")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "static")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    _, headers = access.required("s3://models/x", access.access("s3://models/x")).request(
        "GET", "https://models.example/x"
    )
    assert "Credential=static/" in headers["authorization"]
    monkeypatch.setenv("MINIO_ENDPOINT", "minio:9000")
    assert access.access("minio://models/x") is None


def test_keys_of_aws_are_no_hmac_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that reads S3 by key writes to Cloud Storage by its identity."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert access.access("gs://models/x") is None
    with agent((200, {"access_token": "mine", "expires_in": 3599})) as (url, _):
        monkeypatch.setenv("GCE_METADATA_HOST", url.partition("://")[2])
        found = access.access("gs://models/x")
        assert found is not None
        _, headers = found.request("GET", "https://storage.googleapis.com/models/x")
    assert headers["Authorization"] == "Bearer mine"


def test_a_key_file_of_google_s_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "key.json").write_text('{"type": "service_account", "client_email": "x"}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    found = access.access("gs://models/x")
    assert found is not None
    with pytest.raises(EdgelineError, match=r"key\.json gives no identity of Google's \("):
        found.request("GET", "https://storage.googleapis.com/models/x")


def test_a_managed_identity_of_azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A stand-in for the metadata service of an Azure machine."""
    (tmp_path / "tag").write_text(f"{azure.AZURES}\n")
    monkeypatch.setattr(azure, "ASSET_TAG", tmp_path / "tag")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "fleet")
    answer = {"access_token": "mine", "expires_on": str(int(time.time()) + 3600)}
    with agent((200, answer)) as (url, asked):
        monkeypatch.setattr(azure, "MACHINE", f"{url}/metadata/identity/oauth2/token")
        found = bucket("abfs://models/x")
        assert found.url == "https://fleet.blob.core.windows.net/models/x"
        _, headers = found.access.request("PUT", found.url)
    assert headers["Authorization"] == "Bearer mine"
    assert asked[0][1]["metadata"] == "true"
    assert "resource=https%3A%2F%2Fstorage.azure.com%2F" in asked[0][0]


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_busy_may_be_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with agent((status, {"error": "later"})) as (url, _):
        monkeypatch.setenv("GCE_METADATA_HOST", url.partition("://")[2])
        found = access.access("gs://models/x")
        assert found is not None
        with pytest.raises(PassingError, match=f"status {status}, later"):
            found.request("GET", "https://storage.googleapis.com/models/x")


def test_a_key_of_a_whole_account_is_not_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    with pytest.raises(EdgelineError, match="opens the whole account"):
        bucket("abfs://models@fleet.dfs.core.windows.net/x")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=2023&sig=abc")
    found = bucket("abfs://models@fleet.dfs.core.windows.net/x")
    assert found.access.request("PUT", found.url)[0] == f"{found.url}?sv=2023&sig=abc"
    assert "sig=abc" not in repr(found)
