"""What the faces of the components say of themselves: each input, parameter and output with its
type in plain words, its default and the description that stands in the docstring."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeline.components import catalogue, measured
from edgeline.kubeflow import handed

TYPES = {
    "String": "str",
    "Integer": "int",
    "Float": "float",
    "Boolean": "bool",
    "List": "list",
    "Dict": "dict",
}
_SCHEMA = re.compile(r" ?\(([a-z_]+/v\d+)\)")


@dataclass(frozen=True)
class ComponentPort:
    """One thing that a component takes or gives.

    Attributes:
        type: of a parameter `str`, `int`, `float`, `bool`, `list` or `dict`; of an artifact
            KFP's name for it, such as `Dataset`.
        holds: of an artifact, the schema of its folder, such as `model/v1`; "" where it has none.
        default: of an optional parameter; None where there is none.
    """

    name: str
    type: str
    description: str
    artifact: bool = False
    required: bool = False
    default: Any = None
    holds: str = ""


@dataclass(frozen=True)
class Described:
    """A component: artifacts in, parameters, and what it gives.

    Attributes:
        description: the docstring without its sections, the first line first.
        image: that it runs in.
        metrics: what each number means that its Metrics output tells.
    """

    name: str
    description: str
    image: str
    inputs: tuple[ComponentPort, ...]
    parameters: tuple[ComponentPort, ...]
    outputs: tuple[ComponentPort, ...]
    metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return self.description.strip().partition("\n")[0]


def described(name: str) -> Described:
    """What a component takes, gives and does.

    Raises:
        UsageError: there is no component of that name.
    """
    face = catalogue.load(name)
    spec = face.component_spec
    said = _descriptions(face)
    taken = [_port(key, value, said[key]) for key, value in (spec.inputs or {}).items()]
    given = [_port(key, value, said[key]) for key, value in (spec.outputs or {}).items()]
    return Described(
        name,
        spec.description or "",
        spec.implementation.container.image,
        tuple(port for port in taken if port.artifact),
        tuple(port for port in taken if not port.artifact),
        tuple(given),
        dict(measured.METRICS.get(name, {})),
    )


def _port(name: str, value: Any, description: str) -> ComponentPort:
    kind = value.type.partition("@")[0].removeprefix("system.")
    artifact = "@" in value.type
    schema = _SCHEMA.search(description) if artifact else None
    optional = bool(getattr(value, "optional", True))
    return ComponentPort(
        name,
        TYPES.get(kind, kind),
        _SCHEMA.sub("", description, count=1) if artifact else description,
        artifact,
        not optional,
        getattr(value, "default", None) if optional else None,
        schema[1] if schema else "",
    )


def _descriptions(face: Any) -> dict[str, str]:
    """What the docstring says of every input and output.

    kfp's component_spec keeps it for inputs and what is returned, not for artifacts.
    """
    from docstring_parser import google

    docstring = google.parse(face.python_func.__doc__ or "")
    spec = face.component_spec
    said = dict.fromkeys([*(spec.inputs or {}), *(spec.outputs or {})], "")
    said |= {each.arg_name: each.description or "" for each in docstring.params}
    returned = {key: value for key, value in (spec.outputs or {}).items() if "@" not in value.type}
    for key, each in zip(returned, docstring.many_returns, strict=False):
        said[key] = each.description or ""
    said |= {key: value.description for key, value in returned.items() if value.description}
    if face.name == "settings":  # its outputs are the fields, and what plan tells
        from edgeline.components.settings.fields import outputs

        fields = {key: each.description for key, each in outputs().items()}
        planned = _descriptions(catalogue.load("plan"))
        together = {
            handed.output(each): f"What {each} takes of these fields, as a compiled pipeline "
            "hands it: those that are not the face's own defaults."
            for each in handed.COMPONENTS
        }
        tried = {
            "each_candidate": "What a loop over the candidates goes through.",
            "has_candidates": "Whether there is any; of the kind candidates always.",
        }
        planned |= {
            "each_site": "Every site, once, with all its settings.",
            "has_sites": "Whether there are any.",
            "explains": "Whether rows are to be explained.",
        }
        said |= {key: (planned | fields | together | tried)[key] for key in returned}
    return {key: " ".join(text.split()) for key, text in said.items()}
