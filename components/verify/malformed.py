"""Malformed input: what a model does with it, seen from outside the process that runs it.

`KINDS` is the table. Each kind damages good rows at every input that it fits (of a model with
hundreds of inputs at some of these, see `most_inputs`), and each such case must end in an answer
or in one polite sentence, after which good rows still get the answer they got before. Cases run in
a child process, so a crash or a hang is counted and the rest goes on in a new one. What a busy
machine may have done is tried once more before it counts:
`python -m edgeline.components.verify.malformed MODEL VECTORS FIRST RUNTIME`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.differences import difference
from edgeline.artifacts.sampling import spread
from edgeline.components.verify.latency import last_line, signal_name
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.runtimes import limits
from edgeline.runtimes.interpreter import CrashError
from edgeline.runtimes.pieces import PIECE_ROWS

CHILD = [sys.executable, "-m", "edgeline.components.verify.malformed"]
CASE_SECONDS = 20  # of a core
CLOCK = 10  # times as long by the clock, for what waits without computing
PERHAPS_THE_MACHINE = (-signal.SIGPROF, -signal.SIGALRM, -signal.SIGKILL)
ROWS = 4
MOST_VALUES = 10_000  # given to a model for one kind: its inputs, times those that are damaged
FEWEST_INPUTS = 4
MANY_ROWS, MANY_BYTES = 2 * PIECE_ROWS, 64_000_000
SETTLED = ("answered", "refused")
WORDS = {
    "crashed": "crashes the interpreter",
    "hung": "hangs the interpreter",
    "raised": "ends in a traceback",
    "spoiled": "spoils the interpreter",
}

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Kind:
    """A kind of malformed input.

    Attributes:
        name: what is wrong, in a few words.
        damage: good arrays and the input to damage -> what is given to the model.
        fits: the inputs it is for: `any`, `float`, `int`, `string`, `several` where there are
            others beside it, or `call` for the call as a whole.
        refuse: whether only a refusal will do; else an answer is as good.
    """

    name: str
    damage: Callable[[Arrays, Tensor], Any]
    fits: str = "any"
    refuse: bool = True


@dataclass(frozen=True)
class Case:
    """What happened to one kind at one input.

    `outcome` is `answered`, `refused` (with its message), `raised` (an error that is no
    `EdgelineError`), `spoiled` (good rows got another answer afterwards), `crashed` or `hung`.
    """

    kind: str
    input: str
    outcome: str
    message: str = ""


def examine(model: str | Path, vectors: str | Path, runtime: str = "litert") -> list[Case]:
    """Run every case of the table on a model, starting from the rows of some test vectors.

    `model` and `runtime` are as in `runtimes.load`.

    Raises:
        EdgelineError: the model cannot be loaded or fails on the good rows.
        CrashError: it crashes the interpreter on them.
    """
    cases: list[Case] = []
    tried = -1  # the case that was tried once in vain
    while True:
        command = [*CHILD, str(model), str(vectors), str(len(cases)), runtime]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.endswith("}")]
        cases += [Case(**line) for line in lines if line["outcome"] != "begun"]
        if done.returncode == 0:
            return cases
        if not lines or lines[-1]["outcome"] != "begun":
            if done.returncode > 0:
                raise EdgelineError(last_line(done.stderr))
            raise CrashError(model, f"crashed the interpreter ({signal_name(done.returncode)})")
        if done.returncode in PERHAPS_THE_MACHINE and tried != len(cases):
            tried = len(cases)
            continue
        limit = limits.exceeded(done.returncode, CASE_SECONDS, CLOCK)
        name = f"exit code {done.returncode}"
        if done.returncode < 0:
            name = signal_name(done.returncode)
        outcome = "hung" if limit else "crashed"
        message = f"no answer in {limit}" if limit else name
        cases.append(Case(lines[-1]["kind"], lines[-1]["input"], outcome, message))


def faults(cases: list[Case]) -> list[Case]:
    """The cases that must not be: neither answered nor refused, or answered against the table."""
    strict = {kind.name for kind in KINDS if kind.refuse}
    return [
        case
        for case in cases
        if case.outcome not in SETTLED or (case.outcome == "answered" and case.kind in strict)
    ]


def sentence(case: Case) -> str:
    """A fault in words."""
    place = f" at input {case.input!r}" if case.input else ""
    if case.outcome == "answered":
        return f"Malformed input ({case.kind}{place}) is answered, but must be refused."
    return f"Malformed input ({case.kind}{place}) {WORDS[case.outcome]}: {case.message}."


def cases_of(signature: Signature) -> Iterator[tuple[Kind, Tensor]]:
    """Every kind at every input that it fits, or at `most_inputs` of them, in the table's order."""
    most = most_inputs(len(signature.inputs))
    for kind in KINDS:
        several = "several" if len(signature.inputs) > 1 else ""
        fitting = [
            tensor
            for tensor in (signature.inputs[:1] if kind.fits == "call" else signature.inputs)
            if kind.fits in ("any", "call", several, _group(tensor))
        ]
        for place in spread(len(fitting), most):
            yield kind, fitting[place]


def most_inputs(inputs: int) -> int:
    """At how many inputs of a model each kind is tried, evenly spread over those that it fits.

    A case is a call with all inputs, so that the work of trying each would grow with their square.
    What inputs of one dtype and rank are refused for does not depend on which of them it is, and
    the values that a model may answer otherwise are asked of each by `probes`.
    """
    return max(FEWEST_INPUTS, min(inputs, MOST_VALUES // max(inputs, 1)))


def extent(inputs: int) -> str:
    """Where each kind was tried, in words."""
    if (most := most_inputs(inputs)) >= inputs:
        return "at every input that it fits"
    return f"at {most} of the model's {inputs:,} inputs, evenly spread over those that it fits"


def main(model: str, vectors: str, first: str, runtime: str) -> None:
    """What the child process does: run the cases from `first` on, two lines of JSON a case."""
    from edgeline.artifacts.vectors import read
    from edgeline.components.verify.runtimes import load

    limits.memory(limits.room(Path(model)) + limits.ARROW)
    edge_model = load(model, runtime)
    inputs = read(vectors, edge_model.signature).inputs
    good = {name: np.take(array, range(ROWS), 0, mode="wrap") for name, array in inputs.items()}
    expected = edge_model(good)
    for kind, tensor in list(cases_of(edge_model.signature))[int(first) :]:
        case = {"kind": kind.name, "input": tensor.name if kind.fits != "call" else ""}
        print(json.dumps({**case, "outcome": "begun"}), flush=True)
        limits.begin(CASE_SECONDS, CLOCK)
        try:
            answer = edge_model(kind.damage(good, tensor))
            outcome, message = "answered", _summary(answer)
        except EdgelineError as error:
            outcome, message = "refused", str(error)
        except Exception as error:
            outcome, message = "raised", f"{type(error).__name__}: {error}"[:300]
        try:
            after = edge_model(good)
            if any(difference(after[name], expected[name]).any() for name in expected):
                outcome, message = "spoiled", "good rows get another answer afterwards"
        except EdgelineError as error:
            outcome, message = "spoiled", f"good rows fail afterwards: {error}"
        limits.end()
        print(json.dumps({**case, "outcome": outcome, "message": message}), flush=True)


def _summary(answer: Arrays) -> str:
    name = sorted(answer)[0]
    values = answer[name].reshape(-1)
    return f"{name} = {values[0]}" if len(values) else f"{name} is empty"


def _group(tensor: Tensor) -> str:
    return {"s": "string", "f": "float"}.get(tensor.dtype[0], "int")


def _array(change: Callable[[Array], object]) -> Callable[[Arrays, Tensor], object]:
    """Damage the array of one input."""
    return lambda arrays, tensor: {**arrays, tensor.name: change(arrays[tensor.name])}


def _value(value: object) -> Callable[[Arrays, Tensor], object]:
    """Set the first value of one input."""

    def change(array: Array) -> Array:
        changed = array.copy()
        changed.reshape(-1)[:1] = np.array([value], array.dtype)
        return changed

    return _array(change)


def _bound(largest: bool) -> Callable[[Arrays, Tensor], object]:
    def damage(arrays: Arrays, tensor: Tensor) -> object:
        bounds = np.iinfo(tensor.dtype)
        return _value(bounds.max if largest else bounds.min)(arrays, tensor)

    return damage


def _all(change: Callable[[Array], object]) -> Callable[[Arrays, Tensor], object]:
    """Damage the arrays of all inputs."""
    return lambda arrays, _: {name: change(array) for name, array in arrays.items()}


def _without(arrays: Arrays, tensor: Tensor) -> Any:
    return {name: array for name, array in arrays.items() if name != tensor.name}


def _renamed(arrays: Arrays, tensor: Tensor) -> object:
    return {**_without(arrays, tensor), tensor.name + " ": arrays[tensor.name]}


def _many(arrays: Arrays, _: Tensor) -> object:
    """More rows than a runtime gets at once, or as many as are 64 MB."""
    row = sum(array[0].nbytes for array in arrays.values())
    rows = min(MANY_ROWS, max(2 * ROWS, MANY_BYTES // row))
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in arrays.items()}


def _wide(array: Array) -> Array:
    """As many dimensions as before, the second of a billion values that take no memory."""
    rows, *rest = array.shape
    narrow = array.reshape(rows, -1)[:, :1].reshape(rows, *(1 for _ in rest))
    return np.broadcast_to(narrow, (rows, 10**9, *(1 for _ in rest[1:])))


def _unaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    shifted = raw[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


KINDS: tuple[Kind, ...] = (
    # the call
    Kind("no inputs at all", lambda _a, _t: {}, "call"),
    Kind("inputs as a list", lambda arrays, _: list(arrays.values()), "call"),
    Kind("inputs are None", lambda _a, _t: None, "call"),
    Kind("an unknown input more", lambda a, _: {**a, "no such input": np.zeros(1)}, "call"),
    Kind("a name that is not text", lambda a, _: {**a, 7: np.zeros(1)}, "call"),
    Kind("empty batch", _all(lambda array: array[:0]), "call"),
    Kind("many rows", _many, "call", False),
    Kind("2**40 rows", _all(lambda a: np.broadcast_to(a[0], (1 << 40, *a.shape[1:]))), "call"),
    Kind("missing feature", _without),
    Kind("name with a space more", _renamed),
    # shape
    Kind("rank too low", _array(lambda array: array.reshape(-1))),
    Kind("rank too high", _array(lambda array: array[..., None])),
    Kind("a scalar array", _array(lambda array: array.reshape(-1)[0:1].reshape(()))),
    Kind("rank 32", _array(lambda array: array.reshape(array.shape + (1,) * (32 - array.ndim)))),
    Kind("one value too many a row", _array(lambda array: np.concatenate([array, array], 1))),
    Kind("no value a row", _array(lambda array: array[:, :0])),
    Kind("a billion values a row", _array(_wide)),
    Kind("rows as columns", _array(lambda array: array.reshape(1, -1))),
    Kind("fewer rows than other inputs", _array(lambda array: array[:-1]), "several"),
    Kind("no rows where others have some", _array(lambda array: array[:0]), "several"),
    # kind and dtype
    Kind("None for an array", _array(lambda _: None)),
    Kind("a nested list", _array(lambda array: array.tolist())),
    Kind("a bare number", _array(lambda _: 1.0)),
    Kind("dtype complex", _array(lambda array: np.zeros(array.shape, np.complex64))),
    Kind("dtype bool", _array(lambda array: np.zeros(array.shape, bool))),
    Kind("dtype float16", _array(lambda array: np.zeros(array.shape, np.float16))),
    Kind("dtype float64", _array(lambda array: np.zeros(array.shape, np.float64))),
    Kind("dtype uint16", _array(lambda array: np.zeros(array.shape, np.uint16))),
    Kind("dtype datetime", _array(lambda array: np.zeros(array.shape, "datetime64[s]"))),
    Kind(
        "structured dtype", _array(lambda array: np.zeros(array.shape, [("a", "f4"), ("b", "i8")]))
    ),
    Kind("text for a number", _array(lambda array: np.full(array.shape, b"12", object)), "float"),
    Kind(
        "text for a whole number", _array(lambda array: np.full(array.shape, b"12", object)), "int"
    ),
    Kind("other byte order", _array(lambda a: a.astype(a.dtype.newbyteorder(">"))), "float"),
    Kind("a number for text", _array(lambda array: np.zeros(array.shape, np.float32)), "string"),
    Kind("text as fixed-width bytes", _array(lambda array: array.astype("S")), "string"),
    Kind("text as unicode", _array(lambda array: np.full(array.shape, "a", object)), "string"),
    Kind("None among text", _value(None), "string"),
    # layout in memory
    Kind("strided array", _array(lambda array: np.repeat(array, 2, 0)[::2]), refuse=False),
    Kind("read-only array", _array(lambda a: np.broadcast_to(a[:1], a.shape)), refuse=False),
    Kind("unaligned array", _array(_unaligned), "float", False),
    # values
    Kind("NaN", _value(np.nan), "float", False),
    Kind("infinity", _value(np.inf), "float", False),
    Kind("minus infinity", _value(-np.inf), "float", False),
    Kind("largest float", _value(np.finfo(np.float32).max), "float", False),
    Kind("smallest float", _value(np.float32(1e-45)), "float", False),
    Kind("minus zero", _value(-0.0), "float", False),
    Kind("largest whole number", _bound(True), "int", False),
    Kind("smallest whole number", _bound(False), "int", False),
    Kind("minus one", lambda a, t: _value(-1 if t.dtype[0] != "u" else 0)(a, t), "int", False),
    Kind("unknown category", _value(b"no such category"), "string", False),
    Kind("empty text", _value(b""), "string", False),
    Kind("text that is not UTF-8", _value(b"\xff\xfe\x80"), "string", False),
    Kind("text with a zero byte", _value(b"Cash\x00Cash"), "string", False),
    Kind("text of 16 MB", _value(b"x" * 16_000_000), "string", False),
    Kind("right-to-left and emoji text", _value("\u202eשלום 🚕".encode()), "string", False),
)

if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgelineError as fault:
        sys.exit(str(fault))
