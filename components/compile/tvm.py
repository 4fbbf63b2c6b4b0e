"""Apache TVM: a shared library for 64-bit Arm Linux, and one for this machine."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeline.artifacts.differences import Gap
from edgeline.components.compile import forms, onnx_model
from edgeline.components.compile.target import (
    ONNX,
    SAVED_MODEL,
    TFLITE,
    Compiled,
    Source,
    Target,
)
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16, INT8
from edgeline.runtimes import limits, onnx_session
from edgeline.runtimes.interpreter import Arrays, EdgeModel

DEVICE = "aarch64"
HERE = {"AMD64": "x86_64", "arm64": DEVICE}.get(platform.machine(), platform.machine())
CODE: dict[str, dict[str, object]] = {  # what LLVM makes code for; NEON is in every 64-bit Arm
    DEVICE: {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mattr": ["+neon"]},
    "x86_64": {"kind": "llvm", "mtriple": "x86_64-linux-gnu"},
}
GLIBC = "2.28"  # the oldest C library that the linked code may meet: Raspberry Pi OS 10
LINK_SECONDS = 600


def missing() -> str:
    """What is not installed, and how to get it."""
    linker = () if all(shutil.which(f"{name}-linux-gnu-gcc") for name in CODE) else ("ziglang",)
    return forms.missing("tvm", *linker, *onnx_model.PACKAGES)


def compile_tvm(source: Source, folder: Path, _: Mapping[str, str]) -> Compiled:
    """Write `model_aarch64.so`, and a library of the same for this machine.

    Raises:
        EdgelineError: see `onnx_model.make`; or TVM lacks an operator, or gives other answers.
    """
    if hint := missing():
        raise EdgelineError(hint)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        made = onnx_model.make(source, file)
        version, found = forms.sandboxed(
            "TVM", limits.converter_room(file), _compile, file, made, folder
        )
    forms.write_signature(folder, made.signature)
    notes = list(made.notes)
    if not made.quantisation.floating:
        notes.append("TVM computes a quantised model in floats: right, but not quicker.")
    return Compiled(
        f"model_{DEVICE}.so",
        facts={
            "made_of": made.origin,
            "quantisation": made.quantisation.name,
            "max_difference": max(made.difference.max, found.max),
            "size_bytes": (folder / f"model_{DEVICE}.so").stat().st_size,
            "tvm_version": version,
        },
        notes=tuple(notes),
    )


def load(folder: Path, _: Compiled) -> EdgeModel:
    """The library for this machine.

    Raises:
        EdgelineError: there is none, or TVM cannot load it.
    """
    import tvm

    signature, file = forms.read_signature(folder), folder / f"model_{HERE}.so"
    if not file.is_file():
        raise EdgelineError(f"{file} is missing: compile the model on a machine of this kind.")
    try:
        machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(file)), tvm.cpu())
    except Exception as error:
        raise EdgelineError(
            f"{file} is not a library that TVM can run ({onnx_session.line(error)}): "
            "compile it again."
        ) from error
    main, outputs = machine["main"], [tensor.name for tensor in signature.outputs]

    def invoke(arrays: Arrays) -> Arrays:
        given = [tvm.runtime.tensor(arrays[tensor.name]) for tensor in signature.inputs]
        try:
            answer = main(*given)
        except Exception as error:
            raise EdgelineError(
                f"The TVM library failed on this input ({onnx_session.line(error)}): "
                "check its values."
            ) from error
        answers = [answer] if hasattr(answer, "numpy") else list(answer)
        return {name: value.numpy() for name, value in zip(outputs, answers, strict=True)}

    return EdgeModel(signature, invoke)


def _compile(tell: forms.Tell, file: Path, made: onnx_model.Made, folder: Path) -> tuple[str, Gap]:
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx

    signature = made.signature
    if strings := [tensor.name for tensor in signature.inputs if tensor.dtype == "string"]:
        raise EdgelineError(
            f"TVM has no strings, but the model takes {strings[0]!r}: compile an edge model that "
            "takes transformed features."
        )
    model = onnx.load(file)
    for values, tensors in (
        (model.graph.input, signature.inputs),
        (model.graph.output, signature.outputs),
    ):
        order = [tensor.name for tensor in tensors]
        values.sort(key=lambda value, order=order: order.index(value.name))
    tell(f"reading {', '.join(made.operators)}")
    try:
        module = from_onnx(model)
    except Exception as error:
        raise EdgelineError(
            f"TVM cannot read the model ({onnx_session.line(error)}): build it from other "
            "operators, or compile for another target."
        ) from error
    for name in dict.fromkeys((DEVICE, HERE)):
        tell(f"compiling for {name}")
        library = tvm.compile(module, target=tvm.target.Target(CODE[name]))
        library.export_library(str(folder / f"model_{name}.so"), fcompile=_linker(name))
    tell("running the library")
    forms.write_signature(folder, signature)
    arrays = forms.sample(signature)
    here = load(folder, Compiled(""))
    found = forms.difference(onnx_session.session(file, signature), here, arrays)
    forms.require_equal(found, made.quantisation, "The TVM library")
    return tvm.__version__, found


def _linker(name: str) -> Callable[..., None]:
    """What makes a shared library for a processor: its gcc, or Zig, which is one for all."""
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{name}-linux-gnu.{GLIBC}"]
    if compiler := shutil.which(f"{name}-linux-gnu-gcc"):
        command = [compiler]
    elif not importlib.util.find_spec("ziglang"):
        raise EdgelineError(forms.missing("ziglang"))

    def link(output: str, objects: Sequence[str], options: Any = None, **_: object) -> None:
        flags = [
            *command,
            "-shared",
            "-fPIC",
            "-s",
            "-o",
            output,
            *objects,
            *(options or []),
            "-lm",
        ]
        done = subprocess.run(flags, capture_output=True, text=True, timeout=LINK_SECONDS)
        if done.returncode:
            raise EdgelineError(f"{command[0]} failed to link for {name}: {done.stderr[-300:]}")

    link.output_format = "so"  # type: ignore[attr-defined]
    link.get_target_triple = lambda: f"{name}-linux-gnu"  # type: ignore[attr-defined]
    return link


targets = (
    Target(
        name="tvm",
        summary="Apache TVM: a shared library for 64-bit Arm Linux",
        takes=(TFLITE, SAVED_MODEL, ONNX),
        quantisations=(FLOAT, FP16, INT8, DYNAMIC),
        missing=missing,
        compile=compile_tvm,
        load=load,
        limits=(
            "The Arm library is not run: the same code, made for this machine, is. No schedules "
            "are tuned, so its speed is no measure of TVM's."
        ),
    ),
)
