"""A parameter's name as people write it: `steps`, `training.steps`, or an object as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeline.errors import UsageError, did_you_mean
from edgeline.pipelines.parameter import Parameter

_OF_MODULE = """What build_model reads is an object: --set hyperparameters='{"%s": ...}'."""
_OF_TARGETS = (
    "This pipeline publishes for LiteRT alone: compile its model.tflite with "
    "edgeline compile-model."
)
ELSEWHERE = {  # what other tools call parameters, and where it is here
    "epochs": "A training is counted in steps: set steps, and steps_per_epoch where an epoch is "
    "not one pass over the rows.",
    **dict.fromkeys(("target", "targets"), _OF_TARGETS),
    **{name: _OF_MODULE % name for name in ("learning_rate", "lr", "units", "dropout", "layers")},
}


@dataclass(frozen=True)
class ParameterPlace:
    """What a name stands for: a parameter, or a field of one; then `field` is its name."""

    parameter: Parameter
    field: str = ""

    @property
    def kind(self) -> str:
        """KFP's name of its type."""
        return self.parameter.fields[self.field].kind if self.field else self.parameter.kind

    @property
    def is_file(self) -> bool:
        """Whether people may also give a YAML file with the value."""
        return bool(self.field) and self.parameter.fields[self.field].file

    @property
    def called(self) -> str:
        """With its object: `training.steps`."""
        return f"{self.parameter.called}.{self.field}" if self.field else self.parameter.called


def find(
    name: str, parameters: Mapping[str, Parameter], where: str = "Parameter "
) -> ParameterPlace:
    """The place of a name.

    Args:
        where: begins the sentence of an error; the name follows.

    Raises:
        UsageError: there is no such parameter, or the name stands for several fields.
    """
    for each in parameters.values():
        if name in (each.name, each.called):
            return ParameterPlace(each)
    owner, dot, field = name.partition(".")
    for each in parameters.values():
        if dot and each.fields and owner in (each.name, each.called):
            if field in each.fields:
                return ParameterPlace(each, field)
            hint = did_you_mean(field, each.fields, f"{each.called} has")
            raise UsageError(f"{where}{name}: there is no such field. {hint}")
    found = fields_called(name, parameters)
    if len(found) > 1:
        which = " and ".join(place.called for place in found)
        raise UsageError(f"{where}{name} may be {which}: give one of them.")
    if found:
        return found[0]
    known = [each.called for each in parameters.values()]
    inside = [field for each in parameters.values() for field in each.fields]
    hint = did_you_mean(name, [*known, *inside])
    if name in ELSEWHERE and ("steps" in inside or name.startswith("target")):
        hint = ELSEWHERE[name]
    elif not hint.startswith("Did"):
        hint = did_you_mean("", known, "The pipeline has")
    raise UsageError(f"{where}{name}: the pipeline has no such parameter. {hint}")


def fields_called(name: str, parameters: Mapping[str, Parameter]) -> list[ParameterPlace]:
    """The fields of any object that have a name."""
    return [ParameterPlace(each, name) for each in parameters.values() if name in each.fields]
