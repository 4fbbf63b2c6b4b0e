"""Publish an approved edge model as the next version of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeline import artifacts
from edgeline.artifacts import models
from edgeline.artifacts.bundle import Bundle, content_digest, write_manifest
from edgeline.components.publish.assemble import assemble
from edgeline.errors import EdgelineError
from edgeline.stores.destinations import refuse_lost
from edgeline.stores.signed import refuse_signed
from edgeline.stores.store import add, open_store
from edgeline.version import __version__

SCHEMA = "bundle/v1"


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

    Raises:
        EdgelineError: see `refuse_lost`, `assemble`, `open_store`, `refuse_signed` and `add`, or
            `edgeline.repository.actions`.
    """
    if version < 0:
        raise EdgelineError(f"The version {version} is negative: give 0 for the next free one.")
    refuse_lost(destination)
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
            )
            if keys:
                bundle = _add_signed(destination, draft.path, bundle, version, keys)
            else:
                bundle = add(store, draft.path, bundle, version)
            write_manifest(draft.path, bundle)
            uri = store.uri(bundle.name, bundle.version)
            draft.metadata.update(
                name=bundle.name,
                version=bundle.version,
                uri=uri,
                digest=content_digest(bundle),
            )
    except OSError as error:
        raise EdgelineError(f"{bundle_path} cannot be written ({error.strerror}).") from error
    print(f"{uri} is published.")
    return Published(uri, bundle.version, {"edgeline_schema": SCHEMA, **draft.metadata})


def _add_signed(
    repository: str, folder: Path, bundle: Bundle, version: int, keys: list[str]
) -> Bundle:
    from edgeline.repository import actions

    write_manifest(folder, bundle)
    bundle, outcome = actions.add(repository, folder, keys, version=version)
    if not outcome.live:
        lacks = ", ".join(f"{count} of {role}" for role, count in outcome.missing.items())
        print(f"{bundle.name} {bundle.version} waits for signatures ({lacks}).")
    return bundle
