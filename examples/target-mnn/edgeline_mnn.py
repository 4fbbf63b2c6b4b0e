"""MNN, Alibaba's runtime for phones (https://github.com/alibaba/MNN), as a target of edgeline.

`model.mnn` is what the app loads, `names.json` the tensors of MNN by the names of the model's
signature. MNN's command `mnnconvert` is not used: it installs a package and reports each conversion
to a server of its maker's (MNN/tools/utils/log.py). The converter below it does neither.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeline.components.compile import forms, process
from edgeline.components.compile.target import TFLITE, Compiled, Option, Source, Target
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16

FILE, NAMES = "model.mnn", "names.json"
WEIGHTS = {  # what each may change, and the converter's option
    "float32": (FLOAT, []),
    "float16": (FP16, ["--fp16"]),
    "int8": (DYNAMIC, ["--weightQuantBits", "8"]),
}
DTYPES = ("float32", "int32", "uint8")


def missing() -> str:
    """What is not installed, and how to get it."""
    if all(importlib.util.find_spec(name) for name in ("MNN", "_tools")):
        return ""
    return "Package MNN is not installed: pip install edgeline-target-mnn"


def compile_mnn(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Write `model.mnn` and `names.json`.

    Raises:
        EdgelineError: MNN lacks an operator or a type, or gives other answers than the source.
    """
    if hint := missing():
        raise EdgelineError(hint)
    assert source.tflite
    compiled: Compiled = forms.sandboxed(
        *("MNN", forms.converter_room(source.tflite)),
        *(_compile, source.tflite, folder, options["weights"]),
    )
    return compiled


def load(folder: Path, compiled: Compiled) -> forms.EdgeModel:
    """The model in MNN's runtime: one thread of a CPU, in full precision."""
    return _runtime(folder / compiled.model, forms.read_signature(folder))


def _compile(tell: forms.Tell, path: Path, folder: Path, weights: str) -> Compiled:
    reference = forms.litert(path)
    for tensor in (*reference.signature.inputs, *reference.signature.outputs):
        if tensor.dtype not in DTYPES:
            raise EdgelineError(
                f"MNN has no {tensor.dtype}, which {tensor.name!r} of {path} is: build the model "
                f"with {', '.join(DTYPES)}, or compile for another target."
            )
    quantisation, flags = WEIGHTS[weights]
    tell("converting")
    converted = _convert(path, folder / FILE, flags)
    _name_by_content(folder / FILE, path)
    takes, gives = forms.tflite_names(path)
    names = {"inputs": _turned(takes), "outputs": _turned(gives)}
    (folder / NAMES).write_text(json.dumps(names, indent=1, sort_keys=True) + "\n", "utf-8")
    forms.write_signature(folder, reference.signature)
    tell("running the MNN model")
    runtime = _runtime(folder / FILE, reference.signature)
    found = forms.difference(reference, runtime, forms.sample(reference.signature))
    forms.require_equal(found, quantisation, "The MNN model")
    facts = {
        "nan": "kept" if _keeps_nan(reference, runtime) else "lost",
        "weights": weights,
        "quantisation": quantisation.name,
        "max_difference": found.max,
        "mnn_version": _version(),
    }
    return Compiled(FILE, facts=facts, log=converted)


def _keeps_nan(reference: forms.EdgeModel, runtime: forms.EdgeModel) -> bool:
    """Whether rows of NaN, which stand for missing values, get NaN where the source gives it."""
    rows = forms.sample(reference.signature)
    gaps = {
        name: np.full_like(array, np.nan) if array.dtype.kind == "f" else array
        for name, array in rows.items()
    }
    wanted, given = reference(gaps), runtime(gaps)
    return all(np.array_equal(np.isnan(wanted[name]), np.isnan(given[name])) for name in wanted)


def _convert(path: Path, file: Path, flags: Sequence[str]) -> str:
    """Write the file by MNN's converter and return what it printed.

    It is a Python of its own: the converter has Protocol Buffers' library inside, which ends a
    process that has TensorFlow's already, as a pipeline's task may.
    """
    program = "import sys, _tools; _tools.mnnconvert(sys.argv)"
    given = ["-f", "TFLITE", "--modelFile", str(path), "--MNNModel", str(file)]
    done = process.run(
        [sys.executable, "-c", program, *given, "--bizCode", "edgeline", *flags],
        forms.converter_room(path),
    )
    if not file.is_file():
        raise EdgelineError(
            f"MNN has no form of {path} (its converter {done.how}: {done.last_error}): build the "
            "model from other operators, or compile for another target."
        )
    return done.output


def _runtime(file: Path, signature: forms.Signature) -> forms.EdgeModel:
    import MNN
    import MNN.expr as expr

    names = json.loads((file.parent / NAMES).read_text("utf-8"))
    # load_module_from_file has a `thread_num`, too, and starts four threads whatever it is
    config = {"backend": "CPU", "precision": "high", "numThread": 1}
    manager = MNN.nn.create_runtime_manager((config,))
    try:
        module = MNN.nn.load_module_from_file(
            str(file),
            [names["inputs"][tensor.name] for tensor in signature.inputs],
            [names["outputs"][tensor.name] for tensor in signature.outputs],
            runtime_manager=manager,
        )
    except SystemError as error:  # MNN's own words are printed, not raised
        raise EdgelineError(
            f"{file} is not a model that MNN can run: build it from other operators."
        ) from error
    types = {"float32": expr.float, "int32": expr.int, "uint8": expr.uint8}

    def invoke(arrays: forms.Arrays, _: object = manager) -> forms.Arrays:  # which must live
        given = [
            expr.const(
                arrays[tensor.name], list(arrays[tensor.name].shape), expr.NHWC, types[tensor.dtype]
            )
            for tensor in signature.inputs
        ]
        answers = module.forward(given)
        if len(answers) != len(signature.outputs):
            raise EdgelineError("The MNN model failed on this input: check its values.")
        return {
            tensor.name: expr.convert(answer, expr.NHWC).read().copy()
            for tensor, answer in zip(signature.outputs, answers, strict=True)
        }

    return forms.EdgeModel(signature, invoke)


def _name_by_content(file: Path, source: Path) -> None:
    """Make MNN's random id of a model one of its source: equal input gives equal bytes."""
    import MNN

    content, given = file.read_bytes(), MNN.get_model_uuid(str(file)).encode()
    digest = hashlib.sha256(source.read_bytes()).digest()
    if content.count(given) != 1:
        raise EdgelineError(f"{FILE} does not have its id in one place: use MNN 3.")
    file.write_bytes(content.replace(given, str(uuid.UUID(bytes=digest[:16], version=4)).encode()))


def _turned(names: Mapping[str, str]) -> dict[str, str]:
    return {name: tensor for tensor, name in names.items()}


def _version() -> str:
    import MNN

    return str(MNN.version())


target = Target(
    name="mnn",
    summary="MNN: Android, iOS and HarmonyOS",
    takes=(TFLITE,),
    quantisations=(FLOAT,),
    missing=missing,
    compile=compile_mnn,
    load=load,
    options=(Option("weights", "float32", "how weights are stored", tuple(WEIGHTS)),),
    limits="Run on the CPU in full precision; phones' GPUs take the same file but are not tried.",
)
