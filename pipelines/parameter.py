"""What a parameter of a pipeline is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeline.components.settings.fields import ParameterField, defaults_of, fields_of
from edgeline.components.settings.objects import CACHE, CACHE_NAME, FORMS, PREFIX

if TYPE_CHECKING:
    import msgspec

TYPES = {  # by KFP's name: ours, and what a value has to be
    "STRING": ("string", "a string"),
    "NUMBER_INTEGER": ("integer", "an integer"),
    "NUMBER_DOUBLE": ("number", "a number"),
    "BOOLEAN": ("boolean", "true or false"),
    "LIST": ("list", 'a JSON list, for example ["a", "b"]'),
    "STRUCT": ("object", 'a JSON object, for example {"a": 1}'),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a pipeline.

    Attributes:
        name: KFP's.
        kind: KFP's name of its type, for example NUMBER_INTEGER.
        default: None where it has none.
        label: what people call it, where that is not KFP's name: `training` for `with_training`.
        struct: what declares its fields, where it is an object of edgeline's.
        needed: the fields of it that must have a value.
    """

    name: str
    kind: str
    required: bool
    default: Any = None
    description: str = ""
    label: str = ""
    struct: type[msgspec.Struct] | None = None
    needed: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return TYPES.get(self.kind, (self.kind.lower(), ""))[0]

    @property
    def called(self) -> str:
        return self.label or self.name

    @property
    def fields(self) -> Mapping[str, ParameterField]:
        """Its fields by name; none where it is not an object of edgeline's."""
        return fields_of(self.struct) if self.struct else {}

    @property
    def example(self) -> dict[str, Any]:
        """An object that sets some of its fields."""
        return {
            name: each.example for name, each in self.fields.items() if each.example is not None
        }


def of_form(kind: str, defaults: Mapping[str, Any] | None = None) -> dict[str, Parameter]:
    """The parameters of one of edgeline's pipelines by KFP's name, as KFP's form sorts them.

    Args:
        kind: a name in `FORMS`.
        defaults: by KFP's name, where they are not those of the kind.
    """
    form, defaults = FORMS[kind], defaults or {}
    found = [
        Parameter(
            *(name, each.kind, name not in defaults, defaults.get(name), each.description),
        )
        for name, each in fields_of(form.required).items()
    ]
    name = PREFIX + CACHE_NAME
    found.append(Parameter(name, "STRING", False, defaults.get(name, ""), CACHE, label=CACHE_NAME))
    for theme, fields in defaults_of(form).items():
        struct = form.objects[theme]
        found.append(
            Parameter(
                PREFIX + theme,
                "STRUCT",
                required=False,
                default=defaults.get(PREFIX + theme, fields),
                description=f"{(struct.__doc__ or '').strip()} Fields: {', '.join(fields)}.",
                label=theme,
                struct=struct,
                needed=_needed(kind, theme),
            )
        )
    return {each.name: each for each in sorted(found, key=lambda each: each.name)}


def labelled(parameter: Parameter, kind: str) -> Parameter:
    """A parameter that was read in a compiled pipeline, with what its form knows of it.

    Args:
        kind: of the pipeline; "" where it is none of edgeline's or made of one.
    """
    own = of_form(kind).get(parameter.name) if kind in FORMS else None
    if own is None or own.kind != parameter.kind:
        return parameter
    return Parameter(
        parameter.name,
        parameter.kind,
        parameter.required,
        parameter.default,
        parameter.description or own.description,
        own.label,
        own.struct,
        own.needed,
    )


def _needed(kind: str, theme: str) -> tuple[str, ...]:
    places = (place.partition(".") for place in FORMS[kind].needed)
    return tuple(name for own, _, name in places if own == theme)
