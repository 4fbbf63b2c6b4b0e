"""What a pipeline publishes, exported and run by MediaPipe: 500 of 500 pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import bundles
import numpy as np
import pyarrow.parquet as pq
import pytest

from edgeline.artifacts import pixels
from edgeline.components.compile import forms
from edgeline.mobile.model_file import write

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

DIGITS = Path(__file__).parents[2] / "pipelines" / "digits" / "digits.parquet"
PICTURES = 500


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `edgeline run digits` has published models of pictures with three channels."""
    from edgeline.pipelines.digits.pipeline import EVALUATION

    folder = tmp_path_factory.mktemp("run")
    pq.write_table(pq.read_table(DIGITS).slice(0, 4000), folder / "some.parquet")
    evaluation = json.dumps(EVALUATION).replace("0.97}", "0.9}").replace("0.9}", "0.7}")
    settings = {
        "data": "some.parquet",
        "steps": "300",
        "targets": "[]",
        "images": '{"image": [28, 28, 3]}',
        "eval_config": evaluation,
    }
    command = [sys.executable, "-m", "edgeline", "run", "digits"]
    for name, value in settings.items():
        command += ["--set", f"{name}={value}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "edgeline-models"


@pytest.mark.parametrize("model_scores", [True, False], ids=["model's scores", "calibrated"])
@pytest.mark.parametrize("name", ["digits", "digits-float"])
def test_the_first_class_of_each_digit_is_litert_s(
    published, tmp_path, mediapipe, name, model_scores
):
    rows = pq.read_table(DIGITS).slice(9000, PICTURES)  # not trained with
    pictures = np.stack([pixels.decode(each.as_py(), (28, 28, 3)) for each in rows["image"]])
    folder = published / name / "1"
    made = write(folder, tmp_path, model_scores=model_scores)
    model = forms.litert(folder / "model.tflite")
    [taken] = model.signature.inputs
    [scores] = model({taken.name: pictures.astype(taken.dtype)}).values()
    answers = mediapipe("classify", made.path, pictures)
    assert firsts(answers, scores) == PICTURES


def test_the_first_class_of_each_photograph_is_litert_s(tmp_path, mediapipe):
    pictures = bundles.crops(PICTURES, 128)
    folder = bundles.bundle(tmp_path / "b", bundles.MOBILENET, labels=bundles.names_of_imagenet())
    made = write(folder, tmp_path)
    model = forms.litert(bundles.MOBILENET)
    [scores] = model({bundles.input_of(bundles.MOBILENET): pictures}).values()
    assert firsts(mediapipe("classify", made.path, pictures), scores) == PICTURES


def firsts(answers: list, scores: np.ndarray) -> int:
    """Pictures whose first class has the highest score; two may have the same integer."""
    pairs = zip(answers, scores, strict=True)
    return sum(row[answer[0][0]] == row.max() for answer, row in pairs)
