"""A LiteRT model that was built, and what is to be told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgeline.components.convert.fallback import Candidate
from edgeline.components.convert.layer_errors import Layer
from edgeline.formats.quantisation import Quantisation


@dataclass(frozen=True)
class Built:
    """A LiteRT model and what is to be told of it.

    Attributes:
        lowered: how often each entry of `lowering` was used.
        quantisation: as asked for; of the model that was chosen where that was `auto`.
        layers: what hurts most first; empty for a floating model.
        candidates: of `auto`.
        cloud: the cloud model's metrics, where there are candidates.
    """

    model: bytes
    lowered: Mapping[str, int]
    quantisation: Quantisation
    layers: Sequence[Layer] = ()
    candidates: Sequence[Candidate] = ()
    cloud: Mapping[str, float | None] = field(default_factory=dict)
