"""`edgeline mobile`: a bundle's model for apps, as LiteRT and MediaPipe read it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import bundles
import numpy as np
import pytest

from edgeline.artifacts import bundle as bundles_of
from edgeline.artifacts import calibration
from edgeline.artifacts.bundle import content_digest
from edgeline.artifacts.calibration import MULTICLASS
from edgeline.artifacts.host_operations import HostOperations, HostStep
from edgeline.components.compile import forms
from edgeline.components.import_model.tflite_file import labels_inside
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import flatbuffer, tflite
from edgeline.formats.tflite_metadata import ModelMetadata, TensorMetadata, with_metadata
from edgeline.mobile import score_sigmoid
from edgeline.mobile.model_file import write
from edgeline.mobile.tasks import CLASSIFIER, DETECTOR, INTERPRETER

DATA = bundles.DATA
DETECTOR_FILE = DATA / "detector.tflite"
NAMES = bundles.names_of_imagenet()
COLOURS = ("red", "blue")


def classifier(folder: Path, **fields: object) -> Path:
    return bundles.bundle(folder / "bundle", bundles.MOBILENET, labels=NAMES, **fields)


def metadata_of(file: Path) -> flatbuffer.Table:
    """The root table of a file's metadata."""
    found = tflite.read(file).metadata["TFLITE_METADATA"]
    return flatbuffer.root(found, "M001", "metadata")


def files_of(file: Path) -> dict[str, str]:
    with zipfile.ZipFile(file) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        return {name: archive.read(name).decode() for name in archive.namelist()}


def scored(rows: int = 4000, slope: float = 0.5, offset: float = -0.4) -> calibration.Calibration:
    """Of a model that is too certain: its scores are right as often as a flatter sigmoid says."""
    random = np.random.default_rng(4)
    scores = random.uniform(0.3, 0.999, rows)
    p = 1 / (1 + np.exp(-(slope * np.log(scores / (1 - scores)) + offset)))
    return calibration.fit(MULTICLASS, scores, random.random(rows) < p, {"accuracy": 0.7})


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("cnn_float.tflite", INTERPRETER),
        ("cnn_int8.tflite", INTERPRETER),
        ("cnn_dynamic.tflite", INTERPRETER),
        ("mixed.tflite", INTERPRETER),
        ("coral/mobilenet_v1_0.25_128_quant.tflite", CLASSIFIER),
    ],
)
def test_a_model_with_metadata_answers_byte_for_byte_as_without(tmp_path, model, task):
    folder = bundles.bundle(tmp_path / "bundle", DATA / model)
    made = write(folder, tmp_path, task)
    before, after = forms.litert(DATA / model), forms.litert(made.path)
    assert after.signature == before.signature
    rows = forms.sample(before.signature)
    answers = after(rows)
    for name, expected in before(rows).items():
        if expected.dtype == object:  # of strings, whose bytes are elsewhere
            assert answers[name].tolist() == expected.tolist()
        else:
            assert answers[name].tobytes() == expected.tobytes()
    was, now = tflite.read(DATA / model), tflite.read(made.path)
    assert now.min_runtime_version == was.min_runtime_version
    assert now.metadata.keys() == was.metadata.keys() | {"TFLITE_METADATA"}


def test_the_metadata_are_what_the_model_itself_says(tmp_path):
    folder = classifier(tmp_path)
    file = write(folder, tmp_path).path
    root = metadata_of(file)
    assert (root.string(0), root.string(2)) == ("pictures", "3")
    assert content_digest(bundles_of.read(folder)) in root.string(1)
    [subgraph] = root.tables(3)
    [picture], [scores] = subgraph.tables(2), subgraph.tables(3)
    assert picture.table(3).integer(0, "B") == 2  # a picture
    assert picture.table(3).table(1).integer(0, "b") == 1  # RGB
    [unit] = picture.tables(4)
    assert unit.integer(0, "B") == 1  # normalisation, by which 0 to 255 become -1 to 1
    assert [unit.table(1).array(field, "<f4").tolist() for field in (0, 1)] == [[128.0], [128.0]]
    [labels] = scores.tables(6)
    assert (labels.string(0), labels.integer(2, "b")) == ("labels.txt", 2)
    assert files_of(file)["labels.txt"].splitlines() == list(NAMES)
    assert labels_inside(file) == NAMES  # so is it imported again


def test_what_an_imported_file_says_of_its_pictures_stays_and_what_it_does_not_is_noted(tmp_path):
    model = DATA / "cnn_float.tflite"
    imported = {"provenance": {"origin": {"kind": "tflite"}}}
    silent = write(bundles.bundle(tmp_path / "silent", model, **imported), tmp_path, INTERPRETER)
    assert any("nobody said by which mean and deviation" in note for note in silent.notes)
    told = TensorMetadata("image", "", normalisation=((127.5,), (127.5,)))
    metadata = ModelMetadata("theirs", "1", "", (told,), ())
    (tmp_path / "own.tflite").write_bytes(with_metadata(model.read_bytes(), metadata))
    folder = bundles.bundle(tmp_path / "own", tmp_path / "own.tflite", **imported)
    made = write(folder, tmp_path / "out", INTERPRETER)
    [picture] = metadata_of(made.path).tables(3)[0].tables(2)
    [unit] = picture.tables(4)
    assert [unit.table(1).array(field, "<f4").tolist() for field in (0, 1)] == [[127.5], [127.5]]
    assert not any("mean and deviation" in note for note in made.notes)


def test_equal_bundles_give_equal_files_and_stay_as_they_are(tmp_path):
    folder = classifier(tmp_path, made=scored())
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    first = write(folder, tmp_path / "one").path.read_bytes()
    assert write(folder, tmp_path / "two").path.read_bytes() == first
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    bundles_of.read(folder)
    # what was written once is a model like others: its metadata are replaced, not added
    again = bundles.bundle(tmp_path / "again", tmp_path / "one" / "model.tflite", labels=NAMES)
    twice = write(again, tmp_path / "three", model_scores=True).path
    assert list(files_of(twice)) == ["labels.txt"]
    assert len(twice.read_bytes()) < len(first)


def test_a_tabular_model_has_its_features_for_the_interpreter(tmp_path):
    folder = bundles.bundle(
        tmp_path / "bundle", DATA / "mixed.tflite", not_proven_missing=("count",)
    )
    file = write(folder, tmp_path, INTERPRETER).path
    [subgraph] = metadata_of(file).tables(3)
    told = {table.string(0): table.string(1) for table in subgraph.tables(2)}
    assert told["amount"].endswith("NaN where it is missing.")
    assert told["count"].endswith("always with a value.")
    order = [tensor.name for tensor in graph_inputs(file)]
    assert [name in tensor for name, tensor in zip(told, order, strict=True)] == [True] * 3


def test_labels_are_of_the_outputs_that_have_as_many_places(tmp_path):
    for count, labelled in ((2, 0), (10, 2)):  # its four outputs are boxes, classes, scores, count
        labels = tuple(f"place {number}" for number in range(count))
        folder = bundles.bundle(tmp_path / str(count), DETECTOR_FILE, labels=labels)
        made = write(folder, tmp_path / f"out-{count}", INTERPRETER)
        [subgraph] = metadata_of(made.path).tables(3)
        assert sum(bool(table.tables(6)) for table in subgraph.tables(3)) == labelled
        assert made.labels == (count if labelled else 0)
        if labelled:
            assert list(files_of(made.path)) == ["labels.txt"]


def graph_inputs(file: Path) -> list[tflite.SubgraphTensor]:
    graph = tflite.read(file).subgraphs[0]
    return [graph.tensors[index] for index in graph.inputs]


@pytest.mark.parametrize(
    ("model", "task", "fields", "sentence"),
    [
        ("mixed.tflite", "", {}, r"classifier cannot take pictures 3: it takes 3 inputs \("),
        ("cnn_float.tflite", "", {}, r"its pictures have 1 channel, not 3 .*\[28, 28, 3\]"),
        ("cnn_float.tflite", DETECTOR, {}, "its pictures have 1 channel"),
        ("line.tflite", "", {}, r"its input has shape \[-1, 1\], not that of a picture"),
        ("detector.tflite", CLASSIFIER, {}, r"it gives 4 outputs"),
        (
            "coral/mobilenet_v1_0.25_128_quant.tflite",
            DETECTOR,
            {},
            "it does not end with TFLite_De",
        ),
        (
            *("coral/mobilenet_v1_0.25_128_quant.tflite", "", {"task": "regression"}),
            "its task is regression, which has no classes",
        ),
        (
            *("coral/mobilenet_v1_0.25_128_quant.tflite", "", {"labels": ("cat", "dog")}),
            "has 2 labels, but its output '.*' has 1001 scores: publish it with",
        ),
        (
            *("coral/mobilenet_v1_0.25_128_quant.tflite", "", {"labels": ("a\nb", *NAMES[1:])}),
            r"The label 'a\\nb' of pictures 3 is not one line",
        ),
        ("cnn_int8.tflite", "", {"target": "edgetpu"}, "is made for edgetpu, which phones do not"),
    ],
)
def test_what_a_task_cannot_take_is_refused_with_what_it_could(
    tmp_path, model, task, fields, sentence
):
    folder = bundles.bundle(tmp_path / "bundle", DATA / model, **fields)
    with pytest.raises(EdgelineError, match=sentence) as caught:
        write(folder, tmp_path / "out", task)
    assert not (tmp_path / "out").exists()
    if "cannot take" in str(caught.value):
        assert "It takes" in str(caught.value)
        assert "`--for interpreter`" in str(caught.value)


def test_what_an_app_lacks_is_refused(tmp_path):
    step = HostStep("StringLower", ("name",), ("lower",))
    hosted = HostOperations(1, (step,), ())
    folder = bundles.bundle(
        tmp_path / "text", DATA / "mixed.tflite", host_operations=hosted, not_proven_missing=()
    )
    with pytest.raises(EdgelineError, match="needs StringLower before its model, and an app"):
        write(folder, tmp_path / "out", INTERPRETER)
    with pytest.raises(UsageError, match=r"no task 'image-clasifier'\. Did you mean image-clas"):
        write(folder, tmp_path / "out", "image-clasifier")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("file", sorted((DATA / "hostile").glob("*.tflite")), ids=lambda f: f.stem)
def test_a_hostile_model_ends_in_a_sentence_or_a_file(tmp_path, file):
    signature = forms.litert(DATA / "mixed.tflite").signature
    folder = bundles.bundle(tmp_path / "bundle", file, signature=signature)
    try:
        write(folder, tmp_path / "out", INTERPRETER)
    except EdgelineError as error:
        assert "\n" not in str(error)
    (folder / "model.tflite").write_bytes(b"\0\0\0\0TFL3" + bytes(99))
    with pytest.raises(EdgelineError, match="is damaged: fetch or publish"):
        write(folder, tmp_path / "out", INTERPRETER)


def test_a_sigmoid_is_fitted_to_what_was_held_out():
    found = score_sigmoid.fit(scored())
    assert (found.slope, found.offset) == (
        pytest.approx(0.5, abs=0.05),
        pytest.approx(-0.4, abs=0.1),
    )
    assert found.useful
    assert found.after < 0.04 < 0.1 < found.before
    assert found.rows == 4000
    assert len(found.lines(3).splitlines()) == 3


@pytest.mark.parametrize("outcomes", ["as often as they say", "the more seldom the higher"])
def test_a_sigmoid_that_does_not_help_is_left_out_and_said(tmp_path, outcomes):
    made = scored(slope=-0.7, offset=0.0)
    if outcomes == "as often as they say":
        made = calibration.fit(MULTICLASS, np.full(200, 0.5), np.arange(200) % 2, {})
    written = write(classifier(tmp_path, made=made), tmp_path)
    assert written.sigmoid is None
    assert any("The scores are the model's own" in note for note in written.notes)
    assert "score_calibration.txt" not in files_of(written.path)


def test_scores_beyond_shares_get_no_sigmoid():
    made = calibration.fit(MULTICLASS, np.linspace(-3, 8, 300), np.arange(300) > 99, {})
    assert not score_sigmoid.fit(made).useful


def test_a_bundle_is_not_written_into_and_a_missing_package_is_named(tmp_path, monkeypatch):
    folder = classifier(tmp_path)
    with pytest.raises(UsageError, match="is a bundle, which is not written into"):
        write(folder, folder)
    bundles_of.read(folder)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EdgelineError, match=r"ai_edge_litert is not installed: pip install 'edge"):
        write(folder, tmp_path / "out")


def test_the_command_says_what_it_wrote(tmp_path):
    folder = classifier(tmp_path, made=scored())
    command = [sys.executable, "-m", "edgeline", "mobile", folder, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["file"], told["task"], told["labels"]) == ("mobile/model.tflite", CLASSIFIER, 1001)
    assert told["calibrated"]
    assert told["distance"] < told["distance_before"]
    assert (tmp_path / "mobile" / "model.tflite").is_file()


def test_mediapipe_classifies_as_litert_does(tmp_path, mediapipe):
    pictures = bundles.crops(40, 128)
    file = write(classifier(tmp_path), tmp_path).path
    expected = forms.litert(bundles.MOBILENET)({bundles.input_of(bundles.MOBILENET): pictures})
    [scores] = expected.values()
    for row, [(index, name, score), *_] in zip(
        scores, mediapipe("classify", file, pictures), strict=True
    ):
        assert row[index] == row.max()  # two classes may have the same integer
        assert (name, score) == (NAMES[index], row[index] / 256)


def test_mediapipe_calibrates_scores_as_the_bundle_says(tmp_path, mediapipe):
    made, pictures = scored(), bundles.crops(4, 128)
    folder = classifier(tmp_path, made=made)
    sigmoid = score_sigmoid.fit(made)
    before = mediapipe(
        "classify", write(folder, tmp_path / "raw", model_scores=True).path, pictures
    )
    after = mediapipe("classify", write(folder, tmp_path / "calibrated").path, pictures)
    for [(index, _, score), *_], [(same, _, told), *_] in zip(before, after, strict=True):
        logit = np.log(score) - np.log1p(-score)
        assert same == index
        assert told == pytest.approx(
            1 / (1 + np.exp(-sigmoid.slope * logit - sigmoid.offset)), 1e-4
        )


def squares() -> np.ndarray:
    """Each with a red and a blue square on a grid of four by four, uint8 [n, 64, 64, 3]."""
    random = np.random.default_rng(5)
    pictures = np.zeros((20, 64, 64, 3), np.uint8)
    for picture in pictures:
        for colour, place in zip((0, 2), random.choice(16, 2, replace=False), strict=True):
            top, left = 16 * (place // 4), 16 * (place % 4)
            picture[top : top + 16, left : left + 16, colour] = random.integers(180, 256)
    return pictures


def test_mediapipe_finds_the_boxes_that_litert_finds(tmp_path, mediapipe):
    pictures = squares()
    folder = bundles.bundle(tmp_path / "bundle", DETECTOR_FILE, task="detection", labels=COLOURS)
    made = write(folder, tmp_path)
    assert made.task == DETECTOR
    model = forms.litert(DETECTOR_FILE)
    for picture, answer in zip(pictures, mediapipe("detect", made.path, pictures), strict=True):
        found = model({"picture": picture[None].astype(np.float32)})
        expected = []
        for number in range(int(found["count"][0])):
            top, left, bottom, right = (64 * found["boxes"][0, number]).round().astype(int).tolist()
            expected.append(
                [[left, top, right - left, bottom - top], COLOURS[int(found["classes"][0, number])]]
            )
        assert [each[:2] for each in answer] == expected
        assert [each[2] for each in answer] == pytest.approx(
            found["scores"][0, :2].tolist(), abs=1e-6
        )
