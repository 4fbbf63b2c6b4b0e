"""A site's files proposed to its Git repository: a branch and a pull request for each deployment.

Merging is the deployment, so nothing is deployed here. A later version takes the place of an
earlier one that nobody has merged yet, in the same pull request.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.artifacts.bundle import Bundle
from edgeline.components.serve import forges, git
from edgeline.components.serve.forges import PullRequest
from edgeline.sites import deployed
from edgeline.sites.address import GitFolder
from edgeline.stores.again import again

if TYPE_CHECKING:
    from dulwich.objects import Commit
    from dulwich.repo import Repo

TITLE = 200  # characters; GitLab takes 255
METRICS = 12
LONGEST = 1 << 20  # bytes of a file that is looked at


@dataclass(frozen=True)
class SiteProposal:
    """What is proposed.

    Attributes:
        commit: the one that has the files, on the pull request's branch, or on the site's own where
            nothing differs.
        url: the page of the pull request; empty where nothing differs.
        closed: the page of one that was closed, since what the branch has is what is wanted.
    """

    commit: str
    url: str = ""
    closed: str = ""


def propose(files: Iterable[Path], place: GitFolder, name: str, manifest: Bundle) -> SiteProposal:
    """Put files onto a branch of their own, and see to it that one pull request brings them.

    The branch is one commit on top of the site's branch. Where somebody else has pushed to it
    since, theirs stay, and what is new comes on top.

    Args:
        files: of the site.
        place: with a `pull_request`.
        name: of the deployment.
        manifest: of what is deployed.

    Raises:
        EdgelineError: the repository or its API cannot be reached, or refuses.
    """
    files = list(files)
    branch = branch_of(place, name)
    return again(
        lambda: git.in_turn(place, branch, lambda: _propose(files, place, branch, manifest))
    )


def branch_of(place: GitFolder, name: str) -> str:
    """The branch of a deployment at a site: the same each time, and no other one's."""
    whole = "\0".join((place.branch, place.folder, name))
    readable = re.sub(r"[^a-z0-9]+", "-", f"{name}-{place.folder}".lower()).strip("-")[:80]
    return f"edgeline/{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def message(files: Iterable[Path], place: GitFolder, manifest: Bundle) -> str:
    """What a commit says: a line, and the images by digest."""
    found = deployed.read(file.read_text("utf-8") for file in files)
    images = "\n".join(f"{name}@{digest}" for name, digest in found.images.items())
    title = f"Serve {manifest.name} {manifest.version} at {place.folder}"[:TITLE]
    return f"{title}\n\n{images}"


def _propose(
    files: list[Path], place: GitFolder, branch: str, manifest: Bundle
) -> SiteProposal | None:
    """The proposal, or None where a branch has moved meanwhile."""
    known = forges.find(place, branch)  # before anything is pushed: the token is tried
    with git.cloned(place, place.branch) as base:
        if base is None:
            return None
        before = deployed.read(_texts(base, place.folder, files))
        after = deployed.read(file.read_text("utf-8") for file in files)
        said = message(files, place, manifest)
        title, text = said.partition("\n")[0], describe(place, manifest, before, after)
        if not git.put(base, files, place.folder, said):
            return _unchanged(place, base.head().decode(), known)
        commit = _pushed(base, files, place, branch, said, known)
    if commit is None:
        return None
    # looked for again: it may have been merged meanwhile
    known = forges.find(place, branch) or forges.open_request(place, branch, title, text)
    if (known.title, _plain(known.text)) != (title, _plain(text)):
        forges.change(place, known.number, title, text)
    return SiteProposal(commit, known.url)


def _unchanged(place: GitFolder, commit: str, known: PullRequest | None) -> SiteProposal:
    if known is None:
        return SiteProposal(commit)
    forges.close(place, known.number)  # it would bring what was wanted before
    return SiteProposal(commit, closed=known.url)


def _pushed(
    base: Repo,
    files: list[Path],
    place: GitFolder,
    branch: str,
    said: str,
    known: PullRequest | None,
) -> str | None:
    """The commit that the branch has now; None where it has moved meanwhile."""
    there = git.heads(place).get(branch)
    if there and known:
        with git.cloned(place, branch) as own:
            if own is None or own.head() != there:
                return None
            last = _commit(own, there)
            if last.committer != git.author():  # somebody else's: what they did stays
                changed = git.put(own, files, place.folder, said)
                if changed and not git.send(own, place, branch, there):
                    return None
                return str(own.head().decode())
            if last.tree == _commit(base, base.head()).tree:
                return str(there.decode())
    # without a pull request, what the branch has was merged or given up
    return str(base.head().decode()) if git.send(base, place, branch, there) else None


def describe(
    place: GitFolder, manifest: Bundle, before: deployed.Deployed, after: deployed.Deployed
) -> str:
    """What a pull request changes, as Markdown: what others have named stands in code alone, so
    nothing in it is a mention, a reference or a command."""
    rows = [("version", str(before.version or ""), str(after.version or manifest.version))]
    for image in dict.fromkeys([*after.images, *before.images]):
        old, new = (_short(found.images.get(image)) for found in (before, after))
        rows.append((_code(image), old, new))
    changes = [f"| | {_code(place.branch)} | with this |", "|---|---|---|"]
    changes += [f"| {what} | {old} | {new} |" for what, old, new in rows]
    return "\n".join(
        [
            f"Version {manifest.version} of {_code(manifest.name)} at {_code(place.folder)}.",
            *("", *changes, "", *_metrics(manifest), ""),
            "Merging this is the deployment. `edgeline` writes the text anew whenever it deploys "
            "here: comments stay, changes of the text do not.",
        ]
    )


def _metrics(manifest: Bundle) -> list[str]:
    found = manifest.evaluation.get("metrics")
    if not isinstance(found, dict) or not found:
        return ["The model was not evaluated."]
    numbers = {
        name: value
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    shown = list(numbers.items())[:METRICS]
    rows = [f"| {_code(name)} | {value:.6g} |" for name, value in shown]
    left = len(numbers) - len(shown)
    more = ["", f"{left} more are in the bundle's manifest."] if left else []
    split = manifest.evaluation.get("split")
    return [f"| metric | {_code(str(split)) if split else 'value'} |", "|---|---|", *rows, *more]


def _commit(repository: Repo, name: bytes) -> Commit:
    from dulwich.objects import Commit, ObjectID

    found = repository[ObjectID(name)]
    assert isinstance(found, Commit)  # a branch's last
    return found


def _texts(repository: Repo, folder: str, files: Iterable[Path]) -> list[str]:
    """What the repository has of files that will be written."""
    found = []
    for file in files:
        path = Path(repository.path) / folder / file.name
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= LONGEST:
            found.append(path.read_text("utf-8", errors="replace"))
    return found


def _short(digest: str | None) -> str:
    return _code(digest[: len("sha256:") + 12]) if digest else ""


def _code(text: str) -> str:
    line = "".join(character if character.isprintable() else " " for character in text)
    return f"`{line.replace('`', ' ').replace('|', ' ')}`"


def _plain(text: str) -> str:
    """As all servers give a text back: some change the ends of lines."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
