"""Pull requests by the APIs of GitHub, GitLab (whose merge requests they are) and Gitea.

Sources: GitHub's REST API, "Pulls" (2022-11-28); GitLab's REST API v4, "Merge requests"; Gitea's
and Forgejo's API v1, "repository". The token of GIT_TOKEN is sent as `Authorization: Bearer`, which
all of them take, to the repository's own server alone.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.message import Message
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from edgeline.components.serve import git
from edgeline.errors import EdgelineError
from edgeline.sites.address import GitFolder
from edgeline.stores import redirects
from edgeline.stores.again import BUSY, PassingError

TIMEOUT = 60.0  # seconds without a byte
LONGEST = 16 << 20  # bytes of an answer
PAGES = 100
SAID = 300  # characters of what a server says that are told


@dataclass(frozen=True)
class PullRequest:
    """One that is open.

    Attributes:
        number: its own within the repository.
        url: its page.
        title: one line.
        text: Markdown.
    """

    number: int
    url: str
    title: str
    text: str


@dataclass(frozen=True)
class Forge:
    """How a server's API calls what all of them have.

    Attributes:
        name: of the product.
        collection: the URL of a repository's pull requests, of its host and its path there.
        open: the query for those that are open, of the repository's owner, the branch that they
            change and their own.
        base, branch, text: fields that a pull request is made with.
        number, url: fields of one.
        closed: what closes one.
        method: that changes one.
        is_ours: whether one is of these two branches (base, own) of the repository itself: a fork
            may have a branch of any name.
        needs: what a token has to be allowed.
        place: what to know of where the server is, said where nothing is found; with a space before
            it.
    """

    name: str
    collection: Callable[[str, str], str]
    open: Callable[[str, str, str], dict[str, str]]
    base: str
    branch: str
    text: str
    number: str
    url: str
    closed: Mapping[str, str]
    method: str
    is_ours: Callable[[Any, str, str], bool]
    needs: str
    place: str = ""


class _TakenError(Exception):
    """Somebody else has opened one meanwhile."""


def find(place: GitFolder, branch: str) -> PullRequest | None:
    """The open pull request of a branch of the repository itself, into the site's branch.

    Raises:
        PassingError: the server cannot be reached, or is busy.
        EdgelineError: it refuses the token, has no such repository, or answers otherwise than
            its API says.
    """
    forge, owner = _forge(place), _path(place).partition("/")[0]
    asked = forge.open(owner, place.branch, branch)
    for page in range(1, PAGES + 1):
        url = f"{_collection(place)}?{urlencode({**asked, 'page': str(page)})}"
        found = _call(place, "GET", url)
        if not isinstance(found, list):
            raise _unlike(place)
        try:
            ours = [entry for entry in found if forge.is_ours(entry, place.branch, branch)]
        except (KeyError, TypeError):
            raise _unlike(place) from None
        if ours:
            return _read(place, ours[0])
        if not found:
            return None
    raise EdgelineError(f"{place.repository} has over {PAGES} pages of open pull requests.")


def open_request(place: GitFolder, branch: str, title: str, text: str) -> PullRequest:
    """Open a pull request, or take the one that somebody has opened meanwhile.

    Raises:
        EdgelineError: as `find`, and where the server refuses it.
    """
    forge = _forge(place)
    body = {"title": title, forge.branch: branch, forge.base: place.branch, forge.text: text}
    try:
        return _read(place, _call(place, "POST", _collection(place), body))
    except _TakenError as error:
        if found := find(place, branch):
            return found
        raise EdgelineError(f"{place.repository} refuses the pull request: {error}.") from None


def change(place: GitFolder, number: int, title: str, text: str) -> None:
    """Give a pull request another title and text."""
    forge = _forge(place)
    body = {"title": title, forge.text: text}
    _call(place, forge.method, f"{_collection(place)}/{number}", body)


def close(place: GitFolder, number: int) -> None:
    """Close a pull request without merging it."""
    forge = _forge(place)
    _call(place, forge.method, f"{_collection(place)}/{number}", dict(forge.closed))


def _github(host: str, path: str) -> str:
    api = "https://api.github.com" if host == "github.com" else f"https://{host}/api/v3"
    return f"{api}/repos/{quote(path)}/pulls"


def _gitlab(host: str, path: str) -> str:
    return f"https://{host}/api/v4/projects/{quote(path, safe='')}/merge_requests"


def _gitea(host: str, path: str) -> str:
    *prefix, owner, name = path.split("/")  # it may be installed below a path
    api = "/".join([host, *prefix, "api/v1"])
    return f"https://{api}/repos/{quote(owner)}/{quote(name)}/pulls"


def _of_github(entry: Any, base: str, branch: str) -> bool:
    to, own = entry["base"], entry["head"]  # whose repository is null once a fork is deleted
    return (
        (to["ref"], own["ref"]) == (base, branch)
        and bool(own["repo"])
        and own["repo"]["id"] == to["repo"]["id"]
    )


def _of_gitlab(entry: Any, base: str, branch: str) -> bool:
    return (entry["target_branch"], entry["source_branch"]) == (base, branch) and entry[
        "source_project_id"
    ] == entry["target_project_id"]


_GITHUB = Forge(
    name="GitHub",
    collection=_github,
    open=lambda owner, base, branch: {"state": "open", "base": base, "head": f"{owner}:{branch}"},
    base="base",
    branch="head",
    text="body",
    number="number",
    url="html_url",
    closed={"state": "closed"},
    method="PATCH",
    is_ours=_of_github,
    needs="the permissions `Contents` and `Pull requests` to write (a classic one: `repo`)",
)
_GITEA = replace(
    _GITHUB,
    name="Gitea",
    collection=_gitea,
    open=lambda _, base, __: {"state": "open", "base_branch": base},
    needs="the scope `write:repository`, of a user who may write there",
)
_GITLAB = Forge(
    name="GitLab",
    collection=_gitlab,
    open=lambda _, base, branch: {
        "state": "opened",
        "scope": "all",
        "target_branch": base,
        "source_branch": branch,
    },
    base="target_branch",
    branch="source_branch",
    text="description",
    number="iid",
    url="web_url",
    closed={"state_event": "close"},
    method="PUT",
    is_ours=_of_gitlab,
    needs="the scope `api` and the role Developer",
    place=" A GitLab that is installed below a path of its host is not supported.",
)
FORGES = {"github": _GITHUB, "gitlab": _GITLAB, "gitea": _GITEA}


def _forge(place: GitFolder) -> Forge:
    return FORGES[place.pull_request]


def _path(place: GitFolder) -> str:
    return urlsplit(place.repository).path.strip("/").removesuffix(".git")


def _collection(place: GitFolder) -> str:
    path = _path(place)
    if "/" not in path:
        raise EdgelineError(
            f"{place.repository} is not a repository of {_forge(place).name}: give its owner and "
            "its name, as in git+https://HOST/OWNER/NAME.git."
        )
    return _forge(place).collection(urlsplit(place.repository).netloc.rpartition("@")[2], path)


def _read(place: GitFolder, entry: Any) -> PullRequest:
    forge = _forge(place)
    try:
        number, url = entry[forge.number], entry[forge.url]
        title, text = entry["title"], entry[forge.text] or ""
    except (KeyError, TypeError):
        raise _unlike(place) from None
    kinds = ((number, int), (url, str), (title, str), (text, str))
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise _unlike(place)
    return PullRequest(number, url if url.startswith(("https://", "http://")) else "", title, text)


def _unlike(place: GitFolder) -> EdgelineError:
    return EdgelineError(
        f"{place.repository} answers otherwise than the API of {_forge(place).name}: is that what "
        "it is (pull_request=github, gitlab or gitea)?"
    )


def _call(place: GitFolder, method: str, url: str, body: Mapping[str, str] | None = None) -> Any:
    """One request of the API."""
    forge, token = _forge(place), git.token()
    if not token:
        raise EdgelineError(
            f"A pull request is opened with a token: set {git.TOKEN} in the environment to one "
            f"with {forge.needs}."
        )
    headers = {"Accept": "application/json", "User-Agent": "edgeline"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data, headers, method=method)
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with redirects.urlopen(request, TIMEOUT) as answer:
            return json.loads(answer.read(LONGEST))
    except urllib.error.HTTPError as error:
        with error:
            said = _said(error.read(LONGEST))
        raise _refusal(place, error.code, said, error.headers) from None
    except (ValueError, http.client.HTTPException):
        raise _unlike(place) from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise PassingError(
            f"{forge.name} cannot be asked at {url.partition('?')[0]} ({reason})."
        ) from None


def _refusal(
    place: GitFolder, status: int, said: str, headers: Message
) -> EdgelineError | _TakenError:
    forge = _forge(place)
    if status == 401:
        return EdgelineError(
            f"{forge.name} refuses the token in {git.TOKEN} for {place.repository} ({said}): it is "
            f"wrong or has expired. Give one with {forge.needs}."
        )
    if status == 429 or (status == 403 and _is_limit(said, headers)):
        return EdgelineError(
            f"{forge.name} takes no more requests with the token in {git.TOKEN} for now ({said}): "
            f"run it again {_when(headers)}."
        )
    if status == 403:
        return EdgelineError(
            f"{forge.name} does not let the token in {git.TOKEN} do that at {place.repository} "
            f"({said}): it needs {forge.needs}."
        )
    if status == 404:
        return EdgelineError(
            f"{forge.name} has no repository {place.repository} that the token in {git.TOKEN} may "
            f"see ({said}): is the address right, and does the token have {forge.needs}?"
            f"{forge.place}"
        )
    if status == 409 or (status == 422 and "already exists" in said):
        return _TakenError(said)
    if status in BUSY:
        return PassingError(f"{forge.name} is not ready ({status}: {said}).")
    return EdgelineError(f"{place.repository} refuses the pull request ({status}: {said}).")


def _is_limit(said: str, headers: Message) -> bool:
    """Whether a 403 is one of GitHub's limits: of its secondary ones the text alone is certain."""
    none_left = headers.get("X-RateLimit-Remaining") == "0"
    return none_left or "Retry-After" in headers or "rate limit" in said.lower()


def _when(headers: Message) -> str:
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdecimal():
        return f"in {after} seconds"
    if headers.get("X-RateLimit-Remaining") == "0" and reset.isdecimal():
        return f"after {datetime.fromtimestamp(int(reset), timezone.utc):%H:%M} UTC"
    return "in some minutes"


def _said(answer: bytes) -> str:
    """What a server gives as its reason, on one line.

    GitLab says of a field what is wrong with it: `{"message": {"title": ["is too long"]}}`.
    """
    try:
        found = json.loads(answer)
    except ValueError:
        return "without a reason"
    if not isinstance(found, dict):
        return "without a reason"
    told: list[str] = []
    for name in ("message", "error", "error_description", "errors"):
        value = found.get(name)
        if name == "message" and isinstance(value, dict):
            value = [f"{key} {', '.join(map(str, _list(x)))}" for key, x in value.items()]
        for entry in _list(value):
            text = entry.get("message") if isinstance(entry, dict) else entry
            if isinstance(text, str) and text not in told:
                told.append(text)
    line = "".join(c if c.isprintable() else " " for c in " ".join(told))
    return " ".join(line.split())[:SAID] or "without a reason"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
