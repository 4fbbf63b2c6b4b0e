"""What quantisation does to each layer: its output beside that of the float network.

Both networks run on the same rows, and tensors are compared by name. The error is the
normalised mean squared error, sum((q - f)^2) / sum(f^2) over all values, also as the ratio of
signal to quantisation noise, -10 log10 of it, in decibels. What a layer gets wrong already at
its inputs is not its own: `own` is its error less the largest of its inputs', at least 0.
Where a network can be quantised layer by layer, `effect` is the error of the network's output
with this layer alone quantised, which says best what hurts.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.artifacts.sampling import spread
from edgeline.components.convert import running
from edgeline.formats import tflite
from edgeline.formats.dtypes import Array
from edgeline.runtimes.interpreter import SERVING, describe_tensor, quantise

MOST_ROWS = 32
MOST_BYTES = 1 << 30  # of floating networks that are quantised to try layers alone
TINY = 1e-30  # instead of a signal of 0
PASSING = ("QUANTIZE", "DEQUANTIZE")
INTEGER = ("INT4", "INT8", "UINT8", "INT16", "FLOAT16")

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Layer:
    """A layer of the quantised network.

    Attributes:
        name: of its output, as recipes know it.
        operator: as in the flatbuffer (CONV_2D).
        quantised: whether it computes with integers, or reads them.
        weights: bytes of the constants that it reads.
        error: normalised mean squared error of its output.
        own: how much of it this layer adds.
        effect: the error of the output with only this layer quantised; None where it was not tried.
    """

    name: str
    operator: str
    quantised: bool
    weights: int
    error: float
    own: float
    effect: float | None = None

    @property
    def hurt(self) -> tuple[float, float]:
        """The greater, the more it hurts."""
        return self.effect or 0.0, self.own

    @property
    def decibels(self) -> float | None:
        """Signal to quantisation noise of its output; None where nothing is lost."""
        return -10 * math.log10(self.error) if self.error > 0 else None

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "sqnr_db": self.decibels}


def short(name: str) -> str:
    """`conv_2/Relu` of a layer's name, `StatefulPartitionedCall/model_1/conv_2/Relu;...`."""
    return "/".join(name.split(";")[0].split("/")[-2:])


def measure(network: bytes, quantised: bytes, rows: Arrays) -> list[Layer]:
    """The layers of a quantised network, what hurts most first.

    Args:
        network: the floating one.
        quantised: the same, quantised.
        rows: what both take, [rows, ...] each; at most 32, evenly spread, are taken.
    """
    some = _spread(rows)
    before, after = _Probe(network), _Probe(quantised)
    names = {
        tensor.name: tensor.index
        for tensor in before.graph.tensors
        if tensor.dtype == "FLOAT32" and not tensor.constant
    }
    compared = [
        (operator, names[name])
        for operator in after.graph.operators
        if operator.outputs
        and (name := after.graph.tensors[operator.outputs[0]].name) in names
        and after.graph.tensors[operator.outputs[0]].dtype in ("FLOAT32", *INTEGER)
    ]
    noise, signal = np.zeros(len(compared)), np.zeros(len(compared))
    for row in range(len(next(iter(some.values())))):
        single = {name: values[row : row + 1] for name, values in some.items()}
        before.run(single)
        after.run(single)
        for place, (operator, index) in enumerate(compared):
            real, found = before.values(index), after.values(operator.outputs[0])
            if real.shape != found.shape:
                continue
            finite = np.isfinite(real) & np.isfinite(found)
            noise[place] += np.sum((found - real)[finite] ** 2)
            signal[place] += np.sum(real[finite] ** 2)
    errors = dict(
        zip(
            (operator.index for operator, _ in compared),
            (noise / np.maximum(signal, TINY)).tolist(),
            strict=True,
        )
    )
    return _sorted(_layers(after.graph, errors))


def effects(
    network: bytes, layers: Sequence[Layer], alone: Callable[[Layer], bytes], rows: Arrays
) -> list[Layer]:
    """The layers with their effects, what hurts most first.

    Of a large network only the layers that add most error themselves are tried alone: each is
    the whole network quantised once more.

    Args:
        network: the floating one.
        alone: makes the network with one layer quantised.
        rows: as `measure` takes them.
    """
    some = _spread(rows)
    real = running.answers(running.load(network), some)
    found = []
    worst = sorted((each for each in layers if each.quantised), key=lambda each: -each.own)
    tried = worst[: max(1, MOST_BYTES // len(network))]
    for layer in layers:
        if layer in tried:
            given = running.answers(running.load(alone(layer)), some)
            noise = sum(float(np.sum((given[n].astype(np.float64) - real[n]) ** 2)) for n in real)
            signal = sum(float(np.sum(real[n].astype(np.float64) ** 2)) for n in real)
            layer = replace(layer, effect=noise / max(signal, TINY))
        found.append(layer)
    return _sorted(found)


def _sorted(layers: Sequence[Layer]) -> list[Layer]:
    return sorted(layers, key=lambda layer: ([-value for value in layer.hurt], layer.name))


def _spread(rows: Arrays) -> dict[str, Array]:
    count = len(next(iter(rows.values())))
    chosen = spread(count, MOST_ROWS)
    return {name: values[chosen] for name, values in rows.items()}


def _layers(graph: tflite.Subgraph, errors: Mapping[int, float]) -> list[Layer]:
    at: dict[int, float] = {}  # the error of a tensor
    stored: dict[int, tflite.SubgraphTensor] = {t.index: t for t in graph.tensors if t.constant}
    found = []
    for operator in graph.operators:
        given = [graph.tensors[index] for index in operator.inputs if index >= 0]
        inherited = max((at.get(tensor.index, 0.0) for tensor in given), default=0.0)
        error = errors.get(operator.index, inherited)
        at.update(dict.fromkeys(operator.outputs, error))
        if operator.name == "DEQUANTIZE" and given[0].index in stored:
            stored[operator.outputs[0]] = stored[given[0].index]  # weights alone are quantised
        if operator.index not in errors or operator.name in PASSING:
            continue
        output = graph.tensors[operator.outputs[0]]
        constants = [stored[tensor.index] for tensor in given if tensor.index in stored]
        found.append(
            Layer(
                output.name,
                operator.name,
                any(tensor.dtype in INTEGER for tensor in [output, *constants]),
                sum(tensor.size for tensor in constants),
                error,
                max(0.0, error - inherited),
            )
        )
    return found


class _Probe:
    """An interpreter that keeps every tensor."""

    def __init__(self, model: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            path.write_bytes(model)
            self.graph = tflite.read(path).subgraphs[0]
            self.interpreter = Interpreter(
                model_content=model,
                num_threads=1,
                experimental_preserve_all_tensors=True,  # delegates would keep theirs
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        self.runner = self.interpreter.get_signature_runner(SERVING)
        self.takes = tuple(
            describe_tensor(name, detail)
            for name, detail in sorted(self.runner.get_input_details().items())
        )
        self.details: dict[int, Any] = {}

    def run(self, arrays: Arrays) -> None:
        given = {tensor.name: arrays[tensor.name] for tensor in self.takes}
        self.runner(**quantise(given, self.takes))
        self.details = self.details or {
            detail["index"]: detail for detail in self.interpreter.get_tensor_details()
        }

    def values(self, index: int) -> npt.NDArray[np.float64]:
        stored = self.interpreter.get_tensor(index).astype(np.float64)
        scale, zero_point = self.details[index]["quantization"]
        return np.asarray((stored - zero_point) * scale if scale else stored)
