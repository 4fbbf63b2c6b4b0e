"""Work out what each parameter of a run is, before anything else of it begins.

A dict that is given in KFP's form takes the place of the whole default, so what it leaves out is
taken from the pipeline's own defaults here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeline.artifacts import declared_card, fairness
from edgeline.artifacts.requirements import check_devices, parse
from edgeline.components.plan.plan import check_deployed, plan
from edgeline.components.settings import candidates, tuning
from edgeline.components.settings.fields import (
    absent,
    check_object,
    defaults_of,
    fields_of,
    outputs,
)
from edgeline.components.settings.objects import FORMS, TUNED
from edgeline.components.train import precision, sharing
from edgeline.components.tune.objectives import targets_of
from edgeline.errors import EdgelineError
from edgeline.formats.names import check_label
from edgeline.kubeflow import handed

WORKED_IN = {"baseline", "candidates", "sites", "targets"}  # told by other outputs
PLANNED = (
    "each_candidate",
    "each_site",
    "each_target",
    "explains",
    "has_candidates",
    "has_sites",
    "has_targets",
)


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
        in the order of `names`; a field that this kind lacks is as it is by default.

    Raises:
        EdgelineError: there is no such kind, an object is none of the form's, a field is unknown,
            missing or has a value that it cannot have, a card is too long, requirements are about a
            device that the run makes nothing for, candidates are none, or as `plan` and
            `check_deployed` of `edgeline.components.plan.plan`.
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
    published = f"{destination.rstrip('/')}/{model_name}" if destination and model_name else ""
    found["baseline_model_uri"] = _baseline(found, published)
    searched = tuning.check(found) if kind == TUNED else []
    targets = [*found["targets"], *targets_of(searched)]
    found["requirements"] = _requirements(found, kind, published, targets)
    _check_candidate(found)
    _check_workers(found)
    _check_fairness(found)
    declared_card.check(found["card"], "Parameter delivery.card")
    tried = candidates.parse(found["candidates"])
    candidates.check(tried, found)
    planned = plan(
        targets=found["targets"],
        sites=found["sites"],
        models_repository=found["models_repository"],
        destination=destination,
    )
    check_deployed(planned)
    own = {name: found[name] for theme in form.objects.values() for name in fields_of(theme)}
    found |= {
        handed.output(component): handed.together(component, own) for component in handed.COMPONENTS
    }
    found |= {
        "each_candidate": candidates.items(tried, found),
        "has_candidates": bool(tried),
        "each_target": planned.targets,
        "explains": found["explained_rows"] > 0,
        "has_targets": bool(planned.targets),
        "each_site": planned.sites,
        "has_sites": bool(planned.sites),
    }
    return tuple(found[name] for name in names())


def names() -> list[str]:
    """The outputs of the component, in order."""
    together = map(handed.output, handed.COMPONENTS)
    return sorted({*outputs(), *PLANNED, *together} - WORKED_IN)


def _baseline(found: Mapping[str, Any], published: str) -> str:
    """Where the baseline is: as given, or what is published under the model's name."""
    asked, location = str(found["baseline"]), str(found["baseline_model_uri"])
    if not asked:
        return location
    if location:
        raise EdgelineError(
            "Parameters evaluation.baseline and evaluation.baseline_model_uri both name a model to "
            "compare with: leave one out."
        )
    if not published:
        raise EdgelineError(
            "Parameter evaluation.baseline asks for what is published, but there is no destination "
            "and model_name: give them, or baseline_model_uri."
        )
    return f"{published}/{asked}"


def _check_candidate(found: Mapping[str, Any]) -> None:
    """Refuse a candidate that whoever serves would take for a version."""
    if found["candidate"] and not found["signing_keys"]:
        raise EdgelineError(
            "Parameter delivery.candidate is for a signed repository, since whoever serves a plain "
            "folder would take it for a version: give signing_keys, or leave it out."
        )
    if found["candidate"] and found["sites"]:
        raise EdgelineError(
            "Parameter delivery.candidate is given with sites, to which a candidate is not "
            "deployed: leave one out."
        )


def _check_workers(found: Mapping[str, Any]) -> None:
    """Refuse a training that several workers cannot share, as `train` would hours later."""
    count = int(found["workers"])
    precision.check(str(found["mixed_precision"]), count)
    sharing.check(
        count,
        int(found["batch_size"]),
        bool(found["jit_compile"]),
        gradient_norms=bool(found["gradient_norms"]),
    )
    sharing.check_place(count, str(found["checkpoint_dir"]))


def _check_fairness(found: Mapping[str, Any]) -> None:
    """Refuse fairness that a step would refuse later, and requirements that need it."""
    asked = fairness.parse(found["fairness"])
    fairness.check(
        asked,
        str(found["task"]),
        workers=int(found["workers"]),
        beam=bool(found["beam_options"]),
    )
    fairness.check_required(asked, parse(found["requirements"]).metrics)


def _requirements(
    found: Mapping[str, Any], kind: str, published: str, targets: Sequence[str]
) -> dict[str, Any]:
    """The requirements of a run, with the place of the versions that their trend is about."""
    given: dict[str, Any] = found["requirements"]
    wanted = parse(given)
    made = ("litert", "onnx") if kind == "pretrained" else ("litert",)
    chosen = str(found["quantisation"]) if kind in ("tabular", "candidates", "tuned") else ""
    check_devices(wanted, made, targets, chosen)
    if kind == "pretrained" and (wanted.metrics or wanted.trend):
        raise EdgelineError(
            "Parameter edge.requirements has metrics or a trend, but the pipeline pretrained "
            "evaluates no model: ask for metrics of devices, as verify computes them."
        )
    if wanted.trend is None or wanted.trend.versions_of:
        return given
    if not published:
        raise EdgelineError(
            "Parameter edge.requirements has a trend, but there is no destination and model_name: "
            "give them, or trend.versions_of."
        )
    return {**given, "trend": {**given["trend"], "versions_of": published}}
