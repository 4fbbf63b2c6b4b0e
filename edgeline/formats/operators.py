"""The operator table of an edge model: how many of each kind, dtypes and sizes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from edgeline.formats import tflite

QUANTISED = ("FLOAT16", "INT4", "INT8", "UINT8", "INT16")


@dataclass(frozen=True)
class OperatorKind:
    """All operators of one kind: their number, and the constants that they read, in bytes.

    `gives` are the dtypes of their outputs, as in the flatbuffer (INT8). A constant that
    several kinds read counts for the first, the content of tables for HASHTABLE_IMPORT.
    """

    name: str
    count: int
    constants: int
    quantised_constants: int
    gives: tuple[str, ...]


def operators(path: str | Path) -> list[OperatorKind]:
    """The operator table of a .tflite file, the heaviest first."""
    count: dict[str, int] = defaultdict(int)
    constants: dict[str, int] = defaultdict(int)
    quantised: dict[str, int] = defaultdict(int)
    gives: dict[str, set[str]] = defaultdict(set)
    for graph in tflite.read(path).subgraphs:
        seen: set[int] = {-1}
        for operator in graph.operators:
            count[operator.name] += 1
            gives[operator.name] |= {graph.tensors[index].dtype for index in operator.outputs}
            for index in operator.inputs:
                if index in seen or (data := graph.tensors[index].data) is None:
                    continue
                seen.add(index)
                constants[operator.name] += len(data)
                if graph.tensors[index].dtype in QUANTISED:
                    quantised[operator.name] += len(data)
    rows = [
        OperatorKind(
            name, count[name], constants[name], quantised[name], tuple(sorted(gives[name]))
        )
        for name in sorted(count)
    ]
    return sorted(rows, key=lambda row: (-row.constants, -row.count, row.name))
