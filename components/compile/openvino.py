"""OpenVINO: the intermediate representation for Intel's CPUs, GPUs and NPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.artifacts.bundle import Signature
from edgeline.components.compile import forms
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
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16, INT8, Quantisation
from edgeline.formats.signature_names import original
from edgeline.runtimes import limits, onnx_session, openvino_engine
from edgeline.runtimes.interpreter import Arrays, EdgeModel

if TYPE_CHECKING:
    import openvino

FILE = "model.xml"
REASON = re.compile(
    r"No conversion rule found for operations: *(.+)|(Unexpected type: \w+)"
    r"|while working with operation of type (\w+)"
)


def compile_openvino(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Write `model.xml` and `model.bin`, under the names of the model's signature.

    Raises:
        EdgelineError: OpenVINO lacks an operator, or gives other answers than the source.
    """
    if hint := forms.missing("openvino"):
        raise EdgelineError(hint)
    fp16 = forms.flag(options, "fp16")
    compiled: Compiled = forms.sandboxed(
        "OpenVINO", limits.converter_room(*source.files), _compile, source, folder, fp16
    )
    return compiled


def load(folder: Path, compiled: Compiled) -> EdgeModel:
    """The model on this machine's CPU, one thread, in full precision."""
    return _runtime(folder / compiled.model, forms.read_signature(folder))


def _compile(tell: forms.Tell, source: Source, folder: Path, fp16: bool) -> Compiled:
    refused: EdgelineError | None = None
    for path in (source.tflite, source.onnx, source.saved_model):
        if path is None:
            continue
        tell(f"converting {path}")
        try:
            model = _read(path)
        except EdgelineError as error:
            refused = refused or error
            continue
        origin, quantisation = TFLITE, source.quantisation
        notes: tuple[str, ...] = ()
        if path == source.tflite:
            reference = forms.litert(path)
            _rename(model, path)
        elif path == source.onnx:
            origin, reference = ONNX, onnx_session.given(path)
        else:
            origin, reference = SAVED_MODEL, forms.load_saved_model(path)
            for port in (*model.inputs, *model.outputs):
                port.get_tensor().set_names({original(name) for name in port.names})
            if refused is not None and quantisation != FLOAT:
                name = quantisation.name
                notes = (f"The model is float, of the SavedModel, not {name}: {refused}",)
            quantisation = FLOAT
        return _write(tell, model, folder, reference, origin, quantisation, fp16, notes)
    raise refused or EdgelineError("There is no model to compile for OpenVINO.")


def _read(path: Path) -> openvino.Model:
    import openvino

    try:
        return openvino.convert_model(path)
    except Exception as error:  # a type of its own for each reason
        found = REASON.search(str(error))
        reason = next(filter(None, found.groups())) if found else onnx_session.line(error)
        raise EdgelineError(
            f"{path} has no OpenVINO form ({reason}): build the model without that operator."
        ) from error


def _rename(model: openvino.Model, path: Path) -> None:
    """Give inputs and outputs the names of the LiteRT file's signature."""
    for ports, names in zip((model.inputs, model.outputs), forms.tflite_names(path), strict=True):
        for port in ports:
            [tensor] = port.names & names.keys()
            port.get_tensor().set_names({names[tensor]})


def _write(
    tell: forms.Tell,
    model: openvino.Model,
    folder: Path,
    reference: EdgeModel,
    origin: str,
    quantisation: Quantisation,
    fp16: bool,
    notes: tuple[str, ...],
) -> Compiled:
    import openvino

    openvino.save_model(model, folder / FILE, compress_to_fp16=fp16)
    forms.write_signature(folder, reference.signature)
    tell("running the OpenVINO model")
    arrays = forms.sample(reference.signature, gaps=origin == SAVED_MODEL)
    runtime = _runtime(folder / FILE, reference.signature)
    found = forms.difference(reference, runtime, arrays)
    rounded = FP16 if fp16 and quantisation == FLOAT else quantisation
    forms.require_equal(found, rounded, "The OpenVINO model")
    facts = {
        "made_of": origin,
        "quantisation": rounded.name,
        "max_difference": found.max,
        "operators": len(model.get_ops()),
        "size_bytes": sum((folder / name).stat().st_size for name in (FILE, "model.bin")),
        "openvino_version": openvino.__version__,
    }
    return Compiled(FILE, facts=facts, notes=notes)


def _runtime(file: Path, signature: Signature) -> EdgeModel:
    import openvino

    try:
        compiled = openvino.Core().compile_model(file, "CPU", openvino_engine.settings())
        request = compiled.create_infer_request()
    except RuntimeError as error:
        raise EdgelineError(
            f"{file} is not a model that OpenVINO can run ({onnx_session.line(error)}): "
            "compile it again."
        ) from error
    outputs = [tensor.name for tensor in signature.outputs]

    def invoke(arrays: Arrays) -> Arrays:
        try:
            request.infer(dict(arrays))
        except RuntimeError as error:
            raise EdgelineError(
                f"The OpenVINO model failed on this input ({onnx_session.line(error)}): "
                "check its values."
            ) from error
        return {name: request.get_tensor(name).data.copy() for name in outputs}

    return EdgeModel(signature, invoke)


targets = (
    Target(
        name="openvino",
        summary="OpenVINO: Intel CPUs, GPUs and NPUs",
        takes=(TFLITE, ONNX, SAVED_MODEL),
        quantisations=(INT8, FP16, FLOAT, DYNAMIC),
        missing=lambda: forms.missing("openvino"),
        compile=compile_openvino,
        load=load,
        options=(Option("fp16", "true", "store the weights of a float model as 16-bit floats"),),
        limits="Run on the CPU; GPU and NPU take the same files but are not tried.",
    ),
)
