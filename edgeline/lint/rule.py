"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeline.lint.documents import Document, Path_, Tree, dotted

ERROR, WARNING = "error", "warning"
IGNORE = "edgeline.dev/lint-ignore"  # an annotation: rules that do not hold for this object


@dataclass(frozen=True)
class Found:
    """Where a rule is broken, and by what.

    Attributes:
        what: the beginning of a sentence that names it; the rule's `fix` ends it.
    """

    document: Document
    path: Path_
    what: str


@dataclass(frozen=True)
class Rule:
    """One thing that goes wrong in a cluster and can be seen before.

    Attributes:
        id: a short name with hyphens.
        why: what happens where it is broken.
        fix: what to do instead, in the imperative.
        check: finds where it is broken.
        is_gate: whether no object can ask to ignore it: the object is what it is there against.
    """

    id: str
    why: str
    fix: str
    check: Callable[[Tree], Iterator[Found]]
    level: str = ERROR
    is_gate: bool = False


@dataclass(frozen=True)
class Finding:
    """A broken rule as it is shown."""

    file: str
    line: int
    path: str
    rule: str
    level: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}: {self.level}: {self.path or '.'}: {self.message} [{self.rule}]"


def findings(rule: Rule, tree: Tree) -> Iterator[Finding]:
    """What a rule finds, less what the objects' annotations ask to ignore."""
    for found in rule.check(tree):
        document = found.document
        ignored = str(document.annotations.get(IGNORE, "")).replace(",", " ").split()
        if rule.is_gate or rule.id not in ignored:
            yield Finding(
                document.file,
                document.line(found.path),
                dotted(found.path),
                rule.id,
                rule.level,
                f"{found.what}: {rule.fix}",
            )
