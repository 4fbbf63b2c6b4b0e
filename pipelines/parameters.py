"""A pipeline's parameters: what there is to set, and whether a value can be one.

Everything that takes parameters asks here: `--set`, `edgeline.Client` and schedules. KFP passes
them as a protobuf Value, so every number is a double, and what JSON cannot say (NaN, infinity)
ends the compiler or the server; null means "no value" there, inside of lists and objects too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeline.errors import UsageError, asked_for, did_you_mean

LARGEST = 2**53  # beyond it a double has no room for every integer
DEEPEST = 32  # lists and objects within each other; protobuf refuses more than about 50
SHOWN = 60  # characters of a value in a message
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
        kind: KFP's name of its type, for example NUMBER_INTEGER.
        default: None where it has none.
    """

    name: str
    kind: str
    required: bool
    default: Any = None
    description: str = ""

    @property
    def type(self) -> str:
        return TYPES.get(self.kind, (self.kind.lower(), ""))[0]


def parameters_of(definition: Any) -> dict[str, Parameter]:
    """The parameters of a kfp pipeline, in the order of its function.

    Raises:
        UsageError: the default of one is or contains null, NaN or infinity.
    """
    from google.protobuf import json_format

    spec = definition.pipeline_spec
    entries = {}
    for name, entry in spec.root.input_definitions.parameters.items():
        if what := _unfit(entry.default_value):
            raise UsageError(
                f"The default of parameter {name} of pipeline {spec.pipeline_info.name} is or "
                f"contains {what}, which Kubeflow cannot pass: change it."
            )
        entries[name] = json_format.MessageToDict(entry)
    order = list(definition.component_spec.inputs or ())  # a protobuf map has none
    entries = {name: entries[name] for name in sorted(entries, key=order.index)}
    return from_spec(entries)


def check_constants(definition: Any) -> None:
    """Refuse a pipeline that itself holds null, NaN or infinity: as a constant or for a loop.

    kfp's compiler refuses null in a Python file; a compiled one is anyone's.

    Raises:
        UsageError: it names the task and its input, or the component and its default.
    """
    spec = definition.pipeline_spec
    pipeline = spec.pipeline_info.name
    for dag in (spec.root.dag, *(each.dag for each in spec.components.values())):
        for task, entry in dag.tasks.items():
            for name, given in entry.inputs.parameters.items():
                if what := _unfit(given.runtime_value.constant):
                    raise UsageError(
                        f"Pipeline {pipeline} gives its task {task} {what} as {name}, which "
                        "Kubeflow cannot pass: give another value."
                    )
            if what := _unfit_items(entry.parameter_iterator.items.raw):
                raise UsageError(
                    f"Loop {task} of pipeline {pipeline} goes over {what}, which Kubeflow cannot "
                    "pass: give other values."
                )
    for component, each in spec.components.items():
        for name, known in each.input_definitions.parameters.items():
            if what := _unfit(known.default_value):
                raise UsageError(
                    f"The default of input {name} of component "
                    f"{component.removeprefix('comp-')} is or contains {what}, which Kubeflow "
                    "cannot pass: change it."
                )


def from_spec(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Parameter]:
    """Parameters from `root.inputDefinitions.parameters` of a pipeline spec in JSON."""
    return {
        name: Parameter(
            name,
            kind=entry.get("parameterType", "STRING"),
            required="defaultValue" not in entry and not entry.get("isOptional"),
            default=_whole(entry.get("defaultValue")),
            description=" ".join(entry.get("description", "").split()),
        )
        for name, entry in entries.items()
    }


def missing(parameters: Mapping[str, Parameter], values: Iterable[str]) -> list[str]:
    """The required parameters that have no value."""
    given = set(values)
    return [name for name, each in parameters.items() if each.required and name not in given]


def parse(settings: Iterable[str], parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of `NAME=VALUE` strings, as given to `--set`: strings as they are, else JSON.

    Raises:
        UsageError: a setting has no `=` or is there twice, or as `check`.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not (separator and name):
            raise UsageError(f"--set {_short(setting)}: write it as NAME=VALUE.")
        if name in values:
            raise UsageError(f"--set {name} is given twice: leave one out.")
        kind = parameters[name].kind if name in parameters else "STRING"
        values[name] = text if kind == "STRING" else _parse(name, text, kind)
    return check(values, parameters, "--set ")


def check(
    values: Mapping[str, Any], parameters: Mapping[str, Parameter], where: str = "Parameter "
) -> dict[str, Any]:
    """Values as KFP takes them: plain JSON of the parameters' types.

    NumPy's scalars and arrays become numbers and lists, tuples lists.

    Args:
        values: by name of the parameter.
        where: begins the sentence of an error; the parameter's name follows.

    Raises:
        UsageError: there is no such parameter, a value has the wrong type, is or contains null,
            NaN, infinity, an integer above 2**53 or what is not JSON; or nothing can be
            published under `model_name`.
    """
    checked = {}
    for name, value in values.items():
        if name not in parameters:
            hint = did_you_mean(name, parameters, "The pipeline has")
            raise UsageError(f"{where}{name}: the pipeline has no such parameter. {hint}")
        checked[name] = _typed(plain(value, name, where), parameters[name], where)
    if isinstance(model := checked.get("model_name"), str):  # publish, which asks too, comes last
        from edgeline.artifacts.bundle import check_name

        with asked_for():
            check_name(f"{where}model_name", model)
    return checked


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
            raise refuse(f"is {_short(value)}, more than {LARGEST}", "give it as a string")
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


def _typed(value: Any, parameter: Parameter, where: str) -> Any:
    """A plain value of the parameter's type."""
    name, kind = parameter.name, parameter.kind
    wrong = UsageError(f"{where}{name}: {_short(value)} is not {TYPES.get(kind, ('', 'JSON'))[1]}.")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "NUMBER_INTEGER":
        if not is_number or isinstance(value, float):
            raise wrong
        if abs(value) > LARGEST:
            raise UsageError(
                f"{where}{name} is {_short(value)}, more than {LARGEST}, beyond which Kubeflow "
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
                f"{where}{name} is {_short(value)}, too large for a double: give a smaller number."
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
        raise UsageError(f"--set {name}: {_short(text)} is not {what}.") from None
    except ValueError:  # more digits than Python converts
        raise UsageError(f"--set {name}: {_short(text)} contains too many digits.") from None
    except RecursionError:
        raise UsageError(
            f"--set {name} is nested more than {DEEPEST} levels deep: make it flatter."
        ) from None


def _unfit(value: Any) -> str:
    """What a protobuf Value contains that Kubeflow cannot pass; "" where it contains no such."""
    kind = value.WhichOneof("kind")
    if kind == "null_value":
        return "null"
    if kind == "number_value" and not math.isfinite(value.number_value):
        return "NaN or infinity"
    if kind == "list_value":
        return next(filter(None, map(_unfit, value.list_value.values)), "")
    if kind == "struct_value":
        return next(filter(None, map(_unfit, value.struct_value.fields.values())), "")
    return ""


def _unfit_items(text: str) -> str:
    """The same of a loop's items, which KFP keeps as JSON; "" where that is none."""
    from google.protobuf import struct_pb2

    items = struct_pb2.Value()
    try:
        items.list_value.extend(json.loads(text or "[]"))
    except (TypeError, ValueError):
        return ""  # not ours to say
    return _unfit(items)


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(value: Any) -> str:
    """A value for a message, on one line and cut."""
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return "an integer of more than 60 digits"  # Python refuses to print thousands
    # as it was typed, or as JSON writes it
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _whole(value: Any) -> Any:
    """A default as it was written: protobuf has made 3 a 3.0."""
    convert: Callable[[Any], Any] = _whole
    if isinstance(value, dict):
        return {key: convert(each) for key, each in value.items()}
    if isinstance(value, list):
        return [convert(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST:
        return int(value)
    return value
