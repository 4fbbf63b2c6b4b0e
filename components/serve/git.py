"""Files committed to a folder of a Git repository, from where GitOps deploys them.

git itself does it. A token comes from GIT_TOKEN in the environment and reaches git by its
environment too: it is in no argument, no log and no file.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from edgeline.components.serve.site import GitFolder
from edgeline.errors import EdgelineError

ATTEMPTS = 5
TIME_LIMIT = 120.0  # seconds of one git command


def commit(files: Iterable[Path], place: GitFolder, message: str) -> str:
    """Put files into the folder, commit and push; others' commits in between are kept.

    Returns:
        the commit that has them: an older one where nothing differs.

    Raises:
        EdgelineError: there is no git, no such repository or branch, or the push is refused.
    """
    files = list(files)
    if shutil.which("git") is None:
        raise EdgelineError("git is not installed: install it to commit to a repository.")
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        branch = ["--branch", place.branch, "--single-branch", "--depth", "1"]
        _git(["clone", "--quiet", *branch, "--", place.repository, str(clone)], Path(temporary))
        for attempt in range(ATTEMPTS):
            if _write(files, clone, place.folder):
                _git(["commit", "--quiet", "--message", message], clone)
                pushed = _git(["push", "--quiet", "origin", place.branch], clone, may_fail=True)
                if pushed is None:  # somebody was quicker: on top of what they did, again
                    if attempt == ATTEMPTS - 1:
                        raise EdgelineError(
                            f"{place.repository} refuses the push to {place.branch}: may this "
                            "token write to it?"
                        )
                    _git(["fetch", "--quiet", "origin", place.branch], clone)
                    _git(["reset", "--quiet", "--hard", "FETCH_HEAD"], clone)
                    continue
            return (_git(["rev-parse", "HEAD"], clone) or "").strip()
    raise AssertionError


def _write(files: Iterable[Path], clone: Path, folder: str) -> bool:
    """Write the files and stage them; whether anything differs."""
    target = clone / folder
    if not target.resolve().is_relative_to(clone.resolve()):
        raise EdgelineError(f"{folder} leads out of the repository by a link: name another folder.")
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target / file.name)
        _git(["add", "--", f"{folder}/{file.name}"], clone)
    return bool((_git(["status", "--porcelain"], clone) or "").strip())


def _git(arguments: list[str], folder: Path, may_fail: bool = False) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EdgelineError(f"git {arguments[0]} has not ended in {TIME_LIMIT:g} s.") from None
    if done.returncode == 0:
        return done.stdout
    if may_fail:
        return None
    said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise EdgelineError(f"git {arguments[0]} failed: {said}")


def _environment() -> dict[str, str]:
    """No questions, no hooks and settings of this machine's user, and the token if there is one."""
    settings = {
        "user.name": os.environ.get("GIT_AUTHOR_NAME", "edgeline"),
        "user.email": os.environ.get("GIT_AUTHOR_EMAIL", "edgeline@localhost"),
        "core.hooksPath": os.devnull,
    }
    if token := os.environ.get("GIT_TOKEN"):
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        settings["http.extraHeader"] = f"Authorization: Basic {basic}"
    variables = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull}
    for number, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**os.environ, **variables, "GIT_CONFIG_COUNT": str(len(settings))}
