"""Representative rows from what users have: .npz, .npy, images, or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgeline.artifacts.features import Feature
from edgeline.components.compile.rows import MOST_ROWS, random_rows, read_rows
from edgeline.errors import EdgelineError

IMAGE = Feature("image", "float32", (8, 6, 3))
MIXED = [Feature("fare", "float32"), Feature("hour", "int64"), Feature("company", "string")]


def test_random_rows_fit_and_repeat():
    first, second = random_rows([IMAGE, *MIXED]), random_rows([IMAGE, *MIXED])
    assert first["image"].shape[1:] == (8, 6, 3)
    assert [first[f.name].dtype.name for f in MIXED] == ["float32", "int64", "object"]
    np.testing.assert_array_equal(first["image"], second["image"])


def test_a_npz_file_by_name(tmp_path):
    path = tmp_path / "rows.npz"
    np.savez(path, fare=np.ones((3, 1)), hour=np.arange(3), company=np.array(["a", "", "ß"]))
    rows = read_rows(path, MIXED)
    assert [rows[f.name].shape for f in MIXED] == [(3, 1)] * 3
    assert rows["fare"].dtype == np.float32
    assert rows["company"].ravel().tolist() == [b"a", b"", "ß".encode()]


def test_the_only_array_is_the_only_input(tmp_path):
    pixels = np.zeros((300, 8, 6, 3), np.uint8)
    np.savez(tmp_path / "rows.npz", pixels)
    np.save(tmp_path / "rows.npy", pixels[0])
    assert read_rows(tmp_path / "rows.npz", [IMAGE])["image"].shape == (MOST_ROWS, 8, 6, 3)
    assert read_rows(tmp_path / "rows.npy", [IMAGE])["image"].shape == (1, 8, 6, 3)


def test_images_are_brought_to_the_input_s_size(tmp_path):
    for label, shade in (("cat", 0), ("dog", 255)):
        (tmp_path / label).mkdir()
        Image.new("L", (30, 40), shade).save(tmp_path / label / "1.png")
    rows = read_rows(tmp_path, [IMAGE])["image"]
    assert (rows.shape, rows.dtype) == ((2, 8, 6, 3), np.float32)
    assert (rows[0].max(), rows[1].min()) == (0, 255)


@pytest.mark.parametrize(
    ("content", "features", "sentence"),
    [
        (b"no numbers", [IMAGE], "not an .npz or .npy file"),
        (np.zeros((4, 8, 8, 3)), [IMAGE], r"shape \[4, 8, 8, 3\], but the model takes"),
        (np.zeros((4, 1)), MIXED, "one input, but this one takes fare, hour, company"),
        (np.array(["x"]), [MIXED[0]], "'fare' in .* is <U1: give numbers"),
        ({"fare": np.ones(2)}, MIXED, "no array 'hour', only fare"),
    ],
)
def test_what_does_not_fit(tmp_path, content, features, sentence):
    path = tmp_path / "rows.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        path = tmp_path / "rows.npy"
        np.save(path, content)
    with pytest.raises(EdgelineError, match=sentence):
        read_rows(path, features)


def test_pickles_are_not_read(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(EdgelineError, match=r"not an .npz or .npy file of numbers"):
        read_rows(tmp_path / "rows.npy", [IMAGE])


def test_folders_without_images_and_damaged_images(tmp_path):
    with pytest.raises(EdgelineError, match=r"has no .png"):
        read_rows(tmp_path, [IMAGE])
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(EdgelineError, match=r"1\.png is not an image"):
        read_rows(tmp_path, [IMAGE])
