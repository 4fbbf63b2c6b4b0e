"""`edgeline compile`: a pipeline as KFP's IR, or as Kubernetes manifests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from edgeline.errors import EdgelineError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def compile_pipeline(
    pipeline: str,
    output: str | None = None,
    kubernetes: bool = False,
    namespace: str = "kubeflow",
    settings: tuple[str, ...] = (),
) -> Path:
    """Compile a pipeline and write it, beside its place and then renamed.

    Args:
        pipeline: as `edgeline.pipelines.catalogue.load` takes it.
        output: the file to write; by default `<name>.yaml` in this folder.
        kubernetes: write a `Pipeline` and a `PipelineVersion` named after the content's
            digest, so that an equal pipeline is an equal manifest and a changed one is a
            new version (a PipelineVersion cannot be changed).
        namespace: of the manifests.
        settings: `name=value` for the pipeline's defaults.

    Raises:
        EdgelineError: there is no such pipeline, its name is none that KFP takes or the
            namespace none that Kubernetes takes, or the file cannot be written.
    """
    from edgeline.cli import parse_settings
    from edgeline.local.command import parameter_kinds
    from edgeline.pipelines import catalogue

    definition = catalogue.load(pipeline)
    name = definition.pipeline_spec.pipeline_info.name
    if not NAME.fullmatch(name):
        raise EdgelineError(
            f"Pipeline name {name!r} is refused by the server: use at most 128 of a-z, 0-9 and -."
        )
    if not NAMESPACE.fullmatch(namespace):
        raise EdgelineError(
            f"Namespace {namespace!r} is refused by Kubernetes: use at most 63 of a-z, 0-9 and -."
        )
    kinds = parameter_kinds(definition.pipeline_spec.root.input_definitions.parameters)
    defaults = parse_settings(settings, kinds)
    path = Path(output or f"{name}.yaml")
    partial = path.with_name(path.name + ".partial.yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _compile(definition, partial, defaults)
        if kubernetes:
            _write_manifests(definition, partial, name, namespace, defaults)
        partial.replace(path)
    except OSError as error:
        raise EdgelineError(
            f"{path} cannot be written ({error.strerror}): name another file with -o."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return path


def _compile(definition: Any, path: Path, defaults: dict[str, Any], **options: Any) -> None:
    from kfp.compiler import Compiler

    Compiler().compile(definition, str(path), pipeline_parameters=defaults or None, **options)


def _write_manifests(
    definition: Any, path: Path, name: str, namespace: str, defaults: dict[str, Any]
) -> None:
    from kfp.compiler.compiler_utils import KubernetesManifestOptions

    documents = list(yaml.safe_load_all(path.read_text()))
    content = json.dumps(documents, sort_keys=True).encode()
    version = f"{name[:100].rstrip('-')}-{hashlib.sha256(content).hexdigest()[:16]}"
    options = KubernetesManifestOptions(
        pipeline_name=name,
        pipeline_display_name=name,
        pipeline_version_name=version,
        pipeline_version_display_name=version,
        namespace=namespace,
        include_pipeline_manifest=True,
    )
    _compile(
        definition,
        path,
        defaults,
        kubernetes_manifest_format=True,
        kubernetes_manifest_options=options,
    )
