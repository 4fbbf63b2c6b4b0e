"""Damaged and hostile files: an error each or a valid model, never a crash, a hang or much memory.

The corpus is made of real models by a seeded generator: truncated, bits and words flipped,
absurd offsets and lengths, wrong magic, zeros; and of files written to be hostile: vectors
that share their elements so that a reader's work multiplies.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import flatbuffers
import pytest

from edgeline.errors import EdgelineError
from edgeline.formats import tflite

CORAL = Path(__file__).parent / "data" / "coral"
SEEDS = (
    "keras_lstm_mnist_ptq.tflite",
    "keras_lstm_mnist_ptq_edgetpu.tflite",
    "mobilenet_v1_0.25_128_quant.tflite",
)
WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0x00FFFFFF, 4)
MEMORY = 1_000_000_000
READ_ALL = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
from pathlib import Path
from edgeline.components.check.check import check
from edgeline.errors import EdgelineError
results = {{}}
for path in sorted(Path(sys.argv[1]).iterdir()):
    begun = time.monotonic()
    try:
        check(path).to_json()
        outcome = "read"
    except EdgelineError as error:
        outcome = str(error)
    results[path.name] = [outcome, time.monotonic() - begun]
# not ru_maxrss: that of a child begins at its parent's
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) * 1024
print(json.dumps({{"results": results, "peak": peak}}))
"""


def truncated(data: bytes, random: random.Random) -> bytes:
    return data[: random.randrange(len(data))]


def bits_flipped(data: bytes, random: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 4, 64, 1000))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def words_replaced(data: bytes, random: random.Random) -> bytes:
    """Offsets and lengths are aligned words; most stand at the two ends of a file."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 8, 32))):
        end = random.choice((min(4096, len(data)), len(data)))
        place = random.randrange(end // 4) * 4
        if random.random() < 0.5:
            place = len(data) // 4 * 4 - 4 - place
        struct.pack_into("<I", changed, max(place, 0), random.choice(WORDS))
    return bytes(changed)


def zeroed(data: bytes, random: random.Random) -> bytes:
    begin = random.randrange(len(data))
    length = min(random.choice((16, 256, 4096)), len(data) - begin)
    return data[:begin] + bytes(length) + data[begin + length :]


def magic_replaced(data: bytes, random: random.Random) -> bytes:
    return data[:4] + random.choice((b"TFL2", b"\0\0\0\0", b"ONNX", b"\x89PNG")) + data[8:]


def root_replaced(data: bytes, random: random.Random) -> bytes:
    return struct.pack("<I", random.choice((*WORDS, random.randrange(1 << 32)))) + data[4:]


def halves_swapped(data: bytes, random: random.Random) -> bytes:
    middle = random.randrange(8, len(data)) // 4 * 4
    return data[:8] + data[middle:] + data[8:middle]


KINDS = (
    truncated,
    bits_flipped,
    words_replaced,
    zeroed,
    magic_replaced,
    root_replaced,
    halves_swapped,
)
ALWAYS_ERRORS = (truncated, magic_replaced, root_replaced)


def shared(tensors: int, subgraphs: int, axes: int) -> bytes:
    """A model whose subgraphs are one, of which each tensor is one, with a long shape."""
    builder = flatbuffers.Builder(1024)
    builder.StartVector(4, axes, 4)
    for _ in range(axes):
        builder.PrependInt32(1)
    shape = builder.EndVector()
    builder.StartObject(10)
    builder.PrependUOffsetTRelativeSlot(0, shape, 0)
    tensor = builder.EndObject()
    builder.StartVector(4, tensors, 4)
    for _ in range(tensors):
        builder.PrependUOffsetTRelative(tensor)
    vector = builder.EndVector()
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    subgraph = builder.EndObject()
    builder.StartVector(4, subgraphs, 4)
    for _ in range(subgraphs):
        builder.PrependUOffsetTRelative(subgraph)
    graphs = builder.EndVector()
    builder.StartVector(4, 0, 4)
    nothing = builder.EndVector()
    builder.StartObject(8)
    builder.PrependUint32Slot(0, 3, 0)
    builder.PrependUOffsetTRelativeSlot(1, nothing, 0)
    builder.PrependUOffsetTRelativeSlot(2, graphs, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = random.Random(20)
    for seed in SEEDS:
        data = (CORAL / seed).read_bytes()
        for kind in KINDS:
            for number in range(12):
                name = f"{kind.__name__}-{number}-{seed}"
                (folder / name).write_bytes(kind(data, generator))
    (folder / "empty.tflite").touch()
    (folder / "eight.tflite").write_bytes(b"\x18\0\0\0TFL3")
    (folder / "zeros.tflite").write_bytes(bytes(100_000))
    (folder / "ones.tflite").write_bytes(b"\xff\xff\xff\xffTFL3" + b"\xff" * 100_000)
    (folder / "hostile-shared.tflite").write_bytes(shared(30_000, 30_000, 4))
    (folder / "hostile-rank.tflite").write_bytes(shared(2, 1, 1_000_000))
    (folder / "hostile-buffer.tflite").write_bytes(shared(1, 1, 4))
    run = subprocess.run(
        [sys.executable, "-c", READ_ALL.format(memory=MEMORY), str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"OPENBLAS_NUM_THREADS": "1", "PATH": ""},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def test_more_than_two_hundred_files_end_in_an_error_or_a_model(outcomes):
    results = outcomes["results"]
    assert len(results) > 250
    errors = [outcome for outcome, _ in results.values() if outcome != "read"]
    assert len(errors) > 180
    for error in errors:
        assert "\n" not in error
        assert ": " in error


def test_what_must_be_seen_is_seen(outcomes):
    names = {kind.__name__ for kind in ALWAYS_ERRORS}
    unseen = [
        name
        for name, (outcome, _) in outcomes["results"].items()
        if outcome == "read" and name.split("-")[0] in names | {"hostile", "empty.tflite"}
    ]
    assert unseen == []


def test_each_is_quick_and_memory_stays_below_a_gigabyte(outcomes):
    slowest = max(outcomes["results"].items(), key=lambda item: item[1][1])
    assert slowest[1][1] < 10, slowest
    assert outcomes["peak"] < MEMORY / 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: give a .tflite model"),
        (b"PK\3\4" * 100, "is not a .tflite model (bytes 4 to 7 are not 'TFL3')"),
        (b"\x08\0\0\0TFL3", "is damaged (only 8 bytes)"),
        (b"\xf0\xff\0\0TFL3" + bytes(64), "leads to byte 65,520 of 72"),
        (shared(1, 1, 4), "buffer 0 is named, of 0"),
    ],
)
def test_the_error_is_one_sentence_that_says_what_is_wrong(tmp_path, data, message):
    file = tmp_path / "model.tflite"
    file.write_bytes(data)
    with pytest.raises(EdgelineError) as caught:
        tflite.read(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_folder_and_a_missing_file_are_errors_too(tmp_path):
    for path in (tmp_path, tmp_path / "none.tflite"):
        with pytest.raises(EdgelineError, match="cannot be read"):
            tflite.read(path)


@pytest.mark.parametrize("model", sorted(CORAL.glob("*.tflite")), ids=lambda path: path.name)
def test_real_models_are_read_whole(model):
    read = tflite.read(model)
    graph = read.subgraphs[0]
    assert graph.operators
    assert all(tensor.values() is not None for tensor in graph.tensors if tensor.constant)
    assert graph.tensors[graph.inputs[0]].dtype == "UINT8"


def test_facts_of_a_model():
    model = tflite.read(CORAL / "keras_lstm_mnist_ptq.tflite")
    assert model.min_runtime_version == "1.14.0"
    assert model.signatures == {"serving_default": (0, {"x": 0}, {"output_0": 28})}
    graph = model.subgraphs[0]
    assert [operator.name for operator in graph.operators][1] == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    weights = graph.tensors[6]
    assert (weights.shape, weights.dtype, weights.size) == ((10, 560), "INT8", 5600)
    assert weights.quantisation.scales.shape == (1,)
    assert graph.operators[4].options["beta"] == 1.0
