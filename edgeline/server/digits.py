"""Numbers in the text that clients send: paths, queries and headers."""

from __future__ import annotations

LONGEST = 18  # digits that always fit 64 bits


def whole(text: str | bytes, longest: int = LONGEST) -> int | None:
    """The number that ASCII digits spell; None for everything else, and beyond `longest` digits.

    `int` alone takes signs, blanks, underscores and the digits of other scripts, and raises beyond
    4,300 digits; `str.isdigit` lets the superscript two pass, at which `int` raises.
    """
    if len(text) > longest or not text.isascii() or not text.isdigit():
        return None
    return int(text)
