"""Qualcomm's Hexagon Tensor Processor: a QNN context binary, made here without the device.

`onnxruntime-qnn` is a plugin: it stands beside onnxruntime and brings Qualcomm's compiler. The
compiler finds its parts by LD_LIBRARY_PATH, so it runs in a process of its own:
`python -m edgeline.components.compile.qualcomm_htp MODEL CONTEXT HTP_ARCH SOC_MODEL`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeline.components.compile import forms, onnx_model, onnx_qdq
from edgeline.components.compile.target import (
    ONNX,
    TFLITE,
    Compiled,
    Option,
    Placed,
    Source,
    Target,
)
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import INT8
from edgeline.runtimes import limits, onnx_session

FILE = "model.onnx"
BINARY = "model_qnn.bin"
PROVIDER = "QNNExecutionProvider"
NOT_INTEGER = (
    "The Hexagon processor takes integers, but this model has floats: convert it with "
    "quantisation int8."
)
REFUSED = re.compile(r"failed for node `(.+?)` of type `(\w+)` with error code (\d+)")
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def compile_qualcomm(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Write `model.onnx`, which holds the context `model_qnn.bin` as one operator.

    Raises:
        EdgelineError: see `onnx_model.make`; the model is not int8, or Qualcomm's compiler
            fails, takes no operator or leaves no binary.
    """
    if hint := missing():
        raise EdgelineError(hint)
    if bad := [name for name in ("htp_arch", "soc_model") if not options[name].isdigit()]:
        raise EdgelineError(f"Option {bad[0]} is {options[bad[0]]!r}: give Qualcomm's number.")
    if source.onnx is None and source.quantisation != INT8:
        raise EdgelineError(NOT_INTEGER)
    with tempfile.TemporaryDirectory() as scratch:
        whole, prepared = Path(scratch) / "whole.onnx", Path(scratch) / "prepared.onnx"
        made = onnx_model.make(source, whole)
        operators = forms.sandboxed(
            "ONNX", limits.converter_room(whole), _prepare, whole, prepared, made, folder
        )
        log = _run(prepared, folder / FILE, options)
    binary = folder / BINARY
    if not binary.is_file() or not binary.stat().st_size:
        raise EdgelineError(
            "Qualcomm's compiler left no context binary"
            f"{_first(log)}: no operator of the model runs on the Hexagon processor."
        )
    placed = forms.sandboxed(
        "ONNX", limits.converter_room(folder / FILE), _placed, folder / FILE, operators, log
    )
    if all(operator.device == "cpu" for operator in placed):
        raise EdgelineError(
            f"All {len(placed)} operators are left on the CPU{_first(log)}: build the model from "
            "operators that the Hexagon processor has."
        )
    facts: dict[str, float | int | str] = {
        "made_of": made.origin,
        "context_bytes": binary.stat().st_size,
        "htp_arch": options["htp_arch"],
        "soc_model": options["soc_model"],
        "max_difference_before_compiler": made.difference.max,
    }
    return Compiled(FILE, tuple(placed), facts, made.notes, log)


def missing() -> str:
    """What is not installed, and how to get it."""
    return forms.missing("onnxruntime_qnn", *onnx_model.PACKAGES)


def main(model: str, context: str, htp_arch: str, soc_model: str) -> None:
    """What the child process does: one session whose making writes the context."""
    import onnxruntime
    import onnxruntime_qnn

    onnxruntime.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_embed_mode", "0")
    options.add_session_config_entry("ep.context_file_path", context)
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == PROVIDER]
    settings = {
        "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
        "htp_arch": htp_arch,
        "soc_model": soc_model,
    }
    options.add_provider_for_devices(devices[:1], settings)
    onnxruntime.InferenceSession(model, options)


def _prepare(
    tell: forms.Tell, whole: Path, prepared: Path, made: onnx_model.Made, folder: Path
) -> list[tuple[str, str]]:
    """Write the model as Hexagon takes it; its operators, and their names."""
    import onnx

    model = onnx.load(whole)
    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise EdgelineError(NOT_INTEGER)
    signature = onnx_qdq.prepare(model, made.signature)
    tell("checking the prepared ONNX model")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, prepared)
    answers = onnx_session.session(prepared, signature)
    arrays = forms.sample(signature)
    shifted = {
        tensor.name: (arrays[tensor.name].astype("int16") - onnx_qdq.SHIFT).astype("int8")
        if tensor.dtype == "int8"
        else arrays[tensor.name]
        for tensor in made.signature.inputs
    }
    expected = onnx_session.session(whole, made.signature)
    found = forms.gap(expected, shifted, answers, arrays)
    forms.require_equal(found, made.quantisation, "The prepared ONNX model")
    forms.write_signature(folder, signature)
    nodes = [node for node in model.graph.node if node.op_type not in onnx_qdq.BORDER]
    return [(node.name, node.op_type) for node in nodes]


def _run(model: Path, context: Path, options: Mapping[str, str]) -> str:
    import onnxruntime_qnn

    libraries = Path(onnxruntime_qnn.__file__).parent
    paths = [libraries, libraries.with_name("onnxruntime_qnn.libs")]
    before = os.environ.get("LD_LIBRARY_PATH")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join([*map(str, paths), *([before] if before else [])]),
    }
    command = [sys.executable, "-m", __name__, str(model), str(context)]
    seconds = limits.model_time()
    try:
        done = subprocess.run(
            [*command, options["htp_arch"], options["soc_model"]],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise EdgelineError(
            f"Qualcomm's compiler exceeded {seconds:g} s: set {limits.TIME_VARIABLE} to allow "
            "more, or compile a smaller model."
        ) from None
    log = COLOUR.sub("", done.stdout)
    if done.returncode:
        lines = [line for line in log.splitlines() if "rror" in line or "FAIL" in line]
        raise EdgelineError(
            f"Qualcomm's compiler failed with exit code {done.returncode}{_first(log)}: "
            f"{(lines or ['it said nothing'])[-1][:300]}"
        )
    return log


def _placed(
    _: forms.Tell, context: Path, operators: list[tuple[str, str]], log: str
) -> list[Placed]:
    import onnx

    left = {node.name for node in onnx.load(context, load_external_data=False).graph.node}
    reasons = {
        name: f"not accepted by the compiler as {kind} (error {code})"
        for name, kind, code in REFUSED.findall(log)
    }
    return [
        Placed(index, kind, "cpu", reasons.get(name, "left out by the compiler"))
        if name in left
        else Placed(index, kind, "npu")
        for index, (name, kind) in enumerate(operators)
    ]


def _first(log: str) -> str:
    """The first operator that the compiler refused, in brackets."""
    found = REFUSED.search(log)
    return f" ({found[2]} at {found[1][:80]}, error {found[3]})" if found else ""


targets = (
    Target(
        name="qualcomm-htp",
        summary="Qualcomm Hexagon NPU: Snapdragon and Dragonwing",
        takes=(TFLITE, ONNX),
        quantisations=(INT8,),
        missing=missing,
        compile=compile_qualcomm,
        options=(
            Option("htp_arch", "73", "the Hexagon version, for example 68, 73 or 75"),
            Option("soc_model", "43", "Qualcomm's number of the chip; 43 is Snapdragon 8 Gen 2"),
        ),
        limits=(
            "The context binary is not run: it needs the device. What goes into Qualcomm's "
            "compiler is run here and equal to the model."
        ),
    ),
)

if __name__ == "__main__":
    main(*sys.argv[1:])
