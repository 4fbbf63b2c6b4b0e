"""Bytes of a workflow, by what they are and which component or task has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

# What some bytes of a workflow are
SOURCE = "source"
INTERFACE = "interface"
METADATA = "metadata"
PARAMETERS = "parameters"
ENVIRONMENT = "environment"
OTHER = "other"


@dataclass(frozen=True)
class Part:
    """What some bytes of a workflow are: their kind, and the component or task that has them."""

    kind: str
    name: str


@dataclass(frozen=True)
class WorkflowSize:
    """Bytes of a workflow, by what they are."""

    parts: Mapping[Part, int]

    @cached_property
    def total(self) -> int:
        return sum(self.parts.values())

    def of(self, kind: str) -> int:
        """Those of a kind."""
        return sum(size for part, size in self.parts.items() if part.kind == kind)

    def largest(self, kind: str, most: int) -> list[tuple[str, int]]:
        """The names that have most of a kind, with their bytes."""
        found = [(part.name, size) for part, size in self.parts.items() if part.kind == kind]
        return sorted(found, key=lambda entry: -entry[1])[:most]
