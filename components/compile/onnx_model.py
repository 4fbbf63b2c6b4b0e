"""A model as ONNX under its signature's names, for every compiler that starts from ONNX.

tf2onnx reads the LiteRT file, which is the very model that goes to the edge. It lacks LiteRT's
hash tables and recurrent layers: then the SavedModel is taken, with those operators lowered
that `convert` lowers (`edgeline.components.convert.replay`), so that a transform of raw strings
becomes ONNX, too.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.artifacts.bundle import Signature
from edgeline.artifacts.differences import Gap
from edgeline.components.compile import forms
from edgeline.components.compile.target import ONNX, SAVED_MODEL, TFLITE, Source
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.quantisation import FLOAT, Quantisation
from edgeline.formats.signature_names import original, safe
from edgeline.runtimes import limits
from edgeline.runtimes.interpreter import SERVING, EdgeModel
from edgeline.runtimes.onnx_session import line, session, signature_of

if TYPE_CHECKING:
    import onnx

OPSET = 17
PACKAGES = ("tf2onnx", "onnx", "onnxsim", "onnxruntime")


@dataclass(frozen=True)
class Made:
    """An ONNX file and where it is from.

    Attributes:
        signature: its inputs and outputs, quantised ones with scale and zero point.
        origin: the form that it was made of.
        quantisation: of the file: that of the source, or float where made of the SavedModel.
        difference: of its answers from the source's on made-up rows (`forms.difference`).
        operators: how many of each are in the simplified graph.
        notes: sentences for the user.
    """

    signature: Signature
    origin: str
    quantisation: Quantisation
    difference: Gap
    operators: Mapping[str, int]
    notes: tuple[str, ...] = ()


def make(source: Source, file: Path) -> Made:
    """Write a model as simplified ONNX, checked by `onnx.checker` and against its source.

    Raises:
        EdgelineError: a package is missing, an operator has no ONNX form, the result is not
            valid or gives other answers than its source.
    """
    if hint := forms.missing(*PACKAGES):
        raise EdgelineError(hint)
    made: Made = forms.sandboxed(
        "onnxsim" if source.onnx else "tf2onnx",
        limits.converter_room(*source.files),
        _make,
        source,
        file,
    )
    return made


def _make(tell: forms.Tell, source: Source, file: Path) -> Made:
    if source.onnx is not None:
        import onnx

        model = onnx.load(source.onnx)
        return _finish(tell, model, file, None, signature_of(model), ONNX, source.quantisation, ())
    refused: EdgelineError | None = None
    if source.tflite is not None:
        try:
            return _from_tflite(tell, source, file)
        except EdgelineError as error:
            refused = error
    if source.saved_model is None:
        raise refused or EdgelineError("There is no model to make ONNX of.")
    return _from_saved_model(tell, source, file, refused)


def _from_tflite(tell: forms.Tell, source: Source, file: Path) -> Made:
    path = source.tflite
    assert path is not None
    reference = forms.litert(path)
    inputs, outputs = forms.tflite_names(path)
    _require_known(path)
    tell(f"converting {path}")
    arguments = ["--tflite", str(path), "--inputs", ",".join(inputs)]
    arguments += ["--rename-inputs", _listed(inputs.values()), "--outputs", ",".join(outputs)]
    model = _tf2onnx(path, *arguments, "--rename-outputs", _listed(outputs.values()))
    _rename(model, {safe(name): name for name in (*inputs.values(), *outputs.values())})
    return _finish(
        tell, model, file, reference, reference.signature, TFLITE, source.quantisation, ()
    )


def _listed(names: Iterable[str]) -> str:
    """Names as tf2onnx takes them, which cuts at commas."""
    return ",".join(map(safe, names))


def _require_known(path: Path) -> None:
    from tf2onnx import handler, tflite_handlers  # noqa: F401  # the second fills the first

    known = {name for opset in handler.tf_op.get_opsets().values() for ops in opset for name in ops}
    used = {operator.name for graph in tflite.read(path).subgraphs for operator in graph.operators}
    if unknown := sorted(name for name in used if f"TFL_{name}" not in known):
        raise EdgelineError(
            f"{path} has no ONNX form: tf2onnx does not know {', '.join(unknown)}; build the "
            "model without it, or give the SavedModel, too."
        )


def _from_saved_model(
    tell: forms.Tell, source: Source, file: Path, refused: EdgelineError | None
) -> Made:
    import tensorflow as tf

    from edgeline.components.convert import replay

    path = source.saved_model
    assert path is not None
    tell("loading the SavedModel")
    loaded = tf.saved_model.load(str(path))
    if SERVING not in loaded.signatures:
        raise EdgelineError(f"{path} has no signature {SERVING!r}: export it with one.")
    reference = forms.saved_model(loaded.signatures[SERVING], loaded)
    lowered = replay.lower(loaded.signatures[SERVING])
    notes: tuple[str, ...] = ()
    if refused is not None and source.quantisation != FLOAT:
        name = source.quantisation.name
        notes = (f"The model is float, made of the SavedModel, not {name}: {refused}",)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(lowered.module, folder, signatures={SERVING: lowered.function})
        saved = tf.saved_model.load(folder).signatures[SERVING]
        # tf2onnx calls inputs as their nodes, of whose names TensorFlow made the letters small
        nodes = zip(sorted(saved.structured_input_signature[1]), saved.inputs, strict=False)
        names = {tensor.op.name: name for name, tensor in nodes}
        tell(f"converting {path}")
        model = _tf2onnx(
            path, "--saved-model", folder, "--tag", "serve", "--signature_def", SERVING
        )
    _rename(model, {**{name: name for name in saved.structured_outputs}, **names})
    return _finish(tell, model, file, reference, reference.signature, SAVED_MODEL, FLOAT, notes)


def _tf2onnx(path: Path, *arguments: str) -> onnx.ModelProto:
    """Run tf2onnx's own command in this (child) process and read what it wrote."""
    import logging

    import onnx
    import tf2onnx.convert

    from edgeline.components.compile import onnx_handlers  # noqa: F401  # registers

    words: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("tf2onnx").addHandler(handler)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "model.onnx"
        before, sys.argv = (
            sys.argv,
            ["tf2onnx", *arguments, "--opset", str(OPSET), "--output", str(output)],
        )
        try:
            tf2onnx.convert.main()
        except Exception as error:
            operators = re.findall(r"[oO]p \[.*: (\w+)\] is not supported", "\n".join(words))
            reason = ", ".join(sorted(set(operators))) or line(error)
            raise EdgelineError(
                f"{path} has no ONNX form: tf2onnx does not know {reason}; build the model "
                "without it."
            ) from error
        finally:
            sys.argv = before
        model = onnx.load(output)
    known = {schema.name for schema in onnx.defs.get_all_schemas()}
    if unknown := sorted({node.op_type for node in model.graph.node} - known):
        raise EdgelineError(
            f"{path} has no ONNX form: tf2onnx does not know {', '.join(unknown)}; build the "
            "model without it."
        )
    return model


def _rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give inputs and outputs the columns' names, by what tf2onnx called them."""
    named = {found: original(name) for found, name in names.items() if found != original(name)}
    if named:
        _rename_values(model.graph, named)


def _rename_values(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Rename values of a graph wherever they are read or made, in the bodies of loops, too."""
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                _rename_values(body, names)


def _finish(
    tell: forms.Tell,
    model: onnx.ModelProto,
    file: Path,
    reference: EdgeModel | None,
    signature: Signature,
    origin: str,
    quantisation: Quantisation,
    notes: tuple[str, ...],
) -> Made:
    import onnx
    import onnxsim

    for tensor in [*model.graph.input, *model.graph.output]:
        first = tensor.type.tensor_type.shape.dim
        if first and first[0].dim_param:
            first[0].dim_param = "batch"  # one name, so that shapes follow from each other
    arrays = forms.sample(signature, _words(model), gaps=origin == SAVED_MODEL)
    tell("checking the ONNX model")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        onnx.save(model, whole)
        plain = session(whole, signature)
        tell("simplifying the ONNX model")
        try:
            simple, _ = onnxsim.simplify(model)
            onnx.checker.check_model(simple, full_check=True)
            onnx.save(simple, file)
            gap = forms.difference(plain, session(file, signature), arrays)
            forms.require_equal(gap, FLOAT, "onnxsim's simplified model")
        except Exception as error:  # the model is right without it
            notes += (f"The ONNX model is not simplified: {line(error)}",)
            simple = model
            onnx.save(simple, file)
        onnx.checker.check_model(simple, full_check=True)
        found = forms.difference(reference or plain, session(file, signature), arrays)
    forms.require_equal(found, quantisation, "The ONNX model")
    operators = dict(sorted(Counter(node.op_type for node in simple.graph.node).items()))
    return Made(signature, origin, quantisation, found, operators, notes)


def _words(model: onnx.ModelProto) -> tuple[bytes, ...]:
    """Strings that a model looks up, and some that it does not."""
    words = [
        word
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name in ("cats_strings", "keys_strings")
        for word in attribute.strings[:20]
    ]
    return (*forms.STRINGS, *words)
