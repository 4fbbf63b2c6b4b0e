"""Where a deployment goes: `cluster://NAMESPACE`, or a folder of a Git repository."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from edgeline.errors import EdgelineError
from edgeline.formats import names

GIT = ("git+https", "git+ssh", "git+file")


@dataclass(frozen=True)
class Cluster:
    """A namespace of the cluster that this runs in, or that the kubeconfig names."""

    namespace: str


@dataclass(frozen=True)
class GitFolder:
    """A folder on a branch of a repository."""

    repository: str
    folder: str
    branch: str


def parse(site: str) -> Cluster | GitFolder:
    """A site's address in its parts.

    `git+https://host/team/models.git//sites/north?branch=main`: the repository, two slashes,
    the folder; without a branch it is `main`.

    Raises:
        EdgelineError: it is neither, or names a user's password or a way out of the repository.
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
        branch = parse_qs(parts.query).get("branch", ["main"])[0]
        if parts.password:
            raise EdgelineError(
                "The site's address holds a password: give it in the environment as GIT_TOKEN."
            )
        clean = folder.strip("/")
        if clean and ".." not in clean.split("/") and not branch.startswith("-"):
            host = parts.netloc
            return GitFolder(f"{parts.scheme[4:]}://{host}{path}", clean, branch)
    raise EdgelineError(
        f"{site!r} is not a site: give cluster://NAMESPACE, or git+https://HOST/REPOSITORY.git//FOLDER"
        "?branch=BRANCH."
    )
