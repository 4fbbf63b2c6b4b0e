"""Logins as Docker, Docker Desktop and the clouds' tools leave them, and what registries see."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from edgeline.errors import EdgelineError
from edgeline.stores import logins, registry

SECRET = "s3cret-of-the-login"


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Writes config.json; DOCKER_CONFIG names its folder."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text)

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program `docker-credential-NAME` on the PATH; it notes what it was asked for."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(name: str, does: str) -> Path:
        program, asked = tmp_path / f"docker-credential-{name}", tmp_path / f"{name}.asked"
        program.write_text(f'#!/bin/sh\n(echo "$1"; cat; echo) >> {asked}\n{does}\n')
        program.chmod(0o755)
        return asked

    return put


def gives(user: str, secret: str = SECRET) -> str:
    return f"""echo '{json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})}'"""


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("ghcr.io", "ghcr.io"),
        ("ghcr.io", "https://ghcr.io/v1/"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("docker.io", "https://index.docker.io/v1/"),
    ],
)
def test_a_login_in_the_file(host: str, key: str, config: Callable[[Any], None]) -> None:
    config({"auths": {key: {"auth": auth("ada", SECRET)}, "other.io": {"auth": auth("x", "y")}}})
    assert logins.find(host) == logins.Login("ada", SECRET)
    assert SECRET not in repr(logins.find(host))
    config({"auths": {key: {"username": "ada", "password": "a:b"}}})
    assert logins.find(host) == logins.Login("ada", "a:b")
    assert logins.find("nowhere.io") is None


def test_docker_desktop_keeps_logins_in_its_own_store(config: Any, helper: Any) -> None:
    asked = helper("desktop", gives("ada"))
    config({"credsStore": "desktop", "auths": {"ghcr.io": {}}})
    assert logins.find("ghcr.io") == logins.Login("ada", SECRET)
    assert logins.find("docker.io") == logins.Login("ada", SECRET)
    assert asked.read_text().split() == ["get", "ghcr.io", "get", "https://index.docker.io/v1/"]


def test_a_cloud_s_helper_is_asked_for_its_registry_alone(config: Any, helper: Any) -> None:
    asked = helper("ecr-login", gives("AWS"))
    config({"credHelpers": {"1.dkr.ecr.eu-west-1.amazonaws.com": "ecr-login"}})
    assert logins.find("1.dkr.ecr.eu-west-1.amazonaws.com") == logins.Login("AWS", SECRET)
    assert logins.find("ghcr.io") is None
    assert asked.read_text().split() == ["get", "1.dkr.ecr.eu-west-1.amazonaws.com"]


def test_the_helper_of_a_registry_comes_before_the_store_and_that_before_the_file(
    config: Any, helper: Any
) -> None:
    helper("gcloud", gives("of-the-helper"))
    helper("desktop", "echo credentials not found in native keychain; exit 1")
    config(
        {
            "credHelpers": {"a.io": "gcloud"},
            "credsStore": "desktop",
            "auths": {name: {"auth": auth("of-the-file", "x")} for name in ("a.io", "b.io")},
        }
    )
    found = [logins.find(host) for host in ("a.io", "b.io", "c.io")]
    assert [login and login.user for login in found] == ["of-the-helper", "of-the-file", None]


def test_identity_tokens(config: Any, helper: Any) -> None:
    helper("acr", gives("<token>"))
    config({"credHelpers": {"a.azurecr.io": "acr"}, "auths": {"b.io": {"identitytoken": SECRET}}})
    for host in ("a.azurecr.io", "b.io"):
        login = logins.find(host)
        assert login is not None
        assert (login.basic, login.identity_token) == ("", SECRET)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo the session has expired; exit 1", r"a: the session has expired\.$"),
        (f"echo '{SECRET}'", "that can be read"),
        (f"""echo '{{"Secret": "{SECRET}"}}'""", "that can be read"),
        ("exit 3", "it says nothing"),
        ("sleep 60", "gave no login to"),
    ],
)
def test_a_helper_that_fails_is_a_sentence_without_the_secret(
    does: str, said: str, config: Any, helper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "TIMEOUT", 0.5)
    helper("broken", f"exec {does}" if does.startswith("sleep") else does)
    config({"credsStore": "broken"})
    with pytest.raises(EdgelineError, match=said) as caught:
        logins.find("a")
    assert SECRET not in str(caught.value)


def test_a_helper_that_is_not_installed(config: Any) -> None:
    config({"credsStore": "nowhere-to-be-found"})
    with pytest.raises(EdgelineError, match="docker-credential-nowhere-to-be-found, which is not"):
        logins.find("ghcr.io")


@pytest.mark.parametrize("text", ["[]", "null", '{"auths": 3, "credHelpers": []}', "{}"])
def test_a_file_without_logins(text: str, config: Any) -> None:
    config(text)
    assert logins.find("ghcr.io") is None


def test_a_damaged_file_is_a_sentence(config: Any) -> None:
    config("{")
    with pytest.raises(EdgelineError, match=r"config\.json cannot be read \(it is not JSON\)"):
        logins.find("ghcr.io")
    config({"auths": {"ghcr.io": {"auth": "not base64!"}}})
    with pytest.raises(EdgelineError, match=r"The login to ghcr\.io in .* is damaged"):
        logins.find("ghcr.io")


class Registry(http.server.BaseHTTPRequestHandler):
    """Knows one image and one user, who logs in by password or by identity token."""

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, content: bytes = b"{}", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if urlsplit(self.path).path == "/token":
            known = given == f"Basic {auth('ada', SECRET)}"
            return self.answer(*((200, b'{"token": "good"}') if known else (401, b"{}")))
        if given != "Bearer good":
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="test"'
            return self.answer(401, WWW_Authenticate=realm)
        return self.answer(200, Content_Type=registry.MANIFESTS[0])

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form["grant_type"] == ["refresh_token"] and form["refresh_token"] == [SECRET]
        assert form["scope"] == ["repository:team/a:pull"]
        assert form["service"] == ["test"]
        self.answer(*((200, b'{"access_token": "good"}') if good else (401, b"{}")))


@pytest.fixture
def host() -> Iterator[str]:
    registry._authorisations.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
    registry._authorisations.clear()


@pytest.mark.parametrize("user", ["ada", "<token>"])
def test_a_registry_takes_a_helper_s_login(user: str, host: str, config: Any, helper: Any) -> None:
    helper("cloud", gives(user))
    config({"credHelpers": {host: "cloud"}})
    assert registry.digest(f"{host}/team/a:1").startswith("sha256:")


def test_a_login_that_is_renewed_is_taken_at_once(host: str, config: Any) -> None:
    """A cloud's password lasts some hours, a server that polls for months."""
    config({"auths": {host: {"auth": auth("ada", "old")}}})
    with pytest.raises(EdgelineError, match=r"refuses the login for team/a \(401"):
        registry.digest(f"{host}/team/a:1")
    config({"auths": {host: {"auth": auth("ada", SECRET)}}})
    assert registry.digest(f"{host}/team/a:1").startswith("sha256:")
