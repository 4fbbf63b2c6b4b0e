"""A generic pipeline under another name and with other defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kfp import dsl

from edgeline.components.faces import settings
from edgeline.components.settings.fields import defaults_of, differing
from edgeline.components.settings.objects import CACHE_NAME, FORMS, PREFIX
from edgeline.pipelines import description as descriptions
from edgeline.pipelines.parameter import Parameter, of_form
from edgeline.pipelines.parameters import check

__all__ = ["specialise"]


@dataclass(frozen=True)
class Channels:
    """What stands in the form of a pipeline of this name, while kfp traces it: the parameters that
    stand alone."""

    pipeline: str
    kind: str
    defaults: Mapping[str, Mapping[str, Any]]
    of: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.of[name]

    def settings(self) -> Any:
        """The task that works out all the others; each is an output of it."""
        objects = {theme: self.of[PREFIX + theme] for theme in FORMS[self.kind].objects}
        return settings(
            kind=self.kind,
            model_name=self["model_name"],
            destination=self["destination"],
            cache_name=self.cache_name,
            defaults=differing(FORMS[self.kind], self.defaults),
            **objects,
        ).set_display_name("check the parameters")

    @property
    def cache_name(self) -> Any:
        """For every task that takes no artifact; the others' caches follow from what they take."""
        return self.of[PREFIX + CACHE_NAME]


@dataclass(frozen=True)
class Generic:
    """A generic pipeline.

    Attributes:
        kind: its form's name in `edgeline.components.settings.objects.FORMS`.
        graph: makes its tasks.
    """

    kind: str
    graph: Callable[[Channels], None]


def specialise(generic: Generic, name: str, description: str, **defaults: Any) -> Any:
    """A kfp pipeline of a generic one.

    Args:
        generic: for example `edgeline.pipelines.tabular.graph.tabular`.
        name: the pipeline's name, of `[a-z0-9-]`.
        description: a line for the UI.
        **defaults: parameters of it, objects (`training={"steps": 300}`) or fields (`steps=300`);
            those that it requires and that are not given stay required.

    Raises:
        UsageError: it has no such parameter, or a value is not one.
    """
    given = check(defaults, of_form(generic.kind), "Default ")
    objects = {
        theme: {**fields, **given.get(PREFIX + theme, {})}
        for theme, fields in defaults_of(FORMS[generic.kind]).items()
    }
    parameters = of_form(generic.kind, {**given, **{PREFIX + key: x for key, x in objects.items()}})

    def traced(*channels: Any) -> None:
        given = dict(zip(parameters, channels, strict=True))
        generic.graph(Channels(name, generic.kind, objects, given))

    traced.__name__ = generic.kind
    traced.__doc__ = _docstring(description, parameters)
    traced.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_signed(each) for each in parameters.values()]
    )
    text = descriptions.text(description, parameters)
    return dsl.pipeline(name=name, description=text)(traced)


def _signed(parameter: Parameter) -> inspect.Parameter:
    return inspect.Parameter(
        parameter.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if parameter.required else parameter.default,
        annotation={"STRING": str, "STRUCT": dict}[parameter.kind],
    )


def _docstring(description: str, parameters: Mapping[str, Parameter]) -> str:
    """As kfp reads the parameters' descriptions."""
    lines = [f"    {each.name}: {each.description}" for each in parameters.values()]
    return "\n".join([description, "", "Args:", *lines])
