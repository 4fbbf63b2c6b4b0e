"""The Edge TPU target, with a stand-in that prints what Coral's documents and users recorded.

The real compiler is closed and comes from Coral's apt repository; one test is for it.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from collections import Counter
from pathlib import Path

import pytest

from edgeline.components.compile import edgetpu
from edgeline.components.compile.compile import options_of
from edgeline.components.compile.target import Source, find
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.quantisation import INT8

CORAL = Path(__file__).parents[2] / "data" / "coral"
PAIRS = {pair["model"]: pair for pair in json.loads((CORAL / "pairs.json").read_text())}
SUCCESS = """\
Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model{s} compiled successfully in 1234 ms.
{models}
Compilation child process completed within timeout period.
Compilation succeeded!
"""
MODEL = """
Input model: {input}
Input size: 743.07KiB
Output model: {output}
Output size: 1.06MiB
On-chip memory used for caching model parameters: 801.00KiB
On-chip memory remaining for caching model parameters: 6.50MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: {total}
Operation log: {log}
{partly}
Operator                       Count      Status

{rows}
"""
PARTLY = """
Model successfully compiled but not all operations are supported by the Edge TPU. A percentage \
of the model will instead run on the CPU, which is slower. If possible, consider updating your \
model to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: {on}
Number of operations that will run on CPU: {off}
"""
LOG = """\
Edge TPU Compiler version 16.0.384591198
Input: {input}
Output: {output}

Operator                       Count      Status

{rows}
"""
STATUSES = {
    "RESIZE_BILINEAR": "Operation is otherwise supported, but not mapped due to some "
    "unspecified limitation",
    "QUANTIZE": "More than one subgraph is not supported",
    "CONCATENATION": "More than one subgraph is not supported",
    "CONV_2D": "More than one subgraph is not supported",
    "ARG_MAX": "Operation is working on an unsupported data type",
    "PosenetDecoderOp": "Operation not supported",
}
# Runs with the recording in its folder: the text, the exit code, files by name
PROGRAM = """\
#!{python}
import json, pathlib, shutil, sys, time
recording = json.loads(pathlib.Path({recording!r}).read_text())
arguments = sys.argv[1:]
pathlib.Path({recording!r}).with_name("arguments.json").write_text(json.dumps(arguments))
out = pathlib.Path(arguments[arguments.index("--out_dir") + 1])
for name, source in recording["files"].items():
    shutil.copyfile(source, out / name)
for name, text in recording["logs"].items():
    (out / name).write_text(text)
sys.stdout.write(recording["text"])
sys.stdout.flush()
time.sleep(recording.get("seconds", 0))
sys.exit(recording["code"])
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a stand-in on the PATH that plays a recording; returns a function that does."""

    def put(text="", code=0, files=None, logs=None, seconds=0):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        recording = folder / "recording.json"
        found = {"text": text, "code": code, "files": files or {}, "logs": logs or {}}
        recording.write_text(json.dumps({**found, "seconds": seconds}))
        program = folder / edgetpu.PROGRAM
        program.write_text(PROGRAM.format(python=sys.executable, recording=str(recording)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        return recording.with_name("arguments.json")

    return put


def rows_of(model: str) -> list[tuple[str, int, str]]:
    """What the log says of a model whose compiled twin is known."""
    pair = PAIRS[model]
    left = pair["left_on_cpu"]
    rows = [(name, count, STATUSES[name]) for name, count in left.items()]
    for name, count in pair["operations"].items():
        if mapped := count - left.get(name, 0):
            rows.append((name, mapped, edgetpu.MAPPED))
    return rows


def printed(model: str, stem: str = "") -> tuple[str, str]:
    """What the compiler prints of a model, and its .log."""
    stem, rows = stem or Path(model).stem, rows_of(model)
    table = "\n".join(f"{name:<30} {count:<10} {status}" for name, count, status in rows)
    on = sum(count for _, count, status in rows if status == edgetpu.MAPPED)
    off = sum(count for _, count, status in rows if status != edgetpu.MAPPED)
    names = {"input": f"{stem}.tflite", "output": f"{stem}_edgetpu.tflite"}
    text = MODEL.format(
        **names,
        log=f"{stem}_edgetpu.log",
        total=on + off,
        partly=PARTLY.format(on=on, off=off) if off else "",
        rows=table,
    )
    return text, LOG.format(**names, rows=table)


def record(install, model: str, **changes):
    text, log = printed(model)
    stem = Path(model).stem
    given = {
        "text": SUCCESS.format(s="", models=text),
        "files": {f"{stem}_edgetpu.tflite": str(CORAL / f"{stem}_edgetpu.tflite")},
        "logs": {f"{stem}_edgetpu.log": log},
    }
    return install(**{**given, **changes})


def compile_(model: str, folder: Path, **options: str):
    target = find("edgetpu")
    folder.mkdir(exist_ok=True)
    source = Source(tflite=CORAL / model, quantisation=INT8)
    return target.compile(source, folder, options_of(target, options))


@pytest.mark.parametrize(
    "model",
    [
        "mobilenet_v1_0.25_128_quant.tflite",
        "deeplabv3_mnv2_dm05_pascal_quant.tflite",
        "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite",
        "keras_lstm_mnist_ptq.tflite",
    ],
)
def test_placement_and_numbers_recorded_output(install, tmp_path, model):
    record(install, model)
    compiled = compile_(model, tmp_path / "out")
    left = Counter(p.operator for p in compiled.placed if p.device == "cpu")
    assert dict(left) == PAIRS[model]["left_on_cpu"]
    assert len(compiled.placed) == sum(PAIRS[model]["operations"].values())
    for placed in compiled.placed:
        assert placed.reason == (STATUSES[placed.operator] if placed.device == "cpu" else "")
    assert compiled.facts["cached_bytes"] == 801 << 10
    assert compiled.facts["cache_left_bytes"] == 6.5 * (1 << 20)
    assert compiled.facts["streamed_bytes"] == 0
    assert compiled.facts["edgetpu_runtime"] >= 10  # read from the file itself
    assert (tmp_path / "out" / compiled.model).is_file()
    assert "ms" not in compiled.log


def test_every_flag_reaches_the_compiler_recorded_output(install, tmp_path):
    model = "mobilenet_v1_0.25_128_quant.tflite"
    arguments = record(install, model)
    compile_(
        model,
        tmp_path / "out",
        min_runtime_version="13",
        intermediate_tensors="a,b",
        search_delegate="true",
        delegate_search_step="4",
        timeout_sec="600",
        multiple_subgraphs="true",
    )
    given = " ".join(json.loads(arguments.read_text()))
    for flag in (
        "--min_runtime_version 13",
        "--intermediate_tensors a,b",
        "--num_segments 1",
        "--search_delegate",
        "--delegate_search_step 4",
        "--timeout_sec 600",
        "-a",
        "--show_operations",
    ):
        assert flag in given


def test_models_compiled_together_recorded_output(install, tmp_path):
    first, second = "mobilenet_v1_0.25_128_quant.tflite", "keras_lstm_mnist_ptq.tflite"
    parts = [printed(name) for name in (first, second)]
    stems = [Path(name).stem for name in (first, second)]
    arguments = install(
        SUCCESS.format(s="s", models="".join(text for text, _ in parts)),
        files={f"{s}_edgetpu.tflite": str(CORAL / f"{s}_edgetpu.tflite") for s in stems},
        logs={f"{s}_edgetpu.log": log for s, (_, log) in zip(stems, parts, strict=True)},
    )
    compiled = compile_(first, tmp_path / "out", together_with=str(CORAL / second))
    given = json.loads(arguments.read_text())
    assert [Path(name).stem for name in given[-2:]] == stems
    assert compiled.model == f"{stems[0]}_edgetpu.tflite"
    assert len(compiled.placed) == sum(PAIRS[first]["operations"].values())
    assert f"{stems[1]}_edgetpu.tflite" in compiled.notes[0]


def test_a_pipeline_of_segments_recorded_output(install, tmp_path):
    model = "mobilenet_v1_0.25_128_quant.tflite"
    twin = str(CORAL / "mobilenet_v1_0.25_128_quant_edgetpu.tflite")
    stem = Path(model).stem
    segments = [f"{stem}_segment_{number}_of_2" for number in range(2)]
    texts = [printed(model, segment)[0] for segment in segments]
    install(
        SUCCESS.format(s="s", models="".join(texts)),
        files={f"{segment}_edgetpu.tflite": twin for segment in segments},
    )
    compiled = compile_(model, tmp_path / "out", num_segments="2")
    assert compiled.facts["segments"] == 2
    assert compiled.facts["cached_bytes"] == 2 * (801 << 10)
    assert compiled.model == f"{segments[0]}_edgetpu.tflite"
    assert segments[1] in compiled.notes[0]
    assert compiled.share == 1


def test_nothing_mapped_is_a_failure_recorded_output(install, tmp_path):
    """The compiler says success, exits with 0, and gives the model back as it was."""
    model = "mobilenet_v1_0.25_128_quant.tflite"
    stem = Path(model).stem
    rows = "CONV_2D    15    Operation is working on an unsupported data type"
    log = LOG.format(input=model, output=f"{stem}_edgetpu.tflite", rows=rows)
    text, _ = printed(model)
    install(
        SUCCESS.format(s="", models=text),
        files={f"{stem}_edgetpu.tflite": str(CORAL / model)},
        logs={f"{stem}_edgetpu.log": log},
    )
    with pytest.raises(EdgelineError, match="mapped none of its 31 operators") as caught:
        compile_(model, tmp_path / "out")
    assert "15 CONV_2D (Operation is working on an unsupported data type)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        ("Invalid model: m.tflite\nModel not quantized\n", 1, "is not quantised; convert it"),
        (
            "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'\n"
            "ERROR: Registration failed.\nInvalid model: m.tflite\nModel could not be parsed\n",
            1,
            "does not know CONV_2D in version 6; build that layer",
        ),
        ("Internal compiler error. Aborting! \n", 1, "edgetpu.search_delegate=true"),
        ("Compilation failed due to large activation tensors in model.\n", 1, "smaller input"),
        (
            "ERROR: Attempting to use a delegate that only supports static-sized tensors with a "
            "graph that has dynamic-sized tensors.\n",
            1,
            "has a dynamic shape; export it",
        ),
        ("line 3: 1531 Segmentation fault (core dumped)\n", 139, "crashed"),
        ("", 0, "without compiling"),  # the version alone, as with many segments
        ("Something new\n", 1, "failed with exit code 1 .*Something new"),
    ],
)
def test_hard_failures_say_what_to_do_recorded_output(install, tmp_path, text, code, sentence):
    install("Edge TPU Compiler version 16.0.384591198\n" + text, code)
    with pytest.raises(EdgelineError, match=sentence) as caught:
        compile_("mobilenet_v1_0.25_128_quant.tflite", tmp_path / "out")
    assert "mobilenet_v1_0.25_128_quant" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_segments": "two"}, "edgetpu.num_segments is 'two': give a whole number"),
        ({"search_delegate": "yes"}, "edgetpu.search_delegate is 'yes': give true or false"),
        ({"together_with": "none.tflite"}, "none.tflite cannot be read"),
    ],
)
def test_unfit_options(install, tmp_path, options, sentence):
    record(install, "mobilenet_v1_0.25_128_quant.tflite")
    with pytest.raises(EdgelineError, match=sentence):
        compile_("mobilenet_v1_0.25_128_quant.tflite", tmp_path / "out", **options)


def test_without_the_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = find("edgetpu").missing()
    assert "edgetpu-compiler" in message
    assert "edgeline check" in message


@pytest.mark.skipif(
    shutil.which(edgetpu.PROGRAM) is None,
    reason="Coral's edgetpu_compiler is not installed: nothing here has met the real one",
)
def test_with_the_real_compiler(tmp_path):
    model = "mobilenet_v1_0.25_128_quant.tflite"
    compiled = compile_(model, tmp_path / "out")
    left = Counter(p.operator for p in compiled.placed if p.device == "cpu")
    assert dict(left) == PAIRS[model]["left_on_cpu"]
    assert tflite.read(tmp_path / "out" / compiled.model).subgraphs
