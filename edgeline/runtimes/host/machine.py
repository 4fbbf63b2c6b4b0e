"""All ways in which a pattern may match, followed at once: time grows with the text alone.

After R. Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009. The preferred way
comes first, as in RE2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeline.runtimes.host.patterns import WORD, Node, PatternError

MOST_INSTRUCTIONS = 5000


# --- all ways at once -----------------------------------------------------------------------------


@dataclass
class Machine:
    """Instructions: ("set", values), ("save", slot), ("split", first, second), ("jump", to),
    ("begin",), ("end",), ("word",), ("match",)."""

    kept: Sequence[int]
    code: list[tuple] = field(default_factory=list)  # type: ignore[type-arg]

    def add(self, *instruction: object) -> int:
        if len(self.code) > MOST_INSTRUCTIONS:
            raise PatternError("it is too long")
        self.code.append(instruction)
        return len(self.code) - 1

    def build(self, node: Node) -> None:
        if node.kind == "set":
            self.add("set", node.values)
        elif node.kind == "sequence":
            for part in node.parts:
                self.build(part)
        elif node.kind == "either":
            ends = []
            for part in node.parts[:-1]:
                split = self.add("split")
                self.build(part)
                ends.append(self.add("jump"))
                self.code[split] = ("split", split + 1, len(self.code))
            self.build(node.parts[-1])
            for end in ends:
                self.code[end] = ("jump", len(self.code))
        elif node.kind == "group":
            slot = 2 * (self.kept.index(node.number) + 1) if node.number in self.kept else 0
            if slot:
                self.add("save", slot)
            self.build(node.parts[0])
            if slot:
                self.add("save", slot + 1)
        elif node.kind == "repeat":
            self.repeat(node)
        else:
            self.add(node.kind)

    def repeat(self, node: Node) -> None:
        for _ in range(node.least):
            self.build(node.parts[0])
        if node.most is None:
            split = self.add("split")
            self.build(node.parts[0])
            self.add("jump", split)
            self.code[split] = self.split(node, split + 1, len(self.code))
            return
        splits = []
        for _ in range(node.most - node.least):
            splits.append(self.add("split"))
            self.build(node.parts[0])
        for split in splits:
            self.code[split] = self.split(node, split + 1, len(self.code))

    @staticmethod
    def split(node: Node, into: int, past: int) -> tuple[str, int, int]:
        return ("split", into, past) if node.greedy else ("split", past, into)

    def run(self, text: bytes, start: int, whole: bool) -> list[int] | None:
        """Begin and end of the match and of each kept group, -1 for none; None without a match.

        Args:
            whole: whether it must be the text from `start` to its end.
        """
        nothing = [-1] * (2 * len(self.kept) + 1)
        now, later = _Ways(), _Ways()
        best: list[int] | None = None
        for place in range(start, len(text) + 1):
            if best is None and (place == start or not whole):  # a later begin is the worse one
                self.follow(0, text, place, [place, *nothing], now)
            byte = text[place] if place < len(text) else -1
            for at, slots in now.reading.items():
                kind, *values = self.code[at]
                if kind == "set":
                    if byte in values[0]:
                        self.follow(at + 1, text, place + 1, slots, later)
                elif not whole or place == len(text):
                    best = [slots[0], place, *slots[2:]]
                    break  # what comes after it is worse
            now, later = later, _Ways()
            if not now.reading and (best is not None or whole):
                break
        return best

    def follow(self, at: int, text: bytes, place: int, slots: list[int], into: _Ways) -> None:
        """Go to the instructions that read a byte or match, the preferred ones first."""
        waiting = [(at, slots)]
        while waiting:
            at, slots = waiting.pop()
            if at in into.seen:
                continue
            into.seen.add(at)
            kind, *values = self.code[at]
            if kind in ("set", "match"):
                into.reading[at] = slots
            elif kind == "jump":
                waiting.append((values[0], slots))
            elif kind == "split":
                waiting += [(values[1], slots), (values[0], slots)]
            elif kind == "save":
                slots = [*slots]
                slots[values[0]] = place
                waiting.append((at + 1, slots))
            elif _holds(kind, text, place):
                waiting.append((at + 1, slots))


@dataclass
class _Ways:
    """Where a match may be at a place of the text, the preferred way first, with its slots."""

    reading: dict[int, list[int]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)


def _holds(kind: str, text: bytes, place: int) -> bool:
    if kind == "begin":
        return place == 0
    if kind == "end":
        return place == len(text)
    before = place > 0 and text[place - 1] in WORD
    return before != (place < len(text) and text[place] in WORD)
