"""What the component `settings` hands to another of edgeline's components, as one object.

Each parameter of a task stands some nine times in a run's workflow, with where it comes from. So a
compiled pipeline gives a task one, `settings`, with the fields that are not as the component's face
has them by default; the task's process makes single parameters of it again before the face runs. A
field that changes what one task takes changes no other's, and so no other's place in the cache.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.kubeflow import face

PARAMETER = "settings"  # of the task that takes the object
COMPONENTS = (
    "analyze",
    "choose",
    "convert",
    "explain",
    "import_model",
    "ingest",
    "publish",
    "publish_candidates",
    "train",
    "train_candidate",
    "transform",
    "tune",
    "validate",
    "verify",
)  # which take more than one field of any form
# a parameter that is called as a field, and is not its own: the field is of the training
_OTHERS = {"analyze": frozenset({"seed"}), "explain": frozenset({"seed"})}
_DIGEST = "face_digest"  # in the object; no field is called so


def output(component: str) -> str:
    """What the output of `settings` for a component is called."""
    return f"for_{component}"


def taken(component: str, fields: Collection[str]) -> set[str]:
    """Those of a form's fields that a component takes, all of which are in its object."""
    return {*face.optional(component)}.intersection(fields) - _OTHERS.get(component, frozenset())


def together(component: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The object for a component.

    Args:
        component: one of COMPONENTS.
        values: of all fields that the run's form has, by name.

    Returns:
        the values that are not the face's own defaults, and the digest of that face.
    """
    known = face.optional(component)
    own = {name: values[name] for name in sorted(taken(component, values))}
    differing = {name: value for name, value in own.items() if value != known[name].default}
    return {_DIGEST: face.digest(face.source(component) or ""), **differing}


def apart(executor_input: Mapping[str, Any], named: face.Face) -> dict[str, Any]:
    """A task's input with the fields of its object as single parameters; those it has count first.

    Args:
        executor_input: what the launcher hands a task, KFP's message ExecutorInput.
        named: the task's face.

    Raises:
        EdgelineError: the object was made by an installation with another version of the face,
            whose defaults may be others.
    """
    inputs = executor_input.get("inputs", {})
    values = {**inputs.get("parameterValues", {})}
    if PARAMETER not in values:
        return dict(executor_input)
    given = values.pop(PARAMETER)
    if not isinstance(given, Mapping) or given.get(_DIGEST) != named.digest:
        raise EdgelineError(
            f"The settings of {named.name} come from an image that holds another version of it, "
            "now or when the cache got them: use images of one release, or give another "
            "cache_name."
        )
    known = face.optional(named.name)
    fields = {name: known[name].cast(value) for name, value in given.items() if name in known}
    return {**executor_input, "inputs": {**inputs, "parameterValues": {**fields, **values}}}
