"""What the Open Inference Protocol tells of a server and of its models, over HTTP and gRPC."""

from __future__ import annotations

from typing import Any

from edgeline.artifacts.bundle import Tensor
from edgeline.formats.dtypes import BY_NAME
from edgeline.server.models.model import Description
from edgeline.server.state import ServerState
from edgeline.version import __version__

EXTENSIONS = ["binary_tensor_data", "model_repository", "classification", "statistics"]
NOT_EVALUATED = "not evaluated"


def v2_shape(tensor: Tensor) -> list[int]:
    """A tensor's shape as metadata gives it, -1 for any."""
    return list(tensor.shape)


def server_metadata() -> dict[str, object]:
    """What GET /v2 says."""
    return {"name": "edgeline", "version": __version__, "extensions": EXTENSIONS}


def model_metadata(description: Description, versions: list[int]) -> dict[str, Any]:
    """What GET /v2/models/M says."""

    def tensors(entries: tuple[Tensor, ...]) -> list[dict[str, object]]:
        return [
            {"name": t.name, "datatype": BY_NAME[t.dtype].v2, "shape": v2_shape(t)} for t in entries
        ]

    metadata: dict[str, object] = {
        "name": description.name,
        "versions": [str(version) for version in versions],
        "platform": description.platform,
        "inputs": tensors(description.asked.inputs),
        "outputs": tensors(description.signature.outputs),
    }
    if properties := _properties(description):
        metadata["properties"] = properties
    return metadata


def _properties(description: Description) -> dict[str, str]:
    """What a bundle says against its model, and how it decides; empty where there is nothing."""
    found = {"evaluation": NOT_EVALUATED} if description.not_evaluated else {}
    if description.transformed:
        found["transformed_features"] = description.transformed
    if description.not_proven_missing:
        found["not_proven_missing"] = ", ".join(description.not_proven_missing)
    if description.windows_told:
        found["windows"] = description.windows_told
    if description.decision_threshold is not None:
        found["decision_threshold"] = str(description.decision_threshold)
    return found


def model_config(description: Description) -> dict[str, Any]:
    """Triton's model configuration, as far as it applies."""

    def tensors(entries: tuple[Tensor, ...]) -> list[dict[str, object]]:
        return [
            {
                "name": t.name,
                "data_type": "TYPE_" + BY_NAME[t.dtype].v2.replace("BYTES", "STRING"),
                "dims": v2_shape(t),
            }
            for t in entries
        ]

    return {
        "name": description.name,
        "platform": description.platform,
        "backend": description.runtime,
        "max_batch_size": 0,
        "input": tensors(description.asked.inputs),
        "output": tensors(description.signature.outputs),
        "parameters": {
            "device": {"string_value": description.device},
            "note": {"string_value": description.note},
            **{name: {"string_value": text} for name, text in _properties(description).items()},
        },
    }


def model_statistics(state: ServerState, name: str, version: str) -> dict[str, object]:
    """Triton's statistics of a version, as far as they are kept."""
    description = state.served.pool(name, version).description
    metrics = state.metrics.of(name, description.version)
    ok = metrics.codes.get("OK", 0)

    def spent(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": int(seconds * 1e9)}

    return {
        "name": name,
        "version": str(description.version),
        "inference_count": ok,
        "execution_count": ok,
        "inference_stats": {
            "success": spent(ok, metrics.worked.total + metrics.queued.total),
            "fail": spent(metrics.worked.count - ok, 0.0),
            "queue": spent(metrics.queued.count, metrics.queued.total),
            "compute_infer": spent(metrics.worked.count, metrics.worked.total),
        },
    }
