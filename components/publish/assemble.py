"""A bundle folder out of a converted model and what was found out about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import (
    Artifact,
    calibration,
    declared_card,
    host_operations,
    outcomes,
    ranges,
    reference,
    transformed,
    windows,
)
from edgeline.artifacts.bundle import Bundle, Signature
from edgeline.artifacts.models import ONNX_SCHEMA, ORIGIN, edge_model_path, raw_features
from edgeline.components.publish import bom
from edgeline.errors import EdgelineError
from edgeline.formats.names import check_label

LABELS = "labels.txt"
SIGNATURE = "signature.json"
TEST_VECTORS = "test_vectors.json"
LITERT, ONNX = "litert", "onnx"
USUAL_THRESHOLD = 0.5  # what whoever knows of no other decides by
COMPILED_FILES, PLACEMENT = "files/", "placement.json"


def assemble(
    folder: str | Path,
    *,
    edge_model: Artifact,
    evaluation: Artifact | None,
    verification: Artifact,
    name: str,
    target: str,
    provenance: Mapping[str, object],
    compiled: Artifact | None = None,
    acceptance: Artifact | None = None,
    card: Mapping[str, Any] | None = None,
) -> Bundle:
    """Copy a model's files into `folder` and say what they are.

    Args:
        folder: an empty folder. It gets the model, `labels.txt` where there are class
            names, `test_vectors.json`, `reference.json`, `ranges.json` and `calibration.json` where
            verify left them,
            and `bom.cdx.json`, but no manifest yet.
        edge_model: `edge_model/v1` or `onnx_model/v1`.
        evaluation: `evaluation/v1`; its metadata goes into the manifest. None for an imported
            model that nobody evaluated, of which the manifest then says so.
        verification: `verification/v1`; its metadata goes into the manifest.
        name: of the bundle: lower-case letters, digits and dashes, at most 63.
        target: what the model is made for, written like a name; "" for `litert`, or `onnx`
            where it is an ONNX file.
        provenance: what made the model, as JSON values.
        compiled: `compiled_model/v1` made of the edge model, which takes its place, with
            `placement.json`; its target is the bundle's.
        acceptance: `acceptance/v1` of the same model, or None; its verdict goes into the
            provenance.
        card: what people declare of the model (see `edgeline.artifacts.declared_card`).

    Returns:
        The bundle, as version 1: the store gives the number.

    Raises:
        EdgelineError: the model does not meet a requirement, is not approved, or another one was or
            by another decision threshold, it was neither evaluated nor imported, a name or a field
            of the card is impossible, or the edge model lacks a file or fact.
    """
    target = target or (ONNX if edge_model.schema == ONNX_SCHEMA else LITERT)
    for parameter, value in (("name", name), ("target", target)):
        check_label(f"The {parameter}", value)
    declared = declared_card.check(card or {})
    _require_approval(edge_model, evaluation, verification)
    if acceptance:
        _require_acceptance(acceptance, edge_model, compiled)
        told = ("command", "exit_code", "files_digest")
        verdict = {key: acceptance.metadata[key] for key in told}
        provenance = {**provenance, "acceptance": verdict}
    folder = Path(folder)
    model = edge_model_path(edge_model).name
    wanted = [
        (edge_model.path / LABELS, LABELS),
        (verification.path / TEST_VECTORS, TEST_VECTORS),
        (verification.path / reference.FILE, reference.FILE),
        (verification.path / ranges.FILE, ranges.FILE),
        (verification.path / calibration.FILE, calibration.FILE),
    ]
    facts, described = edge_model.metadata, edge_model.path / SIGNATURE
    if compiled:
        _require_made_of(compiled, edge_model, verification)
        model = compiled.metadata["model"].removeprefix(COMPILED_FILES)
        made = [name for name in compiled.files if name.startswith(COMPILED_FILES)]
        wanted += [(compiled.path / name, name.removeprefix(COMPILED_FILES)) for name in made]
        wanted.append((compiled.path / PLACEMENT, PLACEMENT))
        facts = {
            **facts,
            "quantisation": compiled.metadata["quantisation"],
            host_operations.KEY: compiled.metadata.get(host_operations.KEY),
        }
        described, target = compiled.path / SIGNATURE, compiled.metadata["target"]
        provenance = {**provenance, "compiled_model": compiled.digest}
    else:
        wanted.append((edge_model.path / model, model))
    for source, file in wanted:
        if source.is_file() and file != SIGNATURE:  # it is in the manifest
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / file)
    if not (folder / model).is_file():
        raise EdgelineError(f"{edge_model.path} has no {model}: run convert again.")
    try:
        labels = folder / LABELS
        signature = Signature.from_json(json.loads(described.read_text()))
        bom.write(
            folder,
            name=name,
            target=target,
            facts=facts,
            signature=signature,
            model=folder / model,
            evaluation=evaluation,
            verification=verification,
            card=declared,
        )
        kept = windows.of(verification.metadata)
        kept = windows.taken(kept, signature.inputs) if kept else None
        if kept and kept.kept_by == windows.CLIENT:
            provenance = {**provenance, windows.KEY: kept.to_json()}
        return Bundle(
            name=name,
            version=1,
            target=target,
            model=model,
            task=facts["task"],
            quantisation=facts["quantisation"],
            takes=facts["takes"],
            signature=signature,
            features=tuple(raw_features(edge_model)),
            files=artifacts.list_files(folder),
            labels=tuple(labels.read_text().splitlines()) if labels.exists() else None,
            evaluation=dict(evaluation.metadata) if evaluation else {},
            verification=dict(verification.metadata),
            provenance={
                **provenance,
                **_origin(edge_model, evaluation),
                **_transformed(edge_model),
                "data_digest": verification.metadata.get("examples_digest", ""),
                "edge_model": edge_model.digest,
            },
            not_proven_missing=_unproven(verification),
            host_operations=host_operations.of(facts),
            decision_threshold=_decision_threshold(evaluation, verification),
            windows=kept if kept and kept.kept_by == windows.SERVER else None,
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise EdgelineError(
            f"{edge_model.path} does not say what its model is ({error}): run convert again."
        ) from error


def _origin(edge_model: Artifact, evaluation: Artifact | None) -> dict[str, Any]:
    """Where an imported model came from, and whether nobody has evaluated it."""
    origin = edge_model.metadata.get("origin", {})
    found = {"origin": {name: origin[name] for name in ORIGIN if name in origin}} if origin else {}
    return found if evaluation else {**found, "evaluation": "not evaluated"}


def _transformed(edge_model: Artifact) -> dict[str, object]:
    """Why the model takes no raw features, where it is known."""
    found = transformed.causes(edge_model.metadata)
    return {transformed.KEY: [cause.to_json() for cause in found]} if found else {}


def _unproven(verification: Artifact) -> tuple[str, ...] | None:
    """Features whose missing value was not asked; None where verify asked no probes, as before."""
    probes = verification.metadata.get("probes")
    return tuple(probes["not_proven_missing"]) if probes else None


def _decision_threshold(evaluation: Artifact | None, verification: Artifact) -> float | None:
    """What the edge model was verified to decide by; None where that is 0.5, or no decision."""
    verified: float | None = verification.metadata.get("decision_threshold")
    chosen = evaluation.metadata.get("decision_threshold") if evaluation else None
    if chosen is not None and chosen != verified:
        by = "0.5, as before" if verified is None else f"{verified:g}"
        raise EdgelineError(
            f"analyze chose the decision threshold {chosen:g}, but {verification.path} compared "
            f"decisions by {by}: give convert the output decision_threshold of analyze, and verify "
            "none."
        )
    return None if verified == USUAL_THRESHOLD else verified


def _require_approval(
    edge_model: Artifact, evaluation: Artifact | None, verification: Artifact
) -> None:
    for found in (evaluation, verification):
        if found and (unmet := outcomes.first_failure(outcomes.of(found.metadata))):
            raise EdgelineError(
                f"The model is not published because it does not meet the requirements: {unmet}"
            )
    if verification.metadata.get("approved") is not True:
        raise EdgelineError(
            f"The model is not published because verify did not approve it: see the report of "
            f"verify, whose result is {verification.path}."
        )
    if verification.metadata.get("edge_model_digest", edge_model.digest) != edge_model.digest:
        raise EdgelineError(
            f"The model {edge_model.path} is not published because {verification.path} approves "
            "another: verify this one."
        )
    if evaluation is None:
        if not edge_model.metadata.get("origin"):
            raise EdgelineError(
                f"The model {edge_model.path} is not published because it was trained here and has "
                "no evaluation: connect that of analyze; only an imported model goes without."
            )
    elif evaluation.metadata.get("blessed") is False:
        raise EdgelineError(
            f"The model is not published because analyze did not bless it: see the report of "
            f"analyze, whose result is {evaluation.path}."
        )


def _require_acceptance(
    acceptance: Artifact, edge_model: Artifact, compiled: Artifact | None
) -> None:
    tested = (
        acceptance.metadata["edge_model_digest"],
        acceptance.metadata.get("compiled_model_digest"),
    )
    if tested != (edge_model.digest, compiled.digest if compiled else None):
        raise EdgelineError(
            f"The model {edge_model.path} is not published because {acceptance.path} tested "
            "another: connect the acceptance of this one."
        )
    if acceptance.metadata["accepted"] is not True:
        raise EdgelineError(
            "The model is not published because the host app's tests do not accept it: "
            f"{acceptance.metadata['reason']}"
        )


def _require_made_of(compiled: Artifact, edge_model: Artifact, verification: Artifact) -> None:
    verified = verification.metadata.get("compiled_model_digest")
    if edge_model.digest not in compiled.metadata["source_digest"].split():
        raise EdgelineError(
            f"{compiled.path} is not compiled from {edge_model.path}: connect the edge model that "
            "it was made of."
        )
    if verified != compiled.digest:
        raise EdgelineError(
            f"The model {compiled.path} is not published because {verification.path} approves "
            "another: give verify this one as compiled_model."
        )
