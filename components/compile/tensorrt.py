"""NVIDIA TensorRT: engines are built on the very device, so the model and the command are made.

Where `trtexec` is on PATH, as in NVIDIA's images and on a Jetson with JetPack, it is run.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from edgeline.artifacts.bundle import Signature
from edgeline.components.compile import forms, onnx_model
from edgeline.components.compile.target import (
    ONNX,
    SAVED_MODEL,
    TFLITE,
    Compiled,
    Option,
    Source,
    Target,
)
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import FLOAT, FP16, INT8

FILE, ENGINE, SCRIPT = "model.onnx", "model.engine", "build_engine.sh"
BUILD_SECONDS = 3600


def compile_tensorrt(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Write `model.onnx` and `build_engine.sh`, and `model.engine` where trtexec is there.

    Raises:
        EdgelineError: see `onnx_model.make`; the model takes strings, or trtexec fails or
            leaves no engine.
    """
    half = forms.flag(options, "fp16")
    if not options["max_batch"].isdigit() or not int(options["max_batch"]):
        raise EdgelineError(f"Option max_batch is {options['max_batch']!r}: give 1 or more.")
    made = onnx_model.make(source, folder / FILE)
    forms.write_signature(folder, made.signature)
    arguments = command(made, half, int(options["max_batch"]))
    script = folder / SCRIPT
    script.write_text(f'#!/bin/sh\nset -eu\ncd "$(dirname "$0")"\n{shlex.join(arguments)}\n')
    script.chmod(0o755)
    facts: dict[str, float | int | str] = {
        "made_of": made.origin,
        "quantisation": made.quantisation.name,
        "max_difference_before_compiler": made.difference.max,
    }
    program = shutil.which(arguments[0])
    if not program:
        note = f"trtexec is not on PATH here: run {SCRIPT} on the device, it builds {ENGINE}."
        return Compiled(FILE, facts=facts, notes=(*made.notes, note))
    log = _run([program, *arguments[1:]], folder)
    facts["engine_bytes"] = (folder / ENGINE).stat().st_size
    return Compiled(ENGINE, facts=facts, notes=made.notes, log=log)


def command(made: onnx_model.Made, half: bool, max_batch: int) -> list[str]:
    """The trtexec command, to be run in the folder of the model.

    Raises:
        EdgelineError: the model takes strings, which TensorRT lacks.
    """
    signature: Signature = made.signature
    arguments = ["trtexec", f"--onnx={FILE}", f"--saveEngine={ENGINE}"]
    for tensor in signature.inputs:
        if tensor.dtype == "string":
            raise EdgelineError(
                f"TensorRT has no strings, but the model takes {tensor.name!r}: compile an edge "
                "model that takes transformed features."
            )
    if any(tensor.shape[0] < 0 for tensor in signature.inputs):
        for name, batch in (("min", 1), ("opt", 1), ("max", max_batch)):
            shapes = [
                f"{tensor.name}:{'x'.join(map(str, (batch, *tensor.shape[1:])))}"
                for tensor in signature.inputs
            ]
            arguments.append(f"--{name}Shapes={','.join(shapes)}")
    if made.quantisation == INT8:
        arguments.append("--int8")
    return [*arguments, "--fp16"] if half else arguments


def _run(arguments: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            arguments,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EdgelineError(
            f"trtexec exceeded {BUILD_SECONDS} s: compile a smaller model."
        ) from None
    engine = folder / ENGINE
    if done.returncode or not engine.is_file() or not engine.stat().st_size:
        errors = [line for line in done.stdout.splitlines() if "[E]" in line]
        raise EdgelineError(
            f"trtexec ended with exit code {done.returncode} and left "
            f"{'an' if engine.is_file() and engine.stat().st_size else 'no'} engine: "
            f"{(errors or ['it named no error'])[-1][:300]}"
        )
    return done.stdout


targets = (
    Target(
        name="tensorrt",
        summary="NVIDIA TensorRT: Jetson and other NVIDIA GPUs",
        takes=(TFLITE, SAVED_MODEL, ONNX),
        quantisations=(FLOAT, FP16, INT8),
        missing=lambda: forms.missing(*onnx_model.PACKAGES),
        compile=compile_tensorrt,
        options=(
            Option("fp16", "true", "let TensorRT compute in 16-bit floats where it is quicker"),
            Option("max_batch", "1", "the largest batch of the engine"),
        ),
        limits=(
            "An engine is for the very GPU it is built on: here the ONNX model is run and equal "
            "to its source, and trtexec builds the engine on the device. trtexec's own part is "
            "not proven."
        ),
    ),
)
