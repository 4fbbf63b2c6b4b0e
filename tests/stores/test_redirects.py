"""What a server leads on to: never into a network that the first address is not in."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edgeline.errors import EdgelineError
from edgeline.server.updates.fetching import origin
from edgeline.server.watching.delivery import Delivery
from edgeline.stores import redirects, registry, remote

METADATA = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
Serve = Callable[..., ThreadingHTTPServer]


class Leading(BaseHTTPRequestHandler):
    """Leads on to the server's `to`; without one it answers `here`."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        to = self.server.to  # type: ignore[attr-defined]
        self.send_response(302 if to else 200)
        if to:
            self.send_header("Location", to)
        self.send_header("Content-Length", "0" if to else "4")
        self.end_headers()
        self.wfile.write(b"" if to else b"here")

    do_POST = do_PUT = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Serve]:
    running = []

    def begin(to: str = "") -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Leading)
        server.to, server.asked = to, []  # type: ignore[attr-defined]
        server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield begin
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("224.0.0.1", "private"),
        ("127.0.0.2", "loopback"),
        ("0.0.0.0", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:a00:1::", "private"),
    ],
)
def test_kinds_of_addresses(address: str, kind: str) -> None:
    assert redirects.kind(address) == kind


@pytest.mark.parametrize(
    ("first", "address", "followed"),
    [
        ("public", "8.8.8.8", True),
        ("public", "10.0.0.1", False),
        ("public", "127.0.0.1", False),
        ("private", "10.9.9.9", True),
        ("private", "8.8.8.8", True),
        ("private", "127.0.0.1", False),
        ("private", "169.254.169.254", False),
        ("loopback", "10.0.0.1", True),
        ("loopback", "127.0.0.1", True),
        ("loopback", "169.254.169.254", False),
        ("link-local", "169.254.1.1", True),
    ],
)
def test_what_leads_where(first: str, address: str, followed: bool) -> None:
    if followed:
        redirects.check("http://other.example/x", address, first)
        return
    with pytest.raises(EdgelineError, match=f"other.example, which is {address}"):
        redirects.check("http://other.example/x", address, first)


def test_a_redirect_within_the_same_kind_is_followed(serve: Serve) -> None:
    second = serve()
    with redirects.urlopen(f"{serve(second.url + '/there').url}/", 10) as answer:
        assert answer.read() == b"here"
    assert second.asked == ["/there"]


def test_nothing_is_sent_where_a_public_server_leads_within(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = serve()
    first = serve(f"http://localhost:{second.server_port}/secret")  # a name: seen once connected
    kinds = iter(["public", "loopback"])
    monkeypatch.setattr(redirects, "kind", lambda _: next(kinds))
    with pytest.raises(EdgelineError, match="a loopback address"):
        redirects.urlopen(f"{first.url}/", 10)
    assert second.asked == []


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_nothing_but_http_is_opened(serve: Serve, to: str) -> None:
    with pytest.raises(urllib.error.URLError):
        redirects.urlopen(to, 10)
    with pytest.raises(urllib.error.URLError):
        redirects.urlopen(f"{serve(to).url}/", 10)


def test_updates_are_not_fetched_from_a_metadata_service(serve: Serve) -> None:
    with pytest.raises(EdgelineError, match=r"169\.254\.169\.254, a link-local address"):
        origin(serve(METADATA).url).open("metadata/timestamp.json")


def test_data_is_not_read_from_a_metadata_service(serve: Serve) -> None:
    location = f"{serve(METADATA).url}/table.csv"
    with pytest.raises(FileNotFoundError) as raised:
        remote.open_remote(location).read(1)
    said = str(remote.failure(location, raised.value))
    assert "169.254.169.254, a link-local address" in said
    assert "Traceback" not in said


def test_an_event_is_not_sent_to_a_metadata_service(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    delivery = Delivery("webhook", serve(METADATA).url)
    delivery.put({"id": "1"})
    delivery.close(10)
    assert delivery.results["failed"] == 1
    assert "169.254.169.254, a link-local address" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_registry_cannot_name_a_metadata_service_as_who_gives_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry.logins, "find", lambda _: None)
    image = registry.parse("registry.example/models/taxi:1")
    for realm in (METADATA, "http://127.0.0.1:9/token"):
        with pytest.raises(EdgelineError, match="A server leads on to"):
            registry._authorise(image, "pull", f'Bearer realm="{realm}"', redirects.PUBLIC)
    with pytest.raises(EdgelineError, match="gives no token"):
        registry._authorise(image, "pull", 'Bearer realm="file:///etc/passwd"', redirects.PUBLIC)
