"""Convert a trained model to an edge model: one LiteRT file that takes raw features."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import (
    Artifact,
    device_outcomes,
    differences,
    examples,
    features,
    host_operations,
    models,
    software,
    transformed,
    write_json,
)
from edgeline.artifacts import requirements as asked_for
from edgeline.artifacts.bundle import BINARY
from edgeline.artifacts.decision_threshold import USUAL
from edgeline.artifacts.decision_threshold import checked as checked_threshold
from edgeline.artifacts.differences import Gap
from edgeline.artifacts.features import Feature
from edgeline.artifacts.requirements import Requirements
from edgeline.components.convert import conversion, fallback, litert_file, raw_form, report
from edgeline.components.convert.built import Built
from edgeline.components.convert.settings import Limit, Settings, checked_settings
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.formats.operators import operators
from edgeline.formats.quantisation import AUTO, Quantisation
from edgeline.runtimes import child, limits

FEWEST_ROWS = 20
MADE_WITH = ("tensorflow", "keras", "tensorflow-transform", "ai-edge-litert", "ai-edge-quantizer")
NOTHING = Requirements()


@dataclass(frozen=True)
class Converted:
    """The metadata of the edge model and its numbers for the metrics artifact."""

    metadata: dict[str, Any]
    metrics: dict[str, float]


def convert(
    model_path: str,
    examples_path: str,
    edge_model_path: str,
    conversion_report_path: str,
    quantisation: str = "dynamic",
    representative_split: str = "train",
    representative_rows: int = 500,
    time_limit: int = 900,
    io: str = "float",
    batch: int = 0,
    per_channel: bool = True,
    max_drop: float = 0.01,
    labelled_split: str = "eval",
    decision_threshold: float = USUAL,
    requirements: Mapping[str, Any] | None = None,
) -> Converted:
    """Convert a `model/v1` folder, or an imported float LiteRT file, to an `edge_model/v1` folder.

    The tf.Transform graph goes into the model. Where LiteRT lacks one of its operators and no
    exact equivalent is known (see `lowering`), the edge model takes the features that it has a
    part in as the transform gives them (see `raw_form`), and its metadata says why (`because`);
    where the trained model's metadata has `require_raw` it is not made. An imported file is
    quantised as it is (see `litert_file`).

    Args:
        model_path: the trained model, or the `edge_model/v1` folder of an imported float LiteRT
            file, which takes no fp16, auto, uint8, batch or per_channel.
        examples_path: raw examples; `representative_rows` rows, spread evenly over the split,
            calibrate integer quantisation and show how far the edge model is from the cloud's.
        edge_model_path: the folder to write.
        conversion_report_path: the HTML file to write.
        quantisation: float, fp16 (weights), dynamic (int8 weights), int8, int16x8 (int16
            activations, int8 weights), a named recipe or a recipe's path or URI (see
            `recipes`), or auto: the smallest that holds `max_drop` (see `fallback`), which is
            the float model where nothing smaller does.
        representative_split: the split to take rows from.
        representative_rows: at most how many.
        time_limit: seconds of a core that any one step of the conversion may take.
        io: dtype of inputs and outputs of an int8 model: float, int8 or uint8. Inputs keep
            theirs where a transform is in the model.
        batch: rows the model takes at once, as compilers for accelerators need it; 0 for any.
        per_channel: whether int8 weights have a scale a channel, or one a tensor.
        max_drop: for auto, how much worse than the trained model any metric may be (see
            `edgeline.runtimes.metrics.drop`).
        labelled_split: for auto, the split that says so.
        decision_threshold: above it a binary prediction is a yes; for auto, and in the metadata of
            the edge model.
        requirements: see `edgeline.artifacts.requirements`; what came of those that the file tells
            is in the metadata of the edge model, from where verify goes on.

    Raises:
        EdgelineError: a parameter or input is unfit, an operator of the network (or, where raw
            features are required, of the transform) does not convert, the converter crashes, or
            the float model differs from the cloud's.
    """
    trained, settings = _read(model_path, checked_settings(quantisation, io, batch, per_channel))
    raw = artifacts.read(examples_path, examples.SCHEMA)
    task = str(trained.metadata.get("task"))
    checked_threshold(decision_threshold)
    if settings.quantisation == AUTO:
        limit = Limit(examples_path, labelled_split, task, max_drop, decision_threshold)
        settings = replace(settings, limit=_checked(limit, raw))
    rows = _representative(raw, trained, representative_split, representative_rows)
    if settings.integer and _count(rows) < FEWEST_ROWS:
        raise EdgelineError(
            f"Split {representative_split!r} and representative_rows={representative_rows} give "
            f"{_count(rows)} rows, but {quantisation} needs at least {FEWEST_ROWS} to find the "
            "range of every tensor: give more rows or another split."
        )
    taken = {"split": representative_split, "rows": _count(rows)}
    settings = replace(settings, decision_threshold=decision_threshold if task == BINARY else None)
    return _convert(
        trained,
        rows,
        taken,
        edge_model_path,
        conversion_report_path,
        settings,
        time_limit,
        asked_for.parse(requirements or {}),
    )


def convert_arrays(
    model_path: str,
    rows: models.Arrays,
    edge_model_path: str,
    conversion_report_path: str,
    quantisation: str = "dynamic",
    time_limit: int = 900,
    io: str = "float",
    batch: int = 0,
    per_channel: bool = True,
) -> Converted:
    """Convert as `convert` does, with representative rows given as arrays.

    Args:
        rows: raw features by name, [rows, ...] each, of the model's shapes and dtypes.

    Raises:
        EdgelineError: as `convert`; or a feature is missing or of another shape or dtype, or
            quantisation is auto, which needs labels.
    """
    settings = checked_settings(quantisation, io, batch, per_channel)
    if settings.quantisation == AUTO:
        raise EdgelineError("quantisation is 'auto', which needs labelled examples: give them.")
    trained, settings = _read(model_path, settings)
    arrays = _fitting(rows, models.raw_features(trained))
    taken = {"split": None, "rows": _count(arrays)}
    return _convert(
        trained, arrays, taken, edge_model_path, conversion_report_path, settings, time_limit
    )


def _read(model_path: str, settings: Settings) -> tuple[Artifact, Settings]:
    if artifacts.schema_of(model_path) == models.ONNX_SCHEMA:
        raise EdgelineError(
            f"{model_path} is an ONNX model: import it with to_litert, which makes a LiteRT model "
            "of it, or take it as it is (compile it for onnx, openvino or tvm, verify and publish "
            "it)."
        )
    if artifacts.schema_of(model_path) == models.EDGE_SCHEMA:
        imported = litert_file.read(model_path)
        return imported, litert_file.fitted(settings, imported)
    return artifacts.read(model_path, models.SCHEMA), settings


def _convert(
    trained: Artifact,
    rows: models.Arrays,
    taken: Mapping[str, Any],
    edge_model_path: str,
    conversion_report_path: str,
    settings: Settings,
    time_limit: int,
    wanted: Requirements = NOTHING,
) -> Converted:
    result = _in_child(trained, rows, settings, time_limit)
    built = result.built
    if built is None or result.signature is None:
        raise EdgelineError(
            f"The network of {trained.path} uses {raw_form.named(result.lacks)}, which LiteRT "
            f"lacks: {raw_form.advice(result.lacks, 'build the model without it')}."
        )
    if result.lacks and trained.metadata.get("require_raw"):
        raise EdgelineError(raw_form.refusal(result.lacks, "require_raw of train"))
    gaps = _gaps(result)
    _check(gaps, built.quantisation, trained.path, result.origin)
    source_size = trained.metadata.get("size", trained.size)  # of an imported file itself
    causes = transformed.causes(trained.metadata)  # of an imported file
    causes = raw_form.causes(result.takes, result.lacks) or causes
    metadata: dict[str, Any] = {
        "edgeline_schema": models.EDGE_SCHEMA,
        "features": [feature.to_json() for feature in result.features],
        "task": trained.metadata.get("task"),
        "labels": trained.metadata.get("labels"),
        "quantisation": built.quantisation.name,
        "io": "float" if built.quantisation.floating else settings.io,
        "per_channel": settings.per_channel,
        "recipe": [dict(rule) for rule in settings.recipe],
        "takes": result.takes,
        "because": _because(result) or trained.metadata.get("because"),
        "lowered": dict(sorted(built.lowered.items())),
        transformed.KEY: [cause.to_json() for cause in causes],
        "difference": {name: asdict(found) for name, found in gaps.items()},
        "representative": dict(taken),
        "size": len(built.model),
        "source_size": source_size,
        "model_digest": trained.digest,
        software.KEY: software.versions(MADE_WITH),
    }
    if origin := trained.metadata.get("origin"):
        metadata["origin"] = {name: origin[name] for name in models.ORIGIN if name in origin}
    if settings.decision_threshold is not None:
        metadata["decision_threshold"] = settings.decision_threshold
    devices = wanted.of_target(device_outcomes.LITERT, built.quantisation.name)
    met = device_outcomes.of_file(devices, len(built.model))
    if met:
        metadata[asked_for.NAME] = [each.to_json() for each in met]
    if result.operations is not None:
        metadata[host_operations.KEY] = result.operations.to_json()
    with artifacts.writing(edge_model_path, models.EDGE_SCHEMA) as draft:
        (draft.path / "model.tflite").write_bytes(built.model)
        table = operators(draft.path / "model.tflite")
        write_json(draft.path / "signature.json", result.signature.to_json())
        write_json(draft.path / "operators.json", [asdict(row) for row in table])
        if built.layers:
            write_json(draft.path / "layers.json", [layer.to_json() for layer in built.layers])
        if built.candidates:
            write_json(draft.path / "candidates.json", _candidates(built, settings.limit))
        if labels := metadata["labels"]:
            text = "".join(f"{label}\n" for label in labels)
            (draft.path / "labels.txt").write_text(text, encoding="utf-8")
        draft.metadata.update(metadata)
    report.write(conversion_report_path, metadata, result.signature, table, built, settings.limit)
    return Converted(
        metadata,
        {
            "size_bytes": len(built.model),
            "size_share_of_source": len(built.model) / max(source_size, 1),
            "max_difference": max((found.max for found in gaps.values()), default=0.0),
        },
    )


def _checked(limit: Limit, raw: Artifact) -> Limit:
    if limit.task not in models.TASKS:
        raise EdgelineError(
            f"quantisation is 'auto', but the model's task is {limit.task!r}, which has no metric: "
            "name a quantisation."
        )
    if not limit.max_drop >= 0:
        raise EdgelineError(f"max_drop is {limit.max_drop}: give 0 or more.")
    examples.arrow_schema(raw, limit.split)  # an absent or empty split ends here
    return limit


def _candidates(built: Built, limit: Limit | None) -> dict[str, object]:
    return {
        "cloud": built.cloud,
        "max_drop": limit and limit.max_drop,
        "split": limit and limit.split,
        "candidates": fallback.to_json(built.candidates),
    }


def _fitting(rows: models.Arrays, takes: Sequence[Feature]) -> dict[str, Array]:
    """The arrays of a model's features, checked."""
    for feature in takes:
        if feature.name not in rows:
            raise EdgelineError(
                f"The representative rows lack {feature.name!r}: the model takes "
                f"{', '.join(each.name for each in takes)}."
            )
        found, wanted = rows[feature.name], features.NUMPY_DTYPES.get(feature.dtype, feature.dtype)
        if found.shape[1:] != feature.shape or found.dtype != wanted:
            raise EdgelineError(
                f"Representative rows of {feature.name!r} are {found.dtype} of shape "
                f"{list(found.shape)}, but the model takes {feature.dtype} of shape "
                f"{['rows', *feature.shape]}."
            )
    counts = {feature.name: len(rows[feature.name]) for feature in takes}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise EdgelineError(f"Representative rows must be equally many, at least one: {counts}.")
    return {feature.name: rows[feature.name] for feature in takes}


def _representative(raw: Artifact, trained: Artifact, split: str, most: int) -> dict[str, Array]:
    """Raw features of rows that lie evenly over a split; the split is streamed."""
    total = examples.splits(raw).get(split, 0)
    examples.parts(raw, split)  # names the splits where there is no such
    if min(total, most) < 1:
        raise EdgelineError(
            f"Split {split!r} and representative_rows={most} give no row to compare the edge "
            "model with: give at least one."
        )
    return examples.read_spread(raw, split, models.raw_features(trained), most)


def _in_child(
    trained: Artifact, rows: models.Arrays, settings: Settings, time_limit: int
) -> conversion.Conversion:
    work: tuple[Any, object] = (conversion.convert, str(models.saved_model_path(trained)))
    if trained.schema == models.EDGE_SCHEMA:
        work = (litert_file.convert, trained)
    given = limits.CONVERTER_FILES * sum(array.nbytes for array in rows.values())
    memory = limits.converter_room(trained.path) + given
    try:
        result: conversion.Conversion = child.call(
            *work, rows, settings, memory=memory, time_limit=time_limit
        )
    except child.ChildError as error:
        raise EdgelineError(
            f"The converter {error.how} while {error.doing}{child.last_error(error.log)}: "
            f"{_way_out(error, settings)}."
        ) from error
    return result


def _way_out(error: child.ChildError, settings: Settings) -> str:
    if limits.MEMORY_VARIABLE in error.how:
        return "set that, or build a smaller network"
    if error.how.startswith("exceeded"):
        return "give a larger time_limit"
    if signal.Signals.SIGKILL.name in error.how:
        return "the process may have run out of memory, give it more"
    if settings.integer:
        return "set quantisation to dynamic, or build the network without these operators"
    return "build the model without these operators"


def _gaps(result: conversion.Conversion) -> dict[str, Gap]:
    """How far each output is from the cloud's on the representative rows."""
    if result.cloud.keys() != result.edge.keys():
        raise EdgelineError(
            f"The edge model gives {', '.join(sorted(result.edge))}, but serving_default of the "
            f"trained model gives {', '.join(sorted(result.cloud))}: predict_transformed must "
            "give the same outputs."
        )
    for name, wanted in result.cloud.items():
        if (found := result.edge[name]).shape != wanted.shape:
            raise EdgelineError(
                f"Output {name!r} of the edge model has shape {list(found.shape)}, but that of the "
                f"trained model {list(wanted.shape)}: an operator means something else in LiteRT."
            )
    return differences.gaps(result.edge, result.cloud)


def _check(gaps: Mapping[str, Gap], quantisation: Quantisation, model: Path, origin: str) -> None:
    for name, found in gaps.items():
        if not quantisation.allows(found.of_range):
            where = f"; {origin}" if origin else ""
            raise EdgelineError(
                f"Output {name!r} of the {quantisation.name} edge model differs from {model} by "
                f"{found.of_range:.3g} of its largest value, where at most "
                f"{quantisation.difference:.3g} is right{where}: build it without that operator, "
                "and report it."
            )


def _because(result: conversion.Conversion) -> str | None:
    """Why an edge model takes transformed features, in a sentence."""
    if not result.lacks:
        return None
    advice = raw_form.advice(
        result.lacks,
        "replace it in preprocessing_fn, or transform the features before they are sent",
    )
    outside = [repr(f.transformed) for f in result.features if f.transformed]
    takes = f"{', '.join(outside)} transformed" if outside else "transformed features"
    return (
        f"The transform uses {raw_form.named(result.lacks)}, for which LiteRT has no exact "
        f"equivalent, so this edge model takes {takes}; to give it raw features, {advice}."
    )


def _count(rows: models.Arrays) -> int:
    return len(next(iter(rows.values())))
