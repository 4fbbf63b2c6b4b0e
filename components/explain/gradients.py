"""Integrated gradients of a cloud model, in the space of its transformed features.

M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks", 2017: on the straight
way from a baseline to a row the gradients of the score are added up; the parts of a row add up to
the score's difference between both ends, which is checked.

A whole number has no gradient. What a network makes of one by an embedding, one-hot encoding or a
cast has: the network is cut where only floating numbers flow, as convert cuts it, and the way goes
from the baseline's numbers there to the row's. The parts of an embedding together are those of its
feature. The baseline is there, too: the mean of the background's numbers, so of an embedding the
mean embedding.

What a transformed feature adds is carried back to the raw features that the transform makes it of,
in equal parts where it is made of several: gradients do not tell these apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts import Artifact, models
from edgeline.artifacts.features import MISSING
from edgeline.errors import EdgelineError, first_line
from edgeline.formats.dtypes import Array
from edgeline.formats.signature_names import original
from edgeline.runtimes.shapley import evenly

if TYPE_CHECKING:
    from edgeline.components.convert.freezing import Frozen

MEAN, ALL_MISSING = "mean", "missing"
BASELINES = (MEAN, ALL_MISSING)
COMPLETE = 1e-3  # of the score's scale: by how much the parts of a row may miss its difference
FIRST_STEPS, MOST_STEPS = 32, 4096  # of a way
AT_ONCE_BYTES = 32 << 20  # of the points of ways

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


class NotDifferentiableError(EdgelineError):
    """A model of which there are no gradients; the sentence says why."""


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients of some of the rows that were given.

    Attributes:
        asked: how many were given.
        rows: the places among them of those for which there was time, int64 [explained], rising.
        raw: what each raw feature adds to the score, float64 [explained, raw features].
        transformed: what each transformed feature adds, float64 [explained, transformed features].
        names: of the transformed features.
        error: by how much a row's parts miss the difference of its score from the baseline's, as a
            share of the score's scale, float64 [explained], finite.
        steps: on the way of each row, int64 [explained].
        scale: of the score: 1 of probabilities, else the standard deviation over the rows.
        base: the baseline's score of what is explained of each row, float64 [explained].
        made_of: the raw features that each transformed one is made of.
        at: by transformed feature where its gradients are taken: "itself", or "AddV2 …", the
            operator behind which it is floating.
        maps: what each value adds, of transformed features that are pictures and are made of one
            raw feature, by the raw one's name: float32 [explained, height, width, channels].
    """

    asked: int
    rows: npt.NDArray[np.int64]
    raw: Floats
    transformed: Floats
    names: tuple[str, ...]
    error: Floats
    steps: npt.NDArray[np.int64]
    scale: float
    base: Floats
    made_of: Mapping[str, tuple[str, ...]]
    at: Mapping[str, str]
    maps: Mapping[str, Array]


def integrate(
    tell: Callable[[str], None],
    model: Artifact,
    rows: Arrays,
    targets: npt.NDArray[np.int64],
    background: Arrays,
    baseline: str = MEAN,
    is_probability: bool = True,
    until: float = float("inf"),
) -> Integrated:
    """Explain rows by the gradients of a `model/v1`. May run in a process of its own.

    Args:
        tell: is told what comes next.
        rows: raw features, [rows, ...] each.
        targets: which output is explained of each row, int64 [rows].
        background: raw rows whose mean is the baseline.
        baseline: MEAN, or ALL_MISSING: a row of missing values.
        is_probability: whether the score is one; else its scale is that of the rows.
        until: `time.monotonic()`, which all processes of a machine share, after which rows that are
            not complete are left out. The others are about evenly spread.

    Raises:
        NotDifferentiableError: the network has an input that no floating number is made of, or
            what it is made of is not a row each; a score or a gradient is not finite; or there was
            time for no row.
    """
    import tensorflow as tf

    tell("asked for its gradients")
    try:
        return _integrated(model, rows, targets, background, baseline, is_probability, until)
    except (tf.errors.OpError, ValueError, TypeError, LookupError, NotImplementedError) as error:
        raise NotDifferentiableError(
            f"The network cannot be asked for gradients ({first_line(error)})."
        ) from error


def _integrated(
    model: Artifact,
    rows: Arrays,
    targets: npt.NDArray[np.int64],
    background: Arrays,
    baseline: str,
    is_probability: bool,
    until: float,
) -> Integrated:
    transform, takes = models.load_signature(model, models.TRANSFORM)
    network = _Network(transform.loaded.signatures)  # type: ignore[attr-defined]
    if baseline == ALL_MISSING:
        empty = {f.name: np.full((1, *f.shape), MISSING[f.dtype]) for f in takes}
        empty = {f.name: empty[f.name].astype(rows[f.name].dtype) for f in takes}
        base = network.cut_values(transform(empty))
    else:
        spread = network.cut_values(transform(background))
        base = [values.mean(axis=0, keepdims=True, dtype=np.float64) for values in spread]
    base = [np.asarray(values, np.float32) for values in base]
    explained, which = np.unique(targets, return_inverse=True)
    at_base = network.scores(explained, [np.repeat(each, len(explained), axis=0) for each in base])
    if not np.isfinite(at_base).all():
        start = "A row of missing values" if baseline == ALL_MISSING else "The background's mean"
        way = ", or take gradient_baseline mean" if baseline == ALL_MISSING else ""
        raise NotDifferentiableError(
            f"{start}, where they begin, has a score of {at_base[~np.isfinite(at_base)][0]:g}: "
            f"fill missing values in preprocessing_fn{way}."
        )
    ends = network.cut_values(transform(rows))
    own = network.scores(targets, ends)
    if wrong := int((~np.isfinite(own)).sum()):
        raise NotDifferentiableError(
            f"{wrong:,} of {len(own):,} rows have a score in the cloud model that is not finite: "
            "fill missing values in preprocessing_fn."
        )
    scale = 1.0 if is_probability else (float(own.std()) or 1.0)
    every, error, steps = _along(network, targets, base, ends, own - at_base[which], scale, until)
    done = np.flatnonzero(steps)
    if not len(done):
        raise NotDifferentiableError(
            "There was no time for them: raise max_seconds, or ask for fewer rows."
        )
    if wrong := int((~np.isfinite(error[done])).sum()):
        raise NotDifferentiableError(
            f"{wrong:,} of {len(done):,} rows have gradients that are not finite, such as that of "
            "a root at 0 or of a missing value: fill missing values in preprocessing_fn."
        )
    parts = [each[done] for each in every]
    names = tuple(network.features)
    transformed = np.zeros((len(done), len(names)))
    for made_of, values in zip(network.cut_features, parts, strict=True):
        whole = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
        for name in made_of:
            transformed[:, names.index(name)] += whole / len(made_of)
    made = network.made_of
    raw_names = list(rows)
    raw = np.zeros((len(done), len(raw_names)))
    for at, name in enumerate(names):
        for each in made[name]:
            raw[:, raw_names.index(each)] += transformed[:, at] / len(made[name])
    return Integrated(
        len(targets),
        done,
        raw,
        transformed,
        names,
        error[done],
        steps[done],
        scale,
        at_base[which][done],
        made,
        network.places,
        _maps(network, parts, rows),
    )


class _Network:
    """The network of a cloud model, cut where only floating numbers flow."""

    def __init__(self, signatures: Any) -> None:
        import tensorflow as tf

        from edgeline.components.convert.dependencies import ancestors
        from edgeline.components.convert.freezing import freeze

        if models.PREDICT_TRANSFORMED not in signatures:
            raise NotDifferentiableError("The model has no signature of transformed features.")
        predict = freeze(signatures[models.PREDICT_TRANSFORMED])
        self._cut = predict.cut()
        nodes = {spec.name: original(name) for name, spec in predict.takes.items()}
        self.features = sorted(nodes.values())
        self.cut_features = [
            sorted(nodes[node] for node in ancestors([tensor.op]) & nodes.keys())
            for tensor in self._cut
        ]
        for tensor, made_of in zip(self._cut, self.cut_features, strict=True):
            if not tensor.dtype.is_floating:
                raise NotDifferentiableError(
                    f"The network reads {tensor.name!r}, made of {', '.join(made_of)}, as "
                    f"{tensor.dtype.name}, which has no gradient."
                )
        self.places = {name: _place(name, nodes, self._cut, self.cut_features)
                       for name in self.features}  # fmt: skip
        self.inputs = [tensor.op.name in nodes for tensor in self._cut]
        self.made_of = _made_of(freeze(signatures[models.TRANSFORM]), self.features)
        definition = predict.graph.as_graph_def()
        taken = {f"{spec.name}:0": original(name) for name, spec in predict.takes.items()}

        def captured() -> dict[str, tf.Tensor]:
            return {name: tf.identity(handle) for name, handle in predict.handles.items()}

        @tf.function(autograph=False)  # type: ignore[untyped-decorator]
        def front(given: dict[str, tf.Tensor]) -> list[tf.Tensor]:
            fed = {name: given[feature] for name, feature in taken.items()}
            found: list[tf.Tensor] = tf.import_graph_def(
                definition,
                {**captured(), **fed},
                [tensor.name for tensor in self._cut],
                name="front",
            )
            return found

        [answer] = [t.name for name, t in predict.gives.items() if name == models.PREDICTION]
        specs = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in self._cut]

        @tf.function(  # type: ignore[untyped-decorator]
            autograph=False, input_signature=[tf.TensorSpec([None], tf.int64), *specs]
        )
        def slopes(targets: tf.Tensor, *values: tf.Tensor) -> tuple[tf.Tensor, ...]:
            fed = {tensor.name: v for tensor, v in zip(self._cut, values, strict=True)}
            [scores] = tf.import_graph_def(
                definition, {**captured(), **fed}, [answer], name="network"
            )
            scores = tf.reshape(scores, [tf.shape(targets)[0], -1])
            score = tf.gather(scores, targets, batch_dims=1)
            # what a network rounds or compares has no gradient: completeness tells
            return (score, *tf.gradients(score, values, unconnected_gradients="zero"))

        self._front, self._slopes = front, slopes

    def cut_values(self, transformed: Arrays) -> list[Array]:
        """What flows at the cut, float [rows, ...] each, of transformed features."""
        rows = len(next(iter(transformed.values())))
        found = [each.numpy() for each in self._front(dict(transformed))]
        for tensor, values in zip(self._cut, found, strict=True):
            if values.ndim == 0 or len(values) != rows:
                raise NotDifferentiableError(
                    f"What the network makes of its whole numbers has the shape "
                    f"{list(values.shape)} for {rows} rows in {tensor.name!r}, not one for each."
                )
        return found

    def slopes(
        self, targets: npt.NDArray[np.int64], values: Sequence[Array]
    ) -> tuple[Floats, list[Array]]:
        """Scores [rows] and their gradients by what flows at the cut."""
        score, *found = self._slopes(targets, *values)
        return score.numpy().astype(np.float64), [each.numpy() for each in found]

    def scores(self, targets: npt.NDArray[np.int64], values: Sequence[Array]) -> Floats:
        """Scores [rows] alone, of as many rows as there are."""
        found, together = np.empty(len(targets)), _fit(values)
        for start in range(0, len(targets), together):
            here = slice(start, start + together)
            found[here], _ = self.slopes(targets[here], [each[here] for each in values])
        return found


def _fit(values: Sequence[Array]) -> int:
    """How many points of ways are at most `AT_ONCE_BYTES`."""
    point = sum(int(each[0].nbytes) for each in values)
    return max(1, AT_ONCE_BYTES // max(point, 1))


def _along(
    network: _Network,
    targets: npt.NDArray[np.int64],
    base: Sequence[Array],
    ends: Sequence[Array],
    difference: Floats,
    scale: float,
    until: float,
) -> tuple[list[Array], Floats, npt.NDArray[np.int64]]:
    """The parts at the cut, float64 [rows, ...] each, their error and the steps of each row, which
    are 0 where there was no time to make it complete.

    The middle of equal steps, twice as many for rows that are not complete yet: what a ReLU bends
    at a point is not a polynomial, so a rule of higher order gains nothing. Some rows are completed
    before others are begun, so that an end of the time leaves whole ones.
    """
    rows = len(targets)
    parts = [np.zeros((rows, *each.shape[1:])) for each in ends]
    error, taken = np.full(rows, np.inf), np.zeros(rows, np.int64)
    order, together = np.array(evenly(rows), np.int64), max(1, _fit(ends) // FIRST_STEPS)
    for start in range(0, rows, together):
        waiting, steps = np.sort(order[start : start + together]), FIRST_STEPS
        while len(waiting):
            some = [each[waiting] for each in ends]
            found = _parts(network, targets[waiting], base, some, steps, until)
            if found is None:
                return parts, error, taken
            whole = sum(each.reshape(len(each), -1).sum(axis=1) for each in found)
            error[waiting] = np.abs(whole - difference[waiting]) / scale
            for mine, each in zip(parts, found, strict=True):
                mine[waiting] = each
            # what is not finite stays so
            left = (error[waiting] > COMPLETE / 2) & (steps < MOST_STEPS)
            taken[waiting[~left]] = steps
            waiting, steps = waiting[left], 2 * steps
    return parts, error, taken


def _parts(
    network: _Network,
    targets: npt.NDArray[np.int64],
    base: Sequence[Array],
    ends: Sequence[Array],
    steps: int,
    until: float,
) -> list[Floats] | None:
    """Differences times the mean gradient over the points of each row's way, float64 [rows, ...];
    None where the time ended before."""
    shares = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
    total = [np.zeros(each.shape) for each in ends]
    most = _fit(ends)
    of_row = min(steps, most)  # points of a row at once
    together = max(1, most // steps)
    for start in range(0, len(targets), together):
        here = slice(start, start + together)
        rows = len(targets[here])
        for first in range(0, steps, of_row):
            if time.monotonic() > until:
                return None
            some = shares[first : first + of_row]
            points = []
            for low, end in zip(base, ends, strict=True):
                high, share = end[here], some.reshape(1, -1, *[1] * (end.ndim - 1))
                way = low[:, None] + share * (high - low)[:, None]
                points.append(way.reshape(-1, *end.shape[1:]).astype(end.dtype))
            _, found = network.slopes(np.repeat(targets[here], len(some)), points)
            for mine, slope in zip(total, found, strict=True):
                by_row = slope.reshape(rows, len(some), *mine.shape[1:])
                mine[here] += by_row.sum(axis=1, dtype=np.float64)
    return [
        (high - low) * slopes / steps for low, high, slopes in zip(base, ends, total, strict=True)
    ]


def _made_of(transform: Frozen, features: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By transformed feature the raw ones, from the graph that makes it."""
    from edgeline.components.convert.dependencies import ancestors

    raw = {spec.name: original(name) for name, spec in transform.takes.items()}
    outputs = {original(name): tensor for name, tensor in transform.gives.items()}
    return {
        name: tuple(sorted(raw[node] for node in ancestors([outputs[name].op]) & raw.keys()))
        for name in features
    }


def _place(
    name: str,
    nodes: Mapping[str, str],
    cut: Sequence[Any],
    cut_features: Sequence[Sequence[str]],
) -> str:
    """Where the gradients of a feature are taken, in words."""
    behind = [t.op for t, made in zip(cut, cut_features, strict=True) if name in made]
    if not behind:
        return "not read by the network"
    if all(nodes.get(operator.name) == name for operator in behind):
        return "itself"
    kinds = sorted({operator.type for operator in behind})
    embedded = {"GatherV2", "ResourceGather", "Gather", "Reshape", "Identity"}
    return "its embedding" if embedded.issuperset(kinds) else f"behind {', '.join(kinds)}"


def _maps(network: _Network, parts: Sequence[Array], rows: Arrays) -> dict[str, Array]:
    found = {}
    for made, values, is_input in zip(network.cut_features, parts, network.inputs, strict=True):
        if is_input and values.ndim == 4 and len(made) == 1:
            raw = network.made_of[made[0]]
            if len(raw) == 1 and rows[raw[0]].ndim == 4:
                found[raw[0]] = values.astype(np.float32)
    return found
