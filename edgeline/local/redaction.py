"""What a run's folder leaves out: secrets, and the parts of URLs that may hold some."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, TextIO

HIDDEN = "(left out)"
SHORTEST = 6  # characters of a secret that is looked for in texts
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^\s\"'<>,]+)")
_QUERY = re.compile(r"\?(?:[\w.%~+-]+=|$)")  # in a store's address, another ? is a pattern's
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_]+)=(?P<value>[^\s\"'&;,]+)")  # as in a libpq string
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_SECRET = frozenset(
    {
        *("password", "passwd", "passphrase", "secret", "secrets", "token", "credential"),
        *("credentials", "apikey", "authorization"),
    }
)
_SECRET_PAIRS = (("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"))


def redacted(value: Any, name: str = "") -> Any:
    """A value as a record has it: JSON with the same shape, without secrets.

    Texts under a name that says so (`password`, `hub_token`) are left out whole; of every URL in a
    text, user, password and query are.

    Args:
        name: what the value is called; "" where it has no name.
    """
    if isinstance(value, Mapping):
        return {key: redacted(each, str(key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(each, name) for each in value]
    if not isinstance(value, str) or not value:
        return value
    return HIDDEN if is_secret(name) else _ASSIGNED.sub(_named, _URL.sub(_public, value))


def is_secret(name: str) -> bool:
    """Whether what is called so (`hub_token`, `AWS_SECRET_ACCESS_KEY`) is one, by its name."""
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(_SECRET & set(words)) or any(map(_SECRET_PAIRS.__contains__, pairwise(words)))


def secrets_in(value: Any, name: str = "") -> frozenset[str]:
    """The texts that stand under a secret's name, long enough not to stand in other words, too.

    Args:
        value: parameters or variables, as JSON.
    """
    if isinstance(value, Mapping):
        return frozenset().union(*(secrets_in(each, str(key)) for key, each in value.items()))
    if isinstance(value, (list, tuple)):
        return frozenset().union(*(secrets_in(each, name) for each in value))
    known = isinstance(value, str) and len(value) >= SHORTEST and is_secret(name)
    return frozenset([value]) if known else frozenset()


class RedactedLines(io.TextIOBase):
    """A stream that writes what it is given to another one, a line at a time, without secrets."""

    def __init__(self, stream: TextIO, secrets: Iterable[str]) -> None:
        self._stream, self._begun = stream, ""
        self._secrets = sorted(secrets, key=len, reverse=True)  # one may hold another

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._stream.write(self._shown(line) + "\n")
        return len(text)

    def close(self) -> None:
        if not self.closed:
            self._stream.write(self._shown(self._begun))
            self._begun = ""
        super().close()

    def _shown(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, HIDDEN)
        return str(redacted(line))


def _named(match: re.Match[str]) -> str:
    return f"{match['name']}={HIDDEN}" if is_secret(match["name"]) else match[0]


def _public(match: re.Match[str]) -> str:
    scheme, (rest, mark, fragment) = match["scheme"], match["rest"].partition("#")
    web = scheme.lower() in ("http://", "https://")
    place = rest.partition("?")[0] if web else _QUERY.split(rest)[0]
    host, slash, path = place.partition("/")
    kept = f"{scheme}{host.rpartition('@')[2]}{slash}{path}"
    # of a fragment, a pin alone is not a secret
    return kept + (f"{mark}{fragment}" if fragment.startswith("sha256=") else "")
