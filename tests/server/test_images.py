"""Photographs to a vision model, as a body and within JSON, and files that are not photographs."""

from __future__ import annotations

import base64
import io
import shutil
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from running import DATA, MIXED, MOBILENET

from edgeline.artifacts import pixels
from edgeline.artifacts.bundle import Tensor
from edgeline.server.errors import ServingError
from edgeline.server.metrics import Metrics
from edgeline.server.tensors import pictures

CORAL = DATA / "coral"
CAT, PARROT = (CORAL / "cat_720p.jpg").read_bytes(), (CORAL / "parrot.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
BYTE = Tensor("x", "uint8", (1, 8, 6, 3))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """`vision` with its labels beside it, and a model that takes no image."""
    root = tmp_path_factory.mktemp("vision")
    shutil.copyfile(MOBILENET, root / "vision.tflite")
    shutil.copyfile(CORAL / "imagenet_labels.txt", root / "vision.txt")
    shutil.copyfile(MIXED, root / "mixed.tflite")
    return root


def file(array, kind="PNG", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.mark.parametrize(("photograph", "label"), [(PARROT, "macaw"), (CAT, "Egyptian cat")])
def test_a_photograph_gives_labels_and_scores_the_best_first(server, photograph, label):
    status, answer, _ = server.ask("POST", "/v1/models/vision:classify", photograph, JPEG)
    assert status == 200
    (classes,) = answer["results"]
    assert len(classes) == 5
    assert classes[0][0] == label
    scores = [score for _, score in classes]
    assert scores == sorted(scores, reverse=True)
    best = server.ask("POST", "/v1/models/vision:classify?top=1", photograph, JPEG)[1]
    assert best["results"] == [classes[:1]]


def test_every_way_of_sending_it_gives_the_same(server):
    predicted = server.ask("POST", "/v1/models/vision:predict", PARROT, JPEG)[1]["predictions"][0]
    body = {"instances": [b64(PARROT), b64(PARROT)]}
    assert (
        server.ask("POST", "/v1/models/vision:predict", body)[1]["predictions"] == [predicted] * 2
    )
    inferred = server.ask("POST", "/v2/models/vision/infer", PARROT, JPEG)[1]["outputs"][0]
    assert inferred["data"] == predicted
    name = server.ask("GET", "/v2/models/vision")[1]["inputs"][0]["name"]
    entry = {"name": name, "shape": [1], "datatype": "BYTES", "data": [b64(PARROT)]}
    output = {"name": inferred["name"], "parameters": {"classification": 2}}
    body = {"inputs": [entry], "outputs": [output]}
    answer = server.ask("POST", "/v2/models/vision/infer", body)[1]["outputs"][0]["data"]
    assert answer[0].endswith(":macaw")
    array = pictures.decode([PARROT], Tensor("x", "uint8", (1, 128, 128, 3)), "transformed")
    raw = server.ask(
        "POST",
        "/v2/models/vision/infer",
        array.tobytes(),
        {"Inference-Header-Content-Length": "0"},
    )[1]
    assert np.frombuffer(raw[-1001:], np.uint8).tolist() == predicted


def test_bad_files_are_refused_in_a_sentence(server):
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(1 << 20))),
            (b"IEND", b""),
        )
    )
    slow = file(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    last = slow[slow.rindex(b"\xff\xda") : -2]
    scans = slow[:-2] + 60 * last + slow[-2:]  # each goes over all pixels
    for body, path, status, words in (
        (b"", "vision:classify", 400, "not a JPEG or PNG"),
        (b"not an image", "vision:classify", 400, "not a JPEG or PNG"),
        (CAT[:9000], "vision:classify", 400, "damaged"),
        (bomb, "vision:classify", 400, "more than 33,554,432 pixels"),
        (scans, "vision:classify", 400, "66 scans, at most 64"),
        (CAT, "vision:regress", 400, "classified or predicted"),
        (CAT, "mixed:classify", 400, "does not take one image"),
        (CAT, "vision:classify?top=none", 400, "'top'"),
    ):
        found, answer, _ = server.ask("POST", "/v1/models/" + path, body, JPEG)
        assert (found, words in answer["error"]) == (status, True), answer
    body = {"instances": [b64(b"x")]}
    assert server.ask("POST", "/v1/models/vision:predict", body)[0] == 400


def test_many_images_that_take_long_together_are_refused(monkeypatch):
    monkeypatch.setattr(pictures, "DECODING", 0.0001)
    with pytest.raises(ServingError, match="of a core with image 1: send fewer"):
        pictures.decode([PARROT] * 3, BYTE, "raw")


def test_one_image_that_takes_long_is_refused_in_its_middle():
    deep = file(np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8))  # 480 kB
    with pytest.raises(pixels.LateError, match="too long to decode"):
        pixels.decode(deep, (8, 6, 3), until=time.thread_time() - 1)


def test_images_that_are_decoded_are_counted_and_wait_for_room():
    decoding, order = pixels.Decoding(100), []

    def one(size: int) -> None:
        with decoding.taking(size):
            order.append(size)

    with decoding.taking(70):
        assert decoding.size == 70
        threads = [threading.Thread(target=one, args=(size,)) for size in (500, 20)]
        for thread in threads:
            thread.start()
            thread.join(0.05)
        assert order == []  # the small one does not pass the large one
    for thread in threads:
        thread.join()
    assert (order, decoding.size) == ([500, 20], 0)
    metrics = Metrics()
    with pixels.decoding.taking(12_345):
        assert b"edgeline_buffered_bytes 12345" in metrics.render([], [])


def test_orientation_grey_depth_and_scale():
    columns = np.arange(60) + np.zeros((80, 1), int)
    left = np.where(columns < 30, 255, 0).astype(np.uint8)
    plain = pictures.decode([file(left)], BYTE, "raw")
    assert plain.shape == (1, 8, 6, 3)
    assert plain[0, 0, 0].tolist() == [255] * 3
    assert plain[0, 0, -1].tolist() == [0] * 3
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = pictures.decode([file(left, "JPEG", exif=exif)], BYTE, "raw")
    assert turned[0, 0, 0].max() < 30
    assert turned[0, 0, -1].min() > 225
    deep = np.where(columns < 30, 65535, 0).astype(np.uint16)
    grey = pictures.decode([file(deep)], Tensor("x", "uint8", (-1, 8, 6)), "raw")
    assert (grey[0, 0, 0], grey[0, 0, -1]) == (255, 0)
    signed = pictures.decode([file(left)], Tensor("x", "int8", (1, 8, 6, 1)), "raw")
    assert (signed.dtype, signed.min(), signed.max()) == (np.int8, -128, 127)
    scaled = Tensor("x", "int8", (1, 8, 6, 1), scale=2.0, zero_point=-100)
    stored = pictures.decode([file(left)], scaled, "raw")
    assert (stored.min(), stored.max()) == (-100, 28)
    real = Tensor("x", "float32", (1, 8, 6, 1))
    assert pictures.decode([file(left)], real, "raw").max() == 255.0
    assert pictures.decode([file(left)], real, "transformed").max() == 1.0


def test_without_pillow_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ServingError, match="pip install 'edgeline") as refused:
        pictures.decode([CAT], BYTE, "raw")
    assert refused.value.http == 501


def test_what_is_damaged_in_a_picture_writes_nothing_to_the_log(start, store):
    """Pillow warns of each in words with the client's own numbers."""
    server = start(store / "vision.tflite")
    for count in (1, 3, 200):  # entries that the EXIF data says it has
        exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHI", count, 0x112, 3, 1)
        picture = file(np.zeros((8, 8, 3), np.uint8), "JPEG", exif=exif)
        assert server.ask("POST", "/v1/models/vision:classify", picture, JPEG)[0] == 200
    _, log = server.stop()
    assert [line for line in log.splitlines() if not line.startswith(("{", "INFO: "))] == []
