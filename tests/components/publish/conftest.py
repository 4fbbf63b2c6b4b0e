"""A real S3 server, and artifacts to publish."""

import json
import os
import secrets

import pytest
from s3_server import BUCKET, running

from edgeline import artifacts


@pytest.fixture(autouse=True)
def outside_of_a_cluster(monkeypatch):
    """The tests may run in a pod."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A MinIO server on a free loopback port, with random keys and a bucket `bundles`."""
    yield from running(tmp_path_factory)


@pytest.fixture
def s3(s3_server, monkeypatch):
    """The server, with its endpoint and keys in the environment."""
    for key in list(os.environ):
        if key.startswith(("MINIO_", "AWS_")):
            monkeypatch.delenv(key)
    for key, value in s3_server.environment.items():
        monkeypatch.setenv(key, value)
    return s3_server


@pytest.fixture(params=["folder", "s3"])
def destination(request, tmp_path):
    """A destination of its own for each test, once a folder and once a bucket's prefix."""
    if request.param == "folder":
        return str(tmp_path / "store")
    request.getfixturevalue("s3")
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture
def s3_destination(s3):  # noqa: ARG001
    return f"minio://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture
def inputs(tmp_path):
    """A function that writes the three artifacts and returns them as arguments of publish."""

    def write(
        content=b"model one",
        *,
        size=0,
        approved=True,
        blessed=True,
        latency=1.0,
        chosen=None,
        verified=None,
        windows=None,
    ):
        folder = tmp_path / "inputs" / secrets.token_hex(6)
        with artifacts.writing(folder / "edge_model", "edge_model/v1") as draft:
            with open(draft.path / "model.tflite", "wb") as stream:
                stream.write(b"\x1c\x00\x00\x00TFL3" + content)
                stream.truncate(max(size, stream.tell()))
            tensor = {"dtype": "float32", "shape": [-1, 1]}
            width = windows["size"] if windows else 1
            signature = {
                "inputs": [{"name": "miles", **tensor, "shape": [-1, width]}],
                "outputs": [{"name": "prediction", **tensor}],
            }
            (draft.path / "signature.json").write_text(json.dumps(signature))
            (draft.path / "labels.txt").write_text("small\nbig\n")
            draft.metadata.update(
                features=[{"name": "miles", "dtype": "float32", "shape": [width]}],
                task="binary_classification",
                quantisation="none",
                takes="raw",
            )
        with artifacts.writing(folder / "evaluation", "evaluation/v1") as draft:
            draft.metadata.update(blessed=blessed, metrics={"auc": 0.9})
            if chosen is not None:
                draft.metadata["decision_threshold"] = chosen
        with artifacts.writing(folder / "verification", "verification/v1") as draft:
            (draft.path / "test_vectors.json").write_text('[{"miles": [[1.0]]}]')
            draft.metadata.update(
                approved=approved,
                latency_ms=latency,
                examples_digest="d1",
                edge_model_digest=artifacts.read(folder / "edge_model", "edge_model/v1").digest,
            )
            if windows is not None:
                draft.metadata["windows"] = windows
            if verified is not None:
                draft.metadata["decision_threshold"] = verified
        return {
            f"{name}_path": str(folder / name)
            for name in ("edge_model", "evaluation", "verification")
        }

    return write
