"""What the weights of rows count in, in a sentence.

The loss, `val_loss` and the metrics of `edgeline.runtimes.metrics` are weighted. What build_model
compiles as `metrics` Keras counts row by row, and as `weighted_metrics` by weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from edgeline.components.train.gradients import NORM
from edgeline.runtimes.metric_names import NAMES

if TYPE_CHECKING:
    import keras


def note(column: str, network: keras.Model, names: Iterable[str]) -> str:
    """Of the numbers that a training tells, which are weighted and which are not.

    Args:
        column: the weights' column.
        network: compiled; its metrics are looked at.
        names: of all that Keras told of an epoch.
    """
    weighted = set(_named(network.get_compile_config().get("weighted_metrics")))
    told = dict.fromkeys(name.removeprefix("val_") for name in names)
    once = [
        name
        for name in told
        if name not in ("loss", NORM)
        and name not in NAMES
        and name not in weighted
        and not name.startswith("weighted_")  # Keras', where a metric is compiled as both
    ]
    if not once:
        return f"weighted by {column}"
    return (
        f"weighted by {column}, but in {', '.join(once)} each row counts once, as build_model "
        "compiles it in metrics and not in weighted_metrics"
    )


def _named(metrics: Any) -> Iterator[str]:
    """The names of metrics in a compile config: names, serialized ones, lists and dicts of them."""
    if isinstance(metrics, str):
        yield metrics
    elif isinstance(metrics, dict) and isinstance(metrics.get("config"), dict):
        yield str(metrics["config"].get("name", ""))
    elif isinstance(metrics, (list, tuple, dict)):
        for each in metrics.values() if isinstance(metrics, dict) else metrics:
            yield from _named(each)
