"""A LiteRT file with the signature that edgeline's steps and servers call it by."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from edgeline.artifacts import models
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.components.import_model.wanted import Wanted
from edgeline.errors import EdgelineError
from edgeline.formats import archives, tflite
from edgeline.formats.packing import packed, unpacked
from edgeline.formats.quantisation import DYNAMIC, FLOAT, FP16, INT8, INT16X8

MOST_LABELS = 1 << 24  # bytes


def describe(path: Path, wanted: Wanted) -> tuple[bytes, Signature, dict[str, object]]:
    """A model's bytes with the signature `serving_default`, that signature, and the former names.

    A file that has it under the right names stays as it is, byte for byte. One without any
    signature gets one for its first subgraph: names of tensors without their scopes, and
    `prediction` for a sole output.

    Returns:
        The model, its signature, and how the file itself is called: `signature`, or "" where it
        has none, and its names of `inputs` and `outputs` by those in the signature.

    Raises:
        EdgelineError: it is not a model, damaged, or has no such signature.
    """
    model = tflite.read(path)
    key = _signature_key(model, wanted)
    if key:
        number, takes, gives = model.signatures[key]
    else:
        number, graph = 0, model.subgraphs[0]
        takes = {graph.tensors[index].name: index for index in graph.inputs}
        gives = {graph.tensors[index].name: index for index in graph.outputs}
        if len(takes) < len(graph.inputs) or len(gives) < len(graph.outputs):
            raise EdgelineError(
                f"{path} has no signature, and several of its inputs or outputs share a name: "
                "convert it again with a signature."
            )
    wanted.check_rename([*takes, *gives])
    called = {
        "inputs": {to: name for name, to in wanted.names(takes).items()},
        "outputs": {to: name for name, to in wanted.names(gives, models.PREDICTION).items()},
    }
    inputs = {to: takes[name] for to, name in called["inputs"].items()}
    outputs = {to: gives[name] for to, name in called["outputs"].items()}
    tensors = model.subgraphs[number].tensors
    signature = Signature(
        tuple(_described(name, tensors[inputs[name]]) for name in sorted(inputs)),
        tuple(_described(name, tensors[outputs[name]]) for name in sorted(outputs)),
    )
    data = path.read_bytes()
    if key != models.SERVING or inputs != takes or outputs != gives:
        data = signed(data, number, inputs, outputs)
    return data, signature, {"signature": key, **called}


def quantisation(path: Path) -> str:
    """float, fp16, dynamic, int8 (also the older uint8) or int16x8, by what its operators give."""
    gives, constants = set(), set()
    for graph in tflite.read(path).subgraphs:
        for operator in graph.operators:
            gives |= {graph.tensors[index].dtype for index in operator.outputs}
            read = [graph.tensors[index] for index in operator.inputs if index >= 0]
            constants |= {tensor.dtype for tensor in read if tensor.constant}
    if "INT16" in gives and not gives & {"INT8", "UINT8"}:
        return INT16X8.name
    if gives & {"INT8", "UINT8"}:
        return INT8.name
    if constants & {"INT8", "UINT8", "INT4"}:
        return DYNAMIC.name
    return (FP16 if "FLOAT16" in constants else FLOAT).name


_UNREADABLE: tuple[type[Exception], ...] = (*archives.DAMAGED, EdgelineError)


def labels_inside(path: Path) -> tuple[str, ...]:
    """The class names that LiteRT metadata packs behind the model, or none.

    The sole text file among the associated files counts, as the metadata writer leaves it.
    """
    if not zipfile.is_zipfile(path):
        return ()
    try:
        with archives.open_zip(path, path.name) as packed:
            files = [entry for entry in packed.infolist() if entry.filename.endswith(".txt")]
            if len(files) != 1 or files[0].file_size > MOST_LABELS:
                return ()
            return tuple(packed.read(files[0]).decode("utf-8").splitlines())
    except _UNREADABLE:
        return ()


def _signature_key(model: tflite.Model, wanted: Wanted) -> str:
    keys = list(model.signatures)
    if wanted.signature:
        if wanted.signature not in keys:
            raise EdgelineError(
                f"{model.path} has no signature {wanted.signature!r}: "
                + (f"set signature to one of {', '.join(keys)}." if keys else "unset signature.")
            )
        return wanted.signature
    if models.SERVING in keys or not keys:
        return models.SERVING if keys else ""
    if len(keys) > 1:
        raise EdgelineError(
            f"{model.path} has several signatures: set signature to one of {', '.join(keys)}."
        )
    return keys[0]


def _described(name: str, tensor: tflite.SubgraphTensor) -> Tensor:
    scale, zero_point = None, None
    if (found := tensor.quantisation) is not None and not found.per_channel and found.scales[0]:
        scale = float(found.scales[0])
        zero_point = int(found.zero_points[0]) if len(found.zero_points) else 0
    return Tensor(name, tensor.dtype.lower(), tensor.signature, scale, zero_point)


def signed(
    data: bytes, subgraph: int, inputs: Mapping[str, int], outputs: Mapping[str, int]
) -> bytes:
    """The same model with one signature, `serving_default`."""
    from ai_edge_litert import schema_py_generated as schema

    def maps(names: Mapping[str, int]) -> list[object]:
        found = []
        for name in sorted(names):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, names[name]
            found.append(entry)
        return found

    model = unpacked(data)
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = models.SERVING, subgraph
    signature.inputs, signature.outputs = maps(inputs), maps(outputs)
    model.signatureDefs = [signature]
    return packed(model, len(data) + 4096)
