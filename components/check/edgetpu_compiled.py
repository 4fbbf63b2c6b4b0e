"""What Coral's compiler left in a `_edgetpu.tflite`: versions, parameters, segments.

Each `edgetpu-custom-op` carries a flexbuffer map whose key "4" is a Package of libedgetpu's
executable/executable.fbs (file identifier DWN1). Of a model whose parameters fit in SRAM
there are two executables: one that caches parameters, once, and one that runs. Parameters
of the first are cached; those of every other are streamed from the host at each run.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass

from edgeline.errors import EdgelineError
from edgeline.formats import flatbuffer
from edgeline.formats.flatbuffer import Bytes, Table
from edgeline.formats.tflite import Model

CUSTOM_OPERATOR = "edgetpu-custom-op"
PACKAGE_KEY = b"4"
CACHING = 1  # ExecutableType.PARAMETER_CACHING
MOST_KEYS = 64
_MAP = 9


@dataclass(frozen=True)
class Executable:
    """One executable: sizes in bytes; `token` is shared by what may be cached together."""

    caching: bool
    chip: str
    parameter_bytes: int
    instruction_bytes: int
    scratch_bytes: int
    token: int


@dataclass(frozen=True)
class Segment:
    """One custom operator: what runs on the Edge TPU in one go."""

    operator: int
    runtime_version: int
    compiler_version: str
    executables: tuple[Executable, ...]

    @property
    def cached_bytes(self) -> int:
        """Parameters kept in SRAM between runs."""
        return sum(entry.parameter_bytes for entry in self.executables if entry.caching)

    @property
    def streamed_bytes(self) -> int:
        """Parameters sent by the host at each run."""
        return sum(entry.parameter_bytes for entry in self.executables if not entry.caching)

    @property
    def instruction_bytes(self) -> int:
        """Instructions of all its executables."""
        return sum(entry.instruction_bytes for entry in self.executables)


@dataclass(frozen=True)
class EdgeTpuCompiled:
    """A compiled model: its segments, and the operators left to the CPU, by name."""

    model: str
    segments: tuple[Segment, ...]
    on_cpu: dict[str, int]

    @property
    def runtime_version(self) -> int:
        """The oldest Edge TPU runtime that runs it, 0 where nothing is compiled."""
        return max((segment.runtime_version for segment in self.segments), default=0)

    @property
    def cached_bytes(self) -> int:
        """Parameters kept in SRAM, all segments together."""
        return sum(segment.cached_bytes for segment in self.segments)

    @property
    def streamed_bytes(self) -> int:
        """Parameters streamed at each run, all segments together."""
        return sum(segment.streamed_bytes for segment in self.segments)

    @property
    def instruction_bytes(self) -> int:
        """Instructions, all segments together."""
        return sum(segment.instruction_bytes for segment in self.segments)

    def to_json(self) -> dict[str, object]:
        """A JSON object with the sums and every executable."""
        return {
            **asdict(self),
            "runtime_version": self.runtime_version,
            "cached_bytes": self.cached_bytes,
            "streamed_bytes": self.streamed_bytes,
            "instruction_bytes": self.instruction_bytes,
        }


def decode(model: Model) -> EdgeTpuCompiled:
    """Read what the compiler left in a model; no segment where it was never compiled.

    Raises:
        EdgelineError: the payload of a custom operator is damaged.
    """
    segments, on_cpu = [], dict[str, int]()
    for operator in model.subgraphs[0].operators:
        if operator.name == CUSTOM_OPERATOR:
            name = f"{model.path}, operator {operator.index}"
            segments.append(_segment(operator.index, operator.custom_options, name))
        else:
            on_cpu[operator.name] = on_cpu.get(operator.name, 0) + 1
    return EdgeTpuCompiled(str(model.path), tuple(segments), on_cpu)


def _segment(index: int, payload: Bytes | None, name: str) -> Segment:
    if payload is None:
        raise EdgelineError(f"{name} has no executable: compile the model again.")
    try:
        package = flatbuffer.root(_value(payload.tobytes(), PACKAGE_KEY), "DWN1", name)
    except (IndexError, ValueError, struct.error) as error:
        raise EdgelineError(
            f"{name} is damaged (no executable is in it): compile the model again."
        ) from error
    inner = package.bytes(1)
    if inner is None:
        raise EdgelineError(f"{name} is damaged (an empty package): compile the model again.")
    several = flatbuffer.root(inner, "", name)
    return Segment(
        operator=index,
        runtime_version=package.integer(0, "i"),
        compiler_version=package.string(4).rstrip("\0"),
        executables=tuple(
            _executable(flatbuffer.root(raw, "", name)) for raw in several.strings(0)
        ),
    )


def _executable(table: Table) -> Executable:
    parameters = table.bytes(6)
    streams = [chunk.bytes(0) for chunk in table.tables(5)]
    return Executable(
        caching=table.integer(13, "h") == CACHING,
        chip=table.string(10).rstrip("\0"),
        parameter_bytes=0 if parameters is None else len(parameters),
        instruction_bytes=sum(len(stream) for stream in streams if stream is not None),
        scratch_bytes=table.integer(4, "i"),
        token=table.integer(14, "Q"),
    )


def _value(data: bytes, key: bytes) -> Bytes:
    """The string or blob of a key in a flexbuffer map (google.github.io/flatbuffers/flexbuffers).

    The last byte is the width of the root, the one before it its type; a map is a vector of
    values with, before it, the offset to its sorted keys and their width.

    Raises:
        ValueError, IndexError: the data is no such map.
    """
    width, kind = data[-1], data[-2]
    if kind >> 2 != _MAP or width not in (1, 2, 4, 8):
        raise ValueError("not a map")
    where = len(data) - 2 - width
    values = where - _number(data, where, width)
    width = 1 << (kind & 3)
    count = _number(data, values - width, width)
    keys_width = _number(data, values - 2 * width, width)
    keys = values - 3 * width - _number(data, values - 3 * width, width)
    if count > MOST_KEYS:
        raise ValueError("too many keys")
    for index in range(count):
        where = keys + index * keys_width
        start = where - _number(data, where, keys_width)
        if not 0 <= start < len(data):
            raise ValueError("a key outside the data")
        if data[start : data.index(b"\0", start)] != key:
            continue
        place = values + index * width
        kind = data[values + count * width + index]
        start, size_width = place - _number(data, place, width), 1 << (kind & 3)
        size = _number(data, start - size_width, size_width)
        if start < 0 or start + size > len(data):
            raise ValueError("a value outside the data")
        return flatbuffer.view(data[start : start + size])
    raise ValueError("no such key")


def _number(data: bytes, position: int, width: int) -> int:
    if position < 0 or width not in (1, 2, 4, 8) or position + width > len(data):
        raise ValueError("outside the data")
    return int.from_bytes(data[position : position + width], "little")
