"""A bearer token in a file. What the file holds is shown to nobody, in no message."""

from __future__ import annotations

import re
from pathlib import Path

from edgeline.errors import EdgelineError

VISIBLE = re.compile(r"[\x21-\x7e]+")  # what a header's value may be without being cut or quoted
LONGEST = 1 << 16  # bytes; a server takes no header that is longer


def read(path: str | Path) -> str:
    """The token in a file, without the white space and the mark of byte order around it.

    Raises:
        EdgelineError: the file is not there, cannot be read, or holds anything but one token.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise EdgelineError(f"The token's file {path} cannot be read: {error.strerror}.") from None
    except ValueError:  # a path with a null byte
        raise EdgelineError(f"The token's file {str(path)!r} has no name of a file.") from None
    if fault := _fault(content):
        raise EdgelineError(f"The token's file {path} {fault}: write one token into it, alone.")
    return _text(content)


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig").strip()


def _fault(content: bytes) -> str:
    """What is wrong, without a byte of what is there."""
    if len(content) > LONGEST:
        return f"is longer than {LONGEST:,} bytes"
    try:
        text = _text(content)
    except UnicodeDecodeError:
        return "is not text"
    if not text:
        return "is empty"
    if len(text.splitlines()) > 1:
        return "has several lines"
    if any(character.isspace() for character in text):
        return "has white space between words (the word Bearer is not part of a token)"
    return "" if VISIBLE.fullmatch(text) else "has characters that no token has"
