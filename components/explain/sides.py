"""The two models as functions of raw rows: the original, and the edge model in its runtime.

The edge model is asked as verify asks it: in processes of its own, one for each core, through its
host operations, quantised and dequantised as a device does. A row whose features come partly from
another row is a row like any other to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline import artifacts
from edgeline.artifacts import Artifact, host_operations, models
from edgeline.artifacts.bundle import BINARY
from edgeline.artifacts.decision_threshold import says_yes
from edgeline.artifacts.features import MISSING, NUMPY_DTYPES
from edgeline.components.compile import target as targets
from edgeline.components.verify import runtimes
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes import explained_output, isolated
from edgeline.runtimes import original as originals
from edgeline.runtimes.interpreter import EdgeModel, dequantise, quantise
from edgeline.runtimes.original import Original, as_stored
from edgeline.runtimes.shapley import ModelAnswers

MOST_PROCESSES = 4
COMPILED_SCHEMA = "compiled_model/v1"

Arrays = Mapping[str, Array]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ExplainedSide:
    """A model that is explained.

    Attributes:
        words: what it is, for people.
        models: functions of raw features [rows, ...] that give float64 [rows, outputs], once for
            each thread that may ask.
    """

    words: str
    models: tuple[ModelAnswers, ...]

    def __call__(self, rows: Arrays) -> Floats:
        return self.models[0](rows)


@dataclass(frozen=True)
class ExplainedSides:
    """Both models, of one task.

    Attributes:
        original: what the edge model was made of.
        features: raw features that a prediction takes, by name.
        threshold: above which a binary score is a yes.
    """

    original: Original
    cloud: ExplainedSide
    edge: ExplainedSide
    task: str
    labels: tuple[str, ...]
    features: tuple[str, ...]
    threshold: float

    def decide(self, scores: Floats) -> npt.NDArray[np.int64]:
        """What scores [rows, outputs] decide: the class, or 0 and 1; of a regression always 0."""
        if self.task == BINARY:
            return says_yes(scores[:, -1], self.threshold).astype(np.int64)
        if self.task == "regression":
            return np.zeros(len(scores), np.int64)
        return np.asarray(scores.argmax(axis=1))

    def targets(self, scores: Floats) -> npt.NDArray[np.int64]:
        """Which output is explained: the best class's, or the only one; int64 [rows]."""
        return explained_output.targets(self.task, scores)

    def explained_name(self, target: int) -> str:
        """What an output is the score of, in words; "" of a regression."""
        return explained_output.name(self.task, self.labels, target)

    def class_name(self, decision: int) -> str:
        """A decision in words; "" of a regression."""
        return explained_output.class_name(self.task, self.labels, decision)


def load(
    model_path: str | None,
    edge_model_path: str,
    compiled_model_path: str = "",
    threshold: float = 0.0,
) -> ExplainedSides:
    """Both models.

    Args:
        model_path: what the edge model was made of; None: an imported one, of its own file.
        compiled_model_path: a `compiled_model/v1` folder, which answers in the edge model's place
            where its target has a runtime; "": the edge model itself.
        threshold: of a binary decision; 0: the one that is kept with the edge model.

    Raises:
        EdgelineError: a folder is damaged, or not of the others.
    """
    edge = models.read_edge(edge_model_path)
    compiled = artifacts.read(compiled_model_path, COMPILED_SCHEMA) if compiled_model_path else None
    place, words = _subject(edge, compiled)
    # before TensorFlow runs here, after which a child costs more
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    count = min(MOST_PROCESSES, cores)
    loaded = [isolated.model(place, runtimes.load, place) for _ in range(count)]
    original = originals.load(model_path or edge_model_path, edge)
    facts = original.artifact.metadata
    names = tuple(feature.name for feature in models.raw_features(original.artifact))
    return ExplainedSides(
        original,
        ExplainedSide(original.words, (_cloud(original),)),
        ExplainedSide(words, tuple(_edge(each, original) for each in loaded)),
        facts["task"],
        tuple(facts.get("labels") or ()),
        names,
        threshold or edge.metadata.get("decision_threshold", 0.5),
    )


def _subject(edge: Artifact, compiled: Artifact | None) -> tuple[Any, str]:
    file = models.edge_model_path(edge)
    place = edge.path if host_operations.KEY in edge.metadata else file
    words = f"the {edge.metadata['quantisation']} edge model in {runtimes.name(file)}"
    if compiled is None:
        return place, words
    if "missing" in compiled.metadata:
        raise EdgelineError(
            f"{compiled.path} holds no model ({compiled.metadata['missing']}): leave "
            "compiled_model out."
        )
    if edge.digest not in compiled.metadata["source_digest"].split():
        raise EdgelineError(
            f"{compiled.path} is not compiled from {edge.path}: connect the edge model that it "
            "was made of."
        )
    name = compiled.metadata["target"]
    if targets.find(name).load is None:
        return place, f"{words}, as {name} runs on its device alone"
    return compiled.path, f"the {compiled.metadata['quantisation']} model for {name}"


def _cloud(original: Original) -> ModelAnswers:
    names = [feature.name for feature in models.raw_features(original.artifact)]
    if original.imported:
        label = [feature for feature in original.takes if feature.name not in names]

        def answers(rows: Arrays) -> Floats:
            count = len(next(iter(rows.values())))
            unknown = {
                f.name: np.full((count, *f.shape), MISSING[f.dtype], NUMPY_DTYPES[f.dtype])
                for f in label
            }
            return _scores(original.evaluate({**rows, **unknown}))

        return answers
    call, _ = original.signature(models.SERVING)
    return lambda rows: _scores(call(rows))


def _edge(loaded: EdgeModel, original: Original) -> ModelAnswers:
    inputs, outputs = loaded.signature.inputs, loaded.signature.outputs
    way = "scale them in preprocessing_fn"

    def answers(rows: Arrays) -> Floats:
        fed = original.feed(rows)
        stored = {t.name: as_stored(fed[t.name], t, "the edge model", way) for t in inputs}
        return _scores(dequantise(loaded(quantise(stored, inputs)), outputs))

    return answers


def _scores(answer: Arrays) -> Floats:
    if models.PREDICTION not in answer:
        raise EdgelineError(
            f"The model has no output {models.PREDICTION!r}, only {', '.join(sorted(answer))}: "
            "name it so."
        )
    found = np.asarray(answer[models.PREDICTION], np.float64)
    return found.reshape(len(found), -1)
