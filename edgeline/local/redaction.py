"""What a run's folder leaves out: secrets, and the parts of URLs that may hold some."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, TextIO

HIDDEN = "(left out)"
SHORTEST = 6  # characters of a secret that is looked for in texts
# a comma is part of a URL, but between two of them
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}://"  # bounded, as names are below: a word may be a file
_URL = re.compile(rf"(?P<scheme>{_SCHEME})(?P<rest>(?:[^\s\"'<>,]|,(?=[^\s\"'<>,])(?!{_SCHEME}))+)")
_QUERY = re.compile(r"\?(?:[\w.%~+-]+=|$)")  # in a store's address, another ? is a pattern's
_PIN = re.compile(r"sha256=|(?:version|snapshot)=\d+\Z")
_QUOTE = r"(?:\\?[\"'])"
_ASSIGNED = re.compile(
    r"(?P<name>[A-Za-z_][\w-]{0,80})(?:"
    rf"{_QUOTE}?[ \t]*=[ \t]*"  # as in a libpq string
    rf"|{_QUOTE}[ \t]*:\s*|:[ \t]*(?={_QUOTE})"  # of JSON
    r"|(?P<colon>:[ \t]+)|(?P<blank>[ \t]+))"  # of YAML, a header, a command line
)
_LINE_BEFORE = re.compile(r"[ \t>-]*")  # of YAML, where a name follows
_VALUE = re.compile(
    r"'(?:[^'\\]|\\.)*'?|\"(?:[^\"\\]|\\.)*\"?|\\\"(?:[^\"\\]|\\[^\"])*(?:\\\")?"
    r"|(?:(?:bearer|basic|token)[ \t]+)?[^\s\"'&;]+",
    re.DOTALL | re.IGNORECASE,
)
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
    if _is_whole(value):
        return HIDDEN if is_secret(name, called_so=True) else value
    if not isinstance(value, str) or not value:
        return value
    return HIDDEN if is_secret(name) else _without_assigned(_URL.sub(_public, value))


def is_secret(name: str, called_so: bool = False) -> bool:
    """Whether what is called so (`hub_token`, `AWS_SECRET_ACCESS_KEY`) is one, by its name.

    Args:
        called_so: whether the name has to end so: of a number, `token_length` is none.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if called_so:
        words = words[-2:]
        return bool(_SECRET & set(words[-1:])) or tuple(words) in _SECRET_PAIRS
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
    if _is_whole(value):
        known, text = is_secret(name, called_so=True), f"{int(value)}"
    else:
        known, text = isinstance(value, str) and is_secret(name), str(value)
    return frozenset([text]) if known and len(text) >= SHORTEST else frozenset()


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number, as a password of digits is; KFP hands these as floats."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return is_int or (isinstance(value, float) and value.is_integer())


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


def _without_assigned(text: str) -> str:
    """A text without the values that are assigned to secrets' names, in quotes or not."""
    kept, done, place = [], 0, 0
    while found := _ASSIGNED.search(text, place):
        place = found.end()
        if is_secret(found["name"]) and _assigns(found) and (value := _VALUE.match(text, place)):
            kept += [text[done:place], HIDDEN]
            done = place = value.end()
    return "".join([*kept, text[done:]])


def _assigns(found: re.Match[str]) -> bool:
    """Whether a name is given what follows: in a sentence, "the token: ask for it" does not."""
    text, start = found.string, found.start()
    if found["blank"]:
        return text.endswith("--", 0, start)
    if not found["colon"] or found["name"].lower() == "authorization":
        return True
    line = text.rfind("\n", max(0, start - 100), start) + 1
    return bool(_LINE_BEFORE.fullmatch(text, line, start))


def _public(match: re.Match[str]) -> str:
    scheme, (rest, mark, fragment) = match["scheme"], match["rest"].partition("#")
    web = scheme.lower() in ("http://", "https://")
    place = rest.partition("?")[0] if web else _QUERY.split(rest)[0]
    host, slash, path = place.partition("/")
    kept = f"{scheme}{host.rpartition('@')[2]}{slash}{path}"
    # of a fragment, a pin alone is not a secret
    return kept + (f"{mark}{fragment}" if _PIN.match(fragment) else "")
