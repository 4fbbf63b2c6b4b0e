"""What the pipelines have in common: how the data is read, and how edge models are judged."""

from __future__ import annotations

from typing import Any

from kfp import dsl

from edgeline.components.faces import explain, ingest
from edgeline.pipelines.specialise import Channels


def read(form: Channels, settings: Any, *more: str) -> Any:
    """The task that reads and splits the data.

    Args:
        settings: the task of `Channels.settings`.
        more: arguments of `ingest` that not all forms have.
    """
    return ingest(
        data=form["data"],
        cache_name=form.cache_name,
        **fields(settings, "split_ratios", "split_key", "split_by", "windows", "sample"),
        **fields(
            settings, "delimiter", "encoding", "null_values", "column_types", "decimal", "thousands"
        ),
        **fields(settings, "images", "columns", "lengths", "query", *more),
    ).set_display_name("read and split the data")


def limits(settings: Any) -> dict[str, Any]:
    """Arguments of `verify`: how far an edge model may be from its original, and on what."""
    return fields(
        settings,
        *("max_difference", "max_changed_decisions", "max_metric_drop", "never_missing"),
        "requirements",
    )


def explained(settings: Any, learned: Any, edge_model: Any, examples: Any) -> None:
    """The task that explains a model and its edge model, where rows are to be explained.

    Args:
        settings: the task of `Channels.settings`.
        learned: what `learning.learn` gives.
        edge_model: the output of convert.
        examples: the output of ingest.
    """
    with dsl.If(settings.outputs["explains"] == True, name="if explained"):  # noqa: E712
        explain(
            model=learned.model,
            edge_model=edge_model,
            examples=examples,
            decision_threshold=learned.decision_threshold,
            **fields(settings, "explained_rows", "explained_slices"),
        ).set_display_name("explain rows")


def fields(settings: Any, *names: str) -> dict[str, Any]:
    """Arguments of a component: the fields that are called as it calls them.

    Args:
        settings: the task of `Channels.settings`.
    """
    return {name: settings.outputs[name] for name in names}
