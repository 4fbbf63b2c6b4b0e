"""How much SRAM a model takes on the Edge TPU, before Coral's compiler has seen it.

About 8 MB are shared by the executable and the cached parameters; what overflows streams from
the host at each run. (coral.ai/docs/edgetpu/compiler/#parameter-data-caching)

The compiler's layout of parameters and its instructions are not documented, so every figure is a
range: what compiled models of google-coral/test_data, fredriktegnell/edgetpu-tcn,
ricardodeazambuja/LibrEdgeTPU and others have lies within it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeline.formats.tflite import Operator, Subgraph

SRAM_BYTES = 8 << 20


@dataclass(frozen=True)
class Range:
    """A whole number that is known only between two others, with what is most likely."""

    low: int
    likely: int
    high: int

    def __contains__(self, value: int) -> bool:
        return self.low <= value <= self.high


def exactly(value: int) -> Range:
    """A number that is known."""
    return Range(value, value, value)


@dataclass(frozen=True)
class Memory:
    """Bytes of SRAM that the mapped operators' parameters and instructions take.

    Attributes:
        parameters: cached and streamed together, as the compiler lays them out.
        executable: the instructions.
        cached: parameters kept in SRAM between runs.
        streamed: parameters that the host sends at each run.
    """

    parameters: Range
    executable: Range
    cached: Range
    streamed: Range
    sram: int = SRAM_BYTES


NONE = Memory(exactly(0), exactly(0), exactly(0), exactly(0))

# Channels fill up to blocks; each output channel carries bias and scale. A fully connected layer
# of one unit takes 16 rows (LibrEdgeTPU, edgetpu-tcn).
_BLOCK, _DENSE_BLOCK, _DEPTHWISE_BLOCK, _PER_CHANNEL = 32, 16, 64, 16
# The likely bytes are within 11 % in compiled models of more than 50 kB without an LSTM. An LSTM
# brings tables and is unrolled: 44 kB where the weights are 10 kB.
# Constants of ADD and MUL may be streamed: 4 kB were seen.
_SPREAD, _MARGIN, _LSTM = 0.25, 24_000, 8
# A layer whose input has 4,096 values is cached (color_blue_64x64 of LibrEdgeTPU); with 16,384
# and 94,400 (edgetpu-tcn) it is streamed, although there is room.
_CACHED_INPUT, _STREAMED_INPUT = 4_096, 16_384
# Compilers of 2019 cached the first 53 of 75 layers, and 78 of 100, and streamed the rest beside
# plenty of room (iwatake2222/EdgeTPU_Analysis); later ones cached more (google-coral/test_data).
_SURELY_CACHED_LAYERS = 50
# Instructions: 1.4 to 20 kB an operator and 0.006 to 0.1 bytes a value computed were seen;
# an LSTM is unrolled over its steps.
_FIXED, _PER_OPERATOR, _PER_VALUE, _PER_STEP = 6_000, 1_500, 0.007, 1_500
_HIGH_FIXED, _HIGH_PER_OPERATOR, _HIGH_PER_VALUE, _HIGH_PER_STEP = 64_000, 16_000, 0.1, 8_000
_LOW_FIXED, _LOW_PER_OPERATOR = 1_000, 600


@dataclass(frozen=True)
class _Parameters:
    """The parameters of one operator: their likely bytes, and what is known of their caching."""

    likely: int
    high: int
    streamed: bool
    open: bool


def estimate(subgraph: Subgraph, mapped: Sequence[int]) -> Memory:
    """Bytes that the mapped operators take.

    Args:
        subgraph: the graph.
        mapped: indices of its operators that run on the TPU.
    """
    if not mapped:
        return NONE
    operators = [subgraph.operators[index] for index in mapped]
    counted: set[int] = set()
    layers = [_parameters(subgraph, operator, counted) for operator in operators]
    parameters = _spread(layers)
    executable = _instructions(subgraph, operators)
    return Memory(parameters, executable, *_caching(layers, parameters, executable))


def _caching(
    layers: Sequence[_Parameters], parameters: Range, executable: Range
) -> tuple[Range, Range]:
    """What is cached and what is streamed."""
    surely = [layer for layer in layers if layer.streamed and not layer.open]
    unsure = [layer for layer in layers if layer.open]
    rest = [layer for layer in layers if not layer.streamed and not layer.open]
    room = max(0, SRAM_BYTES - executable.likely)
    kept = min(sum(layer.likely for layer in layers if not layer.streamed), room)
    sent = parameters.likely - kept
    if parameters.likely <= SRAM_BYTES // 2:  # 4.04 MB were cached, 1.44 beside 11 of activations
        large = [layer for layer in rest if layer.likely]
        late = large[_SURELY_CACHED_LAYERS:]
        least = _spread(large[:_SURELY_CACHED_LAYERS]).low
        most = _spread(rest + unsure).high
        fewest, all_sent = _spread(surely).low, _spread(surely + unsure + late).high
    else:  # no one knows what activations leave of the SRAM
        least, most = 0, min(_spread(rest + unsure).high, SRAM_BYTES)
        fewest, all_sent = max(_spread(surely).low, parameters.low - SRAM_BYTES), parameters.high
    return Range(least, kept, max(kept, most)), Range(fewest, sent, max(sent, all_sent))


def _spread(layers: Sequence[_Parameters]) -> Range:
    """The parameters of some layers together."""
    likely = sum(layer.likely for layer in layers)
    high = sum(layer.high for layer in layers)
    return Range(
        max(0, round(likely * (1 - _SPREAD)) - _MARGIN),
        likely,
        round(high * (1 + _SPREAD)) + _MARGIN,
    )


def _instructions(subgraph: Subgraph, operators: Sequence[Operator]) -> Range:
    values = sum(
        subgraph.tensors[index].elements for operator in operators for index in operator.outputs
    )
    steps = sum(_steps(subgraph, operator) for operator in operators)
    count = len(operators)
    return Range(
        _LOW_FIXED + _LOW_PER_OPERATOR * count,
        _FIXED + _PER_OPERATOR * count + _PER_STEP * steps + round(_PER_VALUE * values),
        _HIGH_FIXED
        + _HIGH_PER_OPERATOR * count
        + _HIGH_PER_STEP * steps
        + round(_HIGH_PER_VALUE * values),
    )


def _steps(subgraph: Subgraph, operator: Operator) -> int:
    """Over how many steps a recurrent operator is unrolled, 0 for others."""
    if not operator.name.endswith("LSTM") or not operator.inputs:
        return 0
    shape = subgraph.tensors[operator.inputs[0]].shape
    return shape[-2] if len(shape) > 2 else 1


def _parameters(subgraph: Subgraph, operator: Operator, counted: set[int]) -> _Parameters:
    likely = 0
    for index in operator.inputs:
        if index < 0 or index in counted or not subgraph.tensors[index].constant:
            continue
        counted.add(index)
        tensor = subgraph.tensors[index]
        if tensor.dtype in ("INT8", "UINT8"):
            likely += _laid_out(operator.name, tensor.shape or (1,))
    high = likely * _LSTM if operator.name.endswith("LSTM") else likely
    width = 0
    if operator.name == "FULLY_CONNECTED" and len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        weights = subgraph.tensors[operator.inputs[1]]
        width = weights.shape[-1] if weights.shape else 0
    units = likely // max(_filled(width, 1), 1)
    return _Parameters(
        likely,
        high,
        # the middle, as for sizes: the geometric mean
        streamed=width > math.sqrt(_CACHED_INPUT * _STREAMED_INPUT),
        # of many units, no compiled model with so large an input is known
        open=width > _CACHED_INPUT and (width < _STREAMED_INPUT or units > 2 * _DENSE_BLOCK),
    )


def _laid_out(name: str, shape: tuple[int, ...]) -> int:
    """Bytes of one constant as the compiler lays it out."""
    elements = math.prod(shape)
    if name == "DEPTHWISE_CONV_2D":
        channels = _filled(shape[-1], _DEPTHWISE_BLOCK)
        return elements // max(shape[-1], 1) * channels + _PER_CHANNEL * channels
    if len(shape) < 2:
        return elements
    if name == "FULLY_CONNECTED":
        rows = _filled(shape[0], _DENSE_BLOCK)
        return rows * _filled(shape[-1], 4) + _PER_CHANNEL * rows
    rows, columns = _filled(shape[0], _BLOCK), _filled(shape[-1], _BLOCK)
    return rows * columns * (elements // max(shape[0] * shape[-1], 1)) + _PER_CHANNEL * rows


def _filled(count: int, block: int) -> int:
    return -(-count // block) * block
