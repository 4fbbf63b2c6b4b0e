"""A token's file that is no such: one sentence with its name, and nothing of what it holds."""

from __future__ import annotations

import http.server
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeline.errors import EdgelineError
from edgeline.kubeflow import tokens
from edgeline.kubeflow.api import asking, connect, pipeline_id

SECRET = "s3cr3t-of-nobody"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \r\n\t\n", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (f"{SECRET}\n{SECRET}\n".encode(), "has several lines"),
        (f"{SECRET}\r{SECRET}".encode(), "has several lines"),
        (f"Bearer {SECRET}".encode(), "the word Bearer is not part of a token"),
        (f"{SECRET}\x00{SECRET}".encode(), "has characters that no token has"),
        (f"{SECRET}\x1b[31m".encode(), "has characters that no token has"),
        (f"{SECRET}\x7f".encode(), "has characters that no token has"),
        (f"{SECRET}é".encode(), "has characters that no token has"),
        (f"{SECRET}\u200b".encode(), "has characters that no token has"),
        (f"{SECRET}\u2028{SECRET}".encode(), "has several lines"),
        (SECRET.encode("utf-16"), "is not text"),
        (SECRET.encode("utf-16-le"), "has characters that no token has"),
        (b"\xff\xfe\x00" + SECRET.encode(), "is not text"),
        (SECRET.encode() * 9999, "is longer than 65,536 bytes"),
    ],
)
def test_what_is_no_token_is_refused_unseen(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    with pytest.raises(EdgelineError) as caught:
        connect("http://127.0.0.1:9")
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message
    whole = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert SECRET not in whole
    assert SECRET[:4] not in message


@pytest.mark.parametrize(
    "content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"\ufeff{SECRET}", f"\n  {SECRET} \n\n"]
)
def test_what_editors_put_around_a_token_is_not_part_of_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content.encode())
    assert tokens.read(tmp_path / "token") == SECRET


def test_a_folder_and_a_file_that_is_gone_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path))
    with pytest.raises(EdgelineError, match=f"{tmp_path} cannot be read: Is a directory"):
        connect("http://127.0.0.1:9")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", f"{tmp_path}/none")
    with pytest.raises(EdgelineError, match=f"{tmp_path}/none, which is not there"):
        connect("http://127.0.0.1:9")


class _Repeating(http.server.BaseHTTPRequestHandler):
    """Says back what it was sent, as servers for debugging and some proxies do."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        known = "healthz" in self.path
        content = b'{"multi_user": false}' if known else str(self.headers).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Type", "application/json" if known else "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def repeating() -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Repeating)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_server_that_repeats_the_token_does_not_show_it(
    repeating: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    client = connect(repeating)
    with pytest.raises(EdgelineError, match=r"refuses \(403\), and repeats the token") as caught:
        asking(lambda: pipeline_id(client, "taxi"))
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown + caplog.text + repr(client)


def test_a_password_in_an_address_is_refused_unseen() -> None:
    with pytest.raises(
        EdgelineError, match=r"127\.0\.0\.1 has a user or a password in it"
    ) as caught:
        connect(f"http://me:{SECRET}@127.0.0.1:9")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
