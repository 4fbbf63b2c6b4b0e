"""Git servers with pull requests: a real Gitea, and a real Git over HTTP with an API.

GitHub and GitLab cannot be had here: that API answers in the shape that theirs had when recorded.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import http.server
import ipaddress
import json
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

DATA = Path(__file__).parents[2] / "data" / "forges"
BUILD = Path(__file__).with_name("build_gitea.sh")
OWNER, NAME = "acme", "models"


def certificate(folder: Path) -> None:
    """`ca.pem`, an authority, and `key.pem` with `cert.pem`, which it gave 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = dt.datetime.now(dt.timezone.utc)
    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def made(name: str, public: Any, is_authority: bool) -> bytes:
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        names = [
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, of)])
            for of in (name, "authority of the tests")
        ]
        return (
            x509.CertificateBuilder(*reversed(names), public, x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([here]), critical=False)
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .sign(authority, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    own = made("authority of the tests", authority.public_key(), True)
    (folder / "ca.pem").write_bytes(own)
    (folder / "cert.pem").write_bytes(made("the server", key.public_key(), False))
    kind = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)


@dataclass(frozen=True)
class Request:
    """A pull request, as its server tells it."""

    number: int
    title: str
    text: str
    branch: str


class GitServer(Protocol):
    """One with a repository OWNER/NAME.

    Attributes:
        kind: what `pull_request` calls it.
        address: `https://127.0.0.1:PORT`.
        token: of somebody who may do all that is needed.
        reader: a token that may only read.
    """

    kind: str
    address: str
    authority: Path
    token: str
    reader: str

    def opened(self) -> list[Request]: ...

    def merge(self, number: int) -> None: ...

    def protect(self, branch: str) -> None:
        """Let nobody push to a branch."""

    def fork(self, branch: str) -> None:
        """Somebody's pull request from a branch of that name of a fork."""


def git(*arguments: str | Path, server: GitServer, folder: Path) -> str:
    """Real git, as somebody who is not edgeline."""
    login = base64.b64encode(f"somebody:{server.token}".encode()).decode()
    given = {
        "http.extraHeader": f"Authorization: Basic {login}",
        "user.name": "somebody",
        "user.email": "somebody@example.com",
    }
    command = ["git", *(part for pair in given.items() for part in ("-c", "=".join(pair)))]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "GIT_SSL_CAINFO": str(server.authority), "GIT_TERMINAL_PROMPT": "0"},
    )
    assert not done.returncode, done.stderr
    return done.stdout


def repository(server: GitServer) -> str:
    return f"{server.address}/{OWNER}/{NAME}.git"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# Gitea


@dataclass
class Gitea:
    address: str
    authority: Path
    token: str = ""
    reader: str = ""
    other: str = ""
    kind: str = "gitea"

    def opened(self) -> list[Request]:
        found = self.ask("GET", f"/repos/{OWNER}/{NAME}/pulls?state=open&limit=50")
        return [Request(e["number"], e["title"], e["body"], e["head"]["ref"]) for e in found]

    def merge(self, number: int) -> None:
        end = time.monotonic() + 30
        while True:  # 405 until it has seen whether there are conflicts
            try:
                self.ask("POST", f"/repos/{OWNER}/{NAME}/pulls/{number}/merge", {"Do": "squash"})
                return
            except urllib.error.HTTPError as error:
                if error.code != 405 or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def protect(self, branch: str) -> None:
        body = {"rule_name": branch, "enable_push": False}
        self.ask("POST", f"/repos/{OWNER}/{NAME}/branch_protections", body)

    def fork(self, branch: str) -> None:
        self.ask("POST", f"/repos/{OWNER}/{NAME}/forks", {}, f"Bearer {self.other}")
        place = f"/repos/mallory/{NAME}"
        body = {"content": base64.b64encode(b"theirs").decode(), "message": "Theirs"}
        self.ask(
            "POST",
            f"{place}/contents/x.txt",
            {**body, "new_branch": branch},
            f"Bearer {self.other}",
        )
        asked = {"title": "Theirs", "body": "", "head": f"mallory:{branch}", "base": "main"}
        self.ask("POST", f"/repos/{OWNER}/{NAME}/pulls", asked, f"Bearer {self.other}")

    def ask(self, method: str, path: str, body: object = None, login: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {
            "Authorization": login or f"Bearer {self.token}",
            "Content-Type": "application/json",
        }
        url = f"{self.address}/api/v1{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        context = ssl.create_default_context(cafile=str(self.authority))
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return json.loads(answer.read() or b"null")


def built() -> Path:
    """Gitea's folder; without it the test is skipped by name."""
    cache = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
    (version,) = re.findall(r"^version=(\S+)", BUILD.read_text(), re.MULTILINE)
    found = cache / f"gitea-{version}"
    if not (found / "gitea").exists():
        where = BUILD.relative_to(BUILD.parents[3])
        pytest.skip(f"NOT TESTED: pull requests at a real Gitea: run {where}")
    return found


@contextmanager
def gitea(folder: Path) -> Iterator[Gitea]:
    program = built()
    certificate(folder)
    port = free_port()
    settings = folder / "app.ini"
    settings.write_text(f"""
APP_NAME = edgeline's tests
RUN_MODE = prod
WORK_PATH = {folder}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
PROTOCOL = https
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = https://127.0.0.1:{port}/
CERT_FILE = {folder}/cert.pem
KEY_FILE = {folder}/key.pem
STATIC_ROOT_PATH = {program}
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
[security]
INSTALL_LOCK = true
SECRET_KEY = {secrets.token_hex(16)}
PASSWORD_HASH_ALGO = pbkdf2_v2
[indexer]
ISSUE_INDEXER_TYPE = db
[actions]
ENABLED = false
[cron]
ENABLED = false
[log]
LEVEL = Warn
""")
    command = [str(program / "gitea"), "--config", str(settings)]
    environment, password = {**os.environ, "HOME": str(folder)}, secrets.token_hex(16)
    log = folder / "gitea.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen([*command, "web"], env=environment, stdout=stream, stderr=stream)
    found = Gitea(f"https://127.0.0.1:{port}", folder / "ca.pem")
    try:
        _wait(found, process, log)
        create = ["admin", "user", "create", "--admin", "--username", OWNER, "--password", password]
        create += ["--email", "acme@example.com", "--must-change-password=false"]
        subprocess.run([*command, *create], env=environment, capture_output=True, check=True)
        for name, user, scopes in (
            ("token", OWNER, ["write:repository", "write:user", "write:admin"]),
            ("reader", OWNER, ["read:repository"]),
            ("other", "mallory", ["write:repository", "write:user"]),
        ):
            if user != OWNER:
                body = {"username": user, "password": password, "email": f"{user}@example.com"}
                found.ask("POST", "/admin/users", {**body, "must_change_password": False})
            login = base64.b64encode(f"{user}:{password}".encode()).decode()
            made = {"name": name, "scopes": scopes}
            told = found.ask("POST", f"/users/{user}/tokens", made, f"Basic {login}")
            setattr(found, name, told["sha1"])
        body = {"name": NAME, "auto_init": True, "default_branch": "main"}
        found.ask("POST", "/user/repos", body)
        yield found
    finally:
        process.terminate()
        process.wait(60)


def _wait(server: Gitea, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            server.ask("GET", "/version", None, "Basic none")
        except urllib.error.HTTPError:  # it is there, and wants a login
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        else:
            return


# GitHub and GitLab


@dataclass
class Recorded:
    """A real Git over HTTP beside an API that answers as GitHub or GitLab was recorded to."""

    kind: str
    address: str
    authority: Path
    bare: Path
    token: str = field(default_factory=lambda: secrets.token_hex(20))
    reader: str = field(default_factory=lambda: secrets.token_hex(20))
    requests: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # of the API: method and target
    heads: list[str] = field(default_factory=list)  # everything that a request's head said

    def opened(self) -> list[Request]:
        return [
            Request(r["number"], r["title"], r["text"], r["branch"])
            for r in self.requests
            if r["state"] == "open"
        ]

    def merge(self, number: int) -> None:
        (request,) = (r for r in self.requests if r["number"] == number)
        tip = self._run("rev-parse", f"refs/heads/{request['branch']}").strip()
        self._run("update-ref", "refs/heads/main", tip)
        request["state"] = "merged"

    def protect(self, branch: str) -> None:
        hook = self.bare / "hooks" / "update"
        hook.write_text(
            f'#!/bin/sh\n[ "$1" != refs/heads/{branch} ] || '
            '{ echo "You are not allowed to push code to protected branches"; exit 1; }\n'
        )
        hook.chmod(0o755)

    def fork(self, branch: str) -> None:
        self._add("Theirs", "", branch, ours=False)

    def _run(self, *arguments: str) -> str:
        command = ["git", "--git-dir", str(self.bare), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def _add(self, title: str, text: str, branch: str, ours: bool = True) -> dict[str, Any]:
        number = len(self.requests) + 1
        made = {"number": number, "title": title, "text": text, "branch": branch}
        self.requests.append({**made, "state": "open", "ours": ours})
        return self.requests[-1]

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        """What the API answers: its status and its body."""
        self.seen.append(f"{method} {target}")
        parts = urlsplit(target)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return (self._github if self.kind == "github" else self._gitlab)(
            method, parts.path, asked, body
        )

    def _github(self, method: str, path: str, asked: Any, body: Any) -> tuple[int, Any]:
        found = re.fullmatch(rf"/api/v3/repos/{OWNER}/{NAME}/pulls(?:/(\d+))?", path)
        if not found:
            return 404, {
                "message": "Not Found",
                "documentation_url": "https://docs.github.com/rest",
            }
        if method == "GET":
            owner, _, branch = asked["head"].partition(":")
            assert (asked["state"], asked["base"], owner) == ("open", "main", OWNER)
            return 200, self._page(asked, branch)
        if method == "POST":
            assert set(body) == {"title", "head", "base", "body"}
            own = [r for r in self.requests if r["ours"] and r["state"] == "open"]
            if any(r["branch"] == body["head"] for r in own):
                said = f"A pull request already exists for {OWNER}:{body['head']}."
                entry = {"resource": "PullRequest", "code": "custom", "message": said}
                return 422, {"message": "Validation Failed", "errors": [entry]}
            return 201, self._shown(self._add(body["title"], body["body"], body["head"]))
        assert method == "PATCH"
        return 200, self._changed(int(found[1]), {"body": "text"}, body, body.get("state"))

    def _gitlab(self, method: str, path: str, asked: Any, body: Any) -> tuple[int, Any]:
        project = re.escape(f"{OWNER}%2F{NAME}")
        found = re.fullmatch(rf"/api/v4/projects/{project}/merge_requests(?:/(\d+))?", path)
        if not found:
            return 404, {"message": "404 Project Not Found"}
        if method == "GET":
            assert (asked["state"], asked["target_branch"]) == ("opened", "main")
            return 200, self._page(asked, asked["source_branch"])
        if method == "POST":
            assert set(body) == {"title", "source_branch", "target_branch", "description"}
            there = [r for r in self.requests if r["branch"] == body["source_branch"] and r["ours"]]
            if there and there[-1]["state"] == "open":
                said = "Another open merge request already exists for this source branch: "
                return 409, {"message": [f"{said}!{there[-1]['number']}"]}
            new = self._add(body["title"], body["description"], body["source_branch"])
            return 201, self._shown(new)
        assert method == "PUT"
        closed = {"close": "closed"}.get(body.get("state_event"))
        return 200, self._changed(int(found[1]), {"description": "text"}, body, closed)

    def _page(self, asked: Any, branch: str) -> list[Any]:
        """GitLab names a fork's as well, GitHub's `head` has the owner."""
        found = [r for r in self.requests if r["branch"] == branch and r["state"] == "open"]
        found = [r for r in found if r["ours"] or self.kind == "gitlab"]
        return [self._shown(r) for r in found] if asked["page"] == "1" else []

    def _changed(self, number: int, names: Any, body: Any, state: str | None) -> Any:
        (request,) = (r for r in self.requests if r["number"] == number)
        request |= {names.get(name, name): body[name] for name in ("title", *names) if name in body}
        if state:
            request["state"] = state
        return self._shown(request)

    def _shown(self, request: dict[str, Any]) -> Any:
        """A recorded one, with what this one says."""
        shape = "github_pull_request" if self.kind == "github" else "gitlab_merge_request"
        shown: Any = json.loads((DATA / f"{shape}.json").read_text())
        shown = copy.deepcopy(shown)
        page = f"{self.address}/{OWNER}/{NAME}"
        text = request["text"].replace("\n", "\r\n")  # as GitHub keeps what its page sends
        if self.kind == "github":
            shown |= {"number": request["number"], "title": request["title"], "body": text}
            shown["html_url"] = f"{page}/pull/{request['number']}"
            shown["head"] |= {"ref": request["branch"]}
            shown["base"] |= {"ref": "main"}
            if not request["ours"]:
                shown["head"]["repo"] = None
            return shown
        shown |= {"iid": request["number"], "title": request["title"], "description": text}
        shown |= {"web_url": f"{page}/-/merge_requests/{request['number']}"}
        shown |= {"source_branch": request["branch"], "target_branch": "main"}
        if not request["ours"]:
            shown["source_project_id"] += 1
        return shown


@contextmanager
def recorded(kind: str, folder: Path) -> Iterator[Recorded]:
    certificate(folder)
    bare = folder / OWNER / f"{NAME}.git"
    work = folder / "begin"
    for command in (
        ["git", "init", "--quiet", "--bare", "--initial-branch=main", bare],
        ["git", "-C", bare, "config", "http.receivepack", "true"],
        ["git", "clone", "--quiet", bare, work],
        [
            *("git", "-C", work, "-c", "user.name=a", "-c", "user.email=a@example.com"),
            *("commit", "--quiet", "--allow-empty", "-m", "Begin"),
        ],
        ["git", "-C", work, "push", "--quiet", "origin", "HEAD:main"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    here = Recorded(kind, f"https://127.0.0.1:{server.server_port}", folder / "ca.pem", bare)
    server.here = here  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    """git http-backend, and the API."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        here: Recorded = self.server.here  # type: ignore[attr-defined]
        here.heads.append(f"{self.requestline}\n{self.headers}")
        body = self._body()
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/api/"):
            self._api(here, given.removeprefix("Bearer "), body)
            return
        known = [
            base64.b64encode(f"x-access-token:{t}".encode()).decode() for t in self._known(here)
        ]
        known += [base64.b64encode(f"somebody:{here.token}".encode()).decode()]
        if given.removeprefix("Basic ") not in known:
            self._reply(401, b"", {"WWW-Authenticate": 'Basic realm="git"'})
        elif (
            "git-receive-pack" in self.path and here.reader in base64.b64decode(given[6:]).decode()
        ):
            self._reply(403, b"", {})
        else:
            self._git(here, body)

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815

    def _known(self, here: Recorded) -> tuple[str, str]:
        return here.token, here.reader

    def _api(self, here: Recorded, token: str, body: bytes) -> None:
        if token not in self._known(here):
            said = "Bad credentials" if here.kind == "github" else "401 Unauthorized"
            status, answer = 401, {"message": said}
        elif token == here.reader and self.command != "GET":
            status, answer = 403, {"message": "Resource not accessible by personal access token"}
            if here.kind == "gitlab":
                answer = {
                    "error": "insufficient_scope",
                    "error_description": "The request requires higher privileges than provided by "
                    "the access token.",
                    "scope": "api",
                }
        else:
            status, answer = here.answer(
                self.command, self.path, json.loads(body) if body else None
            )
        self._reply(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _git(self, here: Recorded, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(here.bare.parent.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_USER": "somebody",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._reply(int(headers.pop("Status", "200").split()[0]), content, headers)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def running(kind: str, folder: Path) -> Any:
    """For a fixture: the server of a kind."""
    if not shutil.which("git"):
        pytest.skip("NOT TESTED: pull requests, as there is no git here")
    return gitea(folder) if kind == "gitea" else recorded(kind, folder)
