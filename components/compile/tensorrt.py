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
from edgeline.formats.quantisation import FLOAT, FP16, INT8, Quantisation

FILE, ENGINE, SCRIPT = "model.onnx", "model.engine", "build_engine.sh"
BUILD_SECONDS = 3600
DLA_CORES = ("0", "1")  # Jetson Xavier and Orin have two at most
DLA_MAX_BATCH = 4096  # NVIDIA's DLA Supported Layers and Restrictions, TensorRT 8 to 10.7


def compile_tensorrt(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Write `model.onnx` and `build_engine.sh`, and `model.engine` where trtexec is there.

    Raises:
        EdgelineError: see `onnx_model.make`; the model takes strings, a DLA core is asked for
            in float32 or for a batch it does not take, or trtexec fails or leaves no engine.
    """
    half = forms.flag(options, "fp16")
    if not options["max_batch"].isdigit() or not int(options["max_batch"]):
        raise EdgelineError(f"Option max_batch is {options['max_batch']!r}: give 1 or more.")
    max_batch, core = int(options["max_batch"]), options["dla_core"]
    if core:
        _require_dla(core, max_batch)
        _require_no_float32(core, half, source.quantisation)
    made = onnx_model.make(source, folder / FILE)
    if core:  # of the SavedModel it is float, whatever the source was
        _require_no_float32(core, half, made.quantisation)
    forms.write_signature(folder, made.signature)
    arguments = command(made, half, max_batch, core)
    notes = (*made.notes, *_dla_notes(core, max_batch, made))
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
        return Compiled(FILE, facts=facts, notes=(*notes, note))
    log = _run([program, *arguments[1:]], folder)
    facts["engine_bytes"] = (folder / ENGINE).stat().st_size
    return Compiled(ENGINE, facts=facts, notes=notes, log=log)


def _require_dla(core: str, max_batch: int) -> None:
    if core not in DLA_CORES:
        raise EdgelineError(f"Option dla_core is {core!r}: give {' or '.join(DLA_CORES)}.")
    if max_batch > DLA_MAX_BATCH:
        raise EdgelineError(
            f"Option max_batch is {max_batch}, but a DLA takes {DLA_MAX_BATCH} at most: give less, "
            "or leave dla_core out."
        )


def _require_no_float32(core: str, half: bool, quantisation: Quantisation) -> None:
    if not half and quantisation != INT8:
        raise EdgelineError(
            f"Option dla_core is {core}, but a DLA does not compute in float32, as the "
            f"{quantisation.name} model does with fp16=false: set fp16=true, or compile an int8 "
            "model."
        )


def _dla_notes(core: str, max_batch: int, made: onnx_model.Made) -> list[str]:
    if not core:
        return []
    notes = [
        f"What DLA core {core} does not take falls back to the GPU without an error, and is not "
        "measured here: trtexec's log on the device lists the layers of each."
    ]
    if any(tensor.shape[0] < 0 for tensor in made.signature.inputs):
        notes.append(f"A DLA has no dynamic batch: the engine takes exactly {max_batch} a call.")
    if made.quantisation == INT8:
        notes.append(
            "TensorRT's documents say that DLA has no explicit quantisation, which an int8 model "
            "has, so its layers may all run on the GPU: try a float model with fp16=true, too."
        )
    return notes


def command(made: onnx_model.Made, half: bool, max_batch: int, dla_core: str = "") -> list[str]:
    """The trtexec command, to be run in the folder of the model.

    On a DLA core all shapes of the profile are of the largest batch, as it has no others.

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
        usual = max_batch if dla_core else 1
        for name, batch in (("min", usual), ("opt", usual), ("max", max_batch)):
            shapes = [
                f"{tensor.name}:{'x'.join(map(str, (batch, *tensor.shape[1:])))}"
                for tensor in signature.inputs
            ]
            arguments.append(f"--{name}Shapes={','.join(shapes)}")
    if made.quantisation == INT8:
        arguments.append("--int8")
    if half:
        arguments.append("--fp16")
    if dla_core:
        arguments += [f"--useDLACore={dla_core}", "--allowGPUFallback"]
    return arguments


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
            Option(
                "dla_core",
                "",
                "the DLA core of a Jetson (0 or 1) to run on, in fp16 or int8 and for max_batch "
                "alone; layers that it does not take fall back to the GPU; TensorRT 8 to 10.7",
            ),
        ),
        limits=(
            "An engine is for the very GPU it is built on: here the ONNX model is run and equal "
            "to its source, and trtexec builds the engine on the device. trtexec's own part is "
            "not proven, nor what a DLA core takes."
        ),
    ),
)
