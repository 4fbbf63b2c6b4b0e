"""A .tflite file that is written again says the same, in fewer bytes."""

from pathlib import Path

import numpy as np
import pytest

from edgeline.formats import packing, tflite
from edgeline.runtimes import interpreter

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("name", ["cnn_int8", "cnn_dynamic"])
def test_the_same_model_in_fewer_bytes(name, tmp_path):
    file = (DATA / f"{name}.tflite").read_bytes()
    again = tmp_path / "again.tflite"
    again.write_bytes(packing.compact(file))
    assert again.stat().st_size < len(file)
    assert packing.compact(again.read_bytes()) == again.read_bytes()
    before, after = interpreter.load(DATA / f"{name}.tflite"), interpreter.load(again)
    assert after.signature == before.signature
    pictures = np.random.default_rng(0).random((16, 28, 28, 1), np.float32)
    given = interpreter.quantise({"image": pictures}, before.signature.inputs)
    for output, wanted in before(given).items():
        np.testing.assert_array_equal(after(given)[output], wanted)


def with_weights_behind(file):
    """As ai-edge-quantizer writes what has more than 256 KiB of weights."""
    model = packing.unpacked(file)
    stored = [b"" if buffer.data is None else bytes(buffer.data) for buffer in model.buffers]
    start = 2  # another number than the defaults, for a file that is as long
    for _ in range(2):
        place = start
        for buffer, content in zip(model.buffers, stored, strict=True):
            buffer.data = None
            if content:
                buffer.offset, buffer.size = place, len(content)
                place += len(content)
        start = len(packing.packed(model))
    return packing.packed(model) + b"".join(stored)


def test_weights_behind_the_flatbuffer_are_kept(tmp_path):
    file = (DATA / "cnn_int8.tflite").read_bytes()
    behind = with_weights_behind(file)
    (tmp_path / "behind.tflite").write_bytes(behind)
    interpreter.load(tmp_path / "behind.tflite")
    assert packing.compact(behind) == packing.compact(file)


def test_buffers_lie_where_instructions_can_load_them():
    from ai_edge_litert.schema_py_generated import Model

    file = packing.compact((DATA / "cnn_float.tflite").read_bytes())
    model = Model.GetRootAs(file)
    starts = [
        buffer._tab.Vector(buffer._tab.Offset(4))
        for buffer in (model.Buffers(place) for place in range(model.BuffersLength()))
        if buffer.DataLength()
    ]
    assert starts and {start % packing.ALIGNMENT for start in starts} == {0}


def test_our_reader_finds_the_same_tensors():
    name = DATA / "cnn_int8.tflite"
    file = np.frombuffer(packing.compact(name.read_bytes()), np.uint8)
    before, after = tflite.read(name).subgraphs[0], tflite.parse(file, name).subgraphs[0]
    assert str(after) == str(before)
