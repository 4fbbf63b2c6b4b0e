"""The logins to container registries that `docker login` and cloud tools left on this machine.

`config.json` lies in `DOCKER_CONFIG` or `~/.docker`. As in Docker, a helper program for one
registry (`credHelpers`) comes before the one for all (`credsStore`), and that before what stands
in the file itself (`auths`):
https://docs.docker.com/reference/cli/docker/login/#credential-stores. A helper is the program
`docker-credential-NAME`, which `get` asks for a registry on its standard input:
https://github.com/docker/docker-credential-helpers#development.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from edgeline.errors import EdgelineError

DOCKER_HUB = "https://index.docker.io/v1/"  # the name under which Docker keeps docker.io
TOKEN_USER = "<token>"  # a helper's user name where the secret is an identity token
NOT_FOUND = "credentials not found"  # what a helper prints where it has none
TIMEOUT = 60.0  # seconds; a cloud's helper asks its cloud


@dataclass(frozen=True)
class Login:
    """A name with a password, or an identity token, which a registry's token server takes."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an `Authorization` header; empty where there is no name."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}" if self.user else ""


def find(host: str) -> Login | None:
    """The login to a registry, None where there is none.

    Args:
        host: the registry with its port; docker.io is Docker Hub.

    Raises:
        EdgelineError: the file or the helper that has it cannot be read or run.
    """
    config = _config()
    names = (DOCKER_HUB,) if host == "docker.io" else (host,)
    helpers = _object(config, "credHelpers")
    helper = next((helpers[name] for name in (host, *names) if name in helpers), None)
    helper = helper or config.get("credsStore")
    if helper and (found := _ask(str(helper), names[0])):
        return found
    for name, entry in _object(config, "auths").items():
        if name in names or _host(name) == host:
            found = _entry(entry, host)
            if found is not None:
                return found
    return None


def _path() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"


def _config() -> dict[str, object]:
    try:
        config = json.loads(_path().read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", "") or "it is not JSON"
        raise EdgelineError(f"{_path()} cannot be read ({reason}): log in again.") from None
    return config if isinstance(config, dict) else {}


def _object(config: dict[str, object], key: str) -> dict[str, object]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _host(name: str) -> str:
    """The registry of a key of `auths`, as which older clients wrote a URL."""
    return name.partition("://")[2].partition("/")[0] if "://" in name else name.partition("/")[0]


def _entry(entry: object, host: str) -> Login | None:
    if not isinstance(entry, dict):
        return None
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if pair := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(pair, validate=True).decode().partition(":")
        except (binascii.Error, TypeError, ValueError):
            raise EdgelineError(
                f"The login to {host} in {_path()} is damaged: log in again."
            ) from None
    token = str(entry.get("identitytoken") or "")
    # a login that a helper keeps leaves an empty entry behind
    return Login(user, password.rstrip("\0"), token) if user or token else None


def _ask(helper: str, name: str) -> Login | None:
    program = f"docker-credential-{helper}"
    try:
        answer = subprocess.run(
            [program, "get"], input=name, capture_output=True, text=True, timeout=TIMEOUT
        )
    except FileNotFoundError:
        raise EdgelineError(
            f"{_path()} keeps the login to {name} in {program}, which is not on the PATH."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be run"
        raise EdgelineError(f"{program} cannot be run for {name} ({reason}).") from None
    except subprocess.TimeoutExpired:
        raise EdgelineError(f"{program} gave no login to {name} in {TIMEOUT:.0f} s.") from None
    if answer.returncode:
        said = " ".join((answer.stdout.strip() or answer.stderr.strip()).split())[:200]
        if NOT_FOUND in said.lower():
            return None
        raise EdgelineError(f"{program} gives no login to {name}: {said or 'it says nothing'}.")
    try:
        found = json.loads(answer.stdout)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (KeyError, TypeError, ValueError):  # not quoted, since it may hold the secret
        raise EdgelineError(f"{program} gives no login to {name} that can be read.") from None
    if user == TOKEN_USER:
        return Login(identity_token=secret)
    return Login(user, secret) if user or secret else None
