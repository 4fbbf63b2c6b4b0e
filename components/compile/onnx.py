"""ONNX: for every runtime that reads it, run here by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeline.components.compile import forms, onnx_model
from edgeline.components.compile.target import (
    ONNX,
    SAVED_MODEL,
    TFLITE,
    Compiled,
    Source,
    Target,
)
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16, INT8
from edgeline.runtimes import onnx_session
from edgeline.runtimes.interpreter import EdgeModel

FILE = "model.onnx"


def compile_onnx(source: Source, folder: Path, _: Mapping[str, str]) -> Compiled:
    """Write `model.onnx`, simplified and equal to its source.

    Raises:
        EdgelineError: see `onnx_model.make`.
    """
    made = onnx_model.make(source, folder / FILE)
    forms.write_signature(folder, made.signature)
    return Compiled(
        FILE,
        facts={
            "made_of": made.origin,
            "quantisation": made.quantisation.name,
            "opset": onnx_model.OPSET,
            "operators": sum(made.operators.values()),
            "max_difference": made.difference.max,
            "size_bytes": (folder / FILE).stat().st_size,
        },
        notes=made.notes,
    )


def load(folder: Path, compiled: Compiled) -> EdgeModel:
    """The model in onnxruntime on the CPU."""
    return onnx_session.session(folder / compiled.model, forms.read_signature(folder))


targets = (
    Target(
        name="onnx",
        summary="ONNX for onnxruntime and other runtimes",
        takes=(TFLITE, SAVED_MODEL, ONNX),
        quantisations=(FLOAT, INT8, FP16, DYNAMIC),
        missing=lambda: forms.missing(*onnx_model.PACKAGES),
        compile=compile_onnx,
        load=load,
        limits="Run by onnxruntime's CPU provider; other providers are not tried.",
    ),
)
