"""Before the training: whether an edge model of this transform could take raw features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeline.artifacts.features import Feature
from edgeline.components.convert import known_operators, raw_form, transform_check
from edgeline.components.train.network import build, taken
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, limits


def require(
    graph: Path,
    module: str,
    columns: Sequence[Feature],
    hyperparameters: Mapping[str, object],
    label: str,
) -> None:
    """Refuse a transform that LiteRT cannot have.

    Operators that are known to convert cost nothing here; for others the transform is converted.

    Args:
        graph: a folder in the layout of `tft.TFTransformOutput`.
        module: the user's module, whose network says which features it takes.
        columns: the outputs of the transform.
        label: the one that no model takes.

    Raises:
        EdgelineError: an operator cannot be converted; it is named, with its features.
    """
    transform_fn = graph / "transform_fn"
    if known_operators.only_known(transform_fn, label):
        return
    features = [column for column in columns if column.name != label]
    try:
        found = child.call(
            transform_check.lacking,
            str(transform_fn),
            features,
            memory=limits.converter_room(transform_fn),
        )
    except child.ChildError as error:  # of the converter, which convert will meet and name
        print(
            f"Whether the transform converts is not known: the converter {error.how}.", flush=True
        )
        return
    if not found:
        return
    names = {feature.name for feature in taken(build(module, features, hyperparameters), features)}
    kept = {name: lack for name, lack in found.items() if names & set(lack.makes)}
    if kept:
        raise EdgelineError(raw_form.refusal(kept, "require_raw (edge.require_raw)"))
