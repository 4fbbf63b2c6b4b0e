"""The private folder of a user in which the sockets of warm processes lie."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

LONGEST = 100  # bytes of a socket's path; the kernel takes 107
LOCK = "lock"
SOCKET, LOG = ".socket", ".log"  # of a set, after its name
TRIES, PAUSE = 100, 0.02  # seconds between two


def folder() -> Path | None:
    """The folder, made where it is missing; None where the user cannot have one.

    It lies in the user's runtime folder, which ends with the session, or else in /tmp. It is
    the user's own and nobody else may enter it; one that is not so is left alone.
    """
    user = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    for place in dict.fromkeys(filter(None, (given, f"/run/user/{user}"))):
        if Path(place).is_absolute() and _is_private(place):
            found = Path(place, "edgeline-warm")
            if _made(found):
                return found
    found = Path("/tmp", f"edgeline-warm-{user}")
    return found if _made(found) else None


def _made(place: Path) -> bool:
    if len(os.fsencode(place)) > LONGEST - len("/0123456789abcdef.socket.12345678"):
        return False
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700)
    return _is_private(str(place)) and os.access(place, os.W_OK | os.X_OK)


def _is_private(place: str) -> bool:
    """Whether it is a folder (no link) of this user that nobody else may enter."""
    try:
        found = os.lstat(place)
    except OSError:
        return False
    own = found.st_uid == os.geteuid()
    return stat.S_ISDIR(found.st_mode) and own and not stat.S_IMODE(found.st_mode) & 0o077


@contextlib.contextmanager
def locked(place: Path) -> Iterator[bool]:
    """Hold the folder: nobody else starts or removes warm processes meanwhile.

    Gives whether it is held: who has it for more than two seconds was stopped in the middle.
    """
    import fcntl

    try:
        file = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield False
        return
    try:
        for _ in range(TRIES):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(PAUSE)
                continue
            except OSError:
                break
            yield True
            return
        yield False
    finally:
        os.close(file)
