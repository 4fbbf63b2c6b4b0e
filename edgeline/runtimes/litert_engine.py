"""LiteRT as an engine of the server: one interpreter with its tensors allocated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeline.artifacts.bundle import Signature
from edgeline.runtimes.engine import Arrays, Engine
from edgeline.runtimes.interpreter import SERVING, describe_tensor, runtime


def engine(content: bytes, threads: int, delegates: Sequence[object] = ()) -> Engine:
    """A `.tflite` file's content in an interpreter.

    Args:
        threads: that one run may take.
        delegates: of an accelerator.

    Raises:
        Exception: of any kind, as a damaged model makes the runtime raise.
    """
    interpreter = runtime()[0](
        model_content=content, num_threads=threads, experimental_delegates=list(delegates)
    )
    interpreter.allocate_tensors()
    inputs, outputs = _named(interpreter)
    signature = Signature(
        tuple(describe_tensor(n, d) for n, d in inputs.items()),
        tuple(describe_tensor(n, d) for n, d in outputs.items()),
    )
    running = _Interpreter(
        interpreter,
        [(name, int(detail["index"])) for name, detail in inputs.items()],
        [(name, int(detail["index"])) for name, detail in outputs.items()],
    )
    return Engine(signature, running.invoke, _may_loop(interpreter))


class _Interpreter:
    """Resized where a shape differs from that of the run before."""

    def __init__(
        self, interpreter: Any, inputs: list[tuple[str, int]], outputs: list[tuple[str, int]]
    ) -> None:
        self._interpreter, self._inputs, self._outputs = interpreter, inputs, outputs
        self._shapes = {
            index: tuple(int(size) for size in detail["shape"])
            for detail in interpreter.get_input_details()
            for index in [int(detail["index"])]
        }

    def invoke(self, arrays: Arrays) -> Arrays:
        """Set, run and get."""
        interpreter = self._interpreter
        resized = False
        try:
            for name, index in self._inputs:
                shape = arrays[name].shape
                if self._shapes.get(index) != shape:
                    interpreter.resize_tensor_input(index, shape)
                    self._shapes[index] = shape
                    resized = True
            if resized:
                interpreter.allocate_tensors()
            for name, index in self._inputs:
                interpreter.set_tensor(index, arrays[name])
            interpreter.invoke()
            return {name: interpreter.get_tensor(index) for name, index in self._outputs}
        except BaseException:
            self._shapes = {}  # nobody knows what it is left with
            raise


def _may_loop(interpreter: object) -> bool:
    """Whether a model may run for ever on some input: only a loop can, and has its own graph."""
    count = getattr(interpreter, "num_subgraphs", None)
    return count is None or int(count()) > 1


def _named(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Details of inputs and outputs by their names in the signature, or in the graph."""
    graph_inputs = {d["name"]: d for d in interpreter.get_input_details()}
    graph_outputs = {d["name"]: d for d in interpreter.get_output_details()}
    signatures = list(interpreter.get_signature_list())
    if not signatures:
        return graph_inputs, graph_outputs
    runner = interpreter.get_signature_runner(SERVING if SERVING in signatures else signatures[0])
    inputs, outputs = dict(runner.get_input_details()), dict(runner.get_output_details())
    main = {int(d["index"]) for d in graph_inputs.values()}
    if {int(d["index"]) for d in inputs.values()} != main:
        raise ValueError("its first signature is not its main graph")
    return inputs, outputs
