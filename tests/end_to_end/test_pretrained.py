"""Models that nobody trained here: files in, verified bundles out, answers over HTTP.

An ONNX file's way is tested step by step in `tests/components/verify/test_verify_imported.py`.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import Finished, edgeline
from PIL import Image

from edgeline import artifacts
from edgeline.artifacts import bundle

# tests/kubeflow/test_pipelines_under_launcher.py runs both ways, and README's block a third
pytestmark = pytest.mark.long

DATA = Path(__file__).parents[1] / "data"
CORAL, KERAS = DATA / "coral", DATA / "small.keras"
MOBILENET = CORAL / "mobilenet_v1_0.25_128_quant.tflite"
PARROT = CORAL / "parrot.jpg"


def _run(folder: Path, source: Path, name: str, **settings: Any) -> Finished:
    chosen = {
        "source": str(source),
        "data": "pictures",
        "images": json.dumps({"image": [128, 128, 3]}),
        "split_ratios": json.dumps({"eval": 1}),
        "model_name": name,
        "destination": "models",
        **settings,
    }
    pairs = [f"{key}={value}" for key, value in chosen.items()]
    return edgeline(folder, "run", "pretrained", *(w for pair in pairs for w in ("--set", pair)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pictures`: a parrot, whole and without some of its edges."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "pictures" / "parrot").mkdir(parents=True)
    with Image.open(PARROT) as picture:
        width, height = picture.size
        for number in range(8):
            box = (number * 10, number * 10, width - number * 10, height - number * 10)
            piece = picture.crop(box).resize((160, 160))
            piece.save(folder / "pictures" / "parrot" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def mobilenet(folder: Path) -> Finished:
    """A real .tflite file."""
    labels = CORAL / "imagenet_labels.txt"
    return _run(folder, MOBILENET, "mobilenet", labels=labels, rename='{"input": "image"}')


def _states(run: Finished) -> dict[str, str]:
    return {name: task["state"] for name, task in run.record["tasks"].items()}


def test_a_litert_file_is_checked_verified_and_published(mobilenet: Finished) -> None:
    assert mobilenet.code == 0, mobilenet.output
    states = _states(mobilenet)
    assert set(states.values()) == {"succeeded"}, states
    assert "convert" not in states  # of the alternatives, only its own
    found = bundle.read(mobilenet.folder / "models" / "mobilenet" / "1")
    assert not found.evaluated
    assert found.provenance["evaluation"] == "not evaluated"
    assert found.provenance["origin"]["sha256"] == artifacts.sha256(MOBILENET)
    assert found.verification["rows"] == 8
    card = mobilenet.record["tasks"]["model-card-3"]["outputs"]["model_card"]["uri"]
    assert "not evaluated" in Path(card).read_text()


def test_its_bundle_answers_over_http(mobilenet: Finished) -> None:
    command = [sys.executable, "-m", "edgeline", "serve", "models/mobilenet/1", "--port", "0"]
    with subprocess.Popen(
        command, cwd=mobilenet.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout
        try:
            port = int(server.stdout.readline().split("http=")[1].split()[0])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            image = {"Content-Type": "image/jpeg"}
            path = "/v1/models/mobilenet:classify?top=1"
            connection.request("POST", path, PARROT.read_bytes(), image)
            answer = json.loads(connection.getresponse().read())
            connection.request("GET", "/v2/models/mobilenet")
            metadata = json.loads(connection.getresponse().read())
        finally:
            server.terminate()
    ((name, score),) = answer["results"][0]
    assert name == "macaw"
    assert score > 0.5
    assert metadata["properties"].pop("evaluation") == "not evaluated"
    assert "over which pixels are spread" in metadata["properties"].pop("transformed_features")
    assert not metadata["properties"]


def test_a_keras_file_is_converted_first(folder: Path) -> None:
    images = json.dumps({"image": [32, 32, 3]})
    splits = json.dumps({"train": 1, "eval": 1})
    done = _run(folder, KERAS, "small", images=images, split_ratios=splits, quantisation="float")
    assert done.code == 0, done.output
    states = _states(done)
    assert set(states.values()) == {"succeeded"}, states
    assert {"convert-2", "check-3", "verify-7", "publish-7", "model-card-7"} <= states.keys()
    found = bundle.read(done.folder / "models" / "small" / "1")
    assert found.provenance["origin"]["kind"] == "keras"
    assert found.provenance["evaluation"] == "not evaluated"
