"""Work out what each parameter of a run is, before anything else of it begins.

A dict that is given in KFP's form takes the place of the whole default, so what it leaves out is
taken from the pipeline's own defaults here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.components.plan.plan import plan
from edgeline.components.settings.fields import (
    absent,
    check_object,
    defaults_of,
    fields_of,
    outputs,
)
from edgeline.components.settings.objects import FORMS
from edgeline.errors import EdgelineError
from edgeline.formats.names import check_label
from edgeline.kubeflow import handed

PLANNED = ("each_site", "each_target", "has_sites", "has_targets")


def settings(
    kind: str,
    defaults: Mapping[str, Mapping[str, Any]],
    model_name: str = "",
    destination: str = "",
    **given: Mapping[str, Any],
) -> tuple[Any, ...]:
    """The value of every field, and what the pipeline loops over.

    Args:
        kind: which of edgeline's pipelines it is or is made of: a name in `FORMS`.
        defaults: of this pipeline, by theme and field, where they are not those of its kind.
        model_name: what will be published; empty: not looked at.
        destination: where publish will publish; empty: not looked at.
        **given: the objects of the run, by theme; of those that the pipeline lacks nothing.

    Returns:
        in the order of `names`; a field that this kind has not is as it is by default.

    Raises:
        EdgelineError: there is no such kind, an object is none of the form's, a field is unknown,
            missing or has a value that it cannot have, or as `edgeline.components.plan.plan.plan`.
    """
    if kind not in FORMS:
        raise EdgelineError(f"kind is {kind!r}, but must be one of {', '.join(FORMS)}.")
    if model_name:
        check_label("Parameter model_name", model_name)
    form = FORMS[kind]
    whole = defaults_of(form)
    values: dict[str, dict[str, Any]] = {}
    for theme, each in {**{name: {} for name in form.objects}, **given}.items():
        if theme in form.objects:
            checked = check_object(theme, form.objects[theme], each, "Parameter ")
            own = check_object(theme, form.objects[theme], defaults.get(theme, {}), "Default ")
            values[theme] = {**whole[theme], **own, **checked}
        elif each:
            raise EdgelineError(
                f"{theme} is given, but a pipeline of the kind {kind} has only "
                f"{', '.join(form.objects)}."
            )
    for place in absent(form, values):
        raise EdgelineError(f"Parameter {place} is required: give it.")
    known = {name: each.default for name, each in outputs().items()}
    found = {**known, **{name: x for theme in values.values() for name, x in theme.items()}}
    planned = plan(
        targets=found["targets"],
        sites=found["sites"],
        models_repository=found["models_repository"],
        destination=destination,
    )
    own = {name: found[name] for theme in form.objects.values() for name in fields_of(theme)}
    found |= {
        handed.output(component): handed.together(component, own) for component in handed.COMPONENTS
    }
    found |= {
        "each_target": planned.targets,
        "has_targets": bool(planned.targets),
        "each_site": planned.sites,
        "has_sites": bool(planned.sites),
    }
    return tuple(found[name] for name in names())


def names() -> list[str]:
    """The outputs of the component, in order."""
    together = map(handed.output, handed.COMPONENTS)
    return sorted({*outputs(), *PLANNED, *together} - {"targets", "sites"})
