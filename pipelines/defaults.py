"""Other defaults in a compiled pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.components.settings.fields import differing
from edgeline.components.settings.objects import FORMS
from edgeline.pipelines.parameters import complete, constant, from_spec, settings_tasks


def set_defaults(spec: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Change the defaults of a pipeline spec in JSON, in place.

    An object's default stands twice: in the form, which shows it, and with the task that fills in
    what a form leaves out.

    Args:
        values: as `edgeline.pipelines.parameters.check` gives them.
    """
    parameters = from_spec(spec)
    whole = complete(parameters, values)
    entries = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in values:
        entries[name]["defaultValue"] = _as_kept(whole[name])
    objects = {each.called: whole[name] for name, each in parameters.items() if each.fields}
    for task in settings_tasks(spec):
        if (kind := constant(task, "kind")) in FORMS:
            kept = constant(task, "defaults") or {}  # of objects that the form does not show
            kept = {theme: fields for theme, fields in kept.items() if theme not in objects}
            filled = _as_kept({**kept, **differing(FORMS[kind], objects)})
            task["inputs"]["parameters"]["defaults"] = {"runtimeValue": {"constant": filled}}


def _as_kept(value: Any) -> Any:
    """A value as it is read again: numbers are doubles, and keys sorted, so that a compiled file
    that is compiled again stays the same version."""
    if isinstance(value, dict):
        return {key: _as_kept(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_as_kept(each) for each in value]
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_integer else value
