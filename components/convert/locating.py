"""Where an edge model goes its own way: the first tensor that differs from the cloud's.

Every tensor of the transform, and then of the network behind it, becomes an output of a float
LiteRT model and of a copy of the graph in TensorFlow. Both run on the same rows, the network on
what the cloud's transform gives, so that what is found in it is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeline.artifacts import differences
from edgeline.artifacts.models import PREDICT_TRANSFORMED, SERVING, TRANSFORM
from edgeline.artifacts.transformed import TRANSFORMED
from edgeline.components.convert import building, replay, running
from edgeline.components.convert.raw_form import RawForm
from edgeline.components.convert.running import Arrays
from edgeline.formats.dtypes import Array
from edgeline.formats.quantisation import FLOAT
from edgeline.formats.signature_names import original

MOST_ROWS, MOST_BYTES = 32, 1 << 28  # that are run; of all tensors together


@dataclass(frozen=True)
class FirstDifference:
    """The first tensor that differs.

    Attributes:
        tensor: its name in the SavedModel's graph.
        operator: TensorFlow's, which gives it.
        part: `transform` or `network`.
        of: the layer's name, or the transformed features that the tensor has a part in.
        cloud, edge: the two values that differ most.
    """

    tensor: str
    operator: str
    part: str
    of: str
    cloud: float
    edge: float

    def sentence(self) -> str:
        """What a person is told."""
        of = f" of {self.of}" if self.of else ""
        return (
            f"the first tensor that differs is {self.tensor!r}, made by {self.operator}{of}, in "
            f"the {self.part}: {self.cloud:.9g} in the cloud, {self.edge:.9g} on the edge"
        )


def first(tell: building.Tell, form: RawForm, rows: Arrays, worst: Array) -> FirstDifference | None:
    """The first tensor whose values differ by more than float rounding.

    Args:
        tell: is told what comes next.
        form: what the edge model takes, with the signatures that it was built of.
        rows: raw features, [rows, ...] each.
        worst: the difference of each row's answers: those that differ most are run, as many as
            memory has room for.

    Returns:
        None where all agree once each is an output: then operators differ only when fused.
    """
    chosen = np.argsort(-worst, kind="stable")[:MOST_ROWS]
    given = {name: values[chosen] for name, values in form.feed(rows).items()}
    network = SERVING
    if form.signatures.keys() >= {TRANSFORM, PREDICT_TRANSFORMED}:
        network = PREDICT_TRANSFORMED
        if form.takes != TRANSFORMED:
            exposed = replay.expose(form.signatures[TRANSFORM], raw=True)
            if found := _first(tell, exposed, given, "transform"):
                return found
            given = running.call(form.signatures[TRANSFORM], given)
    return _first(tell, replay.expose(form.signatures[network]), given, "network")


def _first(
    tell: building.Tell, exposed: replay.Exposed, rows: Arrays, part: str
) -> FirstDifference | None:
    names = exposed.cloud.function.structured_input_signature[1]
    row_bytes = sum(tensor.row_bytes for tensor in exposed.tensors.values())
    given = {name: rows[name][: max(1, MOST_BYTES // max(row_bytes, 1))] for name in names}
    cloud = running.call(exposed.cloud.function, given)
    edge = running.load(building.floating(tell, exposed.edge)).invoke(given)
    for key, tensor in exposed.tensors.items():
        wanted, found = cloud[key], edge[key]
        if wanted.shape != found.shape:
            continue  # what is not a column of rows
        if FLOAT.allows(differences.gap(found, wanted).of_range):
            continue
        place = int(np.argmax(differences.difference(found, wanted)))
        values = (float(side.reshape(-1)[place]) for side in (wanted, found))
        of = _features(tensor.makes) if part == "transform" else _layer(tensor.name)
        return FirstDifference(tensor.name, tensor.operator, part, of, *values)
    return None


def _features(names: Sequence[str]) -> str:
    kind = "feature" if len(names) == 1 else "features"
    return f"{kind} {', '.join(repr(original(name)) for name in names)}"


def _layer(name: str) -> str:
    """The scope that a tensor lies in: Keras writes a layer's operators into one of its name."""
    scopes = name.split("/")[:-1]
    return f"layer {scopes[-1]!r}" if scopes else ""
