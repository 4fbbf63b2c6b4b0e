"""Sony IMX500, the Raspberry Pi AI camera: Sony's converter, in an environment of its own.

The converter needs TensorFlow 2.15, numpy 1.26 and Java 17, so it is a program on PATH or one
that is named by the option `converter`. It takes models that Sony's Model Compression Toolkit
has quantised: their fake-quantised Keras file or ONNX.
"""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgeline.components.compile.target import ONNX, SAVED_MODEL, Compiled, Option, Source, Target
from edgeline.errors import EdgelineError

PROGRAMS = {".keras": "imxconv-tf", ".onnx": "imxconv-pt"}
CONVERT_SECONDS = 1800
HOW = (
    "in an environment of Python 3.10 or 3.11 with Java 17: "
    "pip install 'imx500-converter[tf]' 'model-compression-toolkit' 'tensorflow==2.15.*'"
)


def missing() -> str:
    """What is not on PATH, and how to get it."""
    if any(shutil.which(program) for program in PROGRAMS.values()):
        return ""
    return f"Sony's converter (imxconv-tf, imxconv-pt) is not on PATH: {HOW}"


def compile_imx500(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Run Sony's converter; what the camera loads is `packerOut.zip`.

    Raises:
        EdgelineError: the model is not a file that the converter takes, the converter is not
            there, fails, or leaves no packed network.
    """
    model = Path(options["model"]) if options["model"] else source.onnx
    if model is None or model.suffix not in PROGRAMS:
        raise EdgelineError(
            "IMX500 takes a model quantised by Sony's Model Compression Toolkit: give its .keras "
            "or .onnx file by --set imx500.model=FILE."
        )
    if not model.is_file():
        raise EdgelineError(f"{model} is missing: give the file by --set imx500.model=FILE.")
    if model.suffix == ".keras" and not zipfile.is_zipfile(model):
        raise EdgelineError(f"{model} is not a Keras file: export it from the toolkit again.")
    program = options["converter"] or PROGRAMS[model.suffix]
    path = shutil.which(program)
    if not path:
        raise EdgelineError(f"{program} is not on PATH: install it {HOW}.")
    log = _run([path, "-i", str(model.resolve()), "-o", str(folder.resolve())])
    packed = [file for file in sorted(folder.rglob("*.zip")) if zipfile.is_zipfile(file)]
    if not packed:
        raise EdgelineError(f"{program} ended well but left no packed network: {_last(log)}")
    name = packed[0].relative_to(folder).as_posix()
    return Compiled(name, facts={"packed_bytes": packed[0].stat().st_size}, log=log)


def _run(arguments: list[str]) -> str:
    try:
        done = subprocess.run(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=CONVERT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise EdgelineError(
            f"{arguments[0]} exceeded {CONVERT_SECONDS} s: compile a smaller model."
        ) from None
    if done.returncode:
        raise EdgelineError(
            f"{arguments[0]} ended with exit code {done.returncode}: {_last(done.stdout)}"
        )
    return done.stdout


def _last(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "Error" in line]
    return (errors or lines or ["it said nothing"])[-1][:300]


targets = (
    Target(
        name="imx500",
        summary="Sony IMX500, the Raspberry Pi AI camera",
        takes=(ONNX, SAVED_MODEL),
        quantisations=(),
        missing=missing,
        compile=compile_imx500,
        options=(
            Option("model", "", "the toolkit's .keras or .onnx file, in place of the source"),
            Option("converter", "", "the converter program where it is not on PATH"),
        ),
        limits=(
            "Sony's converter runs in its own environment and its output only on the camera: "
            "neither is proven here."
        ),
    ),
)
