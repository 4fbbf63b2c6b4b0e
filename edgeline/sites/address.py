"""Where a deployment goes: `cluster://NAMESPACE`, or a folder of a Git repository."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from edgeline.errors import EdgelineError
from edgeline.formats import names

GIT = ("git+https", "git+ssh", "git+file")
FORGES = ("github", "gitlab", "gitea")  # whose API opens a pull request; Forgejo's is Gitea's


@dataclass(frozen=True)
class Cluster:
    """A namespace of the cluster that this runs in, or that the kubeconfig names."""

    namespace: str


@dataclass(frozen=True)
class GitFolder:
    """A folder on a branch of a repository.

    Attributes:
        pull_request: one of FORGES, where the branch is changed by a pull request alone; empty: it
            is pushed to.
    """

    repository: str
    folder: str
    branch: str
    pull_request: str = ""


def parse(site: str) -> Cluster | GitFolder:
    """A site's address in its parts.

    `git+https://host/team/models.git//sites/north?branch=main`: the repository, two slashes,
    the folder; without a branch it is `main`. With `&pull_request=gitea` (or another of FORGES) the
    branch gets a pull request in place of a push.

    Raises:
        EdgelineError: it is neither, names a user's password or a way out of the repository, or
            has a parameter that means nothing.
    """
    try:
        parts = urlsplit(site)
    except ValueError:  # which repeats a password
        raise EdgelineError(
            "The site's address is malformed: give cluster://NAMESPACE, or "
            "git+https://HOST/REPOSITORY.git//FOLDER?branch=BRANCH."
        ) from None
    if parts.scheme == "cluster" and names.LABEL.fullmatch(parts.netloc) and not parts.path:
        return Cluster(parts.netloc)
    if parts.scheme in GIT:
        path, _, folder = parts.path.partition("//")
        if parts.password:
            raise EdgelineError(
                "The site's address holds a password: give it in the environment as GIT_TOKEN."
            )
        branch, pull_request = _parameters(parts.scheme, parts.query)
        clean = folder.strip("/")
        if clean and ".." not in clean.split("/") and not branch.startswith("-"):
            repository = f"{parts.scheme[4:]}://{parts.netloc}{path}"
            return GitFolder(repository, clean, branch, pull_request)
    raise EdgelineError(
        f"{site!r} is not a site: give cluster://NAMESPACE, or git+https://HOST/REPOSITORY.git//FOLDER"
        "?branch=BRANCH."
    )


def _parameters(scheme: str, query: str) -> tuple[str, str]:
    """The branch, and which forge is asked for a pull request."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(given.keys() - {"branch", "pull_request"}):
        raise EdgelineError(
            f"The site's address has {unknown[0]!r}, but takes branch and pull_request alone."
        )
    forge = given.get("pull_request", "")
    if "pull_request" in given and forge not in FORGES:
        raise EdgelineError(
            f"The site's address has pull_request={forge}, but must have one of "
            f"{', '.join(FORGES)}."
        )
    if forge and scheme != "git+https":
        raise EdgelineError(
            f"A pull request is opened over https: begin the site's address with git+https:// in "
            f"place of {scheme}://; the token in GIT_TOKEN pushes, too."
        )
    return given.get("branch") or "main", forge
