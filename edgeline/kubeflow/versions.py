"""Is a version on a server what its name says? Its content is compared, not its name.

A KFP server keeps a pipeline as a protobuf message and shows it as JSON: its numbers lose their
decimal point, its fields their order, nothing else. Read into the same message again, what was
uploaded and what the server shows are equal, or have other content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

CONTENT_NAME = re.compile(r"-([0-9a-f]{16})$")


def equal(shown: Any, documents: Sequence[Any]) -> bool:
    """Whether a server's version has the content of a compiled pipeline.

    Args:
        shown: `pipeline_spec` of the server's answer.
        documents: of the YAML that `edgeline.client.compiling.compile_pipeline` writes without
            `kubernetes`: the pipeline, and what it needs of a platform, if any.
    """
    there = _read(documents_of(shown))
    return there is not None and there == _read(documents)


def misnamed(name: str, shown: Any) -> bool:
    """Whether a name has the digest of other content than the server shows.

    A name without a digest, such as `v1`, claims nothing.
    """
    claimed = CONTENT_NAME.search(name)
    if claimed is None:
        return False
    there = _read(documents_of(shown))
    return there is None or digest(there) != claimed[1]


def digest(documents: Sequence[Any]) -> str:
    """Of a compiled pipeline's documents: the first 16 digits of their sha256."""
    return hashlib.sha256(json.dumps(list(documents), sort_keys=True).encode()).hexdigest()[:16]


def pipeline_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """KFP's IR in what a server shows of a version, with or without its platform document."""
    found: Mapping[str, Any] = spec.get("pipeline_spec", spec)
    return found


def documents_of(spec: Any) -> list[Any]:
    """The documents of a version that a server shows: the pipeline, and its platform's, if any."""
    if not isinstance(spec, Mapping):
        return []
    if "pipeline_spec" not in spec:
        return [spec]
    return [spec["pipeline_spec"], *filter(None, [spec.get("platform_spec")])]


def as_kept(documents: Sequence[Any]) -> list[Any]:
    """A pipeline's documents as their messages write them, which is how a server shows them.

    Raises:
        ValueError: they are not pipeline's.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    kinds = (pipeline_spec_pb2.PipelineSpec, pipeline_spec_pb2.PlatformSpec)
    if not 1 <= len(documents) <= len(kinds):
        raise ValueError(f"{len(documents)} documents are not pipelines")
    try:
        return [
            json_format.MessageToDict(json_format.ParseDict(document, kind()))
            for document, kind in zip(documents, kinds, strict=False)
        ]
    except (json_format.Error, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _read(documents: Sequence[Any]) -> list[Any] | None:
    try:
        return as_kept(documents)
    except ValueError:
        return None
