"""A parameter as its declaration in `objects` tells it, and whether a value can be one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from edgeline.components.settings.objects import FORMS, Form
from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats.doubles import whole

SHOWN = 60  # characters of a value in a message
KINDS = {  # by Python's type: KFP's name
    str: "STRING",
    bool: "BOOLEAN",
    int: "NUMBER_INTEGER",
    float: "NUMBER_DOUBLE",
    list: "LIST",
    dict: "STRUCT",
}
NOUNS = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True)
class ParameterField:
    """A field of an object, or a parameter that stands alone.

    Attributes:
        kind: KFP's name of its type, for example NUMBER_INTEGER.
        type: Python's, with its limits, as msgspec takes it.
        wanted: what a value has to be, for a sentence.
        default: None of what is required.
        example: None where the object's example is without it.
        file: whether people may also give a YAML file with the object.
    """

    name: str
    kind: str
    type: Any
    wanted: str
    default: Any
    description: str
    example: Any = None
    file: bool = False


@cache
def fields_of(struct: type[msgspec.Struct]) -> dict[str, ParameterField]:
    """The fields of a theme or of what is required, by name."""
    hints = get_type_hints(struct, include_extras=True)
    found = {}
    for each in msgspec.structs.fields(struct):
        kind, meta = hints[each.name], Meta()
        if get_origin(kind) is Annotated:
            kind, meta = kind.__origin__, kind.__metadata__[0]
        default = None if each.required else each.default
        if each.default_factory is not msgspec.NODEFAULT:
            default = each.default_factory()
        plain = get_origin(kind) or kind
        plain = type(get_args(kind)[0]) if plain is Literal else plain
        found[each.name] = ParameterField(
            each.name,
            KINDS[plain],
            hints[each.name],
            _wanted(kind, plain, meta),
            default,
            _about(kind, meta),
            meta.examples[0] if meta.examples else None,
            bool((meta.extra or {}).get("file")),
        )
    return found


def outputs() -> dict[str, ParameterField]:
    """Every field of any pipeline by its name, sorted: a name means one thing in all of them."""
    found = {
        name: each
        for form in FORMS.values()
        for struct in form.objects.values()
        for name, each in fields_of(struct).items()
    }
    return dict(sorted(found.items()))


def defaults_of(form: Form) -> dict[str, dict[str, Any]]:
    """The value of each field of each theme where nothing is given."""
    return {
        theme: {name: each.default for name, each in fields_of(struct).items()}
        | dict(form.defaults.get(theme, {}))
        for theme, struct in form.objects.items()
    }


def differing(form: Form, objects: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The fields whose values are not those of the form, by theme; themes without any are left out.

    They travel with every run, and the others are known where it runs.
    """
    known = defaults_of(form)
    found = {
        theme: {name: each for name, each in fields.items() if each != known[theme].get(name)}
        for theme, fields in objects.items()
    }
    return {theme: fields for theme, fields in found.items() if fields}


def check_object(theme: str, struct: type[msgspec.Struct], given: Any, where: str = "") -> Any:
    """The fields of an object that somebody gave: those that are there, each of its type.

    Whole numbers count as integers: KFP makes 300 a 300.0.

    Args:
        where: begins the sentence of an error; the parameter's name follows.

    Raises:
        EdgelineError: not an object, or a field is unknown or has a value that it cannot have.
    """
    if not isinstance(given, Mapping):
        raise EdgelineError(
            f"{where}{theme}: {short(given)} is not {NOUNS[dict]} with fields such as "
            f"{', '.join(list(fields_of(struct))[:2])}."
        )
    return {name: check_field(theme, struct, name, value, where) for name, value in given.items()}


def check_field(
    theme: str, struct: type[msgspec.Struct], name: str, value: Any, where: str = ""
) -> Any:
    """A value of a field.

    Raises:
        EdgelineError: there is no such field, or the value is not one that it can have.
    """
    known = fields_of(struct)
    if name not in known:
        hint = did_you_mean(name, known, f"{theme} has")
        raise EdgelineError(f"{where}{theme}.{name}: there is no such field. {hint}")
    wanted = known[name]
    value = whole(value)
    try:
        made = msgspec.convert(value, wanted.type)
    except msgspec.ValidationError:
        fits = False
    else:
        fits = wanted.kind != "STRING" or _is_choice(wanted.type, made)
    if not fits:
        raise EdgelineError(f"{where}{theme}.{name}: {short(value)} is not {wanted.wanted}.")
    return float(value) if wanted.kind == "NUMBER_DOUBLE" else value


def absent(form: Form, values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The fields that must be given and are empty, as `theme.field`."""
    for place in form.needed:
        theme, _, name = place.partition(".")
        if not values[theme].get(name):
            yield place


def short(value: Any) -> str:
    """A value for a message, on one line and cut."""
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return "an integer of more than 60 digits"  # Python refuses to print thousands
    # as it was typed, or as JSON writes it
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _is_choice(kind: Any, value: str) -> bool:
    extra = kind.__metadata__[0].extra or {} if get_origin(kind) is Annotated else {}
    return (
        "choices" not in extra or value in extra["choices"] or value.endswith(extra.get("or", "\0"))
    )


def _wanted(kind: Any, plain: type, meta: Meta) -> str:
    extra = meta.extra or {}
    if "wanted" in extra:
        return str(extra["wanted"])
    choices = get_args(kind) if get_origin(kind) is Literal else extra.get("choices")
    if choices:
        other = f", or a {extra['or']} file" if "or" in extra else ""
        return f"one of {', '.join(each or repr(each) for each in choices)}{other}"
    inside = [each for each in get_args(kind) if each is not Any]
    if plain is dict and len(inside) == 2:
        return f"{NOUNS[dict]} with {_plural(inside[1])}"
    if plain is list and inside:
        return f"a list of {_plural(inside[0])}"
    least, most = meta.ge, meta.le
    if meta.gt is not None and most is not None:
        return f"{NOUNS[plain]} above {meta.gt:g}, at most {most:g}"
    if least is not None and most is not None:
        return f"{NOUNS[plain]} from {least:g} to {most:g}"
    return f"{NOUNS[plain]} of at least {least:g}" if least is not None else NOUNS[plain]


def _plural(kind: Any) -> str:
    meta = Meta()
    if get_origin(kind) is Annotated:
        kind, meta = kind.__origin__, kind.__metadata__[0]
    if get_origin(kind) is Literal:
        return f"values of {', '.join(get_args(kind))}"
    plain = get_origin(kind) or kind
    if plain is list:
        many = f"{meta.min_length} " if meta.min_length else ""
        return f"lists of {many}{_plural(get_args(kind)[0])}"
    least = f" of at least {meta.ge:g}" if meta.ge is not None else ""
    return NOUNS[plain].removeprefix("an ").removeprefix("a ") + f"s{least}"


def _about(kind: Any, meta: Meta) -> str:
    """The description, with the choices that it does not name itself, and the range."""
    text = meta.description or ""
    if get_origin(kind) is Literal:
        return f"{text} One of {', '.join(filter(None, get_args(kind)))}."
    return text
