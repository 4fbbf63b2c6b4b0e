"""Where each operator of a model will run on a device: what every static check answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from edgeline.components.check.edgetpu_compiled import EdgeTpuCompiled
from edgeline.components.check.edgetpu_memory import Memory, Range
from edgeline.formats.tflite import Operator, Subgraph

YES, NO, SIZE = "yes", "no", "size-dependent"


@dataclass(frozen=True)
class OperatorVerdict:
    """What the rules say of one operator by itself."""

    state: str
    maps: bool
    status: str
    rule: str
    source: str
    fix: str
    runtime: int


@dataclass(frozen=True)
class PlacedOperator:
    """An operator, what the rules say of it, and where it will run."""

    index: int
    operator: str
    version: int
    output: str
    shape: tuple[int, ...]
    verdict: OperatorVerdict
    mapped: bool
    status: str


@dataclass(frozen=True)
class Advice:
    """What to change, for which operators, and how many more would then be looked at anew."""

    operator: str
    count: int
    sentence: str
    fix: str
    source: str


@dataclass(frozen=True)
class Placement:
    """The prediction for a model, and beside it the truth where a compiled model is given.

    Attributes:
        device: what the accelerator is called, beside the CPU: "TPU" or "GPU".
        failure: why the compiler would give up on the whole model, else empty.
        cut: the first operator, in the order of execution, that is left on the CPU and is
            itself the reason; None where there is none.
        segments: how many parts of the graph run on the device, each in one go.
        runtime: the oldest Edge TPU runtime that runs what is compiled, None where the device
            has none.
        memory: the Edge TPU's, None for other devices.
    """

    model: str
    target: str
    device: str
    operators: tuple[PlacedOperator, ...]
    failure: str
    cut: int | None
    segments: int
    runtime: Range | None
    memory: Memory | None
    warnings: tuple[str, ...]
    advice: tuple[Advice, ...]
    compiled: EdgeTpuCompiled | None = None

    @property
    def mapped(self) -> int:
        """How many operators will run on the device."""
        return sum(placed.mapped for placed in self.operators)

    @property
    def share(self) -> float:
        """Mapped operators of all, 0 to 1."""
        return self.mapped / len(self.operators) if self.operators else 0.0

    @property
    def uncertain(self) -> int:
        """Operators whose size the documentation leaves open."""
        return sum(placed.verdict.state == SIZE for placed in self.operators)

    @property
    def left_on_cpu(self) -> dict[str, int]:
        """How many operators of each kind stay on the CPU."""
        return dict(Counter(placed.operator for placed in self.operators if not placed.mapped))

    def to_json(self) -> dict[str, object]:
        """A JSON object: the sums, every operator, memory, warnings, advice."""
        document = asdict(self)
        if self.compiled is not None:
            document["compiled"] = self.compiled.to_json()
        return {
            **document,
            "mapped": self.mapped,
            "share": self.share,
            "uncertain": self.uncertain,
            "left_on_cpu": self.left_on_cpu,
        }


def at(
    subgraph: Subgraph, operator: Operator, verdict: OperatorVerdict, mapped: bool, status: str
) -> PlacedOperator:
    """An operator with what the rules say of it, whether it runs on the device, and in words."""
    tensor = subgraph.tensors[operator.outputs[0]] if operator.outputs else None
    return PlacedOperator(
        index=operator.index,
        operator=operator.name,
        version=operator.version,
        output=tensor.name if tensor else "",
        shape=tensor.shape if tensor else (),
        verdict=verdict,
        mapped=mapped,
        status=status,
    )


def partitions(subgraph: Subgraph, maps: Sequence[bool]) -> list[set[int]]:
    """The groups of operators that can run on the device, in the order of execution.

    Args:
        subgraph: the graph, operators in the order of execution.
        maps: for each operator whether the device takes it.

    The interpreter's partition: from the first operator that is not placed, take its kind,
    and gather, in the order of execution, all operators of that kind whose inputs are given,
    constant or computed by what is placed already or by the same group; then the other kind.
    """
    computed = {index for operator in subgraph.operators for index in operator.outputs}
    waiting = list(subgraph.operators)
    ready: set[int] = set()
    groups: list[set[int]] = []
    while waiting:
        group: list[Operator] = []
        later: list[Operator] = []
        kind: bool | None = None
        for operator in waiting:
            needs = [i for i in operator.inputs if i in computed and i not in ready]
            if needs or (kind is not None and maps[operator.index] != kind):
                later.append(operator)
                continue
            kind = maps[operator.index]
            group.append(operator)
            ready.update(operator.outputs)
        if not group:  # a graph whose operators wait for one another
            return groups
        if kind:
            groups.append({operator.index for operator in group})
        waiting = later
    return groups


def advice(reasons: Sequence[PlacedOperator]) -> tuple[Advice, ...]:
    """One piece of advice a kind of breach, in the order of execution: fix the first one first."""
    counted = Counter(
        (p.operator, p.verdict.rule, p.verdict.fix, p.verdict.source) for p in reasons
    )
    return tuple(
        Advice(operator, count, sentence, fix, source)
        for (operator, sentence, fix, source), count in counted.items()
    )
