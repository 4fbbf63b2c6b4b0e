"""What the pipelines that train have in common up to a model that is analyzed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeline.components.faces import analyze, train, transform, tune, validate
from edgeline.components.settings.objects import TUNED
from edgeline.pipelines.reading import fields, limits
from edgeline.pipelines.specialise import Channels

OUTPUTS = ("evaluation", "blessed", "decision_threshold")  # of analyze


@dataclass(frozen=True)
class Learned:
    """Outputs of tasks: the model, its evaluation, whether it is blessed, and how it decides."""

    model: Any
    evaluation: Any
    blessed: Any
    decision_threshold: Any


def prepare(form: Channels, settings: Any, examples: Any) -> tuple[Any, Any]:
    """Validate and transform: the two tasks.

    Args:
        settings: the task of `Channels.settings`.
        examples: the output of ingest.
    """
    checked = validate(
        examples=examples,
        label=form["label"],
        **fields(settings, "schema_uri", "environment", "infer_ranges", "on_anomalies"),
        **fields(settings, "baseline_uri", "skew_threshold", "drift_threshold", "comparison_rows"),
        **fields(settings, "beam_options"),
    ).set_display_name("validate the data")
    made = transform(
        examples=examples,
        schema=checked.outputs["schema"],
        module=form["module"],
        label=form["label"],
        **fields(settings, "beam_options", "analyzer_cache", "weight_column", "fairness"),
    ).set_display_name("make the features")
    return checked, made


def search(form: Channels, settings: Any, examples: Any, made: Any) -> Any:
    """Search for hyperparameters: the task.

    Args:
        settings: the task of `Channels.settings`.
        examples: the output of ingest.
        made: the task of transform.
    """
    return tune(
        examples=examples,
        transform_graph=made.outputs["transform_graph"],
        transformed_examples=made.outputs["transformed_examples"],
        module=form["module"],
        label=form["label"],
        **fields(settings, "objectives", "search_space", "trials", "search_seconds"),
        **fields(settings, "sampler", "sampler_seed", "pruning", "jobs", "memory_mb"),
        **fields(settings, "study_folder", "choose_by", "direction", "tie", "tie_within"),
        **fields(settings, "task", "steps", "batch_size", "steps_per_epoch", "patience"),
        **fields(settings, "hyperparameters", "label_vocabulary", "seed", "require_raw"),
        **fields(settings, "class_weights", "quantisation", "representative_rows"),
        **limits(settings),
    ).set_display_name("search for hyperparameters")


def learn(form: Channels, settings: Any, examples: Any) -> Learned:
    """Validate, transform, search where the form is of that kind, train, analyze.

    Args:
        settings: the task of `Channels.settings`.
        examples: the output of ingest.
    """
    _, made = prepare(form, settings, examples)
    given = fields(settings, "hyperparameters")
    if form.kind == TUNED:
        given = {
            "hyperparameters": search(form, settings, examples, made).outputs["hyperparameters"]
        }
    trained = train(
        transformed_examples=made.outputs["transformed_examples"],
        transform_graph=made.outputs["transform_graph"],
        module=form["module"],
        label=form["label"],
        **fields(settings, "task", "steps", "batch_size", "steps_per_epoch", "patience"),
        **fields(settings, "label_vocabulary", "seed", "checkpoint_dir"),
        **fields(settings, "require_raw", "class_weights", "fairness"),
        **fields(settings, "workers", "mixed_precision", "jit_compile", "gradient_norms"),
        **given,
    ).set_display_name("train the model")
    model = trained.outputs["model"]
    analyzed = analyze(
        examples=examples,
        model=model,
        **fields(settings, "eval_config", "baseline_model_uri", "decision_goal", "requirements"),
        **fields(settings, "beam_options", "fairness"),
    ).set_display_name("evaluate the model")
    return Learned(model, *(analyzed.outputs[name] for name in OUTPUTS))
