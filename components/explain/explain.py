"""Explain a model and its edge model: what their predictions rest on, and whether that is the same.

`explanation/v1` holds `explanation.json` (all that the page shows, but for the pictures) and, of
rows that are tabular, `edge.parquet`, `cloud.parquet` and `gradients.parquet`: `row` of the split,
`score`, `base` and `attributions`, a list in the order of the `features` of `explanation.json`.
`base` and the attributions add up to the score.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from edgeline import artifacts
from edgeline.artifacts import Artifact, examples, models, sampling
from edgeline.artifacts.features import Feature
from edgeline.components.explain import (
    agreement,
    counterfactuals,
    dependence,
    gradients,
    heat_maps,
    importance,
    report,
    shortcuts,
)
from edgeline.components.explain import sides as both
from edgeline.components.explain.findings import Explained, ExplanationFindings
from edgeline.components.explain.gradients import Integrated
from edgeline.components.explain.sides import ExplainedSides
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes import isolated, shapley

SCHEMA = "explanation/v1"
COMPARED = 250  # rows of which the cloud model is asked as the edge model is
COUNTERFACTUALS = 10  # rows of which one is looked for
RECORDED = 2000  # background rows among which neighbours are looked for
EDGE_TIME, CLOUD_TIME, GRADIENT_TIME = 0.6, 0.75, 0.9  # of max_seconds, when each ends
MOST_ROWS = 100_000
AT_ONCE_BYTES = 256 << 20  # of rows that are held

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class ExplainPlan:
    """What is asked.

    Attributes:
        explained_rows: of the split, evenly spread.
        background_rows: whose values stand for an unknown one.
        explained_slices: columns by whose values importance is told, too.
        gradient_baseline: of integrated gradients, see `gradients.integrate`.
        min_agreement: the least median rank correlation of cloud and edge; -1: any.
        max_seconds: after which no more rows are explained.
        seed: of orders and resamples.
    """

    explained_rows: int = 500
    background_rows: int = 100
    explained_slices: tuple[str, ...] = ()
    gradient_baseline: str = gradients.MEAN
    min_agreement: float = -1.0
    max_seconds: int = 600
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises: EdgelineError: a value that cannot be, by the name of its parameter."""
        if not 1 <= self.explained_rows <= MOST_ROWS:
            raise EdgelineError(
                f"explained_rows is {self.explained_rows}: give 1 to {MOST_ROWS:,}."
            )
        if self.background_rows < 1:
            raise EdgelineError(f"background_rows is {self.background_rows}: give 1 or more.")
        if self.gradient_baseline not in gradients.BASELINES:
            raise EdgelineError(
                f"gradient_baseline is {self.gradient_baseline!r}: give one of "
                f"{', '.join(gradients.BASELINES)}."
            )
        if not -1 <= self.min_agreement <= 1:
            raise EdgelineError(
                f"min_agreement is {self.min_agreement:g}, but a rank correlation lies within -1 "
                "and 1: give 0.9, say, or -1 for no limit."
            )
        if self.max_seconds < 1:
            raise EdgelineError(f"max_seconds is {self.max_seconds}: give 1 or more.")
        if self.seed < 0:
            raise EdgelineError(f"seed is {self.seed}: give 0 or more.")


@dataclass(frozen=True)
class Explanation:
    """Whether cloud and edge agree as is asked, the artifact's metadata, and metrics."""

    agrees: bool
    metadata: dict[str, object]
    metrics: dict[str, float]


def explain(
    model_path: str | None,
    edge_model_path: str,
    examples_path: str,
    explanation_path: str | Path,
    explanation_report_path: str | Path,
    plan: ExplainPlan,
    split: str = "eval",
    background_split: str = "train",
    decision_threshold: float = 0.0,
    compiled_model_path: str = "",
) -> Explanation:
    """Explain rows of a split by both models, and write an `explanation/v1` folder and a page.

    Args:
        model_path: the original of the edge model: a `model/v1` folder, or that of an imported
            model; None: an imported edge model by itself.
        edge_model_path: an `edge_model/v1` or `onnx_model/v1` folder.
        examples_path: an `examples/v1` folder.
        background_split: whose rows stand for unknown values.
        decision_threshold: above it a binary prediction is a yes; 0: the one that is kept with the
            edge model, or 0.5.
        compiled_model_path: a `compiled_model/v1` folder, explained in the edge model's place where
            its target has a runtime; "": the edge model.

    Raises:
        EdgelineError: an input is damaged or not of the others, a split or column is absent, or a
            model refuses a row.
    """
    rows = artifacts.read(examples_path, examples.SCHEMA)
    for each in (split, background_split):
        examples.arrow_schema(rows, each)  # an absent or empty split ends here
    _check_columns(plan.explained_slices, examples.arrow_schema(rows, split))
    sides = both.load(model_path, edge_model_path, compiled_model_path, decision_threshold)
    features = models.raw_features(sides.original.artifact)
    pictures = [f.name for f in features if len(f.shape) == 3]
    fit = _fit(features)
    alone = len(pictures) == len(features)
    most = min(plan.explained_rows, heat_maps.MOST_PICTURES if alone else fit)
    given = examples.read_spread(rows, split, sides.original.takes, most)
    numbers = sampling.spread(examples.splits(rows)[split], most)
    wanted = min(plan.explained_rows, examples.splits(rows)[split])
    recorded = examples.read_spread(rows, background_split, features, min(RECORDED, fit))
    some = sampling.spread(len(next(iter(recorded.values()))), plan.background_rows)
    background = {name: array[some] for name, array in recorded.items()}
    label = _label(sides, given)
    given = {name: given[name] for name in sides.features}
    targets = sides.targets(sides.cloud(given))
    found = ExplanationFindings(
        sides,
        split,
        numbers,
        plan.min_agreement,
        plan.gradient_baseline,
        len(some),
        limits=tuple(_limits(len(numbers), wanted, alone, plan.explained_slices)),
    )
    print(f"{len(numbers):,} rows of split {split!r} are explained.", flush=True)
    begun = time.monotonic()
    if not alone:
        found = _tabular(found, plan, given, targets, recorded, background, label, begun)
        assert found.edge is not None
        words = _words(rows, split, plan.explained_slices, numbers[found.edge.rows])
        found = _by_slice(found, plan, words)
    found = _pictures(found, plan, given, targets, background, pictures, begun)
    for each in (*found.notes(), *found.warnings()):
        print(each, flush=True)
    with artifacts.writing(explanation_path, SCHEMA) as draft:
        _write(draft.path, found)
        draft.metadata.update(found.summary())
        draft.metadata["edge_model_digest"] = models.read_edge(edge_model_path).digest
        draft.metadata["examples_digest"] = rows.digest
        metadata = dict(draft.metadata)
    report.write(explanation_report_path, found)
    return Explanation(found.agrees, {"edgeline_schema": SCHEMA, **metadata}, found.metrics())


def _tabular(
    found: ExplanationFindings,
    plan: ExplainPlan,
    given: Arrays,
    targets: npt.NDArray[np.int64],
    recorded: Arrays,
    background: Arrays,
    label: Array | None,
    begun: float,
) -> ExplanationFindings:
    """What is told of rows by their raw features."""
    sides, names = found.sides, list(given)

    def attributed(
        side: both.ExplainedSide, chosen: npt.NDArray[np.int64], share: float
    ) -> Explained:
        made = shapley.attribute(
            side.models,
            {name: array[chosen] for name, array in given.items()},
            found.numbers[chosen],
            targets[chosen],
            background,
            plan.seed,
            begun + share * plan.max_seconds,
        )
        kept = chosen[made.done]
        return Explained(kept, made.values[made.done], made.base[made.done], made.score[made.done])

    edge = attributed(sides.edge, np.arange(len(targets)), EDGE_TIME)
    compared = edge.rows[sampling.spread(len(edge.rows), COMPARED)]
    cloud = attributed(sides.cloud, compared, CLOUD_TIME)
    same = np.searchsorted(edge.rows, cloud.rows)
    correlations = agreement.spearman(cloud.values, edge.values[same])
    between = f"permutation SHAP of {sides.cloud.words} and of {sides.edge.words}"
    found = replace(
        found,
        names=tuple(names),
        edge=edge,
        cloud=cloud,
        correlations=correlations,
        agreement=agreement.agreement(between, correlations),
    )
    integrated, reason = _integrated(
        found,
        plan,
        {name: array[edge.rows] for name, array in given.items()},
        targets[edge.rows],
        background,
        begun + GRADIENT_TIME * plan.max_seconds,
    )
    methods = None
    if integrated is not None:
        correlated = agreement.spearman(integrated.raw, edge.values[integrated.rows])
        words = f"integrated gradients of {sides.cloud.words} and permutation SHAP of the edge"
        methods = agreement.agreement(words, correlated)
    important = importance.importances(edge.values, names, plan.seed)
    ordered = [each.feature for each in important]
    flat = [name for name in ordered if given[name].ndim < 4]
    measured = None
    if label is not None:
        measured = shortcuts.skill(
            sides.edge.models[0], given, label, sides.task, ordered, plan.seed
        )
    target = int(np.bincount(targets).argmax())
    few = sampling.spread(len(targets), COUNTERFACTUALS)
    others = []
    if sides.task != "regression":
        others = counterfactuals.counterfactuals(
            sides,
            {name: array[few] for name, array in given.items()},
            found.numbers[few].tolist(),
            recorded,
        )
    return replace(
        found,
        integrated=integrated,
        without_gradients=reason,
        methods=methods,
        importances=tuple(important),
        skill=measured,
        shortcuts=tuple(shortcuts.shortcuts(important, measured)),
        dependence_of=sides.explained_name(target),
        dependences=tuple(
            dependence.dependences(
                sides.cloud.models[0], sides.edge.models[0], recorded, flat, target
            )
        ),
        counterfactuals=tuple(others),
        values={name: given[name] for name in names},
    )


def _by_slice(
    found: ExplanationFindings, plan: ExplainPlan, words: Mapping[str, list[str]]
) -> ExplanationFindings:
    if not words or found.edge is None:
        return found
    slices = importance.by_slice(found.edge.values, found.names, words, plan.seed)
    told = {each.column for each in slices}
    without = ", ".join(repr(column) for column in words if column not in told)
    limits = found.limits
    if without:
        limits += (
            f"Of explained_slices, {without} has no slice here: none of at least "
            f"{importance.LEAST_ROWS} explained rows is among the first {importance.MOST_SLICES}.",
        )
    return replace(found, slices=tuple(slices), limits=limits)


def _pictures(
    found: ExplanationFindings,
    plan: ExplainPlan,
    given: Arrays,
    targets: npt.NDArray[np.int64],
    background: Arrays,
    pictures: Sequence[str],
    begun: float,
) -> ExplanationFindings:
    """What is told of rows by their pictures, of which a few rows are looked at."""
    if not pictures:
        return found
    few = sampling.spread(len(targets), heat_maps.MOST_PICTURES)
    rows = {name: array[few] for name, array in given.items()}
    until = begun + plan.max_seconds
    integrated, reason = _integrated(found, plan, rows, targets[few], background, until)
    maps = [
        heat_maps.heat_maps(
            found.sides.cloud,
            found.sides.edge,
            rows,
            found.numbers[few],
            targets[few],
            background,
            name,
            _of_all(integrated, name),
        )
        for name in pictures
    ]
    found = replace(found, maps=tuple(maps))
    if found.edge is None:
        correlations = np.concatenate([each.correlations for each in maps])
        between = f"occlusion of {found.sides.cloud.words} and of {found.sides.edge.words}"
        found = replace(
            found,
            integrated=integrated,
            without_gradients=reason,
            correlations=correlations,
            agreement=agreement.agreement(between, correlations),
        )
    return found


def _of_all(made: Integrated | None, picture: str) -> Array | None:
    """The gradients of a picture, of all rows that were given; NaN of those without."""
    if made is None or picture not in made.maps:
        return None
    known = made.maps[picture]
    whole = np.full((made.asked, *known.shape[1:]), np.nan, known.dtype)
    whole[made.rows] = known
    return whole


def _integrated(
    found: ExplanationFindings,
    plan: ExplainPlan,
    given: Arrays,
    targets: npt.NDArray[np.int64],
    background: Arrays,
    until: float,
) -> tuple[Integrated | None, str]:
    """Integrated gradients of the cloud model, or why there are none."""
    original = found.sides.original
    if original.imported:
        return None, (
            f"The original is {original.words}, which tells no gradients: permutation SHAP and "
            "occlusion stand alone."
        )
    arguments = (
        given,
        targets,
        background,
        plan.gradient_baseline,
        found.sides.task != "regression",
        until,
    )
    try:
        if original.foreign:
            place = models.saved_model_path(original.artifact)
            made: Integrated = isolated.call(
                place, gradients.integrate, original.artifact, *arguments
            )
            return made, ""
        return gradients.integrate(_silent, original.artifact, *arguments), ""
    except gradients.NotDifferentiableError as error:
        return None, str(error)
    except EdgelineError as error:
        if not original.foreign:
            raise
        return None, str(error)  # its class stays in its process


def _silent(_: str) -> None:
    pass


def _fit(features: Sequence[Feature]) -> int:
    """How many rows of raw features are at most `AT_ONCE_BYTES`."""
    return max(1, AT_ONCE_BYTES // max(8 * sum(math.prod(f.shape) for f in features), 1))


def _limits(rows: int, wanted: int, alone: bool, slices: Sequence[str]) -> list[str]:
    """What was asked for and cannot be, in sentences.

    Args:
        rows: that are taken of those `wanted`.
        alone: whether the model takes pictures alone.
    """
    told = []
    if rows < wanted and alone:
        told.append(
            f"{rows:,} of the {wanted:,} rows are explained: of a model that takes pictures alone, "
            f"at most {heat_maps.MOST_PICTURES}, whatever explained_rows says."
        )
    elif rows < wanted:
        told.append(
            f"{rows:,} of the {wanted:,} rows are explained, whatever explained_rows says: "
            f"they are so large that no more are held in memory ({AT_ONCE_BYTES >> 20} MiB)."
        )
    if alone and slices:
        told.append(
            f"explained_slices ({', '.join(slices)}) tells nothing of this model: it takes "
            "pictures alone, whose importance is told picture by picture."
        )
    return told


def _label(sides: ExplainedSides, given: Arrays) -> Array | None:
    if not sides.original.labelled:
        return None
    return np.asarray(sides.original.evaluate(given)[models.LABEL]).reshape(-1)


def _check_columns(columns: Sequence[str], schema: pa.Schema) -> None:
    for name in columns:
        if name not in schema.names:
            raise EdgelineError(
                f"explained_slices has column {name!r}, which the examples do not have: they have "
                f"{', '.join(schema.names)}."
            )


def _words(
    rows: Artifact, split: str, columns: Sequence[str], numbers: npt.NDArray[np.int64]
) -> dict[str, list[str]]:
    """The values of some rows, in order, as words by column."""
    found: dict[str, list[str]] = {name: [] for name in columns}
    if not columns:
        return found
    start = 0
    for batch in examples.read_batches(rows, split, list(columns)):
        here = numbers[(numbers >= start) & (numbers < start + len(batch))] - start
        start += len(batch)
        for name in columns:
            values = batch.column(name).take(pa.array(here)).to_pylist()
            found[name] += [
                dependence.MISSING_WORD if value is None else dependence.in_words(value)
                for value in values
            ]
    return found


def _write(folder: Path, found: ExplanationFindings) -> None:
    artifacts.write_json(folder / "explanation.json", found.to_json())
    parts: dict[str, Explained | None] = {"edge": found.edge, "cloud": found.cloud}
    if found.edge is not None and found.integrated is not None:
        made = found.integrated
        rows = found.edge.rows[made.rows]
        parts["gradients"] = Explained(rows, made.raw, made.base, made.base + made.raw.sum(axis=1))
    for name, each in parts.items():
        if each is not None:
            pq.write_table(_table(each, found.numbers), folder / f"{name}.parquet")


def _table(each: Explained, numbers: npt.NDArray[np.int64]) -> pa.Table:
    flat = pa.array(each.values.reshape(-1))
    return pa.table(
        {
            "row": numbers[each.rows],
            "score": each.score,
            "base": each.base,
            "attributions": pa.FixedSizeListArray.from_arrays(flat, each.values.shape[1]),
        }
    )
