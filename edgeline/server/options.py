"""The options of `edgeline serve`, one for each setting: for its parser, the reference, shells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields

from edgeline.server.settings import ServerSettings

KINDS: dict[str, tuple[type, str]] = {
    "int": (int, "N"),
    "float": (float, "X"),
    "str": (str, "TEXT"),
}


@dataclass(frozen=True)
class ServeOption:
    """An option.

    Attributes:
        flag: such as `--max-body`.
        kind: what its text is made.
        metavar: how help calls its value.
        about: what it is, with its default.
    """

    flag: str
    kind: type
    metavar: str
    about: str


def options() -> Iterator[ServeOption]:
    """All of them, in the order of `ServerSettings`."""
    about = descriptions()
    for setting in fields(ServerSettings):
        assert setting.default is not MISSING
        kind, metavar = KINDS[str(setting.type).removesuffix(" | None")]
        shown = "" if setting.default in (None, "") else f" (default: {setting.default})"
        flag = "--" + setting.name.replace("_", "-")
        yield ServeOption(flag, kind, metavar, about.get(setting.name, "") + shown)


def descriptions() -> dict[str, str]:
    """What each setting is, as the docstring of `ServerSettings` says; empty under `python -OO`."""
    text = (ServerSettings.__doc__ or "").partition("Attributes:")[2].partition("Raises:")[0]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for name, text in entries}
