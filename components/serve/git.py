"""Files committed to a folder of a Git repository, from where GitOps deploys them.

By dulwich, so no image needs a git of its own. A token comes from GIT_TOKEN in the environment;
it is in no address, no log and no file.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeline.errors import EdgelineError
from edgeline.sites.address import GitFolder
from edgeline.stores.again import PassingError, again

if TYPE_CHECKING:
    from dulwich.repo import Repo

ATTEMPTS = 8
PAUSE = 0.1  # seconds at most before the second attempt; twice as long before each further one
Answer = TypeVar("Answer")


def commit(files: Iterable[Path], place: GitFolder, message: str) -> str:
    """Put files into the folder, commit and push; others' commits in between are kept.

    Returns:
        the commit that has them: an older one where nothing differs.

    Raises:
        EdgelineError: there is no such repository or branch, it cannot be reached, or the push
            is refused.
    """
    files = list(files)
    return again(lambda: _committed(files, place, message))


def _committed(files: list[Path], place: GitFolder, message: str) -> str:
    for attempt in range(ATTEMPTS):  # where somebody was quicker: on top of what they did, again
        if attempt:
            time.sleep(random.uniform(0, PAUSE * 2**attempt))  # sites served at once keep apart
        with tempfile.TemporaryDirectory() as temporary:
            if found := _commit(files, place, message, Path(temporary) / "clone"):
                return found
    raise EdgelineError(
        f"{place.repository} refuses the push to {place.branch}, {ATTEMPTS} times in a row: "
        "may this token write to it?"
    )


def _commit(files: list[Path], place: GitFolder, message: str, clone: Path) -> str | None:
    """The commit that has the files, or None where somebody was quicker or refused the push."""
    from dulwich import porcelain
    from dulwich.errors import GitProtocolError
    from dulwich.file import FileLocked

    branch, silent = place.branch.encode(), io.BytesIO()
    try:
        repository = _asked(
            "clone",
            lambda: porcelain.clone(
                place.repository, clone, depth=1, branch=branch, errstream=silent, **_login(place)
            ),
        )
    except EdgelineError as error:
        if isinstance(error.__cause__, KeyError):  # the branch moved between being read and had
            return None
        raise
    with repository:
        _write(repository, files, clone, place.folder)
        if any(porcelain.status(repository).staged.values()):
            name = os.environ.get("GIT_AUTHOR_NAME", "edgeline")
            author = f"{name} <{os.environ.get('GIT_AUTHOR_EMAIL', 'edgeline@localhost')}>".encode()
            text = message.encode()
            porcelain.commit(repository, message=text, author=author, committer=author)
            try:
                reference = b"refs/heads/" + branch
                refspec = b"HEAD:" + reference
                sent = porcelain.push(
                    repository,
                    place.repository,
                    refspec,
                    outstream=silent,
                    errstream=silent,
                    **_login(place),
                )
            except (porcelain.Error, GitProtocolError, FileLocked, KeyError):
                return None
            if (sent.ref_status or {}).get(reference):
                return None
        head: bytes = repository.head()
        return head.decode()


def _write(repository: Repo, files: Iterable[Path], clone: Path, folder: str) -> None:
    from dulwich import porcelain

    target = clone / folder
    if not target.resolve().is_relative_to(clone.resolve()):
        raise EdgelineError(f"{folder} leads out of the repository by a link: name another folder.")
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        (target / file.name).unlink(missing_ok=True)  # a link there is replaced, not followed
        shutil.copyfile(file, target / file.name)
        porcelain.add(repository, [str(target / file.name)])


def _login(place: GitFolder) -> dict[str, Any]:
    token = os.environ.get("GIT_TOKEN")
    if not token or not place.repository.startswith("https://"):
        return {}
    return {"username": "x-access-token", "password": token}


def _asked(what: str, ask: Callable[[], Answer]) -> Answer:
    import urllib3
    from dulwich import porcelain
    from dulwich.client import HTTPUnauthorized
    from dulwich.errors import GitProtocolError, NotGitRepository

    known = (
        *(GitProtocolError, NotGitRepository, HTTPUnauthorized, porcelain.Error),
        *(urllib3.exceptions.HTTPError, OSError, KeyError, ValueError),
    )
    try:
        return ask()
    except known as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        passing = isinstance(error, (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError))
        raise (PassingError if passing else EdgelineError)(f"git {what} failed: {said}") from error
