"""Host operations: what whoever runs an edge model has to compute before it, declared as data.

LiteRT has no operator that reads the bytes of a string. What a transform does with text before a
number or a vocabulary's word comes of it is therefore not in the model's file but in its bundle's
manifest: a list of steps, each one of TensorFlow's operators with its attributes. A model still
takes raw features: `edgeline serve`, `edgeline verify` and `edgeline.runtimes.host.program` compute
the steps exactly as TensorFlow does. Any other runtime has to do the same, and gives the results to
the file's inputs of the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError
from edgeline.formats import typed

VERSION = 1  # of what steps mean
KEY = "host_operations"  # in the metadata of an edge model or a compiled one
CONST = "Const"
SHOWN = 10  # features that a sentence names
# of which a sentence says nothing: they only arrange what the others give
PLAIN = frozenset(
    {CONST, "Cast", "ConcatV2", "ExpandDims", "Fill", "Identity", "Pack", "Reshape", "Shape"}
    | {"Squeeze", "StridedSlice", "ZerosLike"}
)


@dataclass(frozen=True)
class HostStep:
    """One operator.

    Attributes:
        operator: TensorFlow's name of it.
        takes: raw features, and what steps before it give, by name.
        gives: names of its outputs.
        attributes: as in TensorFlow's graph. A `Const` has `dtype`, `shape` and `values`.
    """

    operator: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HostOperations:
    """Steps in the order in which they are computed.

    Attributes:
        version: of what the steps mean; see `VERSION`.
        steps: none of them reads what comes later.
        inputs: what the model's file takes: raw or transformed features as they come, and
            what steps give.
    """

    version: int
    steps: tuple[HostStep, ...]
    inputs: tuple[Feature, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators, each once, constants left out."""
        return tuple(sorted({step.operator for step in self.steps} - {CONST}))

    @property
    def named(self) -> tuple[str, ...]:
        """Those of which a person is told."""
        return tuple(name for name in self.operators if name not in PLAIN)

    @property
    def gives(self) -> tuple[str, ...]:
        """The inputs of the file that are computed."""
        made = {name for step in self.steps for name in step.gives}
        return tuple(feature.name for feature in self.inputs if feature.name in made)

    @property
    def reads(self) -> tuple[str, ...]:
        """The raw features that some step reads."""
        made = {name for step in self.steps for name in step.gives}
        return tuple(sorted({name for step in self.steps for name in step.takes} - made))

    def read_for(self, name: str) -> tuple[str, ...]:
        """The raw features that what is called `name` is computed of."""
        by_name = {given: step for step in self.steps for given in step.gives}
        found, waiting = set[str](), [name]
        while waiting:
            name = waiting.pop()
            if name not in by_name:
                found.add(name)
                continue
            waiting += by_name[name].takes
        return tuple(sorted(found))

    def only(self, inputs: Sequence[Feature]) -> HostOperations:
        """The steps that some inputs of a file need."""
        wanted = {feature.name for feature in inputs}
        steps: list[HostStep] = []
        for step in reversed(self.steps):
            if wanted & {*step.gives}:
                steps.append(step)
                wanted |= {*step.takes}
        return HostOperations(self.version, tuple(reversed(steps)), tuple(inputs))

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "steps": [
                {
                    "operator": step.operator,
                    "takes": list(step.takes),
                    "gives": list(step.gives),
                    "attributes": dict(step.attributes),
                }
                for step in self.steps
            ],
            "inputs": [feature.to_json() for feature in self.inputs],
        }


def of(facts: Mapping[str, Any]) -> HostOperations | None:
    """The host operations in the metadata of an edge model or a compiled one; None without any.

    Raises:
        EdgelineError: they are malformed.
    """
    if not (told := facts.get(KEY)):
        return None
    try:
        found: HostOperations = typed.convert(told, HostOperations, KEY)
    except EdgelineError as error:
        raise EdgelineError(f"{error}: convert the model again.") from None
    return found


def sentence(operations: HostOperations | None) -> str:
    """What whoever runs a model's file has to know; "" where there are no host operations."""
    if operations is None:
        return ""
    read = ", ".join(map(repr, operations.reads[:SHOWN]))
    more = f" and {len(operations.reads) - SHOWN:,} more" if operations.reads[SHOWN:] else ""
    return (
        f"Of {read}{more} the file takes what host operations make ("
        f"{', '.join(operations.named)}): edgeline's server and edgeline verify compute them, any "
        "other runtime has to do as the manifest's host_operations say."
    )
