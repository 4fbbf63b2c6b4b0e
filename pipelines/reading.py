"""What the pipelines have in common: how the data is read, and how edge models are judged."""

from __future__ import annotations

from typing import Any

from edgeline.components.faces import ingest
from edgeline.pipelines.specialise import Channels


def read(form: Channels, settings: Any) -> Any:
    """The task that reads and splits the data.

    Args:
        settings: the task of `Channels.settings`.
    """
    fields = (
        *("split_ratios", "split_key", "delimiter", "encoding"),
        *("null_values", "column_types", "images"),
    )
    return ingest(
        data=form["data"],
        cache_name=form.cache_name,
        **{key: settings.outputs[key] for key in fields},
    ).set_display_name("read and split the data")


def limits(settings: Any) -> dict[str, Any]:
    """Arguments of `verify`: how far an edge model may be from its original."""
    fields = ("max_difference", "max_changed_decisions", "max_metric_drop")
    return {key: settings.outputs[key] for key in fields}
