"""Locations: found, opened, fetched, pinned, and what is said when they are not there."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from edgeline.errors import EdgelineError
from edgeline.stores import storage


class Objects(http.server.BaseHTTPRequestHandler):
    """As much of S3, Google Cloud Storage and a web server as reading takes."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    cut: ClassVar[set[str]] = set()
    cut_once: ClassVar[list[str]] = []
    busy: ClassVar[list[int]] = []  # statuses of the next answers
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).lstrip("/").partition("/")
        query = parse_qs(address.query, keep_blank_values=True)
        self.asked.append(self.command)
        if self.busy and self.command == "GET":  # fsspec asks by HEAD first
            return self.fail(self.busy.pop(0), "ServiceUnavailable")
        if address.path.startswith("/storage/v1/b/"):
            return self.google(address.path.split("/")[4::2], query)
        if bucket == "secret":
            return self.fail(403, "AccessDenied")
        if bucket != "data":
            return self.fail(404, "NoSuchBucket")
        if "location" in query:
            return self.answer(200, b"<LocationConstraint/>", "application/xml")
        if "list-type" in query:
            return self.listing(query.get("prefix", [""])[0], query.get("delimiter", [""])[0])
        if key not in self.objects and key:
            return self.fail(404, "NoSuchKey")
        cut = key in self.cut
        if self.command == "GET" and key in self.cut_once:
            self.cut_once.remove(key)
            cut = True
        return self.answer(200, self.objects.get(key, b""), cut=cut)

    def google(self, path: list[str], query: dict[str, list[str]]) -> None:
        """The JSON interface: `b/<bucket>`, `b/<bucket>/o`, `b/<bucket>/o/<key>`."""
        bucket, *keys = map(unquote, path)
        if bucket == "secret":
            return self.answer(403, b'{"error": {"code": 403, "message": "forbidden"}}')
        if bucket != "data" or (keys and keys[0] not in self.objects):
            return self.answer(404, b'{"error": {"code": 404, "message": "not found"}}')
        if "media" in query.get("alt", []):
            return self.answer(200, self.objects[keys[0]])
        items = [
            {"kind": "storage#object", "bucket": "data", "name": key, "generation": "1"}
            | {"size": str(len(self.objects[key]))}
            for key in sorted(self.objects)
            if key.startswith(query.get("prefix", [""])[0])
        ]
        if keys:
            about: object = next(item for item in items if item["name"] == keys[0])
        elif "prefix" in query:
            about = {"kind": "storage#objects", "items": items}
        else:
            about = {"kind": "storage#bucket", "name": "data"}
        return self.answer(200, json.dumps(about).encode(), "application/json")

    def listing(self, prefix: str, delimiter: str) -> None:
        keys = [key for key in sorted(self.objects) if key.startswith(prefix)]
        if delimiter:
            keys = [key for key in keys if delimiter not in key[len(prefix) :]]
        rows = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f'<ETag>"0"</ETag><Size>{len(self.objects[key])}</Size></Contents>'
            for key in keys
        )
        text = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>data</Name>'
            f"<Prefix>{prefix}</Prefix><KeyCount>{len(keys)}</KeyCount>"
            f"<IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
        )
        self.answer(200, text.encode(), "application/xml")

    def fail(self, status: int, code: str) -> None:
        where = escape(self.path)
        text = f"<Error><Code>{code}</Code><Message>{code}</Message><Resource>{where}</Resource>"
        self.answer(status, f"{text}</Error>".encode(), "application/xml")

    def answer(
        self, status: int, body: bytes, kind: str = "application/octet-stream", cut: bool = False
    ) -> None:
        start, end = 0, len(body)
        if status == 200 and (wanted := self.headers.get("Range")):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or end - 1) + 1, end)
            status = 206
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("ETag", '"0"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[start : start + (end - start) // 2] if cut else body[start:end])
            if cut:
                self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Objects, "objects", {})
    monkeypatch.setattr(Objects, "cut", set())
    for name in ("cut_once", "busy", "asked"):
        monkeypatch.setattr(Objects, name, [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Objects) as httpd:
        httpd.daemon_threads = True
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        address = f"127.0.0.1:{httpd.server_address[1]}"
        for name, value in {
            "STORAGE_EMULATOR_HOST": f"http://{address}",
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "MINIO_ENDPOINT": address,
            "MINIO_ACCESS_KEY": "key",
            "MINIO_SECRET_KEY": "secret",
            "MINIO_SECURE": "false",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield address
        httpd.shutdown()


def base(scheme: str, address: str) -> str:
    return f"http://{address}" if scheme == "http" else f"{scheme}:/"


def names(data: str | list[str]) -> list[str]:
    return [source.name for source in storage.resolve(data)]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b/2.csv", "a/1.csv", "a/deep/3.csv", "a/.hidden", "_SUCCESS", "x.txt"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("d/a/1.csv", ["1.csv"]),
        ("d/*/*.csv", ["a/1.csv", "b/2.csv"]),
        ("d/**/*.csv", ["a/1.csv", "a/deep/3.csv", "b/2.csv"]),
        ("d", ["a/1.csv", "a/deep/3.csv", "b/2.csv", "x.txt"]),
        ("d/b/2.csv, d/a/?.csv", ["2.csv", "1.csv"]),
        (["d/b/2.csv", "d/a/[12].csv"], ["2.csv", "1.csv"]),
    ],
)
@pytest.mark.usefixtures("tree")
def test_local_locations(data: str | list[str], found: list[str]) -> None:
    assert names(data) == found


def test_file_urls_and_names_with_glob_characters(tree: Path) -> None:
    (tree / "odd [1].csv").write_text("x")
    assert names(f"{tree}/odd [1].csv") == ["odd [1].csv"]
    (source,) = storage.resolve(f"file://{tree}/odd%20[1].csv")
    with storage.open_source(source) as stream:
        assert stream.read() == b"x"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("nothing.csv", "nothing.csv names no file"),
        ("d/*.nothing", "d/*.nothing names no file"),
        ("", "No data is given"),
        ("ftp://host/a.csv", "scheme ftp://, which is not known"),
        ("d/a/1.csv,d/a/*.csv", "named twice"),
        ("s3://", "names no bucket"),
    ],
)
@pytest.mark.usefixtures("tree")
def test_local_failures(data: str, said: str) -> None:
    with pytest.raises(EdgelineError) as caught:
        storage.resolve(data)
    assert said in str(caught.value)


def test_minio_without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIO_ENDPOINT", raising=False)
    with pytest.raises(EdgelineError, match="MINIO_ENDPOINT is not set"):
        storage.resolve("minio://data/a.csv")


def test_pins_follow_the_content(tree: Path, tmp_path: Path) -> None:
    pinned = storage.pin("d/a/1.csv")
    assert pinned == "d/a/1.csv#sha256=" + hashlib.sha256(b"a/1.csv").hexdigest()
    assert storage.pin(pinned) == pinned
    assert [file.size for file in storage.fetch(storage.resolve(pinned), tmp_path)] == [7]
    (tree / "d/a/1.csv").write_text("changed")
    with pytest.raises(EdgelineError) as caught:
        storage.fetch(storage.resolve(pinned), tmp_path)
    assert pinned.partition("=")[2] in str(caught.value)
    assert hashlib.sha256(b"changed").hexdigest() in str(caught.value)
    (source,) = storage.resolve(pinned)
    with storage.open_source(source) as stream, pytest.raises(EdgelineError, match="is pinned"):
        stream.read()


@pytest.mark.parametrize("location", ["d", "d/**/*.csv"])
def test_a_pinned_group_sees_changes_and_new_files(
    location: str, tree: Path, tmp_path: Path
) -> None:
    pinned = storage.pin(location)
    storage.fetch(storage.resolve(pinned), tmp_path)
    (tree / "d/b/9.csv").write_text("new")
    assert storage.pin(location) != pinned
    with pytest.raises(EdgelineError, match="is pinned"):
        storage.fetch(storage.resolve(pinned), tmp_path)


def test_remote_locations_are_left_as_they_are() -> None:
    assert storage.pin("s3://data/a.csv,https://host/b.csv") == "s3://data/a.csv,https://host/b.csv"


@pytest.mark.parametrize("scheme", ["s3", "gs", "minio", "http"])
def test_remote_files(scheme: str, server: str, tmp_path: Path) -> None:
    body = bytes(range(256)) * 9000
    Objects.objects["in/a.bin"] = body
    place = f"{base(scheme, server)}/data/in/a.bin"
    sha256 = hashlib.sha256(body).hexdigest()
    (source,) = storage.resolve(f"{place}#sha256={sha256}")
    with storage.open_source(source) as stream:
        assert stream.read() == body
    (file,) = storage.fetch([source], tmp_path)
    assert (file.path.read_bytes(), file.name, file.sha256) == (body, place, sha256)
    (wrong,) = storage.resolve(f"{place}#sha256={'0' * 64}")
    with pytest.raises(EdgelineError, match=sha256):
        storage.fetch([wrong], tmp_path)


@pytest.mark.parametrize("scheme", ["s3", "gs", "minio"])
def test_remote_globs_and_folders(scheme: str, server: str) -> None:
    assert server
    for key in ("in/b.csv", "in/a.csv", "in/deep/c.csv", "in/_SUCCESS", "inner.csv"):
        Objects.objects[key] = b"x"
    root = f"{scheme}://data"
    assert names(f"{root}/in/*.csv") == [f"{root}/in/a.csv", f"{root}/in/b.csv"]
    assert names(f"{root}/in/**/*.csv")[-1] == f"{root}/in/deep/c.csv"
    assert names(f"{root}/in") == [f"{root}/in/{end}" for end in ("a.csv", "b.csv", "deep/c.csv")]


@pytest.mark.parametrize("scheme", ["s3", "gs", "minio"])
@pytest.mark.parametrize("pattern", ["a.csv", "*.csv"])
def test_remote_failures_by_name(scheme: str, pattern: str, server: str) -> None:
    assert server
    for bucket, said in [
        ("nowhere", f"bucket of {scheme}://nowhere/in/{pattern} does not exist"),
        ("secret", "No permission to read"),
        ("data", "names no file"),
    ]:
        with pytest.raises(EdgelineError) as caught:
            storage.resolve(f"{scheme}://{bucket}/in/{pattern}")
        assert said in str(caught.value)


def test_web_failures_hide_passwords_and_signatures(server: str) -> None:
    for path, said in [("/secret/a.csv", "No permission"), ("/data/a.csv", "does not exist")]:
        (source,) = storage.resolve(f"http://user:hunter2@{server}{path}?signature=hunter3")
        with pytest.raises(EdgelineError) as caught:
            storage.open_source(source)
        assert said in str(caught.value)
        assert "hunter" not in str(caught.value) + source.name


@pytest.mark.parametrize("scheme", ["s3", "minio", "http"])
def test_a_connection_that_breaks(
    scheme: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import fs

    once = fs.AwsStandardS3RetryStrategy(max_attempts=1)  # else its client waits ten seconds
    monkeypatch.setattr(fs, "S3FileSystem", partial(fs.S3FileSystem, retry_strategy=once))
    Objects.objects["a.bin"] = b"x" * 3_000_000
    Objects.cut.add("a.bin")
    sources = storage.resolve(f"{base(scheme, server)}/data/a.bin")
    with pytest.raises(EdgelineError, match="could not be read to its end"):
        storage.fetch(sources, tmp_path)


@pytest.mark.parametrize("scheme", ["minio", "http"])
def test_a_connection_that_broke_once_is_read_on(scheme: str, server: str, tmp_path: Path) -> None:
    body = bytes(range(256)) * 12_000
    Objects.objects["a.bin"] = body
    Objects.cut_once.append("a.bin")
    (source,) = storage.resolve(f"{base(scheme, server)}/data/a.bin")
    with storage.open_source(source) as stream:
        assert stream.read() == body
    Objects.cut_once.append("a.bin")
    (file,) = storage.fetch([source], tmp_path)
    assert file.sha256 == hashlib.sha256(body).hexdigest()


def test_what_changed_meanwhile_is_not_joined(server: str) -> None:
    Objects.objects["a.bin"] = b"x" * 3_000_000
    Objects.cut_once.append("a.bin")
    (source,) = storage.resolve(f"http://{server}/data/a.bin")
    with storage.open_source(source) as stream:
        assert stream.read(1000) == b"x" * 1000
        Objects.objects["a.bin"] = b"y" * 3_000_000
        with pytest.raises(EdgelineError, match=r"a\.bin changed while it was read: run again"):
            stream.read()


def test_a_server_that_is_not_ready_is_asked_again_with_a_line(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Objects.objects["a.bin"] = b"x"
    Objects.busy += [503, 502]
    (source,) = storage.resolve(f"http://{server}/data/a.bin")
    with storage.open_source(source) as stream:
        assert stream.read() == b"x"
    said = capsys.readouterr().err.splitlines()  # and perhaps what the double has to say
    assert [line.partition(" Trying again in ")[2] for line in said if "Trying" in line] == [
        "0.0 s (2 of 5).",
        "0.0 s (3 of 5).",
    ]


@pytest.mark.parametrize("path", ["secret/a.bin", "data/none.bin"])
def test_a_refusal_is_not_asked_again(
    path: str, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (source,) = storage.resolve(f"http://{server}/{path}")
    with pytest.raises(EdgelineError):
        storage.open_source(source)
    assert Objects.asked.count("GET") == 1
    assert capsys.readouterr().err == ""


def test_no_server_at_all(server: str) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Objects) as free:
        port = free.server_address[1]
    assert server
    (source,) = storage.resolve(f"http://127.0.0.1:{port}/a.csv")
    with pytest.raises(EdgelineError, match="check the network"):
        storage.open_source(source)


def test_a_malformed_web_address_is_a_sentence_without_its_password() -> None:
    (source,) = storage.resolve("https://who:secret@[x/a.csv?sig=signed")
    with pytest.raises(EdgelineError, match=r"^https://\[x/a\.csv could not be read") as caught:
        storage.open_source(source)
    assert "secret" not in str(caught.value) + source.name
    assert "signed" not in str(caught.value) + source.name
