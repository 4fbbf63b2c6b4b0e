r"""The syntax of patterns: what of RE2's is read, as a tree on bytes.

Covered is the part of RE2's syntax (https://github.com/google/re2/wiki/Syntax) whose meaning is the
same as Perl's, leftmost and first alternative first: characters, classes, `.`, groups,
alternatives, repetitions of what is not empty, `^`, `$`, `\b`. TensorFlow runs RE2 with its default
options: UTF-8, `.` is no newline, `^` and `$` are the text's ends. RE2 matches bytes, `.` the
encodings of a character; so text that is not UTF-8 means the same here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_REPEATED = 1000  # RE2's own limit
DIGITS = frozenset(b"0123456789")
LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
WORD = DIGITS | LETTERS | {ord("_")}
BLANK = frozenset(b"\t\n\f\r ")
ASCII = frozenset(range(128))
CLASSES = {"d": DIGITS, "s": BLANK, "w": WORD}
ESCAPES = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7}
TAIL = frozenset(range(0x80, 0xC0))
# RE2 (Compiler::Add_80_10ffff) takes overlong encodings and such beyond U+10FFFF, too
BEYOND_ASCII = (
    (frozenset(range(0xC2, 0xE0)), TAIL),
    (frozenset(range(0xE0, 0xF0)), TAIL, TAIL),
    (frozenset(range(0xF0, 0xF5)), TAIL, TAIL, TAIL),
)


class PatternError(ValueError):
    """A pattern, or what replaces it, whose meaning here is not proven to be RE2's."""


@dataclass(frozen=True)
class Node:
    """A part of a pattern.

    `kind` is `set` (one byte of `values`), `sequence`, `either`, `repeat` (the one part, `least` to
    `most` times, None for any), `group` (with its `number`), `begin`, `end` or `word`.
    """

    kind: str
    parts: tuple[Node, ...] = ()
    values: frozenset[int] = frozenset()
    least: int = 0
    most: int | None = None
    greedy: bool = True
    number: int = 0

    @property
    def empty(self) -> bool:
        """Whether it may match the empty text."""
        if self.kind == "set":
            return False
        if self.kind == "sequence":
            return all(part.empty for part in self.parts)
        if self.kind == "either":
            return any(part.empty for part in self.parts)
        if self.kind == "repeat":
            return not self.least
        return self.kind != "group" or self.parts[0].empty


def parse(pattern: str) -> tuple[Node, int]:
    """A pattern as a tree, and how many groups it has.

    Raises:
        PatternError: it has what is not covered.
    """
    parser = _Parser(pattern)
    return parser.parse(), parser.groups


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text, self.place, self.groups = pattern, 0, 0

    def parse(self) -> Node:
        node = self.either()
        if self.place < len(self.text):
            raise PatternError("it has a ')' too many")
        return node

    def either(self) -> Node:
        parts = [self.sequence()]
        while self.taken("|"):
            parts.append(self.sequence())
        return parts[0] if len(parts) == 1 else Node("either", tuple(parts))

    def sequence(self) -> Node:
        parts: list[Node] = []
        while self.place < len(self.text) and self.text[self.place] not in "|)":
            parts.append(self.repeated(self.atom()))
        return Node("sequence", tuple(parts))

    def repeated(self, node: Node) -> Node:
        sign = self.text[self.place : self.place + 1]
        if not sign or sign not in "*+?{":
            return node
        if sign == "{":
            found = re.compile(r"\{([0-9]{1,4})(,([0-9]{0,4}))?\}").match(self.text, self.place)
            if not found:
                raise PatternError("a '{' is neither a repetition nor escaped")
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else None
            self.place = found.end()
        else:
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
            self.place += 1
        greedy = not self.taken("?")
        if max(least, most or 0) > MOST_REPEATED or (most is not None and not least <= most):
            raise PatternError(f"it repeats {least} to {most} times")
        if node.empty:
            raise PatternError("what may be empty is repeated")
        if self.text[self.place : self.place + 1] in ("*", "+", "?", "{"):
            raise PatternError("a repetition is repeated")
        return Node("repeat", (node,), least=least, most=most, greedy=greedy)

    def atom(self) -> Node:
        sign = self.next()
        if sign == "(":
            return self.group()
        if sign == "[":
            return self.bracket()
        if sign == ".":
            return characters(ASCII - {10}, True)
        if sign in "^$":
            return Node("begin" if sign == "^" else "end")
        if sign in "*+?":
            raise PatternError(f"nothing stands before {sign!r}")
        if sign == "{":
            raise PatternError("a '{' is neither a repetition nor escaped")
        if sign == "\\":
            return self.escaped()
        return _literal(sign)

    def group(self) -> Node:
        number = 0
        if self.taken("?"):
            if not self.taken(":"):
                raise PatternError("a group begins with '(?' and is not '(?:'")
        else:
            self.groups += 1
            number = self.groups
        inner = self.either()
        if not self.taken(")"):
            raise PatternError("a ')' is missing")
        return Node("group", (inner,), number=number)

    def escaped(self) -> Node:
        sign = self.next()
        if sign.lower() in CLASSES:
            return _class(sign)
        if sign in "Azb":
            return Node({"A": "begin", "z": "end", "b": "word"}[sign])
        return _literal(chr(_escaped(sign)))

    def bracket(self) -> Node:
        negated = self.taken("^")
        ascii_, others, beyond = set[int](), list[str](), False
        first = True
        while first or self.text[self.place : self.place + 1] != "]":
            first = False
            begin = self.member()
            if isinstance(begin, Node):
                members = [n for n in _sets(begin) if n <= ASCII]
                ascii_ |= frozenset().union(*members)
                beyond = beyond or begin.kind == "either"
                continue
            end = begin
            if self.text[self.place : self.place + 1] == "-" and (
                self.text[self.place + 1 : self.place + 2] not in ("]", "")
            ):
                self.place += 1
                last = self.member()
                if isinstance(last, Node) or last < begin:
                    raise PatternError("a class has a range that is none")
                end = last
            if end > 127 and end != begin:
                raise PatternError("a class has a range beyond ASCII")
            if end > 127:
                others.append(chr(end))
            else:
                ascii_ |= set(range(ord(begin) if isinstance(begin, str) else begin, end + 1))
        self.place += 1
        if negated:
            if others or beyond:
                raise PatternError("a class that is negated names what is not ASCII")
            return characters(ASCII - ascii_, True)
        node = characters(frozenset(ascii_), beyond)
        return Node("either", (node, *map(_literal, others))) if others else node

    def member(self) -> int | Node:
        sign = self.next()
        if sign == "[" and self.text[self.place : self.place + 1] == ":":
            raise PatternError("a class has a name ('[:alpha:]')")
        if sign != "\\":
            return ord(sign)
        sign = self.next()
        return _class(sign) if sign.lower() in CLASSES else _escaped(sign)

    def next(self) -> str:
        if self.place >= len(self.text):
            raise PatternError("it ends too early")
        self.place += 1
        return self.text[self.place - 1]

    def taken(self, sign: str) -> bool:
        found = self.text[self.place : self.place + 1] == sign
        self.place += found
        return found


def _escaped(sign: str) -> int:
    if sign in ESCAPES:
        return ESCAPES[sign]
    if sign.isalnum() or sign == "_" or ord(sign) > 127:
        raise PatternError(f"it has '\\{sign}'")
    return ord(sign)


def _class(sign: str) -> Node:
    members = CLASSES[sign.lower()]
    return characters(members, False) if sign.islower() else characters(ASCII - members, True)


def characters(members: frozenset[int], beyond: bool) -> Node:
    """One of some ASCII characters, or also any other character."""
    first = Node("set", values=frozenset(members))
    if not beyond:
        return first
    longer = (Node("sequence", tuple(Node("set", values=s) for s in e)) for e in BEYOND_ASCII)
    return Node("either", (first, *longer))


def _literal(character: str) -> Node:
    return Node("sequence", tuple(Node("set", values=frozenset({b})) for b in character.encode()))


def _sets(node: Node) -> list[frozenset[int]]:
    own = [node.values] if node.kind == "set" else []
    return own + [found for part in node.parts for found in _sets(part)]
