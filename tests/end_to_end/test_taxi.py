"""The main job: real taxi trips to a published, verified bundle."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import Finished, edgeline
from panel import cut_in_panel

from edgeline.artifacts import bundle
from edgeline.artifacts.features import MISSING
from edgeline.artifacts.folder import facts_of
from edgeline.runtimes.interpreter import load

TASKS = [
    *("ingest", "validate", "transform", "train", "analyze"),
    *("convert", "verify", "publish", "model-card", "settings"),
]


def _outputs(run: Finished, task: str) -> dict:
    return run.record["tasks"][task]["outputs"]


def test_ends_well_with_every_task(taxi: Finished) -> None:
    assert taxi.code == 0, taxi.output
    states = {name: task["state"] for name, task in taxi.record["tasks"].items()}
    assert states == dict.fromkeys([*TASKS, "notify"], "succeeded")


def test_the_model_card_comes_last_and_shows_what_was_found(taxi: Finished) -> None:
    assert list(taxi.record["tasks"]).index("model-card") > TASKS.index("publish")
    page = Path(
        _outputs(taxi, "model-card")["model_card"]["uri"].removeprefix("file://")
    ).read_text()
    assert "taxi: model card" in page
    assert "Accuracy and latency by target" in page and "Operators by device" in page
    assert taxi.record["tasks"]["model-card"]["peak_memory"] > 0  # forked with its imports done


def test_nothing_is_left_in_the_temporary_folder(taxi: Finished) -> None:
    assert not list((taxi.folder / "tmp").iterdir())


def test_model_is_good_blessed_and_approved(taxi: Finished) -> None:
    assert _outputs(taxi, "analyze")["blessed"] is True
    assert _outputs(taxi, "verify")["approved"] is True
    assert _outputs(taxi, "analyze")["evaluation_metrics"]["metadata"]["auc"] >= 0.92


def test_no_row_is_lost_on_the_way(taxi: Finished) -> None:
    splits = facts_of(_outputs(taxi, "ingest")["examples"]["uri"])["splits"]
    assert sum(split["rows"] for split in splits.values()) == 15_002
    transformed = Path(_outputs(taxi, "transform")["transformed_examples"]["uri"])
    for split, facts in splits.items():
        rows = sum(pq.read_metadata(file).num_rows for file in (transformed / split).iterdir())
        assert rows == facts["rows"]
    checked = facts_of(_outputs(taxi, "verify")["verification"]["uri"])
    assert checked["rows"] == splits["eval"]["rows"]


def test_edge_model_decides_as_the_cloud_model(taxi: Finished) -> None:
    found = facts_of(_outputs(taxi, "verify")["verification"]["uri"])
    assert found["changed_decisions"] == 0
    assert found["max_difference"] <= 1e-5


def test_the_edge_model_takes_raw_features(taxi: Finished) -> None:
    published = bundle.read(_outputs(taxi, "publish")["uri"].removeprefix("file://"))
    inputs = {tensor.name: tensor.dtype for tensor in published.signature.inputs}
    assert published.takes == "raw"
    assert inputs["company"] == "string"
    assert inputs["fare"] == "float32"
    assert "tips" not in inputs  # known only after the ride


def test_the_bundle_answers_on_a_device(taxi: Finished) -> None:
    folder = Path(_outputs(taxi, "publish")["uri"].removeprefix("file://"))
    published = bundle.read(folder)
    model = load(folder / published.model)
    types = {"string": object, "int64": np.int64, "float32": np.float32}
    rows = {  # nothing is known of this ride
        f.name: np.array([[MISSING[f.dtype]]], types[f.dtype]) for f in published.features
    }
    answer = model(rows)["prediction"]
    assert answer.shape == (1, 1)
    assert 0 <= answer[0, 0] <= 1


def test_edgeline_verify_accepts_the_bundle_and_refuses_a_tampered_one(
    taxi: Finished, tmp_path: Path
) -> None:
    folder = Path(_outputs(taxi, "publish")["uri"].removeprefix("file://"))
    good = edgeline(tmp_path, "verify", str(folder))
    assert good.code == 0, good.output
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    model = copy / bundle.read(copy).model
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    bad = edgeline(tmp_path, "verify", str(copy))
    assert bad.code == 1
    assert "is damaged" in bad.output
    assert "Traceback" not in bad.output


def test_a_cached_run_redoes_nothing_and_is_quick(taxi: Finished) -> None:
    again = edgeline(taxi.folder, "run", "taxi", "--cache")
    assert again.code == 0, again.output
    states = {name: task["state"] for name, task in again.record["tasks"].items()}
    assert {states[name] for name in TASKS} == {"cached"}


def test_a_damaged_artifact_is_made_again_not_taken_from_the_cache(taxi: Finished) -> None:
    edge_model = Path(_outputs(taxi, "convert")["edge_model"]["uri"]) / "model.tflite"
    kept = edge_model.read_bytes()
    edge_model.write_bytes(kept.replace(b"Taxi", b"Toxi"))  # in a vocabulary
    assert edge_model.read_bytes() != kept
    try:
        again = edgeline(taxi.folder, "run", "taxi", "--cache")
    finally:
        edge_model.write_bytes(kept)
    assert again.code == 0, again.output
    states = {name: task["state"] for name, task in again.record["tasks"].items()}
    assert states["train"] == "cached"
    assert states["convert"] == "succeeded"
    made = Path(_outputs(again, "convert")["edge_model"]["uri"]) / "model.tflite"
    assert made.read_bytes() == kept


@pytest.mark.long  # test_digits.py has integers, tests/components/convert/test_convert_taxi.py both
@pytest.mark.parametrize("quantisation", ["dynamic", "int8"])
def test_quantised_models_lose_less_than_a_hundredth(taxi: Finished, quantisation: str) -> None:
    run = edgeline(taxi.folder, "run", "taxi", "--cache", "--set", f"quantisation={quantisation}")
    assert run.code == 0, run.output
    assert run.record["tasks"]["train"]["state"] == "cached"
    metrics = facts_of(_outputs(run, "verify")["verification"]["uri"])["metrics"]
    assert metrics
    assert all(metric["drop"] < 0.01 for metric in metrics.values())
    assert taxi.run and run.run
    compared = edgeline(taxi.folder, "runs", "compare", taxi.run.name, run.run.name)
    head, first = compared.output.splitlines()[2:4]
    assert head.split() == ["parameter", taxi.run.name, run.run.name], compared.output
    assert first.split() == ["edge.quantisation", "float", quantisation]


def test_a_browser_shows_the_page_and_its_links_have_ends(taxi: Finished, tmp_path: Path) -> None:
    page = taxi.page.read_text()
    for link in re.findall(r"""(?:src|href)=["'](?!#|data:)([^"']+)""", page):
        assert Path(unquote(link.removeprefix("file://"))).is_absolute() or (
            (taxi.page.parent / unquote(link)).exists()
        ), link
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: the page was not opened in a real browser")
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path}", "--dump-dom", f"file://{taxi.page}",
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    for task in TASKS:
        assert f'id="task-{task}"' in done.stdout
    assert "published" in done.stdout
    assert "at least 0.92, kept" in done.stdout  # of the AUC, by eval_config


def test_nothing_of_a_report_is_cut_in_the_panel_of_kubeflow_s_pages(
    taxi: Finished, tmp_path: Path
) -> None:
    pages = {
        name: Path(output["uri"]).read_text()
        for task in taxi.record["tasks"].values()
        for name, output in task["outputs"].items()
        if name.endswith(("_report", "model_card"))
    }
    assert len(pages) > 6
    assert cut_in_panel(pages, tmp_path) == {}


def test_each_report_is_self_contained(taxi: Finished) -> None:
    pages = 0
    for task in taxi.record["tasks"].values():
        for output in task["outputs"].values():
            if isinstance(output, dict) and Path(output.get("uri", "")).is_file():
                text = Path(output["uri"]).read_text()
                if text.startswith("<!doctype html"):
                    pages += 1
                    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", text)
    assert pages >= 7


def test_the_record_is_complete_json(taxi: Finished) -> None:
    for name, task in taxi.record["tasks"].items():
        assert task["seconds"] > 0, name
        assert 0 < task["peak_memory"] < 2e9, name
    json.dumps(taxi.record, allow_nan=False)


def test_benchmarks_find_in_its_record_what_it_made(
    taxi: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from against_tfx import outcome
    from rows_150k import _step

    record = tmp_path / "run.json"
    record.write_text(json.dumps(taxi.record))
    made = outcome(record)
    assert made["rows"] == made["transformed_rows"]
    assert sum(made["rows"].values()) == 15_002
    assert made["evaluated_rows"] == made["rows"]["eval"]
    assert _step(taxi.record["tasks"]["analyze"])["rows"] == {"eval": made["rows"]["eval"]}
