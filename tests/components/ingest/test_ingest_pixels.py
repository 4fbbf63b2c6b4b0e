"""Images as pixels: real digits, odd sizes and colours, and what a damaged one says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import examples, features, pixels
from edgeline.artifacts.features import Feature
from edgeline.components.ingest import pixel_columns
from edgeline.components.ingest.ingest import ingest
from edgeline.components.validate.validate import validate
from edgeline.errors import EdgelineError

Image = pytest.importorskip("PIL.Image")
DIGITS = Path(__file__).parents[3] / "pipelines" / "digits" / "digits.parquet"
ONE = {"all": 1}


def encoded(array: np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def written(path: Path, images: list[bytes | None], **columns) -> Path:
    pq.write_table(pa.table({"image": pa.array(images, pa.binary()), **columns}), path)
    return path


def read(output: Path, shape: tuple[int, ...]) -> np.ndarray:
    artifact = artifacts.read(output, examples.SCHEMA)
    found = features.from_arrow_schema(examples.arrow_schema(artifact, "all"))
    assert found[0] == Feature("image", "float32", shape)
    batches = examples.read_batches(artifact, "all")
    return np.concatenate([features.to_numpy(batch, found)["image"] for batch in batches])


def test_real_digits_come_as_they_are_with_their_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_columns, "PIECE_BYTES", 100 * 4 * 784)  # several pieces
    source = pq.read_table(DIGITS).slice(0, 250)
    pq.write_table(source, tmp_path / "some.parquet")
    shape = {"image": [28.0, 28.0, 1.0]}  # as KFP gives numbers
    ingest(str(tmp_path / "some.parquet"), tmp_path / "out", split_ratios=ONE, images=shape)
    found = read(tmp_path / "out", (28, 28, 1))
    for row, data in enumerate(source["image"].to_pylist()):
        expected = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(found[row, :, :, 0], expected)
    table = pq.read_table(next((tmp_path / "out" / "all").iterdir()))
    assert table["label"].to_pylist() == source["label"].to_pylist()


def test_the_split_does_not_depend_on_the_size_of_the_pixels(tmp_path):
    pq.write_table(pq.read_table(DIGITS).slice(0, 60), tmp_path / "some.parquet")
    counts = []
    for size in (28, 8):
        metadata = ingest(
            str(tmp_path / "some.parquet"), tmp_path / "out", images={"image": [size, size, 1]}
        )
        counts.append(metadata["splits"])
    assert counts[0] == counts[1]


def test_the_schema_keeps_the_shape(tmp_path):
    pq.write_table(pq.read_table(DIGITS).slice(0, 60), tmp_path / "some.parquet")
    ingest(str(tmp_path / "some.parquet"), tmp_path / "out", images={"image": [28, 28, 1]})
    folders = [str(tmp_path / name) for name in ("statistics", "schema", "anomalies", "r.html")]
    found = validate(str(tmp_path / "out"), *folders)
    assert found.valid
    from edgeline.components.validate import schema

    read_back = {feature.name: feature for feature in schema.read_features(folders[1])}
    assert read_back["image"] == Feature("image", "float32", (28, 28, 1))
    again = validate(str(tmp_path / "out"), *folders, schema_uri=folders[1])
    assert again.valid


def test_another_size_is_stretched_and_colours_are_made_what_is_wanted(tmp_path):
    colours = np.zeros((10, 20, 3), np.uint8)
    colours[..., 0] = 255  # red
    grey = np.full((7, 7), 90, np.uint8)
    clear = np.dstack([colours, np.full((10, 20), 10, np.uint8)])
    deep = np.full((5, 5), 90 << 8, np.uint16)
    images = [encoded(picture) for picture in (colours, grey, clear, deep)]
    file = written(tmp_path / "odd.parquet", images)
    ingest(str(file), tmp_path / "grey", split_ratios=ONE, images={"image": [4, 6, 1]})
    found = read(tmp_path / "grey", (4, 6, 1))
    assert [set(picture.ravel()) for picture in found] == [{76.0}, {90.0}, {76.0}, {90.0}]
    ingest(str(file), tmp_path / "rgb", split_ratios=ONE, images={"image": [4, 6, 3]})
    found = read(tmp_path / "rgb", (4, 6, 3))
    assert found[0, 0, 0].tolist() == [255, 0, 0]
    assert found[1, 0, 0].tolist() == [90, 90, 90]


def test_a_photograph_is_turned_as_its_camera_says():
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, :8] = 255  # white at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise: the left becomes the top
    data = encoded(picture, "JPEG", exif=exif, quality=95)
    turned = pixels.decode(data, (16, 8, 1))
    assert turned[:6].min() > 200
    assert turned[-6:].max() < 50


GOOD = encoded(np.arange(784, dtype=np.uint32).astype(np.uint8).reshape(28, 28))


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (GOOD[: len(GOOD) // 2], "the image is damaged"),
        (b"GIF89a" + GOOD, "the image is not a JPEG or PNG"),
        (b"", "the image is not a JPEG or PNG"),
        (None, "the image is missing"),
    ],
)
def test_a_bad_image_is_named_by_file_and_row(tmp_path, image, says):
    file = written(tmp_path / "bad.parquet", [GOOD, GOOD, image, GOOD])
    with pytest.raises(EdgelineError, match=f"bad.parquet, row 3, column 'image': {says}"):
        ingest(str(file), tmp_path / "out", images={"image": [28, 28, 1]})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((8000, 8000), "has 8000 x 8000 pixels"),
        ((20000, 20000), "of more than"),
        ((40000, 1), "a side at most 32,768"),
        ((1, 1 << 25), "a side at most 32,768"),
    ],
)
def test_an_image_made_to_fill_the_memory_is_refused_by_its_header(size, says):
    stream = io.BytesIO()
    Image.new("1", size).save(stream, "PNG")
    with pytest.raises(EdgelineError, match=says):
        pixels.decode(stream.getvalue(), (28, 28, 1))


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ({"picture": [28, 28, 1]}, "names the column 'picture'"),
        ({"label": [28, 28, 1]}, "holds int64 and no image files"),
        ({"image": [28, 28]}, "give \\[height, width, channels\\]"),
        ({"image": [28, 28, 2]}, "1 channel for grey or 3 for RGB"),
        ({"image": [0, 28, 1]}, "give \\[height, width, channels\\]"),
        ({"image": [1.5, 28, 1]}, "give \\[height, width, channels\\]"),
    ],
)
def test_parameters_that_do_not_fit(tmp_path, images, says):
    file = written(tmp_path / "a.parquet", [b"x"], label=pa.array([1]))
    with pytest.raises(EdgelineError, match=says):
        ingest(str(file), tmp_path / "out", images=images)


def test_a_folder_of_images_becomes_pixels_too(tmp_path):
    for name, value in (("cat/a.png", 10), ("dog/b.png", 200)):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_bytes(encoded(np.full((5, 5), value, np.uint8)))
    ingest(str(tmp_path / "data"), tmp_path / "out", split_ratios=ONE, images={"image": [2, 2, 1]})
    assert [set(picture.ravel()) for picture in read(tmp_path / "out", (2, 2, 1))] == [{10}, {200}]
