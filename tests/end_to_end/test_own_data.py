"""A file of one's own: the project that `edgeline init` makes of it, and rows that count more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import Finished, edgeline

from edgeline import artifacts
from edgeline.artifacts import bundle, examples, models

pytestmark = pytest.mark.long
ROWS = 500


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    random = np.random.default_rng(3)
    lines = ["id,income,age (years),region,households,default"]
    for number in range(ROWS):
        income, region = random.normal(50, 15), random.choice(["north", "south", "west"])
        low = income + 10 * (region == "north") + random.normal(0, 8) < 45
        shown = "" if random.random() < 0.03 else f"{income:.2f}"
        age, households = random.integers(18, 80), random.choice([0, 1, 1, 2, 5])
        lines.append(f"{number},{shown},{age},{region},{households},{'yes' if low else 'no'}")
    (folder / "loans.csv").write_text("\n".join(lines) + "\n")
    made = edgeline(folder, "init", "loans", "--data", "loans.csv", "--label", "default")
    assert made.code == 0, made.output
    return folder


def trained(project: Path, *settings: str) -> Finished:
    given = [word for setting in ("steps=60", *settings) for word in ("--set", setting)]
    return edgeline(project, "run", "loans/pipeline.py", "--cache", *given)


def made(finished: Finished, task: str, output: str) -> dict[str, Any]:
    return finished.record["tasks"][task]["outputs"][output]


def test_a_project_of_own_data_is_trained_published_and_verified(project: Path) -> None:
    finished = trained(project)
    assert finished.code == 0, finished.output
    published = project / "loans" / "models" / "loans" / "1"
    manifest = bundle.read(published)
    assert {each.name for each in manifest.features} == {
        "income", "age (years)", "region", "households",
    }  # fmt: skip
    assert manifest.verification["probes"]["at_fault"] == 0
    assert edgeline(project, "verify", str(published)).code == 0


def test_a_project_of_many_columns_packs_them_and_is_published(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    names = [f"x{n}" for n in range(70)] + [f"n{n}" for n in range(30)] + ["w0", "w1"]
    lines = [",".join([*names, "y"])]
    for _ in range(ROWS):
        numbers = [f"{value:.3f}" for value in random.normal(5, 2, 70)]
        numbers[1] = "" if random.random() < 0.05 else numbers[1]
        whole = [str(value) for value in random.integers(0, 9, 30)]
        words = [str(random.choice(["red", "green", "blue"])) for _ in range(2)]
        label = "yes" if float(numbers[0]) + int(whole[0]) + 3 * (words[0] == "red") > 10 else "no"
        lines.append(",".join([*numbers, *whole, *words, label]))
    (tmp_path / "wide.csv").write_text("\n".join(lines) + "\n")
    made = edgeline(tmp_path, "init", "wide", "--data", "wide.csv", "--label", "y")
    assert made.code == 0, made.output
    finished = edgeline(tmp_path, "run", "wide/pipeline.py", "--set", "steps=200")
    assert finished.code == 0, finished.output
    manifest = bundle.read(tmp_path / "wide" / "models" / "wide" / "1")
    assert {each.name for each in manifest.features} == set(names)
    assert manifest.verification["probes"]["at_fault"] == 0
    features = artifacts.read(
        finished.record["tasks"]["transform"]["outputs"]["transformed_examples"]["uri"],
        examples.TRANSFORMED_SCHEMA,
    ).metadata["features"]
    assert {each["name"]: each["shape"] for each in features} == {
        "numbers": [100], "words": [2], "y": [1],
    }  # fmt: skip


def test_weights_of_rows_reach_training_and_metrics_and_no_model_takes_them(project: Path) -> None:
    weighed = ("training.weight_column=households", f"destination={project / 'weighed'}")
    refused = trained(project, *weighed)
    assert refused.code == 2
    assert "preprocessing_fn reads 'households', which is weight_column" in refused.output
    module = project / "loans" / "module.py"
    lines = module.read_text().splitlines(keepends=True)
    module.write_text("".join(line for line in lines if '"households"' not in line))
    finished = trained(project, *weighed)
    assert finished.code == 0, finished.output
    model = artifacts.read(made(finished, "train", "model")["uri"], models.SCHEMA)
    assert "households" in " ".join(model.metadata["notes"])
    assert "Weighted by households" in " ".join(finished.output.split())
    rows = examples.read_batches(
        artifacts.read(made(finished, "ingest", "examples")["uri"], examples.SCHEMA), "eval"
    )
    weights = sum(sum(batch.column("households").to_pylist()) for batch in rows)
    accuracy = made(finished, "analyze", "evaluation_metrics")["metadata"]["accuracy"]
    assert accuracy * weights == pytest.approx(round(accuracy * weights), abs=1e-6)
    manifest = bundle.read(project / "weighed" / "loans" / "1")
    assert {each.name for each in manifest.features} == {"income", "age (years)", "region"}
    assert "households" in " ".join(manifest.verification["notes"])
