"""Files committed to a folder of a Git repository, from where GitOps deploys them.

By dulwich, so no image needs a git of its own. A token comes from GIT_TOKEN in the environment;
it is in no address, no log and no file.
"""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeline.errors import EdgelineError
from edgeline.sites.address import GitFolder
from edgeline.stores.again import PassingError, again

if TYPE_CHECKING:
    from dulwich.config import StackedConfig
    from dulwich.repo import Repo

TOKEN = "GIT_TOKEN"
ATTEMPTS = 8
PAUSE = 0.1  # seconds at most before the second attempt; twice as long before each further one
TIMEOUT = 60.0  # seconds without a byte
# what servers say of a branch that may not be pushed to, whoever was quicker
_FORBIDDEN = re.compile(r"declin|protect|prohibit|denied|not allowed|permission", re.IGNORECASE)
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
    return again(lambda: in_turn(place, place.branch, lambda: _commit(files, place, message)))


def in_turn(place: GitFolder, branch: str, attempt: Callable[[], Answer | None]) -> Answer:
    """What an attempt gives that pushes to a branch: made again while somebody else was quicker.

    Args:
        attempt: gives None where the branch has moved meanwhile.
    """
    for number in range(ATTEMPTS):  # on top of what they did, again
        if number:
            time.sleep(random.uniform(0, PAUSE * 2**number))  # sites served at once keep apart
        if (found := attempt()) is not None:
            return found
    raise EdgelineError(
        f"{place.repository} refuses the push to {branch}, {ATTEMPTS} times in a row: "
        "may this token write to it?"
    )


def _commit(files: list[Path], place: GitFolder, message: str) -> str | None:
    """The commit that has the files, or None where somebody was quicker."""
    with cloned(place, place.branch) as repository:
        if repository is None:
            return None
        before: bytes = repository.head()
        changed = put(repository, files, place.folder, message)
        if changed and not send(repository, place, place.branch, before):
            return None
        return str(repository.head().decode())


@contextmanager
def cloned(place: GitFolder, branch: str) -> Iterator[Repo | None]:
    """A branch's last commit, checked out; None where it moved while it was read."""
    from dulwich import porcelain

    options: dict[str, Any] = {"depth": 1, "branch": branch.encode(), "errstream": io.BytesIO()}
    options |= {"config": _config(), **_login(place)}
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary) / "clone"
        try:
            repository = asked(
                "clone", place, lambda: porcelain.clone(place.repository, target, **options)
            )
        except EdgelineError as error:
            if not isinstance(error.__cause__, KeyError):
                raise
            yield None
        else:
            with repository:
                yield repository


def heads(place: GitFolder) -> dict[str, bytes]:
    """The repository's branches, with the last commit of each."""
    from dulwich import porcelain

    found = asked(
        "ls-remote",
        place,
        lambda: porcelain.ls_remote(place.repository, config=_config(), **_login(place)),
    )
    start = b"refs/heads/"
    return {
        name[len(start) :].decode(errors="replace"): commit
        for name, commit in found.refs.items()
        if name.startswith(start) and commit
    }


def put(repository: Repo, files: Iterable[Path], folder: str, message: str) -> bool:
    """Put files into a folder and commit them; whether anything differed."""
    from dulwich import porcelain

    _write(repository, files, folder)
    if not any(porcelain.status(repository).staged.values()):
        return False
    text = message.encode()
    porcelain.commit(repository, message=text, author=author(), committer=author())
    return True


def author() -> bytes:
    """In whose name commits are made."""
    name = os.environ.get("GIT_AUTHOR_NAME", "edgeline")
    return f"{name} <{os.environ.get('GIT_AUTHOR_EMAIL', 'edgeline@localhost')}>".encode()


def send(repository: Repo, place: GitFolder, branch: str, replaced: bytes | None) -> bool:
    """Push the last commit to a branch in place of the one that was seen there.

    Args:
        replaced: that one; None: there was no such branch.

    Returns:
        False where another one is there by now: nothing is replaced that was not seen.

    Raises:
        EdgelineError: the server refuses the push, or cannot be reached.
    """
    from dulwich.client import get_transport_and_path
    from dulwich.errors import SendPackError
    from dulwich.file import FileLocked

    reference, said, moved = b"refs/heads/" + branch.encode(), io.BytesIO(), []

    def update(found: dict[Any, Any]) -> dict[Any, Any]:
        moved.append(found.get(reference) != replaced)
        return {} if moved[0] else {reference: repository.head()}

    def pack(have: AbstractSet[Any], want: AbstractSet[Any], **options: Any) -> Any:
        return repository.generate_pack_data(set(have), set(want), **options)

    def tell(data: bytes) -> None:
        said.write(data)

    ssh = os.environ.get("GIT_SSH_COMMAND") or os.environ.get("GIT_SSH")
    client, path = get_transport_and_path(
        place.repository, config=_config(), ssh_command=ssh, **_login(place)
    )
    try:
        sent = asked(
            "push",
            place,
            lambda: client.send_pack(path.encode(), update, pack, progress=tell),
        )
    except EdgelineError as error:
        if isinstance(error.__cause__, (SendPackError, FileLocked, KeyError)):
            return False
        raise
    refused = str((sent.ref_status or {}).get(reference) or "")
    if _FORBIDDEN.search(refused):
        raise _forbidden(place, branch, refused, said.getvalue())
    return not (refused or moved[0])


def _forbidden(place: GitFolder, branch: str, refused: str, said: bytes) -> EdgelineError:
    lines = [" ".join(line.split()) for line in said.decode(errors="replace").splitlines()]
    reason = "; ".join([refused, *(line for line in lines if _FORBIDDEN.search(line))][:3])
    way = (
        "let it push to branches edgeline/* there."
        if place.pull_request
        else "give a token that may push there, or end the site's address with "
        "&pull_request=github (gitlab, gitea) where the branch takes changes by review alone."
    )
    return EdgelineError(f"{place.repository} refuses the push to {branch} ({reason}): {way}")


def _write(repository: Repo, files: Iterable[Path], folder: str) -> None:
    from dulwich import porcelain

    clone = Path(repository.path)
    target = clone / folder
    if not target.resolve().is_relative_to(clone.resolve()):
        raise EdgelineError(f"{folder} leads out of the repository by a link: name another folder.")
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        (target / file.name).unlink(missing_ok=True)  # a link there is replaced, not followed
        shutil.copyfile(file, target / file.name)
        porcelain.add(repository, [str(target / file.name)])


def token() -> str:
    """The token of the environment; empty where there is none.

    Raises:
        EdgelineError: it has characters that no token has.
    """
    found = os.environ.get(TOKEN, "").strip()
    if not all("!" <= character <= "~" for character in found):
        raise EdgelineError(f"{TOKEN} has characters that no token has: give it again.")
    return found


def _login(place: GitFolder) -> dict[str, Any]:
    if not place.repository.startswith("https://") or not (found := token()):
        return {}
    return {"username": "x-access-token", "password": found}


def _config() -> StackedConfig:
    """What Git is told here (proxies, authorities), and for how long a server may be silent."""
    from dulwich.config import ConfigFile, StackedConfig, env_config

    config = StackedConfig.default()
    if (given := env_config(os.environ)) is not None:
        config.backends.insert(0, given)
    patience = ConfigFile()
    patience.set((b"http",), b"timeout", str(TIMEOUT).encode())
    config.backends.append(patience)
    return config


def asked(what: str, place: GitFolder, ask: Callable[[], Answer]) -> Answer:
    """What a Git server answers.

    Raises:
        PassingError: it cannot be reached.
        EdgelineError: it refuses.
    """
    import urllib3
    from dulwich import porcelain
    from dulwich.client import HTTPUnauthorized
    from dulwich.errors import GitProtocolError, NotGitRepository, SendPackError
    from dulwich.file import FileLocked

    known = (
        *(GitProtocolError, NotGitRepository, HTTPUnauthorized, porcelain.Error, SendPackError),
        *(FileLocked, urllib3.exceptions.HTTPError, OSError, KeyError, ValueError),
    )
    try:
        return ask()
    except known as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, HTTPUnauthorized) or "http resp 403" in said:
            said = (
                f"{place.repository} does not take the token in {TOKEN}: is it of this server, "
                "may it write there, and has it not expired?"
                if _login(place)
                else f"{place.repository} asks for a login: give a token as {TOKEN}"
            )
        passing = isinstance(error, (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError))
        raise (PassingError if passing else EdgelineError)(f"git {what} failed: {said}") from error
