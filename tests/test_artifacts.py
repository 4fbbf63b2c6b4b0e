"""Artifact folders: whole or not at all, and nothing damaged is read."""

import json
import os
from pathlib import Path

import pytest

from edgeline import artifacts
from edgeline.errors import EdgelineError


def write(path, content=b"rows", **metadata):
    with artifacts.writing(path, "examples/v1") as draft:
        (draft.path / "train").mkdir()
        (draft.path / "train" / "part").write_bytes(content)
        draft.metadata.update(metadata)
    return path


def test_what_is_written_is_read(tmp_path):
    found = artifacts.read(write(tmp_path / "deep" / "a", rows=3), "examples/v1")
    assert found.metadata == {"rows": 3}
    assert found.size == 4
    assert list(found.files) == ["train/part"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a"]


def test_equal_content_is_an_equal_folder_wherever_it_lies(tmp_path):
    one, two = write(tmp_path / "one", rows=3), write(tmp_path / "x" / "two", rows=3)
    assert (one / "artifact.json").read_bytes() == (two / "artifact.json").read_bytes()
    digest = artifacts.read(one, "examples/v1").digest
    assert artifacts.read(two, "examples/v1").digest == digest
    for other in (write(tmp_path / "c", b"row", rows=3), write(tmp_path / "d", rows=4)):
        assert artifacts.read(other, "examples/v1").digest != digest


def test_a_text_is_written_through_links_devices_and_pipes(tmp_path):
    target, link, pipe = tmp_path / "below" / "target", tmp_path / "link", tmp_path / "pipe"
    target.parent.mkdir()
    link.symlink_to("below/target")
    for text in ("new", "newer"):  # there is no file at first
        artifacts.write_text(link, text)
        assert (link.is_symlink(), target.read_text()) == (True, text)
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)) as reader:
        artifacts.write_text(pipe, "through")
        assert reader.read() == "through"
    assert pipe.is_fifo()
    device = Path("/dev/full")
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        artifacts.write_text(device, "text")
    artifacts.write_text(Path(os.devnull), "text")
    assert device.is_char_device()
    assert Path(os.devnull).is_char_device()
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        artifacts.write_text(circle, "text")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        *("below", "circle", "link", "pipe", "target")
    ]


@pytest.mark.parametrize("cause", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [False, True])
def test_an_interruption_leaves_what_was_there(tmp_path, cause, before):
    path = tmp_path / "a"
    if before:
        write(path, b"old")
    with pytest.raises(cause), artifacts.writing(path, "examples/v1") as draft:
        (draft.path / "half").write_bytes(b"h")
        raise cause
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"] * before
    if before:
        assert (artifacts.read(path, "examples/v1").path / "train/part").read_bytes() == b"old"


def test_what_a_kill_left_behind_is_written_over(tmp_path):
    leftover = tmp_path / "a.partial" / "train"
    leftover.mkdir(parents=True)
    (leftover / "half").write_bytes(b"h")
    found = artifacts.read(write(tmp_path / "a"), "examples/v1")
    assert list(found.files) == ["train/part"]
    assert not (tmp_path / "a.partial").exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_stood_there_is_replaced(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "file":
        path.write_text("x")
    else:  # KFP makes the folder of an output beforehand
        path.mkdir()
        (path / "old").write_text("x")
    assert list(artifacts.read(write(path), "examples/v1").files) == ["train/part"]


def truncate(path):
    (path / "train" / "part").write_bytes(b"row")


def flip(path):
    (path / "train" / "part").write_bytes(b"rowz")


def remove(path):
    (path / "train" / "part").unlink()


def add(path):
    (path / "train" / "part-1").write_bytes(b"")


def unlist(path):
    (path / "artifact.json").unlink()


def listing(content):
    def damage(path):
        (path / "artifact.json").write_bytes(content)

    return damage


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, "a/train/part is damaged"),
        (flip, "a/train/part is damaged"),
        (remove, "a/train/part is missing"),
        (add, "a/train/part-1 is not listed"),
        (unlist, r"a is not a finished edgeline artifact \(artifact.json is missing\)"),
        (listing(b""), "a/artifact.json is damaged"),
        (listing(b"\xff\xfe"), "a/artifact.json is damaged"),
        (listing(b'{"edgeline_schema": "examples/v1"}'), "a/artifact.json is damaged"),
        (listing(b"[1]"), "a/artifact.json is damaged"),
        (listing(b'{"edgeline_schema": "x", "metadata": 3, "files": {}}'), "is damaged"),
        (listing(b'{"edgeline_schema": "x", "metadata": {}, "files": 7}'), "is damaged"),
    ],
)
def test_damage_is_named(tmp_path, damage, sentence):
    path = write(tmp_path / "a")
    damage(path)
    with pytest.raises(EdgelineError, match=sentence) as caught:
        artifacts.read(path, "examples/v1")
    assert str(caught.value).endswith("run the step that makes it again.")


def test_another_kind_of_artifact_is_refused(tmp_path):
    with pytest.raises(EdgelineError, match="a holds examples/v1, but model/v1 is needed here"):
        artifacts.read(write(tmp_path / "a"), "model/v1")


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(EdgelineError, match="none is not a finished edgeline artifact"):
        artifacts.read(tmp_path / "none", "model/v1")


def test_the_listing_is_json_that_names_neither_time_nor_place(tmp_path):
    text = (write(tmp_path / "a", rows=1) / "artifact.json").read_text()
    assert json.loads(text).keys() == {"edgeline_schema", "metadata", "files"}
    assert str(tmp_path) not in text


def test_a_text_that_cannot_be_written_leaves_no_draft(tmp_path):
    place = tmp_path / "page.html"
    place.mkdir()
    with pytest.raises(OSError, match="page") as caught:
        artifacts.write_text(place, "new")
    assert caught.value.filename == str(place)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_json_is_readable_sorted_and_taken_by_every_parser(tmp_path):
    value = {"b": 1, "a": "Köln", "file": "bad\udcff"}
    artifacts.write_json(tmp_path / "v.json", value)
    content = (tmp_path / "v.json").read_bytes()
    assert json.loads(content) == value
    assert content.decode().startswith('{\n "a": "Köln",\n "b": 1') and content.endswith(b"}\n")
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "v.json", {"a": float("nan")})
    assert (tmp_path / "v.json").read_bytes() == content
