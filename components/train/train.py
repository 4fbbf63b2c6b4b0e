"""The worker of `train`: transformed examples and the user's build_model to a SavedModel."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgeline import artifacts, user_code
from edgeline.artifacts import Artifact, Draft, example_weights, examples, fairness, models
from edgeline.artifacts.features import Feature
from edgeline.artifacts.ranges import KEY as RANGES
from edgeline.components.train import (
    checkpoints,
    class_weights,
    embeddings,
    leakage,
    raw_features,
    weighing,
)
from edgeline.components.train.building import taken
from edgeline.components.train.export import check_names, export
from edgeline.components.train.fitting import Fitting, fit
from edgeline.components.train.gradients import NORM
from edgeline.components.train.judging import judge
from edgeline.components.train.report import write_report
from edgeline.components.train.saving import FittingState
from edgeline.components.train.spreading import check_places, spread
from edgeline.components.train.steps import StepTimes
from edgeline.components.train.workers import SharedTraining
from edgeline.components.transform.saved_graph import SavedGraph, check_label, vocabulary
from edgeline.components.transform.transform import GRAPH_SCHEMA
from edgeline.errors import EdgelineError
from edgeline.formats.doubles import whole
from edgeline.runtimes.metric_names import NAMES
from edgeline.stores.destinations import in_cluster


def train(
    transformed_examples_path: str,
    transform_graph_path: str,
    module: str,
    task: str,
    how: Fitting,
    model_path: str,
    training_report_path: str,
    hyperparameters: Mapping[str, object] | None = None,
    label_vocabulary: str = "",
    checkpoint_dir: str = "",
    require_raw: bool = False,
    on_epoch: Callable[[FittingState], None] | None = None,
    transformed_examples_uri: str = "",
) -> dict[str, Any]:
    """Train, export and report.

    With `how.workers` above 1 the training itself is done by as many processes, here or in a
    cluster by the pods of a Job; this process exports what they came to.

    Args:
        transformed_examples_path: a `transformed_examples/v1` folder.
        transform_graph_path: the `transform_graph/v1` folder that made them.
        module: the user's module, see `edgeline.user_code`.
        task: one of `edgeline.artifacts.models.TASKS`.
        how: see `Fitting`.
        model_path: where the `model/v1` folder goes.
        training_report_path: where the HTML report goes.
        hyperparameters: handed to the user's `build_model`.
        label_vocabulary: the `vocab_filename` of the label, whose entries are the class names.
        checkpoint_dir: a folder that outlives this process, or s3://, gs://, abfs:// or minio://;
            a training that was killed goes on from its last epoch there. "" keeps checkpoints for
            this process only.
        require_raw: whether a transform that LiteRT cannot have is refused, before the training;
            `convert` then refuses what only shows there.
        on_epoch: told after each epoch; what it raises ends the training. Not by several workers.
        transformed_examples_uri: the address of `transformed_examples_path` in a store, where the
            workers of a cluster read them.

    Returns:
        The model's metadata; `warnings` are those of `leakage`, `metrics` are those of the trained
        model (see `judging.judge`), and what else Keras told of the last (or best) epoch. `notes`
        say what example weights count in, where there are any.

    Raises:
        EdgelineError: the inputs are damaged, a parameter is off, the user's code fails, or an
            edge model of the transform could not take raw features and `require_raw` is set.
    """
    if task not in models.TASKS:
        raise EdgelineError(
            f"Parameter 'task' is {task!r}: choose one of {', '.join(models.TASKS)}."
        )
    class_weights.check(how.class_weights, task)
    fairness.check(how.fairness, task, workers=how.workers, optimisation=how.optimisation.kind)
    if how.workers > 1:
        check_places(how.workers, checkpoint_dir, transformed_examples_uri)
    transformed = artifacts.read(transformed_examples_path, examples.TRANSFORMED_SCHEMA)
    graph_artifact = artifacts.read(transform_graph_path, GRAPH_SCHEMA)
    labels = vocabulary(graph_artifact.path, label_vocabulary) if label_vocabulary else None
    for output, needed in graph_artifact.metadata["dependencies"].items():
        check_names([output, *needed])
    given = whole(hyperparameters or {})
    columns = [Feature.from_json(value) for value in transformed.metadata["features"]]
    if require_raw:
        raw_features.require(graph_artifact.path, module, columns, given, how.label)
    identity = {
        "transformed": transformed.digest,
        "module": hashlib.sha256(user_code.read_source(module)).hexdigest(),
        "hyperparameters": given,
        "how": asdict(how),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()

    with tempfile.TemporaryDirectory() as temporary:
        kept = checkpoints.of(checkpoint_dir, key[:32], Path(temporary))
        check_label(how.label, [column.name for column in columns])
        label = next(column for column in columns if column.name == how.label)
        weights = class_weights.of(how.class_weights, transformed, how.train_split, label, labels)
        times = StepTimes()

        def after_epoch(state: FittingState) -> None:
            kept.keep(state.epoch)
            if on_epoch:
                on_epoch(state)

        if how.workers > 1:
            values = None if weights is None else tuple(map(float, weights.values))
            spread(
                SharedTraining(
                    module,
                    transformed_examples_uri if in_cluster() else str(transformed.path.resolve()),
                    transformed.digest,
                    given,
                    how,
                    values,
                    checkpoint_dir or temporary,
                    key[:32],
                ),
                kept,
            )
        kept.fetch()
        network, state = fit(
            module, transformed, given, how, kept.folder, weights, after_epoch, times
        )
        judged = judge(network, transformed, task, how)
        asked = taken(network, [column for column in columns if column.name != how.label])
        warnings = list(leakage.warnings(transformed, how.train_split, asked, label, task))
        graph = SavedGraph(graph_artifact.path)
        with artifacts.writing(model_path, models.SCHEMA) as draft:
            raw = [Feature.from_json(value) for value in graph_artifact.metadata["features"]]
            served = export(network, graph, raw, columns, how.label, draft.path / "saved_model")
            (draft.path / "history.json").write_text(json.dumps(_finite(state.history), indent=1))
            (draft.path / "steps.json").write_text(json.dumps(_rounded(state.by_step)))
            last = state.best if how.patience else state.epoch
            draft.metadata |= {
                "features": [feature.to_json() for feature in served],
                "task": task,
                "label": how.label,
                "labels": labels,
                "hyperparameters": given,
                "steps": how.steps,
                "epochs": state.epoch,
                "parameters": int(network.count_params()),
                "metrics": _metrics(state.history, last, judged),
                "transform_digest": graph_artifact.digest,
                "require_raw": require_raw,
                RANGES: graph_artifact.metadata.get(RANGES, {}),
            }
            if vectors := embeddings.told(network):
                draft.metadata[models.EMBEDDINGS] = vectors
            if weighed_by := transformed.metadata.get(example_weights.KEY):
                draft.metadata[example_weights.KEY] = weighed_by
                draft.metadata["notes"] = [weighing.note(weighed_by, network, state.history)]
            if how.fairness:
                draft.metadata["fairness"] = asdict(how.fairness)
                if how.fairness.compare and how.workers == 1:
                    _without(
                        *(module, transformed, graph, raw, given, how, weights, draft),
                        checkpoints.of(checkpoint_dir, f"{key[:24]}-without", Path(temporary)),
                    )
            if weights:
                draft.metadata["class_weights"] = weights.to_json()
                warnings.append(class_weights.UNCALIBRATED)
            if warnings:
                draft.metadata["warnings"] = warnings
                print("\n".join(warnings), flush=True)
        write_report(
            training_report_path, network, state, draft.metadata, how, weights, times.median
        )
        kept.discard()
    return {"edgeline_schema": models.SCHEMA, **draft.metadata}


def _without(
    module: str,
    transformed: Artifact,
    graph: SavedGraph,
    raw: Sequence[Feature],
    given: Mapping[str, object],
    how: Fitting,
    weights: class_weights.ClassWeights | None,
    draft: Draft,
    kept: checkpoints.Checkpoints,
) -> None:
    """Train the same model without the mitigation of its fairness and put it into the folder of the
    one with it, for `analyze` to compare the two."""
    assert how.fairness
    print(f"the same training without {how.fairness.mitigation}", flush=True)
    kept.fetch()
    network, _ = fit(
        module,
        transformed,
        given,
        replace(how, fairness=None),
        kept.folder,
        weights,
        lambda state: kept.keep(state.epoch),
    )
    columns = [Feature.from_json(value) for value in transformed.metadata["features"]]
    with artifacts.writing(draft.path / fairness.WITHOUT, models.SCHEMA) as inner:
        served = export(network, graph, raw, columns, how.label, inner.path / "saved_model")
        inner.metadata |= {
            "features": [feature.to_json() for feature in served],
            **{name: draft.metadata[name] for name in ("task", "label", "labels")},
        }
    kept.discard()


def _finite(history: Mapping[str, Sequence[float]]) -> dict[str, list[float | None]]:
    """A history as JSON has it: null for what is not finite."""
    return {
        name: [value if math.isfinite(value) else None for value in values]
        for name, values in history.items()
    }


def _rounded(points: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """Points by step with as many digits as float32 has; null for what is not finite."""
    return [[float(f"{x:.7g}") if math.isfinite(x) else None for x in each] for each in points]


def _metrics(
    history: Mapping[str, Sequence[float]], kept: int, judged: Mapping[str, float]
) -> dict[str, float]:
    """The numbers of the epoch that is kept, counted as every step counts them where it can be.

    What Keras has of these is an estimate, or of weights that changed meanwhile: its curves remain
    in `history.json`.
    """
    told = {
        name: values[kept - 1]
        for name, values in history.items()
        if name != NORM and (name.removeprefix("val_") not in NAMES or not judged)
    }
    return {**told, **{f"val_{name}": value for name, value in judged.items()}}
