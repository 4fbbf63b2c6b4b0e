"""Publish an approved edge model as the next version of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.artifacts.bundle import (
    MODEL_SIGNATURE,
    SCHEMA,
    Bundle,
    content_digest,
    write_manifest,
)
from edgeline.components.publish.assemble import assemble
from edgeline.errors import EdgelineError
from edgeline.repository.versions import published_versions
from edgeline.stores.destinations import refuse_lost
from edgeline.stores.signed import refuse_signed
from edgeline.stores.store import add, open_store
from edgeline.version import __version__


@dataclass(frozen=True)
class Published:
    """A bundle in its store: `uri` is `<destination>/<name>/<version>`."""

    uri: str
    version: int
    metadata: dict[str, object]


def publish(
    *,
    edge_model_path: str | Path,
    verification_path: str | Path,
    bundle_path: str | Path,
    name: str,
    destination: str,
    version: int = 0,
    evaluation_path: str | Path = "",
    target: str = "",
    pipeline_name: str = "",
    run_id: str = "",
    git_commit: str = "",
    compiled_model_path: str | Path = "",
    signing_keys: str = "",
    candidate: str = "",
    acceptance_path: str | Path = "",
    card: Mapping[str, Any] | None = None,
) -> Published:
    """Assemble a bundle, put it into a store and leave a copy at `bundle_path`.

    Args:
        edge_model_path: `edge_model/v1` or `onnx_model/v1`.
        verification_path: `verification/v1`, with `approved` true.
        bundle_path: the folder of the copy, written whole or not at all.
        name: of the bundle: lower-case letters, digits and dashes.
        destination: a folder, `s3://bucket/prefix` or `minio://bucket/prefix`.
        version: a positive number, or 0 for the next that is free.
        evaluation_path: `evaluation/v1`; "" for an imported model that nobody evaluated.
        target: what the model is made for, "" for what the edge model's form says.
        pipeline_name, run_id, git_commit: what made it.
        signing_keys: references to keys, with commas between them (see
            `edgeline.repository.keys`); with them the destination is a signed repository.
        compiled_model_path: `compiled_model/v1` made of the edge model, to publish in its place,
            or ""; the bundle is then `<name>-<target>` for its target.
        candidate: the name under which it waits in a signed repository to be promoted; "" for a
            version that devices take.
        acceptance_path: `acceptance/v1` of the same model, or "".
        card: what people declare of the model (see `edgeline.artifacts.declared_card`).

    Raises:
        EdgelineError: the model was compared with what is not the latest version any more; or see
            `refuse_lost`, `assemble`, `open_store`, `refuse_signed` and `add`, or
            `edgeline.repository.actions`.
    """
    if version < 0:
        raise EdgelineError(f"The version {version} is negative: give 0 for the next free one.")
    refuse_lost(destination)
    if candidate and not signing_keys.strip():
        raise EdgelineError(
            f"The candidate {candidate} has to be in a signed repository, since whoever serves a "
            "plain folder would take it for a version: give signing_keys."
        )
    keys = [key.strip() for key in signing_keys.split(",") if key.strip()]
    store = open_store(f"{destination.rstrip('/')}/targets" if keys else destination)
    compiled = (
        artifacts.read(compiled_model_path, "compiled_model/v1") if compiled_model_path else None
    )
    if compiled:
        name = f"{name}-{compiled.metadata['target']}"
    try:
        with artifacts.writing(bundle_path, SCHEMA) as draft:
            if not keys:
                refuse_signed(store, destination)
            bundle = assemble(
                draft.path,
                edge_model=models.read_edge(edge_model_path),
                evaluation=artifacts.read(evaluation_path, "evaluation/v1")
                if evaluation_path
                else None,
                verification=artifacts.read(verification_path, "verification/v1"),
                name=name,
                target=target,
                provenance={
                    "pipeline": pipeline_name,
                    "run": run_id,
                    "git_commit": git_commit,
                    "edgeline": __version__,
                },
                compiled=compiled,
                acceptance=artifacts.read(acceptance_path, "acceptance/v1")
                if acceptance_path
                else None,
                card=card,
            )
            _refuse_stale(bundle, destination)
            if keys:
                bundle = _add_signed(destination, draft.path, bundle, version, keys, candidate)
            else:
                bundle = add(store, draft.path, bundle, version)
            write_manifest(draft.path, bundle)
            signature = store.signature(bundle.name, bundle.version) if keys else None
            if signature is not None:
                (draft.path / MODEL_SIGNATURE).write_bytes(signature)
            uri = store.uri(bundle.name, bundle.version)
            draft.metadata.update(
                name=bundle.name,
                version=bundle.version,
                uri=uri,
                digest=content_digest(bundle),
            )
            if candidate:
                draft.metadata["candidate"] = candidate
    except OSError as error:
        raise EdgelineError(f"{bundle_path} cannot be written ({error.strerror}).") from error
    print(f"{uri} is published.")
    return Published(uri, bundle.version, {"edgeline_schema": SCHEMA, **draft.metadata})


def _refuse_stale(bundle: Bundle, destination: str) -> None:
    """Refuse a model that was compared with what is not the latest version any more.

    Another run may have published meanwhile, or the evaluation may come from a cache. Content that
    is the latest itself is not published again, so it is let through; and so is another form of the
    model whose latest version is of the same evaluation, such as `NAME-float` beside `NAME`.

    Raises:
        EdgelineError: names both versions.
    """
    compared: Any = bundle.evaluation.get("published_baseline")
    if not isinstance(compared, Mapping) or compared.get("asked") not in ("latest", "approved"):
        return
    if compared["of"] != destination.rstrip("/"):
        return  # published elsewhere
    name = compared["name"]
    there = published_versions(destination, name)
    latest = next(there.manifests(), None)
    if latest is None or latest.version == compared["version"]:
        return
    if content_digest(latest) in (compared.get("digest"), content_digest(bundle)):
        return
    if bundle.name != name and latest.evaluation == bundle.evaluation:
        return
    version = f"{name} {compared['version']}" if compared["version"] else "no version"
    raise EdgelineError(
        f"The model is not published because it was compared with {version}, and "
        f"{name} {latest.version} was published since: evaluate it again, with another "
        "cache_name where the evaluation came from a cache."
    )


def _add_signed(
    repository: str, folder: Path, bundle: Bundle, version: int, keys: list[str], candidate: str
) -> Bundle:
    from edgeline.artifacts import waves
    from edgeline.repository import actions

    write_manifest(folder, bundle)
    bundle, outcome = actions.add(repository, folder, keys, version=version, candidate=candidate)
    if not outcome.live:
        lacks = ", ".join(f"{count} of {role}" for role, count in outcome.missing.items())
        print(f"{bundle.name} {bundle.version} waits for signatures ({lacks}).")
    if outcome.plan is not None:
        first = waves.described(outcome.plan, max(0, len(outcome.plan.opened) - 1))
        print(f"{bundle.name} {bundle.version} is rolled out by waves: {first}.")
    return bundle
