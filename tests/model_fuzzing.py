"""Damaged model files at every entry that reads models of others, and what must come of them.

`python tests/model_fuzzing.py 60 [FILE]` gives that many files of each format to each entry, and
writes what came to FILE. A file is taken or refused in a sentence of one line; what it crashes,
hangs or fills is a child. Nothing takes more memory than the limit and 1 GB, nor more time.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "server"))

import other_runtimes
from test_tflite_hostile import KINDS

from edgeline.errors import EdgelineError
from edgeline.runtimes import limits

DATA = Path(__file__).parent / "data"
TFLITE = [DATA / name for name in ("mixed.tflite", "cnn_float.tflite", "cnn_int8.tflite")]
HOSTILE = sorted((DATA / "hostile").glob("*.tflite"))
MEMORY, SECONDS = 3 << 30, 20  # of a child here; by default it may take more
TFLITE_TARGETS = ("litert", "tflite-micro", "onnx", "openvino", "ethos-u55")
ONNX_TARGETS = ("onnx", "openvino", "tvm")

Entry = Callable[[Path, Path], object]  # takes a file, and a folder that is not there yet


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A file cut, with bits flipped, words replaced, parts zeroed or swapped."""
    return rng.choice(KINDS)(data.ljust(64, b"\0"), rng)


def damaged_zip(data: bytes, rng: random.Random) -> bytes:
    """A zip one of whose files is damaged, whole in all its checksums."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    name = rng.choice(sorted(files))
    files[name] = damaged(files[name], rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return stream.getvalue()


def damaged_message(message: Any, rng: random.Random) -> bytes:
    """A protobuf message with one to three fields changed, each of it still of its type."""
    for _ in range(rng.randint(1, 3)):
        owner, field, value = rng.choice(list(_fields(message)))
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == 3:
            _change_list(getattr(owner, field.name), rng)
        elif isinstance(value, (str, bytes)):
            other = value[: len(value) // 2] + value[len(value) // 2 + 1 :] * rng.choice((1, 3))
            setattr(owner, field.name, other)
        elif isinstance(value, (bool, float)):
            setattr(owner, field.name, type(value)(rng.choice((0, 1, -1, 1e38))))
        elif isinstance(value, int):
            with contextlib.suppress(ValueError):  # more than its type holds
                setattr(owner, field.name, rng.choice((0, 1, -1, 127, 1 << 30, (1 << 62) + 1)))
        else:
            owner.ClearField(field.name)
    return bytes(message.SerializePartialToString())


def _fields(message: Any) -> Iterator[tuple[Any, Any, Any]]:
    """All fields that are set, at any depth: message, field and value."""
    for field, value in message.ListFields():
        yield message, field, value
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        several = hasattr(value, "__len__")
        for each in value if several else [value]:
            yield from _fields(each)


def _change_list(values: Any, rng: random.Random) -> None:
    if hasattr(values, "keys"):  # a map
        values.pop(rng.choice(sorted(values)))
        return
    place = rng.randrange(len(values))
    if rng.random() < 0.5:
        del values[place]
    else:
        values.extend([values[place]] * rng.choice((1, 40)))


def damaged_onnx(data: bytes, rng: random.Random) -> bytes:
    """An ONNX file with damaged bytes, or one that is whole and says something else."""
    from onnx import ModelProto

    return (
        damaged(data, rng)
        if rng.random() < 0.3
        else damaged_message(ModelProto.FromString(data), rng)
    )


def damaged_saved_model(data: bytes, rng: random.Random) -> bytes:
    """As `damaged_onnx`, of a `saved_model.pb`."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    return (
        damaged(data, rng)
        if rng.random() < 0.3
        else damaged_message(SavedModel.FromString(data), rng)
    )


def flatbuffers(folder: Path, count: int, rng: random.Random) -> Iterator[Path]:
    """Damaged LiteRT files, and those that were written to be hostile."""
    yield from HOSTILE
    for number in range(count):
        path = folder / f"{number}.tflite"
        path.write_bytes(damaged(rng.choice(TFLITE).read_bytes(), rng))
        yield path


def onnx_files(folder: Path, count: int, rng: random.Random) -> Iterator[Path]:
    """Damaged ONNX files, and one whose loop never ends."""
    good = [
        other_runtimes.onnx_bytes(signature)
        for signature in (other_runtimes.PLAIN, other_runtimes.TEXT, other_runtimes.STORED)
    ]
    (folder / "endless.onnx").write_bytes(other_runtimes.endless_bytes())
    yield folder / "endless.onnx"
    for number in range(count):
        path = folder / f"{number}.onnx"
        path.write_bytes(damaged_onnx(rng.choice(good), rng))
        yield path


def onnx_bundles(folder: Path, count: int, rng: random.Random) -> Iterator[Path]:
    """Bundles of damaged ONNX files, and of the endless one."""
    good = other_runtimes.onnx_bytes(other_runtimes.PLAIN)
    contents = [other_runtimes.endless_bytes(), *(damaged_onnx(good, rng) for _ in range(count))]
    for number, content in enumerate(contents, 1):
        yield other_runtimes.bundle(folder / "m" / str(number), {"model.onnx": content})


def openvino_bundles(folder: Path, count: int, rng: random.Random) -> Iterator[Path]:
    """Bundles of OpenVINO's two files, one of them damaged."""
    good = other_runtimes.openvino_files(folder)
    for number in range(1, count + 1):
        name = rng.choice(sorted(good))
        files = good | {name: damaged(good[name], rng)}
        yield other_runtimes.bundle(folder / "m" / str(number), files)


def keras_files(folder: Path, count: int, rng: random.Random) -> Iterator[Path]:
    """Damaged .keras files: bytes of the zip, or of a file in it."""
    good = (DATA / "small.keras").read_bytes()
    for number in range(count):
        path = folder / f"{number}.keras"
        path.write_bytes(damaged_zip(good, rng) if rng.random() < 0.8 else damaged(good, rng))
        yield path


def saved_models(folder: Path, count: int, rng: random.Random) -> Iterator[Path]:
    """Folders and zips of a SavedModel one of whose files is damaged."""
    from edgeline.components.import_model.import_model import import_model

    import_model(str(DATA / "small.keras"), str(folder / "good"))
    for number in range(count):
        path = folder / str(number)
        shutil.copytree(folder / "good" / "saved_model", path)
        if rng.random() < 0.6:
            file = path / "saved_model.pb"
            file.write_bytes(damaged_saved_model(file.read_bytes(), rng))
        else:
            file = rng.choice(sorted(each for each in path.rglob("*") if each.is_file()))
            file.write_bytes(damaged(file.read_bytes(), rng))
        if number % 3 == 0:
            yield Path(shutil.make_archive(str(path), "zip", path))
        else:
            yield path


def checked(path: Path, _: Path) -> None:
    from edgeline.components.check.check import TARGETS, check

    for target in TARGETS:
        check(path, target)


def imported(path: Path, output: Path) -> None:
    from edgeline.components.import_model.import_model import import_model

    import_model(str(path), str(output), str(output) + ".html")


def compiled_for(target: str, schema: str, model: Path) -> Entry:
    """An entry that compiles a file in the place of a good one."""
    from edgeline import artifacts
    from edgeline.components.compile.compile import compile_edge_model
    from edgeline.components.import_model.import_model import import_model

    good = Path(tempfile.mkdtemp()) / "good"
    metadata = import_model(str(model), str(good))

    def compile_it(path: Path, output: Path) -> None:
        edge = output.with_name(output.name + "-edge")
        with artifacts.writing(edge, schema) as draft:
            shutil.copy(good / "signature.json", draft.path)
            shutil.copy(path, draft.path / f"model{model.suffix}")
            draft.metadata.update(metadata)
        compile_edge_model(target, str(output), str(edge))

    return compile_it


def verified(path: Path, output: Path) -> None:
    from publishing import bundle

    from edgeline.components.verify.verify_bundle import verify_bundle

    verify_bundle(bundle(output, path.read_bytes()))


def verified_bundle(path: Path, _: Path) -> None:
    from edgeline.components.verify.verify_bundle import verify_bundle

    verify_bundle(path)


def tried() -> Entry:
    """The server's entry: a trial in a child of its fork server."""
    from edgeline.server.versions import trial
    from edgeline.server.versions.forkserver import ForkServer

    forks = ForkServer(trial.MODULE)

    def try_it(path: Path, _: Path) -> None:
        trial.run(forks, trial.TrialOrder(str(path), load_time=SECONDS))

    return try_it


def attack(entry: Entry, files: Iterator[Path], folder: Path) -> dict[str, float]:
    """Give files to an entry, one after the other: how many were taken, and how it refused.

    Raises:
        AssertionError: a refusal is not a sentence.
    """
    counted: Counter[str] = Counter()
    slowest = 0.0
    for number, path in enumerate(files):
        begun = time.monotonic()
        try:
            entry(path, folder / f"out-{number}")
            counted["taken"] += 1
        except EdgelineError as error:
            said = str(error)
            assert "\n" not in said and "Traceback" not in said, (path, said)
            assert said.endswith(".") and len(said) < 2000, (path, said)
            ended = any(word in said for word in ("killed by", "exceeded", "crashes the runtime"))
            counted["ended the child" if ended else "refused"] += 1
        slowest = max(slowest, time.monotonic() - begun)
    return {**counted, "slowest_s": round(slowest, 1)}


def entries() -> dict[str, tuple[Callable[..., Iterator[Path]], Callable[[], Entry]]]:
    """What each entry is given, and what makes it, by name."""
    from edgeline.artifacts import models

    plain = Path(tempfile.mkdtemp()) / "plain.onnx"
    plain.write_bytes(other_runtimes.onnx_bytes(other_runtimes.PLAIN))
    found: dict[str, tuple[Callable[..., Iterator[Path]], Callable[[], Entry]]] = {
        "check": (flatbuffers, lambda: checked),
        "import tflite": (flatbuffers, lambda: imported),
        "import onnx": (onnx_files, lambda: imported),
        "import keras": (keras_files, lambda: imported),
        "import saved_model": (saved_models, lambda: imported),
        "serve": (flatbuffers, tried),
        "serve onnx": (onnx_bundles, tried),
        "serve openvino": (openvino_bundles, tried),
        "verify": (flatbuffers, lambda: verified),
        "verify onnx": (onnx_bundles, lambda: verified_bundle),
    }
    for target in TFLITE_TARGETS:
        good = DATA / ("cnn_int8.tflite" if target == "ethos-u55" else "cnn_float.tflite")
        entry = partial(compiled_for, target, models.EDGE_SCHEMA, good)
        found[f"compile tflite for {target}"] = (flatbuffers, entry)
    for target in ONNX_TARGETS:
        entry = partial(compiled_for, target, models.ONNX_SCHEMA, plain)
        found[f"compile onnx for {target}"] = (onnx_files, entry)
    return found


def main(count: int, output: str, chosen: list[str]) -> None:
    """Attack every entry, or those that are named."""
    import tensorflow as tf  # noqa: F401  # once here instead of in each child

    os.environ[limits.MEMORY_VARIABLE] = str(MEMORY)
    os.environ[limits.TIME_VARIABLE] = str(SECONDS)
    results: dict[str, dict[str, float]] = {}
    for name, (files, make) in entries().items():
        if chosen and name not in chosen:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            given = Path(scratch) / "given"
            given.mkdir()
            rng = random.Random(name)
            results[name] = attack(make(), files(given, count, rng), Path(scratch))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # of all so far
        results[name]["largest_child_mb"] = round(peak / 1e6)
        print(name, results[name], flush=True)
        assert peak < MEMORY + (1 << 30), f"a child of {name} took {peak:,} bytes"
    if output:
        Path(output).write_text(json.dumps({"files": count, "entries": results}, indent=1) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "", sys.argv[3:])
