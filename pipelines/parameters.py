"""A pipeline's parameters: what there is to set, and whether a value can be one.

Everything that takes parameters asks here: `--set`, `edgeline.Client` and schedules. KFP passes
them as a protobuf Value, so every number is a double, and what JSON cannot say (NaN, infinity)
ends the compiler or the server; null means "no value" there, inside of lists and objects too.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgeline.artifacts import declared_card, requirements
from edgeline.components.settings import candidates
from edgeline.components.settings.fields import check_field, check_object, short
from edgeline.components.settings.objects import FORMS
from edgeline.components.tune import space
from edgeline.errors import EdgelineError, UsageError, asked_for, refuse_all
from edgeline.formats.doubles import LARGEST, whole
from edgeline.formats.names import check_label
from edgeline.pipelines.constants import unfit
from edgeline.pipelines.flat import ParameterPlace, find
from edgeline.pipelines.parameter import TYPES, Parameter, labelled

DEEPEST = 32  # lists and objects within each other; protobuf refuses more than about 50
# fields that people may also give as a YAML file, with what reads it
FILES: Mapping[str, Callable[[Path], Any]] = {
    requirements.NAME: requirements.read,
    candidates.PARAMETER: candidates.read,
    declared_card.NAME: declared_card.read,
    space.PARAMETER: space.read,
}
SETTINGS = "comp-settings"  # as kfp's compiler calls the component that knows a form's kind


def parameters_of(definition: Any) -> dict[str, Parameter]:
    """The parameters of a kfp pipeline, in the order of its function.

    Raises:
        UsageError: the default of one is or contains null, NaN or infinity.
    """
    from google.protobuf import json_format

    spec = definition.pipeline_spec
    entries = {}
    for name, entry in spec.root.input_definitions.parameters.items():
        if what := unfit(entry.default_value):
            raise UsageError(
                f"The default of parameter {name} of pipeline {spec.pipeline_info.name} is or "
                f"contains {what}, which Kubeflow cannot pass: change it."
            )
        entries[name] = json_format.MessageToDict(entry)
    order = list(definition.component_spec.inputs or ())  # a protobuf map has none
    entries = {name: entries[name] for name in sorted(entries, key=order.index)}
    tasks = (
        json_format.MessageToDict(task)
        for each in (spec.root, *spec.components.values())
        for task in each.dag.tasks.values()
        if task.component_ref.name.startswith(SETTINGS)
    )
    return _parameters(entries, tasks)


def from_spec(spec: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters of a pipeline spec in JSON."""
    entries = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    return _parameters(entries, settings_tasks(spec))


def settings_tasks(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The tasks of a pipeline spec in JSON that work out the fields of its parameters."""
    for each in (spec.get("root", {}), *spec.get("components", {}).values()):
        for task in each.get("dag", {}).get("tasks", {}).values():
            if str(task.get("componentRef", {}).get("name")).startswith(SETTINGS):
                yield task


def constant(task: Mapping[str, Any], name: str) -> Any:
    """The constant that a task of a pipeline spec is given as a parameter; "" where it has none."""
    given = task.get("inputs", {}).get("parameters", {}).get(name, {})
    return given.get("runtimeValue", {}).get("constant", "")


def _parameters(
    entries: Mapping[str, Mapping[str, Any]], tasks: Iterable[Mapping[str, Any]]
) -> dict[str, Parameter]:
    kinds = (constant(task, "kind") for task in tasks)
    kind = next((each for each in kinds if each in FORMS), "")
    found = (
        Parameter(
            name,
            kind=entry.get("parameterType", "STRING"),
            required="defaultValue" not in entry and not entry.get("isOptional"),
            default=_default(entry),
            description=" ".join(entry.get("description", "").split()),
        )
        for name, entry in entries.items()
    )
    return {each.name: labelled(each, kind) for each in found}


def _default(entry: Mapping[str, Any]) -> Any:
    """Of KFP's numbers, which all are doubles, whole ones are integers where that is the type."""
    value = whole(entry.get("defaultValue"))
    is_double = entry.get("parameterType") == "NUMBER_DOUBLE" and isinstance(value, int)
    return float(value) if is_double else value


def missing(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> list[str]:
    """What must be given and has no value, as people call it.

    Args:
        values: as `check` gives them.
    """
    absent = []
    for name, each in parameters.items():
        if each.required and name not in values:
            absent.append(each.called)
        own = {**(each.default or {}), **values.get(name, {})} if each.needed else {}
        absent += [f"{each.called}.{field}" for field in each.needed if not own.get(field)]
    return absent


def complete(parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with the defaults of all that is not given; objects with all their fields.

    Args:
        values: as `check` gives them.
    """
    found = {name: each.default for name, each in parameters.items() if each.default is not None}
    for name, value in values.items():
        found[name] = {**found.get(name, {}), **value} if parameters[name].fields else value
    return found


def parse(settings: Iterable[str], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of `NAME=VALUE` strings, as given to `--set`: strings as they are, else JSON.

    Raises:
        UsageError: a setting has no `=` or is there twice, or as `check`.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for setting in settings:
        try:
            name, value = _parsed(setting, parameters)
            if name in values:
                raise UsageError(f"--set {name} is given twice: leave one out.")
            values[name] = value
        except UsageError as error:
            faults.append(str(error))
    refuse_all(faults)
    return check(values, parameters, "--set ")


def _parsed(setting: str, parameters: Mapping[str, Parameter]) -> tuple[str, Any]:
    """The name and value of a `NAME=VALUE` string."""
    name, separator, text = setting.partition("=")
    if not (separator and name):
        raise UsageError(f"--set {short(setting)}: write it as NAME=VALUE.")
    place = find(name, parameters, "--set ")
    if place.is_file and not text.lstrip().startswith(("{", "[")):
        return name, text  # a file, which is read where values are checked
    kind = place.kind
    if kind == "STRING" and text == "null":
        raise UsageError(f"--set {name} is null, which Kubeflow cannot pass: leave it out.")
    return name, text if kind == "STRING" else _parse(name, text, kind)


def check(
    values: Mapping[str, Any], parameters: Mapping[str, Parameter], where: str = "Parameter "
) -> dict[str, Any]:
    """Values as KFP takes them: plain JSON of the parameters' types, by KFP's names.

    NumPy's scalars and arrays become numbers and lists, tuples lists. An object has the fields
    that were given, each alone (`steps`, `training.steps`) or within it. A field that may be a file
    is read from it.

    Args:
        values: by name, as `edgeline.pipelines.flat.find` takes it.
        where: begins the sentence of an error; the parameter's name follows.

    Raises:
        UsageError: there is no such parameter or field, a name stands for several, one is given
            twice, a value has the wrong type, is or contains null, NaN, infinity, an integer above
            2**53 or what is not JSON; or nothing can be published under `model_name`, or to
            `destination`.
    """
    checked: dict[str, Any] = {}
    faults: list[str] = []
    for name, value in values.items():
        try:
            _take(checked, name, value, parameters, where)
        except UsageError as error:
            faults.append(str(error))
    if isinstance(model := checked.get("model_name"), str):  # publish, which asks too, comes last
        try:
            check_label(f"{where}model_name", model)
        except EdgelineError as error:
            faults.append(str(error))
    if isinstance(destination := checked.get("destination"), str):
        from edgeline.stores.destinations import check as check_destination

        try:
            check_destination(destination)
        except UsageError as error:
            faults.append(str(error))
    refuse_all(faults)
    return checked


def _take(
    checked: dict[str, Any],
    name: str,
    value: Any,
    parameters: Mapping[str, Parameter],
    where: str,
) -> None:
    """Add a value to those that are checked."""
    place = find(name, parameters, where)
    parameter = place.parameter
    given = plain(_read(place, value), name, where)
    if parameter.struct is None:
        fresh = {parameter.name: _typed(given, name, place.kind, where)}
        twice = [parameter.called] if parameter.name in checked else []
        checked |= fresh
    else:
        fields = _fields(place, given, name, where)
        own = checked.setdefault(parameter.name, {})
        twice = [f"{parameter.called}.{field}" for field in fields.keys() & own.keys()]
        own |= fields
    if twice:
        raise UsageError(f"{where}{name} gives {twice[0]} a second time: leave one out.")


def _read(place: ParameterPlace, value: Any) -> Any:
    """A value with the files of its fields read, for those that take one."""
    if place.is_file and isinstance(value, (str, os.PathLike)):
        return FILES[place.field](Path(value))
    if place.field or not isinstance(value, Mapping):
        return value
    inside = ((name, ParameterPlace(place.parameter, name)) for name in place.parameter.fields)
    files = {name: _read(own, value[name]) for name, own in inside if name in value and own.is_file}
    return {**value, **files} if files else value


def _fields(place: ParameterPlace, value: Any, name: str, where: str) -> dict[str, Any]:
    """What a value sets of an object: a field, or those of it."""
    parameter, struct = place.parameter, place.parameter.struct
    assert struct is not None
    with asked_for():
        if place.field:
            typed = _typed(value, name, place.kind, where)
            return {place.field: check_field(parameter.called, struct, place.field, typed, where)}
        typed = _typed(value, name, parameter.kind, where)
        found: dict[str, Any] = check_object(parameter.called, struct, typed, where)
        return found


def plain(value: Any, path: str, where: str = "Parameter ", depth: int = 0) -> Any:
    """A value in JSON's types.

    Args:
        path: where the value is, for example `hyperparameters.dropout`; for errors.

    Raises:
        UsageError: see `check`.
    """

    def refuse(what: str, remedy: str) -> UsageError:
        return UsageError(f"{where}{path} {what}: {remedy}.")

    if hasattr(value, "tolist"):  # NumPy's scalars and arrays
        value = value.tolist()
    if value is None:
        raise refuse(
            "is null, which Kubeflow cannot pass",
            "leave it out" + (", or give the value that it stands for" if depth else ""),
        )
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if depth and abs(value) > LARGEST:
            raise refuse(f"is {short(value)}, more than {LARGEST}", "give it as a string")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            name = "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
            raise refuse(f"is {name}, which Kubeflow cannot pass", "give a finite number")
        return float(value)
    if isinstance(value, str):
        text = str.__str__(value)  # an Enum's value, not its name
        if "\0" in text or not _encodable(text):
            raise refuse("contains a NUL or a character that UTF-8 does not have", "remove it")
        return text
    if isinstance(value, (list, tuple, Mapping)) and depth >= DEEPEST:
        raise refuse(f"is nested more than {DEEPEST} levels deep", "make it flatter")
    if isinstance(value, (list, tuple)):
        return [plain(each, f"{path}[{i}]", where, depth + 1) for i, each in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise refuse(f"has the key {key!r}, which is not a string", "put it in quotes")
            plain(key, f"{path}: its key {key!r}", where, depth + 1)
        return {
            str.__str__(key): plain(each, f"{path}.{key}", where, depth + 1)
            for key, each in value.items()
        }
    kind = type(value).__name__
    raise refuse(
        f"is of the type {kind}, which JSON does not have", "give a string, number, list or object"
    )


def _typed(value: Any, name: str, kind: str, where: str) -> Any:
    """A plain value of a type of KFP's."""
    wrong = UsageError(f"{where}{name}: {short(value)} is not {TYPES.get(kind, ('', 'JSON'))[1]}.")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "NUMBER_INTEGER":
        if not is_number or isinstance(value, float):
            raise wrong
        if abs(value) > LARGEST:
            raise UsageError(
                f"{where}{name} is {short(value)}, more than {LARGEST}, beyond which Kubeflow "
                "rounds integers: give a smaller one."
            )
        return value
    if kind == "NUMBER_DOUBLE":
        if not is_number:
            raise wrong
        try:
            return float(value)  # KFP takes no 1 for 1.0
        except OverflowError:
            raise UsageError(
                f"{where}{name} is {short(value)}, too large for a double: give a smaller number."
            ) from None
    wanted = {"STRING": str, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}.get(kind, object)
    if not isinstance(value, wanted):
        raise wrong
    return value


def _parse(name: str, text: str, kind: str) -> Any:
    """JSON; a key that is there twice would lose a value."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UsageError(f"--set {name} has the key {twice!r} twice: remove one.")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError:
        what = TYPES.get(kind, ("", "JSON"))[1]
        raise UsageError(f"--set {name}: {short(text)} is not {what}.") from None
    except ValueError:  # more digits than Python converts
        raise UsageError(f"--set {name}: {short(text)} contains too many digits.") from None
    except RecursionError:
        raise UsageError(
            f"--set {name} is nested more than {DEEPEST} levels deep: make it flatter."
        ) from None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
