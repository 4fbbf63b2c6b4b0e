"""The vision pipeline: real digits to verified bundles for a CPU, an NPU and a microcontroller.

`make test` takes some of the digits and a short training, `make long` README's command. Two of the
targets are compiled here; the others have tests of their own.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import DIGITS_RUN, Finished, edgeline
from panel import cut_in_panel

from edgeline import artifacts
from edgeline.artifacts import bundle, pixels
from edgeline.artifacts.folder import facts_of
from edgeline.components.check.check import check
from edgeline.runtimes.interpreter import load

DIGITS = Path(__file__).parents[2] / "pipelines" / "digits" / "digits.parquet"


@dataclass(frozen=True)
class Form:
    """A form of the run: how many digits it takes, and how well they have to be told apart."""

    rows: int
    accuracy: float
    of_a_device: float  # on the first 300
    command: tuple[str, ...] = DIGITS_RUN


SHORT = ("--set", "data=some.parquet", "--set", "steps=300")
FORMS = [
    pytest.param(Form(4_000, 0.92, 0.9, (*DIGITS_RUN, *SHORT)), id="short"),
    pytest.param(Form(10_000, 0.97, 0.95), marks=pytest.mark.long, id="as README prints it"),
]


@pytest.fixture(scope="session", params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return request.param


@pytest.fixture(scope="session")
def digits(form: Form, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`edgeline run digits`, once for all tests."""
    pytest.importorskip("ethosu", reason="Arm's compiler is not installed: edgeline[ethos-u]")
    pytest.importorskip("tflite_micro", reason="not installed: edgeline[tflite-micro]")
    folder = tmp_path_factory.mktemp("digits")
    pq.write_table(pq.read_table(DIGITS).slice(0, form.rows), folder / "some.parquet")
    return edgeline(folder, *_command(form))


def _command(form: Form) -> tuple[str, ...]:
    """The short form has lower bounds, for all digits and for each."""
    from edgeline.pipelines.digits.pipeline import EVALUATION

    if form.command == DIGITS_RUN:
        return DIGITS_RUN
    config = json.dumps(EVALUATION)
    for usual, lower in (("0.97", form.accuracy), ("0.9", 0.7)):
        bound = '"lower_bound": '
        assert config.count(f"{bound}{usual}}}") == 1
        config = config.replace(f"{bound}{usual}}}", f"{bound}{lower}}}")
    return (*form.command, "--set", f"eval_config={config}")


def _metadata(run: Finished, task: str, output: str) -> dict:
    """The facts of an artifact, of which its metadata has a few."""
    return facts_of(run.record["tasks"][task]["outputs"][output]["uri"])


def _published(run: Finished, name: str) -> Path:
    return run.folder / "edgeline-models" / name / "1"


def test_every_task_ends_well(digits: Finished) -> None:
    assert digits.code == 0, digits.output
    states = {name: task["state"] for name, task in digits.record["tasks"].items()}
    assert set(states.values()) == {"succeeded"}, states
    assert {
        f"{task}[{target}]"
        for task in ("compile", "verify-3", "publish-4")
        for target in ("ethos-u55", "tflite-micro")
    } <= states.keys()


def test_the_cloud_model_is_good_on_every_digit(digits: Finished, form: Form) -> None:
    outputs = digits.record["tasks"]["analyze"]["outputs"]
    assert outputs["blessed"] is True
    assert outputs["evaluation_metrics"]["metadata"]["accuracy"] >= form.accuracy


def test_no_image_is_lost(digits: Finished, form: Form) -> None:
    splits = _metadata(digits, "ingest", "examples")["splits"]
    assert sum(split["rows"] for split in splits.values()) == form.rows
    for task in ("verify", "verify-3[ethos-u55]", "verify-3[tflite-micro]", "verify-2"):
        found = _metadata(digits, task, "verification")
        assert found["rows"] == splits["eval"]["rows"], task
        assert found["approved"] is True, found["reasons"]


def test_the_float_model_decides_as_the_cloud_model(digits: Finished) -> None:
    found = _metadata(digits, "verify-2", "verification")
    assert found["quantisation"] == "float"
    assert found["changed_decisions"] == 0


@pytest.mark.parametrize("task", ["verify", "verify-3[tflite-micro]"])
def test_integers_lose_less_than_half_a_point(digits: Finished, task: str) -> None:
    accuracy = _metadata(digits, task, "verification")["metrics"]["accuracy"]
    assert accuracy["cloud"] - accuracy["edge"] <= 0.005


def test_the_whole_integer_model_maps_to_the_edge_tpu(digits: Finished) -> None:
    folder = _published(digits, "digits")
    placement = check(folder / bundle.read(folder).model)
    assert placement.share == 1.0
    assert not placement.left_on_cpu


def test_the_whole_integer_model_runs_on_the_npu(digits: Finished) -> None:
    built = _metadata(digits, "compile[ethos-u55]", "compiled_model")
    assert built["target"] == "ethos-u55"
    assert built["share"] == 1.0
    assert not built["left_on_cpu"]
    # only the device runs it: its source answers for it, and the manifest says so
    manifest = bundle.read(_published(digits, "digits-ethos-u55"))
    assert manifest.target == "ethos-u55"
    assert manifest.verification["runs_here"] is False


def test_the_microcontrollers_bundle_is_what_was_verified_in_its_interpreter(
    digits: Finished,
) -> None:
    folder = _published(digits, "digits-tflite-micro")
    manifest = bundle.read(folder)
    assert manifest.verification["runs_here"] is True
    assert {"model.tflite", "model.cc", "model.h", "placement.json"} <= manifest.files.keys()
    built = _metadata(digits, "compile[tflite-micro]", "compiled_model")
    assert 0 < built["facts"]["arena_bytes"] < 200_000


def test_the_bundle_reads_digits_as_a_device_would(digits: Finished, form: Form) -> None:
    folder = _published(digits, "digits")
    manifest = bundle.read(folder)
    (image,) = manifest.signature.inputs
    assert (image.dtype, image.shape, image.scale, image.zero_point) == (
        "uint8", (1, 28, 28, 1), 1.0, 0,
    )  # fmt: skip
    model = load(folder / manifest.model)
    rows = pq.read_table(DIGITS).slice(0, 300)
    pictures = np.stack([pixels.decode(data, (28, 28, 1)) for data in rows["image"].to_pylist()])
    answer = model({"image": pictures})["prediction"]
    assert (answer.argmax(1) == rows["label"].to_numpy()).mean() > form.of_a_device


def test_a_second_look_at_a_digit_in_colour_and_large_gives_the_same(digits: Finished) -> None:
    from PIL import Image

    folder = _published(digits, "digits")
    model = load(folder / bundle.read(folder).model)
    data, label = (column[0].as_py() for column in pq.read_table(DIGITS).columns)
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((280, 280)).save(stream, "PNG")
    picture = pixels.decode(stream.getvalue(), (28, 28, 1))[None]
    assert model({"image": picture})["prediction"].argmax() == label


def test_one_page_joins_what_was_found_of_the_model(digits: Finished) -> None:
    page = Path(digits.record["tasks"]["model-card-2"]["outputs"]["model_card"]["uri"]).read_text()
    assert "<h1>digits: model card</h1>" in page
    for name in ("ethos-u55", "tflite-micro"):
        assert re.search(rf"<td class=s[^>]*>{name}</td>", page)
    for task, kind in (("convert-2", "edge_model"), ("convert", "edge_model")):
        size = f"{_metadata(digits, task, kind)['size']:,}"
        assert re.search(rf'<td class="n"[^>]*>{size}</td>', page)
    accuracy = _metadata(digits, "verify", "verification")["metrics"]["accuracy"]
    assert f"accuracy (cloud {accuracy['cloud']:.4f})" in page
    # each operator of the integer model twice: as checked for the Edge TPU, compiled for the NPU
    operators = _metadata(digits, "check", "placement")["operators"]
    assert page.count('class="op"') == 2 * operators
    assert "Layers that lose most, int8" in page


def test_a_cached_run_redoes_nothing(digits: Finished, form: Form) -> None:
    again = edgeline(digits.folder, *_command(form))
    assert again.code == 0, again.output
    states = {name: task["state"] for name, task in again.record["tasks"].items()}
    assert {state for name, state in states.items() if name != "notify"} == {"cached"}
    assert states.keys() == digits.record["tasks"].keys()


def test_pages_are_self_contained_and_name_every_round_of_the_loop(digits: Finished) -> None:
    page = digits.page.read_text()
    links = re.findall(r"""(?:src|href)=["'](?!#|data:|file:)([^"']+)""", page)
    assert links and all((digits.page.parent / unquote(link)).exists() for link in links)
    assert "compile[tflite-micro]" in page
    for task in digits.record["tasks"].values():
        for output in task["outputs"].values():
            uri = str(output.get("uri")) if isinstance(output, dict) else ""
            if uri.endswith(("_report", "model_card")):
                text = Path(output["uri"]).read_text()
                assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+""", text)


def test_nothing_of_a_report_is_cut_in_the_panel_of_kubeflow_s_pages(
    digits: Finished, tmp_path: Path
) -> None:
    tasks = ("check", "compile[ethos-u55]", "convert", "validate", "verify", "analyze")
    pages = {
        name: Path(output["uri"]).read_text()
        for task in (*tasks, "model-card-2")
        for name, output in digits.record["tasks"][task]["outputs"].items()
        if name.endswith(("_report", "model_card"))
    }
    assert len(pages) >= 7
    assert cut_in_panel(pages, tmp_path) == {}


def test_raw_pixels_and_the_transform_are_what_training_saw(digits: Finished) -> None:
    made = digits.record["tasks"]["transform"]["outputs"]["transformed_examples"]
    folder = artifacts.read(made["uri"], "transformed_examples/v1").path
    values = pq.read_table(next((folder / "eval").iterdir()))["image"].combine_chunks().flatten()
    assert 0 <= values.to_numpy().min() < values.to_numpy().max() == 1
