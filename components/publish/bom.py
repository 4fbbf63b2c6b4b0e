"""`bom.cdx.json`: what a published model is and was made of, as a CycloneDX 1.6 ML-BOM.

It lies in the bundle, where the manifest, and so every signature, covers it. It says what the
artifacts prove and what people declared, and names what neither does. It holds no time, run or
version: the same model of the same data is the same file, and so the same version.

Format: https://cyclonedx.org/docs/1.6/json/ (ECMA-424).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import Artifact, declared_card, transformed
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.software import KEY as SOFTWARE
from edgeline.version import __version__

FILE = "bom.cdx.json"
SPECIFICATION = "1.6"
MODEL, EXAMPLES = "model", "examples"  # references within the file
DIGITS = 6  # of a metric: what lies behind differs from one machine's arithmetic to another's
Json = dict[str, Any]


def write(
    folder: Path,
    *,
    name: str,
    target: str,
    facts: Mapping[str, Any],
    signature: Signature,
    model: Path,
    evaluation: Artifact | None,
    verification: Artifact,
    card: Mapping[str, str],
) -> None:
    """Write the bill of materials of a bundle into its folder.

    Args:
        folder: with all other files of the bundle.
        name, target: of the bundle.
        facts: the metadata of the edge model, with what compiling changed.
        signature: what the model takes and gives.
        model: its file.
        evaluation: `evaluation/v1`, or None.
        verification: `verification/v1`.
        card: as `declared_card.check` gives it.
    """
    files = [
        {
            "type": "file",
            "bom-ref": f"file:{path}",
            "name": path,
            "hashes": _hashes(str(entry["sha256"])),
        }
        for path, entry in artifacts.list_files(folder).items()
    ]
    libraries = [_library(*each) for each in sorted((facts.get(SOFTWARE) or {}).items())]
    data = _examples(verification, facts, card)
    described: Json = {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": name,
        "description": f"An edge model for {target}, {facts['quantisation']}.",
        "hashes": _hashes(artifacts.sha256(model)),
        "modelCard": _model_card(facts, signature, evaluation, verification, card),
        "properties": _properties(facts, target, evaluation, verification, card),
    }
    if origin := facts.get("origin"):
        ancestor: Json = {
            "type": "machine-learning-model",
            "name": str(origin.get("source", "unknown")),
        }
        hashes = _hashes(str(origin.get("sha256") or ""))
        described["pedigree"] = {
            "ancestors": [{**ancestor, **({"hashes": hashes} if hashes else {})}]
        }
    if owner := card.get("owner"):
        described["supplier"] = {"name": owner}
    if licence := card.get("licence"):
        described["licenses"] = [{"license": {"name": licence}}]
    content: Json = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "version": 1,
        "metadata": {
            "component": described,
            "tools": {
                "components": [{"type": "application", "name": "edgeline", "version": __version__}]
            },
        },
        "components": [data, *files, *libraries],
        "dependencies": [
            {
                "ref": MODEL,
                "dependsOn": [each["bom-ref"] for each in (data, *files, *libraries)],
            }
        ],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content, sort_keys=True))
    artifacts.write_json(folder / FILE, {**content, "serialNumber": f"urn:uuid:{number}"})


def _model_card(
    facts: Mapping[str, Any],
    signature: Signature,
    evaluation: Artifact | None,
    verification: Artifact,
    card: Mapping[str, str],
) -> Json:
    parameters: Json = {
        "task": facts["task"],
        "datasets": [{"ref": EXAMPLES}],
        "inputs": _formats(signature.inputs),
        "outputs": _formats(signature.outputs),
    }
    if not facts.get("origin"):
        parameters["approach"] = {"type": "supervised"}  # as train does; an import does not tell
    considerations: Json = {}
    if use := card.get("intended_use"):
        considerations["useCases"] = [use]
    if limits := card.get("limits"):
        considerations["technicalLimitations"] = [limits]
    if ethics := card.get("ethics"):
        considerations["ethicalConsiderations"] = [{"name": ethics}]
    found: Json = {"modelParameters": parameters}
    if metrics := _metrics(evaluation, verification):
        found["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return {**found, **({"considerations": considerations} if considerations else {})}


def _metrics(evaluation: Artifact | None, verification: Artifact) -> list[Json]:
    """Of the trained model as analyze found them, then of the edge model as verify did."""
    told = dict(evaluation.metadata.get("metrics", {})) if evaluation else {}
    measured = verification.metadata.get("metrics", {})
    edge = {f"{name} of the edge model": each.get("edge") for name, each in measured.items()}
    return [
        {"type": name, "value": f"{value:.{DIGITS}g}"}
        for name, value in {**told, **edge}.items()
        if isinstance(value, (int, float))
    ]


def _examples(verification: Artifact, facts: Mapping[str, Any], card: Mapping[str, str]) -> Json:
    """The rows that the edge model was compared on, by the digest of their artifact."""
    found = verification.metadata
    told = "The rows on which verify compared the edge model with its original"
    if split := found.get("split"):
        told += f": split {split}, {found.get('rows')} rows"
    if facts.get("origin"):
        told += ". What the model was trained on is not known: it was imported."
    else:
        told += ". Edgeline's pipelines train on the other splits of the same rows."
    if data := card.get("data"):
        told += f" As declared: {data}"
    inside: Json = {"type": "dataset", "name": EXAMPLES, "description": told}
    if owner := card.get("owner"):
        inside["governance"] = {"owners": [{"organization": {"name": owner}}]}
    digests = {
        "edgeline:examples_digest": found.get("examples_digest"),
        "edgeline:source_digest": found.get("source_digest"),
    }
    known = {name: str(value) for name, value in digests.items() if value}
    return {
        "type": "data",
        "bom-ref": EXAMPLES,
        "name": EXAMPLES,
        "hashes": _hashes(str(found.get("examples_digest") or "")),
        "data": [inside],
        "properties": _named(known),
    }


def _properties(
    facts: Mapping[str, Any],
    target: str,
    evaluation: Artifact | None,
    verification: Artifact,
    card: Mapping[str, str],
) -> list[Json]:
    """What CycloneDX has no field for, and what nobody said."""
    probes = verification.metadata.get("probes") or {}
    told = {
        "edgeline:target": target,
        "edgeline:quantisation": facts["quantisation"],
        "edgeline:takes": facts["takes"],
        "edgeline:takes_because": transformed.sentence(facts["takes"], facts),
        "edgeline:verified_in": verification.metadata.get("runtime"),
        "edgeline:not_proven_missing": ", ".join(probes.get("not_proven_missing", ())),
        "edgeline:evaluation": "" if evaluation else "not evaluated",
        "edgeline:not_stated": ", ".join(declared_card.missing(card)),
    }
    return _named({name: str(value) for name, value in told.items() if value})


def _named(values: Mapping[str, str]) -> list[Json]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _formats(tensors: Sequence[Tensor]) -> list[Json]:
    return [
        {"format": f"{each.name}: {each.dtype}{list(each.shape)}".replace("-1", "?", 1)}
        for each in tensors
    ]


def _library(name: str, version: str) -> Json:
    reference = f"pkg:pypi/{name}@{version}"
    found = {"type": "library", "bom-ref": reference, "name": name, "version": version}
    return {**found, "purl": reference}


def _hashes(sha256: str) -> list[Json]:
    """None of what is not a sha256, as older artifacts may lack it."""
    return [{"alg": "SHA-256", "content": sha256}] if len(sha256) == 64 else []
