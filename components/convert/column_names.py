"""What was converted under a SavedModel's names, under those of the columns.

A LiteRT file's signature takes any text, so the edge model, its manifest and all that asks it have
the names that the data has (see `edgeline.formats.signature_names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import HostOperations
from edgeline.components.convert.raw_form import Lack
from edgeline.formats.packing import packed
from edgeline.formats.signature_names import original


def model(converted: bytes) -> bytes:
    """A LiteRT model with one signature; the same bytes where it has the names already."""
    from ai_edge_litert import schema_py_generated as schema

    found = schema.Model.GetRootAs(converted, 0).SignatureDefs(0)
    entries = [found.Inputs(i) for i in range(found.InputsLength())]
    entries += [found.Outputs(i) for i in range(found.OutputsLength())]
    if all(original(entry.Name().decode()) == entry.Name().decode() for entry in entries):
        return converted
    whole = schema.ModelT.InitFromPackedBuf(converted, 0)
    signature = whole.signatureDefs[0]
    for tensor in (*signature.inputs, *signature.outputs):
        tensor.name = original(tensor.name.decode())
    return packed(whole, len(converted) + 4096)


def feature(taken: Feature) -> Feature:
    """An input of the edge model."""
    return replace(taken, name=original(taken.name), transformed=original(taken.transformed))


def operations(found: HostOperations) -> HostOperations:
    """What is computed before the edge model."""
    steps = tuple(
        replace(
            step,
            takes=tuple(map(original, step.takes)),
            gives=tuple(map(original, step.gives)),
        )
        for step in found.steps
    )
    return HostOperations(found.version, steps, tuple(map(feature, found.inputs)))


def lacks(found: Mapping[str, Lack]) -> dict[str, Lack]:
    """Operators that LiteRT lacks, with the columns that they read and make."""
    return {
        operator: Lack(
            lack.nodes,
            [original(name) for name in lack.reads],
            [original(name) for name in lack.makes],
        )
        for operator, lack in found.items()
    }
