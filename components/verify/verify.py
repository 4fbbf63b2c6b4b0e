"""Verify an edge model: parity, probes, metrics, latency, memory, malformed input; and a verdict.

`verification/v1` holds `verification.json` (every number, the reasons, the probes and the table
of malformed input: the same bytes for the same models and rows), `timing.json` (what depends on
the machine), `test_vectors.json` (see `vectors`) and `reference.json`, what live traffic is
compared with (see `edgeline.artifacts.reference`). Where the rows have labels, that of a classifier
has `calibration.json`, too: how often its scores are right (see `edgeline.artifacts.calibration`).
Of a model that was trained here it has `ranges.json`: what each raw feature may be (see
`edgeline.artifacts.ranges`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import (
    Artifact,
    calibration,
    example_weights,
    examples,
    host_operations,
    models,
    reference,
    sampling,
    transformed,
    vectors,
    windows,
)
from edgeline.artifacts import ranges as ranges_of
from edgeline.artifacts.bundle import BINARY
from edgeline.artifacts.decision_threshold import USUAL
from edgeline.artifacts.decision_threshold import checked as checked_threshold
from edgeline.artifacts.features import MISSING, Feature, to_numpy
from edgeline.artifacts.windows import Windows
from edgeline.components.compile import target as targets
from edgeline.components.verify import (
    malformed,
    parity,
    probes,
    probing,
    probing_reasons,
    report,
    required,
    runtimes,
    saturation,
    slice_metrics,
    vocabularies,
)
from edgeline.components.verify.findings import (
    Findings,
    Limits,
    Subject,
    details_of,
    device_tolerance,
    metrics_of,
    reasons_of,
    summary_of,
)
from edgeline.components.verify.latency import measure
from edgeline.components.verify.parity import Batch
from edgeline.components.verify.probes import Sample, SeenValues
from edgeline.components.verify.probing import Judge, Sides, Tolerance
from edgeline.errors import EdgelineError, first_line
from edgeline.formats import quantisation
from edgeline.reports.report import Fact
from edgeline.runtimes import isolated
from edgeline.runtimes import original as originals
from edgeline.runtimes.interpreter import CrashError, EdgeModel, dequantise, quantise
from edgeline.runtimes.original import Original, as_stored

SCHEMA = "verification/v1"
COMPILED_SCHEMA = "compiled_model/v1"  # what the component compile writes
VECTOR_ROWS = 32  # evenly spread


@dataclass(frozen=True)
class Result:
    """The verdict, the artifact's metadata, and metrics for the pipeline's UI."""

    approved: bool
    metadata: dict[str, object]
    metrics: dict[str, float]


def verify(
    model_path: str | Path,
    edge_model_path: str | Path,
    examples_path: str | Path,
    verification_path: str | Path,
    verification_report_path: str | Path,
    limits: Limits,
    split: str = "eval",
    decision_threshold: float = 0.0,
    compiled_model_path: str | Path = "",
    runtime: str = runtimes.LITERT,
    never_missing: Sequence[str] = (),
    requirements: Mapping[str, Any] | None = None,
) -> Result:
    """Compare two models on every row of a split and write a verification artifact.

    Args:
        model_path: a `model/v1` folder, or the folder of an imported LiteRT or ONNX model, whose
            file answers (see `edgeline.runtimes.original`).
        edge_model_path: an `edge_model/v1` or `onnx_model/v1` folder.
        examples_path: an `examples/v1` folder.
        verification_path: the `verification/v1` folder to write, approved or not.
        verification_report_path: the HTML page to write.
        compiled_model_path: a `compiled_model/v1` folder made of the edge model, verified in its
            target's runtime in place of the edge model, or "". Where only the device runs it,
            the edge model is verified, and `runs_here` in the metadata is false.
        decision_threshold: above it a binary prediction is a yes; 0: that which `convert` kept with
            the edge model, or 0.5.
        runtime: of a LiteRT edge model, see `runtimes.load`.
        never_missing: raw features that always have a value: no missing one is asked, and the
            server of the bundle refuses it.
        requirements: see `edgeline.artifacts.requirements`; of the devices of this model's target
            each is judged, and one that is not met is a reason not to approve the model.

    A model that crashes its runtime on a row, or goes beyond a limit there, is not approved, and
    then nothing else is told of it.

    Raises:
        EdgelineError: `never_missing` names what is not a feature or is missing, an input is
            damaged or of the wrong kind, a model cannot be loaded, or a parameter is out of range.
    """
    edge = models.read_edge(edge_model_path)
    decision_threshold = checked_threshold(
        decision_threshold or edge.metadata.get("decision_threshold", USUAL)
    )
    rows = artifacts.read(examples_path, examples.SCHEMA)
    compiled = artifacts.read(compiled_model_path, COMPILED_SCHEMA) if compiled_model_path else None
    if compiled and "missing" in compiled.metadata:
        return _not_compiled(compiled, edge, rows, verification_path, verification_report_path)
    subject = _subject(edge, compiled, runtime)
    try:
        return _compared(
            model_path,
            edge,
            rows,
            compiled,
            subject,
            verification_path,
            verification_report_path,
            limits,
            split,
            decision_threshold,
            runtime,
            never_missing,
            requirements or {},
        )
    except CrashError as crash:
        return _crashed(
            crash, edge, rows, compiled, subject, verification_path, verification_report_path
        )


def _compared(
    model_path: str | Path,
    edge: Artifact,
    rows: Artifact,
    compiled: Artifact | None,
    subject: Subject,
    verification_path: str | Path,
    verification_report_path: str | Path,
    limits: Limits,
    split: str,
    decision_threshold: float,
    runtime: str,
    never_missing: Sequence[str],
    requirements: Mapping[str, Any],
) -> Result:
    """As `verify`, where there is something to compare; a crash is raised."""
    # before TensorFlow runs here for the original, after which a child costs more
    loaded = isolated.model(subject.path, runtimes.load, subject.path, runtime)
    original = originals.load(model_path, edge)
    devices = required.devices(requirements, edge, compiled)
    limits = required.with_decisions(limits, devices)
    task = original.artifact.metadata["task"]
    judged = original.labelled and not original.itself
    limits = limits.resolved(subject.quantisation, task, judged)
    features = models.raw_features(original.artifact)
    kept = _windows(rows, features, edge)
    probes.check_never_missing(never_missing, features)
    count = examples.splits(rows).get(split, 0)
    # an absent or empty split ends here
    asked_slices = required.slice_columns(devices, examples.arrow_schema(rows, split).names)

    with (
        artifacts.writing(verification_path, SCHEMA) as draft,
        tempfile.TemporaryDirectory() as scratch,
    ):
        raw = examples.read_spread(rows, split, original.takes, VECTOR_ROWS)
        sample = original.feed(raw)
        trial = Path(scratch) / vectors.FILE
        inputs = _stored(sample, loaded)
        vectors.write(trial, vectors.Vectors(inputs, {}, 0.0))
        latency = measure(subject.path, trial, runtime)
        with ThreadPoolExecutor(1) as beside:  # examine waits for another process
            words = beside.submit(_vocabularies, original, features)
            if original.foreign:  # asks a fork, which may hang where another thread is at work
                words.result()
            cases = malformed.examine(subject.path, trial, runtime)
        scored = calibration.CalibrationRows(task, count)
        met, seen, ranges = (
            reference.Builder(),
            SeenValues(features),
            SeenValues(_transformed(original, edge, loaded)),
        )
        found = parity.compare(
            _batches(rows, split, original, loaded, met, seen, ranges, scored, asked_slices),
            count,
            task,
            decision_threshold,
            asked_slices,
        )
        seen.refuse_missing(never_missing, split)
        answer = loaded(inputs)
        tolerance = Tolerance.of(
            limits.max_difference,
            limits.max_changed_decisions,
            subject.quantisation,
            found.max_difference,
        )
        judge = Judge(task, decision_threshold, tolerance)
        outputs = loaded.signature.outputs
        numbers = sampling.spread(count, VECTOR_ROWS).tolist()
        alike = judge.alike(original.evaluate(raw), dequantise(answer, outputs))
        sides = Sides(
            original.evaluate,
            lambda arrays: _stored(original.feed(arrays), loaded),
            lambda arrays: dequantise(arrays, outputs),
            subject.path,
            runtime,
        )
        made = probes.make(
            features,
            Sample(raw, numbers).only(alike),
            seen,
            words.result(),
            never_missing,
        )
        asked = probing.ask(
            made,
            sides,
            judge,
            _unproven(features, never_missing, loaded),
            saturation.because(original, rows, split, made),
        )
        if ranges.columns:
            predict, takes = original.signature(models.PREDICT_TRANSFORMED)
            made = probes.ranges(takes, Sample(sample, numbers).only(alike), ranges)
            sides = replace(sides, evaluate=predict, stored=lambda arrays: _stored(arrays, loaded))
            asked = asked.and_more(probing.ask(made, sides, judge))
        reasons = reasons_of(found, latency, cases, limits, original.place)
        reasons += probing_reasons.reasons(asked, original.words)
        judged_by = required.outcomes_of(devices, found, latency, edge, compiled, subject)
        reasons += [each.sentence for each in judged_by if each.fails]
        findings = Findings(
            split,
            limits,
            found,
            asked,
            latency,
            cases,
            reasons,
            subject,
            original,
            len(loaded.signature.inputs),
            tuple(judged_by),
        )
        vectors.write(
            draft.path / vectors.FILE,
            vectors.Vectors(inputs, answer, device_tolerance(findings)),
        )
        (draft.path / reference.FILE).write_bytes(reference.dumps(met.result()))
        told = {name: values["edge"] for name, values in found.metrics.items()}
        if (map_of_scores := scored.result(told)) is not None:
            (draft.path / calibration.FILE).write_bytes(calibration.dumps(map_of_scores))
        known = original.artifact.metadata.get(ranges_of.KEY)
        if known is not None:  # an imported model does not tell what it was trained on
            allowed = ranges_of.dumps(ranges_of.from_json(known))
            (draft.path / ranges_of.FILE).write_bytes(allowed)
        summary = summary_of(findings, edge, rows)
        if weighed_by := original.artifact.metadata.get(example_weights.KEY):
            summary["notes"] = [example_weights.unweighted(weighed_by)]
        if task == BINARY:
            summary["decision_threshold"] = decision_threshold
        if kept:
            summary[windows.KEY] = kept.to_json()
        if compiled:
            summary["compiled_model_digest"] = compiled.digest
            summary["runs_here"] = subject.path == compiled.path
        artifacts.write_json(draft.path / "verification.json", {**summary, **details_of(findings)})
        artifacts.write_json(draft.path / "timing.json", asdict(latency))
        draft.metadata.update(summary)
    report.write(verification_report_path, findings, models.raw_features(original.artifact), task)
    timing = {key: value for key, value in asdict(latency).items() if key != "quantiles_ms"}
    metadata = {"edgeline_schema": SCHEMA, **summary, "timing": timing}
    return Result(not findings.reasons, metadata, metrics_of(findings))


def _windows(rows: Artifact, features: Sequence[Feature], edge: Artifact) -> Windows | None:
    """What of the windows of the rows a model takes; None where it takes none of their columns.

    Raises:
        EdgelineError: a server could not make what the edge model takes of single rows.
    """
    found = windows.of(rows.metadata)
    found = windows.taken(found, features) if found else None
    if found and found.kept_by == windows.SERVER and edge.metadata["takes"] != transformed.RAW:
        raise EdgelineError(
            f"windows says that the server keeps them, but {edge.path} takes features that are "
            "made of whole windows before they are sent: set kept_by to client, or make the model "
            "take raw features."
        )
    return found


def _crashed(
    crash: CrashError,
    edge: Artifact,
    rows: Artifact,
    compiled: Artifact | None,
    subject: Subject,
    verification_path: str | Path,
    verification_report_path: str | Path,
) -> Result:
    """The verdict where one of the two models did not live to answer all rows."""
    summary: dict[str, object] = {
        "approved": False,
        "reasons": [str(crash)],
        "crashed": str(crash),
        "runtime": subject.runtime,
        "quantisation": subject.quantisation.name,
        "edge_model_digest": edge.digest,
        "examples_digest": rows.digest,
    }
    if compiled:
        summary["compiled_model_digest"] = compiled.digest
        summary["runs_here"] = subject.path == compiled.path
    with artifacts.writing(verification_path, SCHEMA) as draft:
        artifacts.write_json(draft.path / "verification.json", summary)
        draft.metadata.update(summary)
    report.write_not_compared(
        verification_report_path, Fact("runtime", subject.runtime), "crashed", str(crash)
    )
    return Result(False, {"edgeline_schema": SCHEMA, **summary}, {})


def _not_compiled(
    compiled: Artifact,
    edge: Artifact,
    rows: Artifact,
    verification_path: str | Path,
    verification_report_path: str | Path,
) -> Result:
    """The verdict on a target whose compiler was not there: nothing ran, nothing is approved."""
    target, reason = compiled.metadata["target"], compiled.metadata["missing"]
    summary: dict[str, object] = {
        "approved": False,
        "reasons": [f"Nothing was compiled for {target}: {reason}"],
        "missing": reason,
        "edge_model_digest": edge.digest,
        "compiled_model_digest": compiled.digest,
        "examples_digest": rows.digest,
        "runs_here": False,
    }
    with artifacts.writing(verification_path, SCHEMA) as draft:
        artifacts.write_json(draft.path / "verification.json", summary)
        draft.metadata.update(summary)
    report.write_not_compared(
        verification_report_path, Fact("target", target), "nothing was compiled", reason
    )
    return Result(False, {"edgeline_schema": SCHEMA, **summary}, {})


def _subject(edge: Artifact, compiled: Artifact | None, runtime: str) -> Subject:
    path = models.edge_model_path(edge)
    place = edge.path if host_operations.KEY in edge.metadata else path
    own = Subject(
        place, runtimes.name(path, runtime), quantisation.of(edge.metadata["quantisation"])
    )
    if compiled is None:
        return own
    if edge.digest not in compiled.metadata["source_digest"].split():
        raise EdgelineError(
            f"{compiled.path} is not compiled from {edge.path}: connect the edge model that it "
            "was made of."
        )
    facts = compiled.metadata
    if targets.find(facts["target"]).load is None:
        return own  # only the device runs it: the model that it was made of answers for it
    return Subject(compiled.path, facts["target"], quantisation.of(facts["quantisation"]))


def _stored(arrays: models.Arrays, runtime: EdgeModel) -> dict[str, Any]:
    tensors = runtime.signature.inputs
    if missing := [tensor.name for tensor in tensors if tensor.name not in arrays]:
        raise EdgelineError(
            f"The edge model takes {missing[0]!r}, which neither the examples nor the transform "
            "give: convert this model again."
        )
    way = "scale them in preprocessing_fn"
    chosen = {
        tensor.name: as_stored(arrays[tensor.name], tensor, "the edge model", way)
        for tensor in tensors
    }
    return quantise(chosen, tensors)


def _transformed(original: Original, edge: Artifact, runtime: EdgeModel) -> list[Feature]:
    """What an edge model takes that has a cloud model and takes no raw features; else nothing.

    One that takes both is asked with raw features alone: the transform makes the others of them.
    """
    if original.imported or edge.metadata["takes"] != transformed.TRANSFORMED:
        return []
    tensors = runtime.signature.inputs
    return [Feature(tensor.name, tensor.dtype, tensor.shape[1:]) for tensor in tensors]


def _vocabularies(original: Original, features: Sequence[Feature]) -> dict[str, list[bytes]]:
    """By feature; an imported file has no graph to read them from."""
    words = any(f.dtype in ("string", "int64") and not probes.is_picture(f) for f in features)
    if original.imported or not words:
        return {}
    if original.foreign:
        place = original.artifact.path
        found: dict[str, list[bytes]] = isolated.call(place, _words, original.artifact)
        return found
    loaded = original.evaluate.loaded  # type: ignore[attr-defined]
    return vocabularies.by_feature(loaded.signatures[models.SERVING])


def _words(tell: Callable[[str], None], model: Artifact) -> dict[str, list[bytes]]:
    tell("asked for its vocabularies")
    call, _ = models.load_signature(model, models.SERVING)
    return vocabularies.by_feature(call.loaded.signatures[models.SERVING])  # type: ignore[attr-defined]


def _unproven(
    features: Sequence[Feature], never_missing: Sequence[str], runtime: EdgeModel
) -> list[str]:
    """Features of which no missing value is asked, without the pictures that can hold none."""
    stored = {tensor.name: tensor for tensor in runtime.signature.inputs}
    hold = [
        feature
        for feature in features
        if feature.name not in stored or stored[feature.name].dtype in MISSING
    ]
    return probes.unproven(hold, never_missing)


def _batches(
    rows: Artifact,
    split: str,
    original: Original,
    runtime: EdgeModel,
    met: reference.Builder,
    seen: SeenValues,
    ranges: SeenValues,
    scored: calibration.CalibrationRows,
    slices: Sequence[tuple[str, ...]] = (),
) -> Iterator[Batch]:
    by = sorted({name for columns in slices for name in columns})
    columns = sorted({*(feature.name for feature in original.takes), *by})
    first = 0
    for batch in examples.read_batches(rows, split, columns):
        raw = to_numpy(batch, original.takes)
        try:
            fed = original.feed(raw)
            stored = _stored(fed, runtime)
            answer, cloud = runtime(stored), original.evaluate(raw)
        except CrashError as crash:
            found = crash.rows or range(len(batch))
            number = range(first + found.start, first + found.stop)
            raise crash.among(number, f" of split {split!r}") from crash
        except EdgelineError:
            raise
        except Exception as error:  # what a graph raises is of any kind
            raise EdgelineError(
                f"{original.artifact.path} cannot evaluate rows {first:,} to "
                f"{first + len(batch) - 1:,} (from 0) of split {split!r} ({first_line(error)}): "
                "fix the model or these rows."
            ) from error
        met.add(stored, answer)
        seen.add(raw)
        ranges.add(fed)
        values = {name: slice_metrics.values(batch.column(name)) for name in by}
        edge = dequantise(answer, runtime.signature.outputs)
        if models.LABEL in cloud and models.PREDICTION in edge:  # else `parity` says what is amiss
            predicted = edge[models.PREDICTION].reshape(len(batch), -1)
            scored.add(predicted, cloud[models.LABEL].reshape(-1))
        yield Batch(raw, cloud, edge, values)
        first += len(batch)
