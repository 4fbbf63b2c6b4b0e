"""TensorFlow's operators that match regular expressions, as RE2 matches them.

What of RE2's syntax is covered stands in `patterns`. Short text is matched by Python's `re`, which
tries one way after the other. Where that might take long (the text is long, or a group is repeated)
all ways are followed at once (`machine`); then a text of more than `MOST_BYTES` is refused, since a
request must come to an end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edgeline.runtimes.host.machine import Machine
from edgeline.runtimes.host.patterns import ASCII, TAIL, Node, PatternError, characters, parse

MOST_STEPS = 10**6  # of `re`, at worst
MOST_BYTES = 100_000  # of a text that is followed in all ways

# --- what TensorFlow's operators do ---------------------------------------------------------------


class Pattern:
    """A pattern, ready to match.

    Args:
        pattern: in RE2's syntax.
        groups: whose matches are asked for, by number.

    Raises:
        PatternError: it has what is not covered.
    """

    def __init__(self, pattern: str, groups: Sequence[int] = ()) -> None:
        node, count = parse(pattern)
        if missing := [number for number in groups if number > count]:
            raise PatternError(f"it has no group {missing[0]}")
        self.groups = sorted({*groups} - {0})
        self._quick = re.compile(_source(node, self.groups))
        degree = _degree(node)
        # a search begins at each place, unless only the first will do
        anchored = node.parts[:1] and node.parts[0].kind == "begin"
        self._fullmatch_longest = _longest(degree)
        self._search_longest = _longest(None if degree is None else degree + (not anchored))
        self._machine = Machine(self.groups)
        self._machine.build(node)
        self._machine.add("match")

    def fullmatch(self, text: bytes) -> bool:
        """Whether it matches all of a text."""
        if len(text) <= self._fullmatch_longest:
            return self._quick.fullmatch(text) is not None
        _check_size(text)
        return self._machine.run(text, 0, True) is not None

    def search(self, text: bytes, start: int) -> dict[int, tuple[int, int]] | None:
        """The leftmost match from a place on: begin and end of it (0) and of its groups."""
        if len(text) <= self._search_longest:
            if not (found := self._quick.search(text, start)):
                return None
            return {0: found.span(), **{n: found.span(f"g{n}") for n in self.groups}}
        _check_size(text)
        if (slots := self._machine.run(text, start, False)) is None:
            return None
        pairs = list(zip(slots[::2], slots[1::2], strict=True))
        return dict(zip((0, *self.groups), pairs, strict=True))


def _check_size(text: bytes) -> None:
    if len(text) > MOST_BYTES:
        raise ValueError(f"it has {len(text):,} bytes, and at most {MOST_BYTES:,} are matched")


def _longest(degree: int | None) -> int:
    """The longest text for which `re` is quick enough."""
    if degree is None:
        return -1
    return int(MOST_STEPS ** (1 / max(degree, 1)))


def full_match(pattern: str) -> Callable[[bytes], bool]:
    """TensorFlow's RegexFullMatch with a pattern.

    Raises:
        PatternError: the pattern has what is not covered.
    """
    return Pattern(pattern).fullmatch


def replace(pattern: str, rewrite: str, everywhere: bool) -> Callable[[bytes], bytes]:
    r"""TensorFlow's RegexReplace with a pattern, as RE2::GlobalReplace and RE2::Replace do it.

    Args:
        rewrite: what stands for a match, with `\0` to `\9` for its groups and `\\` for one `\`.
        everywhere: whether every match is replaced, or the first alone.

    Raises:
        PatternError: the pattern has what is not covered, or there is no such group.
    """
    parts = re.split(r"\\(.)", rewrite, flags=re.DOTALL)  # text, sign, text, ...
    signs = parts[1::2]
    if any(part.endswith("\\") for part in parts[::2]) or set("".join(signs)) - set("0123456789\\"):
        raise PatternError("what replaces it has a '\\' before what is not a digit")
    found = Pattern(pattern, [int(sign) for sign in signs if sign != "\\"])
    pieces: list[bytes | int] = [parts[0].encode()]
    for sign, text in zip(signs, parts[2::2], strict=True):
        pieces += [b"\\" if sign == "\\" else int(sign), text.encode()]

    def rewritten(text: bytes, spans: dict[int, tuple[int, int]]) -> bytes:
        return b"".join(
            piece if isinstance(piece, bytes) else text[slice(*_inside(spans[piece]))]
            for piece in pieces
        )

    def one(text: bytes) -> bytes:
        spans = found.search(text, 0)
        if spans is None:
            return text
        begin, end = spans[0]
        return text[:begin] + rewritten(text, spans) + text[end:]

    def all_(text: bytes) -> bytes:
        out: list[bytes] = []
        place, last = 0, -1
        while place <= len(text):
            spans = found.search(text, place)
            if spans is None:
                break
            begin, end = spans[0]
            out.append(text[place:begin])
            if begin == end == last:  # no empty match at the end of the last one
                step = _character(text, place)
                out.append(text[place : place + step])
                place += step
                continue
            out.append(rewritten(text, spans))
            place = last = end
        out.append(text[place:])
        return b"".join(out)

    return all_ if everywhere else one


def _inside(span: tuple[int, int]) -> tuple[int, int]:
    return span if span[0] >= 0 else (0, 0)  # a group that took no part


def _character(text: bytes, place: int) -> int:
    """Bytes of the character at a place, as RE2 reads runes; 1 where there is none."""
    for size, first, least in ((2, 0xC0, 0x80), (3, 0xE0, 0x800), (4, 0xF0, 0x10000)):
        encoded = text[place : place + size]
        lead = (encoded or b"\0")[0] - first
        if len(encoded) == size and 0 <= lead < 64 >> (size - 1) and TAIL.issuperset(encoded[1:]):
            value = lead
            for byte in encoded[1:]:
                value = value << 6 | (byte - 0x80)
            if least <= value <= 0x10FFFF:
                return size
    return 1


# --- Python's re ----------------------------------------------------------------------------------


def _source(node: Node, kept: Sequence[int]) -> bytes:
    """The pattern for `re`; only groups whose number is in `kept` are captured, by name."""
    if node.kind == "set":
        return b"[" + b"".join(b"\\x%02x" % value for value in sorted(node.values)) + b"]"
    if node.kind == "sequence":
        return b"".join(_source(part, kept) for part in node.parts)
    if node.kind == "either":
        return b"(?:" + b"|".join(_source(part, kept) for part in node.parts) + b")"
    if node.kind == "group":
        name = b"(?P<g%d>" % node.number if node.number in kept else b"(?:"
        return name + _source(node.parts[0], kept) + b")"
    if node.kind == "repeat":
        most = b"" if node.most is None else b"%d" % node.most
        times = b"{%d,%b}" % (node.least, most)
        lazy = b"" if node.greedy else b"?"
        return b"(?:" + _source(node.parts[0], kept) + b")" + times + lazy
    return {"begin": rb"\A", "end": rb"\Z", "word": rb"\b"}[node.kind]


def _degree(node: Node) -> int | None:
    """`re` takes at worst the text's length to that power; None where it may take for ever."""
    inner = [_degree(part) for part in node.parts]
    if None in inner:
        return None
    degrees = [degree for degree in inner if degree is not None]
    if node.kind == "repeat" and node.most != 1:
        if not _is_character(node.parts[0]):
            return None
        return int(node.least != node.most)  # there is one way to match so many times
    return max(degrees, default=0) if node.kind == "either" else sum(degrees)


def _is_character(node: Node) -> bool:
    """Whether it is one character, of one byte or as it is encoded: then it has no two ways."""
    if node.kind == "set":
        return True
    if node.kind == "sequence":
        return all(part.kind == "set" for part in node.parts)
    return node.kind == "either" and node.parts[1:] == characters(ASCII, True).parts[1:]
