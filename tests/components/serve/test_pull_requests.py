"""Deployments as pull requests: at a real Gitea, and at a real Git over HTTP beside an API that
answers as GitHub and GitLab were recorded to. NOT TESTED: github.com and GitLab themselves."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from git_servers import GitServer, Recorded, git, repository, running

from edgeline.artifacts import bundle
from edgeline.artifacts.bundle import Bundle
from edgeline.components.serve import forges, proposing
from edgeline.components.serve import git as committing
from edgeline.components.serve.proposing import SiteProposal, propose
from edgeline.components.serve.serve import serve
from edgeline.errors import EdgelineError
from edgeline.sites.address import GitFolder, parse
from edgeline.stores import redirects

pytestmark = pytest.mark.slow
GUIDE = Path(__file__).parents[3] / "docs" / "pull-requests.md"


@pytest.fixture(scope="module", params=["gitea", "github", "gitlab"])
def started(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[GitServer]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as server:
        yield server


def at(*kinds: str, long: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Which servers a test asks: what Git does is the same at all of them."""
    later = [pytest.param(kind, marks=pytest.mark.long) for kind in long]
    return pytest.mark.parametrize("started", [*kinds, *later], indirect=True)


@pytest.fixture
def server(started: GitServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """One that is trusted, with the token in the environment; each test has a folder of its own."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(started.authority))
    monkeypatch.setenv("GIT_TOKEN", started.token)
    redirects._opener.cache_clear()  # which may keep the authorities of its first use
    yield started
    redirects._opener.cache_clear()


@pytest.fixture
def place(server: GitServer, request: pytest.FixtureRequest) -> GitFolder:
    folder = f"sites/{request.node.originalname}"
    return GitFolder(repository(server), folder, "main", server.kind)


@pytest.fixture
def work(server: GitServer, tmp_path: Path) -> Path:
    """Somebody's clone."""
    git("clone", "--quiet", repository(server), "theirs", server=server, folder=tmp_path)
    return tmp_path / "theirs"


@pytest.fixture
def manifest(pixels: Path) -> Bundle:
    evaluation = {"metrics": {"accuracy": 0.89624183, "auc": 0.95}, "split": "eval"}
    return dataclasses.replace(bundle.read(pixels), evaluation=evaluation)


def made(folder: Path, version: int) -> Path:
    """The file of a version of `mixed`."""
    file = folder / "mixed.yaml"
    image = f"ghcr.io/acme/models/mixed@sha256:{version:064x}"
    file.write_text(f"labels: {{app.kubernetes.io/version: '{version}'}}\nmodel: oci://{image}\n")
    return file


def proposed(place: GitFolder, manifest: Bundle, version: int, folder: Path) -> SiteProposal:
    versioned = dataclasses.replace(manifest, version=version)
    return propose([made(folder, version)], place, "mixed", versioned)


def own(server: GitServer, place: GitFolder) -> list[Any]:
    """The open pull requests of a test."""
    branch = proposing.branch_of(place, "mixed")
    return [request for request in server.opened() if request.branch == branch]


def shown(server: GitServer, work: Path, branch: str, path: str) -> str:
    git("fetch", "--quiet", "origin", branch, server=server, folder=work)
    return git("show", f"FETCH_HEAD:{path}", server=server, folder=work)


def commits(server: GitServer, work: Path, branch: str) -> list[str]:
    git("fetch", "--quiet", "origin", branch, server=server, folder=work)
    return git("log", "--format=%H", "FETCH_HEAD", server=server, folder=work).split()


def test_a_deployment_is_proposed_and_merging_deploys_it(
    server: GitServer, place: GitFolder, pixels: Path, registry: Any, work: Path, tmp_path: Path
) -> None:
    before = commits(server, work, "main")
    given = {
        "bundle_path": pixels,
        "site": f"git+{place.repository}//{place.folder}?pull_request={server.kind}",
        "models_repository": f"{registry.address}/models",
        "deployment_path": tmp_path / "deployment",
        "deployment_report_path": tmp_path / "report.html",
        "tokens": "none",
    }
    done = serve(**given)
    (request,) = own(server, place)
    assert request.title == f"Serve mixed 3 at {place.folder}"
    assert f"`{registry.address}/models/mixed` |  | `{done.model.partition('@')[2][:19]}`" in (
        request.text
    )
    assert "The model was not evaluated." in request.text
    assert commits(server, work, "main") == before  # nothing is deployed
    assert commits(server, work, request.branch) == [done.commit, *before]
    assert done.model in shown(server, work, request.branch, f"{place.folder}/mixed.yaml")
    assert str(request.number) in done.pull_request
    kept = json.loads((tmp_path / "deployment" / "deployment.json").read_text())
    assert kept["pull_request"] == done.pull_request
    assert "mixed 3 is proposed" in (tmp_path / "report.html").read_text()
    server.merge(request.number)
    assert done.model in shown(server, work, "main", f"{place.folder}/mixed.yaml")
    again = serve(**given)
    assert (again.pull_request, again.commit) == ("", commits(server, work, "main")[0])
    assert own(server, place) == []


@at("gitea")
def test_the_guide_s_command_opens_one(
    server: GitServer, pixels: Path, registry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    site = "git+https://git.acme.dev/acme/sites.git//sites/north?branch=main&pull_request=gitea"
    assert site in block
    folder = f"{repository(server)}//sites/guide"
    told = {site: f"git+{folder}?branch=main&pull_request={server.kind}"}
    told |= {"registry.acme.dev": registry.address, "--for": "--tokens none --for"}
    for given, here in told.items():
        block = block.replace(given, here)
    (tmp_path / "token").write_text(f"{server.token}\n")
    (tmp_path / "taxi-bundle").symlink_to(pixels)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.delenv("GIT_TOKEN")
    done = subprocess.run(
        ["bash", "-euc", block], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert not done.returncode, done.stderr
    (url,) = re.findall(r"(https://\S+) has it with commit", done.stdout)
    (request,) = [r for r in server.opened() if r.title == "Serve mixed 3 at sites/guide"]
    assert url.endswith(f"/{request.number}")
    assert server.token not in done.stdout + done.stderr


@at("github", "gitlab", long=("gitea",))
def test_one_pull_request_is_brought_up_to_date(
    server: GitServer, place: GitFolder, manifest: Bundle, work: Path, tmp_path: Path
) -> None:
    proposed(place, manifest, 2, tmp_path)
    (request,) = own(server, place)
    server.merge(request.number)
    first = proposed(place, manifest, 3, tmp_path)
    assert proposed(place, manifest, 3, tmp_path) == first  # nothing is pushed again
    (third,) = own(server, place)
    assert "| version | 2 | 3 |" in third.text
    assert "| `accuracy` | 0.896242 |" in third.text
    later = proposed(place, manifest, 4, tmp_path)
    (fourth,) = own(server, place)
    assert fourth.number == third.number
    assert later.url == first.url
    assert fourth.title == f"Serve mixed 4 at {place.folder}"
    assert "| version | 2 | 4 |" in fourth.text
    base = commits(server, work, "main")
    assert commits(server, work, fourth.branch) == [later.commit, *base]  # no heap of commits


@at("github", long=("gitea", "gitlab"))
def test_what_a_reviewer_has_pushed_stays(
    server: GitServer, place: GitFolder, manifest: Bundle, work: Path, tmp_path: Path
) -> None:
    proposed(place, manifest, 3, tmp_path)
    (request,) = own(server, place)
    git("fetch", "--quiet", "origin", request.branch, server=server, folder=work)
    git("checkout", "--quiet", "FETCH_HEAD", server=server, folder=work)
    (work / "theirs").write_text("theirs\n")
    git("add", ".", server=server, folder=work)
    git("commit", "--quiet", "-m", "Theirs", server=server, folder=work)
    git("push", "--quiet", "origin", f"HEAD:{request.branch}", server=server, folder=work)
    theirs = commits(server, work, request.branch)
    assert proposed(place, manifest, 3, tmp_path).commit == theirs[0]
    later = proposed(place, manifest, 4, tmp_path)
    assert commits(server, work, request.branch) == [later.commit, *theirs]
    assert [r.number for r in own(server, place)] == [request.number]


@at("github", "gitlab", long=("gitea",))
def test_a_proposal_that_is_no_longer_wanted_is_closed(
    server: GitServer, place: GitFolder, manifest: Bundle, tmp_path: Path
) -> None:
    proposed(place, manifest, 3, tmp_path)
    (request,) = own(server, place)
    server.merge(request.number)
    wrong = proposed(place, manifest, 4, tmp_path)
    back = proposed(place, manifest, 3, tmp_path)  # which is what main has
    assert (back.url, back.closed) == ("", wrong.url)
    assert own(server, place) == []
    assert proposed(place, manifest, 5, tmp_path).url not in ("", wrong.url)


def test_a_pull_request_of_a_fork_is_not_taken_for_ours(
    server: GitServer, place: GitFolder, manifest: Bundle, tmp_path: Path
) -> None:
    server.fork(proposing.branch_of(place, "mixed"))
    (theirs,) = own(server, place)
    proposed(place, manifest, 3, tmp_path)
    ours = [request for request in own(server, place) if request.number != theirs.number]
    assert [request.title for request in ours] == [f"Serve mixed 3 at {place.folder}"]
    assert theirs in own(server, place)


def test_one_that_somebody_opens_meanwhile_is_taken(
    server: GitServer,
    place: GitFolder,
    manifest: Bundle,
    tmp_path: Path,
) -> None:
    """Two runs at once: each has seen that there was none."""
    first = proposed(place, manifest, 3, tmp_path)
    branch = proposing.branch_of(place, "mixed")
    found = forges.open_request(place, branch, "Serve", "text")
    assert found.url == first.url
    assert [request.number for request in own(server, place)] == [found.number]
    forges.close(place, found.number)
    assert own(server, place) == []


@at("github", long=("gitea",))
def test_a_branch_that_moves_meanwhile_is_looked_at_again(
    server: GitServer,
    place: GitFolder,
    manifest: Bundle,
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proposed(place, manifest, 3, tmp_path)
    (request,) = own(server, place)
    real, others = committing.send, iter([True])

    def meanwhile(*given: Any) -> bool:
        if next(others, False):
            git("fetch", "--quiet", "origin", request.branch, server=server, folder=work)
            git("checkout", "--quiet", "FETCH_HEAD", server=server, folder=work)
            message = ["commit", "--quiet", "--allow-empty", "-m", "Theirs"]
            git(*message, server=server, folder=work)
            git("push", "--quiet", "origin", f"HEAD:{request.branch}", server=server, folder=work)
        return real(*given)

    monkeypatch.setattr(committing, "send", meanwhile)
    later = proposed(place, manifest, 4, tmp_path)
    commits(server, work, request.branch)
    texts = git("log", "--format=%s", later.commit, server=server, folder=work)
    assert texts.splitlines()[:2] == [f"Serve mixed 4 at {place.folder}", "Theirs"]


@pytest.mark.parametrize("fault", ["none", "wrong", "two words", "reader", "missing"])
def test_what_is_refused_is_one_sentence_and_pushes_nothing(
    fault: str,
    server: GitServer,
    place: GitFolder,
    manifest: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    token = {"none": "", "wrong": "0" * 40, "two words": "se cret", "reader": server.reader}
    monkeypatch.setenv("GIT_TOKEN", token.get(fault, server.token))
    if fault == "missing":
        place = dataclasses.replace(place, repository=f"{server.address}/acme/nothing.git")
    said = {
        "none": "A pull request is opened with a token: set GIT_TOKEN",
        "wrong": "refuses the token in GIT_TOKEN .* it is wrong or has expired",
        "two words": "GIT_TOKEN has characters that no token has",
        "reader": "does not take the token in GIT_TOKEN: .* may it write there",
        "missing": "has no repository .*/acme/nothing.git that the token in GIT_TOKEN may see",
    }
    with pytest.raises(EdgelineError, match=said[fault]) as caught:
        proposed(place, manifest, 3, tmp_path)
    assert "\n" not in str(caught.value)
    told = str(caught.value) + "".join(capfd.readouterr())
    assert not any(part and part in told for part in token.get(fault, "").split())
    branch = proposing.branch_of(place, "mixed")
    monkeypatch.setenv("GIT_TOKEN", server.token)
    whole = dataclasses.replace(place, repository=repository(server))
    assert branch not in committing.heads(whole)


def test_a_token_that_may_only_push_is_told_after_the_push(
    server: GitServer, place: GitFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TOKEN", server.reader)
    with pytest.raises(
        EdgelineError, match=r"does not let the token in GIT_TOKEN do that .* needs"
    ):
        forges.open_request(place, "main", "Serve", "text")


@at("gitea", "gitlab")
def test_a_protected_branch_is_said_at_once(
    server: GitServer, place: GitFolder, work: Path, tmp_path: Path
) -> None:
    git("push", "--quiet", "origin", "HEAD:release", server=server, folder=work)
    server.protect("release")
    direct = dataclasses.replace(place, branch="release", pull_request="")
    with pytest.raises(EdgelineError, match=r"refuses the push to release \(.*&pull_request=") as e:
        committing.commit([made(tmp_path, 3)], direct, "Serve")
    assert "8 times" not in str(e.value)


@at("github", "gitlab")
def test_the_token_is_in_the_authorization_alone(
    server: GitServer, place: GitFolder, manifest: Bundle, tmp_path: Path
) -> None:
    assert isinstance(server, Recorded)  # which keeps what it is sent
    proposed(place, manifest, 3, tmp_path)
    lines = [line for head in server.heads for line in head.splitlines()]
    assert any(line == f"Authorization: Bearer {server.token}" for line in lines)
    assert not any(server.token in line for line in lines if not line.startswith("Authorization: "))


@pytest.mark.parametrize(
    ("forge", "address", "collection"),
    [
        ("github", "github.com/acme/models.git", "https://api.github.com/repos/acme/models/pulls"),
        (
            *("github", "git.acme.dev/acme/models"),
            "https://git.acme.dev/api/v3/repos/acme/models/pulls",
        ),
        (
            *("gitlab", "gitlab.com/acme/edge/models.git"),
            "https://gitlab.com/api/v4/projects/acme%2Fedge%2Fmodels/merge_requests",
        ),
        (
            *("gitea", "acme.dev:3000/git/acme/models.git"),
            "https://acme.dev:3000/git/api/v1/repos/acme/models/pulls",
        ),
    ],
)
def test_each_api_is_asked_where_it_is(forge: str, address: str, collection: str) -> None:
    place = parse(f"git+https://{address}//sites/north?pull_request={forge}")
    assert isinstance(place, GitFolder)
    assert forges._collection(place) == collection


def test_what_others_have_named_is_no_command_in_the_text(manifest: Bundle) -> None:
    evaluation = {"metrics": {"`@everyone` closes #1 | x\n/merge": 1.0}}
    hostile = dataclasses.replace(manifest, evaluation=evaluation)
    place = GitFolder("https://git.example.com/a/b.git", "sites/@me`|\n/merge", "main", "gitlab")
    nothing = proposing.deployed.read([])
    text = proposing.describe(place, hostile, nothing, nothing)
    assert not any(line.startswith("/") for line in text.splitlines())
    for word in ("@everyone", "#1", "@me"):
        line = next(line for line in text.splitlines() if word in line)
        assert line[: line.index(word)].count("`") % 2 == 1  # inside of code
        assert line.count("`") % 2 == 0


@pytest.mark.parametrize("answer", [b"[]", b"[3]", b"{", b'[{"head": {}}]', b'{"a": 1}', b"null"])
def test_what_is_no_such_api_is_one_sentence(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of another kind, or a page of a proxy."""

    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, _: int) -> bytes:
            return answer

    monkeypatch.setenv("GIT_TOKEN", "secret")
    monkeypatch.setattr(redirects, "urlopen", lambda *_: Answer())
    place = GitFolder("https://git.example.com/a/b.git", "site", "main", "github")
    if answer == b"[]":
        assert forges.find(place, "branch") is None
    else:
        with pytest.raises(EdgelineError, match="otherwise than the API of GitHub: is that what"):
            forges.find(place, "branch")
    with pytest.raises(EdgelineError, match="otherwise than the API of GitHub: is that what"):
        forges.open_request(place, "branch", "title", "text")


@pytest.mark.parametrize(
    ("forge", "status", "headers", "answer", "said"),
    [
        (
            *("github", 403, {"X-RateLimit-Remaining": "14", "Retry-After": "60"}),
            {"message": "You have exceeded a secondary rate limit."},
            r"takes no more requests .* \(You have exceeded .*\): run it again in 60 seconds",
        ),
        (
            *("github", 403, {"X-RateLimit-Remaining": "14"}),
            {"message": "You have exceeded a secondary rate limit."},
            "takes no more requests .*: run it again in some minutes",
        ),
        (
            *("github", 403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1655120964"}),
            {"message": "API rate limit exceeded for user ID 1."},
            "takes no more requests .*: run it again after 11:49 UTC",
        ),
        (
            *("github", 403, {"X-RateLimit-Remaining": "14"}),
            {"message": "Resource not accessible by personal access token"},
            "does not let the token in GIT_TOKEN do that .*not accessible by personal",
        ),
        (
            *("gitlab", 400, {}),
            {"message": {"title": ["is too long (maximum is 255 characters)"]}},
            r"refuses the pull request \(400: title is too long \(maximum is 255 characters\)\)",
        ),
        (
            *("gitlab", 403, {}),
            {"error": "insufficient_scope", "error_description": "The request requires more."},
            r"insufficient_scope The request requires more\.\): it needs the scope `api`",
        ),
        (
            *("gitlab", 404, {}),
            {"message": "404 Project Not Found"},
            "below a path of its host is not supported",
        ),
    ],
)
def test_what_a_server_refuses_is_said_as_its_documentation_has_it(
    forge: str,
    status: int,
    headers: dict[str, str],
    answer: Any,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shapes: GitHub's "Rate limits for the REST API", GitLab's "Troubleshooting the REST API"."""
    message = Message()
    for name, value in headers.items():
        message[name] = value

    def refusing(request: urllib.request.Request, _: float) -> None:
        body = io.BytesIO(json.dumps(answer).encode())
        raise urllib.error.HTTPError(request.full_url, status, "", message, body)

    monkeypatch.setenv("GIT_TOKEN", "secret")
    monkeypatch.setattr(redirects, "urlopen", refusing)
    place = GitFolder("https://git.example.com/a/b.git", "site", "main", forge)
    with pytest.raises(EdgelineError, match=said):
        forges.open_request(place, "branch", "title", "text")
