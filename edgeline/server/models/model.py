"""A model in one engine: named arrays in, named arrays out.

An `Instance` is what a worker thread owns; it is not safe for more than one thread. Its hot
path is the engine's: what is checked here is only what can differ between requests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from edgeline.artifacts import transformed, windows
from edgeline.artifacts.bundle import Bundle, Signature, Tensor
from edgeline.artifacts.calibration import Calibration
from edgeline.artifacts.models import PREDICTION
from edgeline.artifacts.ranges import Ranges
from edgeline.artifacts.reference import Reference
from edgeline.artifacts.windows import Windows
from edgeline.errors import EdgelineError, first_line
from edgeline.formats.dtypes import Array
from edgeline.monitoring.range_check import NOTHING, Outside, RangeCheck
from edgeline.runtimes import inputs, served_runtimes
from edgeline.runtimes.engine import Engine
from edgeline.runtimes.pieces import are_many, pieces
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.models.kept_windows import KeptWindows, rows_of

if TYPE_CHECKING:  # of a bundle with host operations alone
    from edgeline.runtimes.host.program import Program

Arrays = Mapping[str, Array]
Observer = Callable[[Mapping[str, Array], Arrays], None]


@dataclass(frozen=True)
class Description:
    """What a client may know of a model.

    `takes` is `raw`, `transformed` or `mixed`, as its bundle says. `runtime` runs it, and is called
    `platform` by Triton's clients. `device` is `cpu` or `edgetpu`; `note` says why it is not what
    the bundle wanted. `reference` is what the model met in training, `ranges` what its features
    may be, `calibration` how often its scores are right; None where its bundle does not say.
    `signature` is of whole windows, where a row is one; `asked` is what clients send.
    `example` is a row that verify recorded, as JSON of what a client sends; None where there is
    none, or it is large. `loops` says that some input may keep it running for ever.
    """

    name: str
    version: int
    signature: Signature
    labels: tuple[str, ...] | None = None
    takes: str = "transformed"
    runtime: str = served_runtimes.LITERT
    platform: str = served_runtimes.LITERT
    device: str = "cpu"
    note: str = ""
    loops: bool = False
    bundle: Bundle | None = field(default=None, repr=False)
    reference: Reference | None = field(default=None, repr=False)
    ranges: Ranges | None = field(default=None, repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    example: Mapping[str, object] | None = field(default=None, repr=False)

    @property
    def not_evaluated(self) -> bool:
        """Whether its bundle says that nobody has evaluated it; a bare model says nothing."""
        return self.bundle is not None and not self.bundle.evaluated

    def takes_of(self, name: str) -> str:
        """What an input takes, `raw` or `transformed`: they differ in a bundle that takes both."""
        if self.takes != transformed.MIXED or self.bundle is None:
            return self.takes
        given = {f.name for f in self.bundle.features if f.transformed}
        return transformed.TRANSFORMED if name in given else transformed.RAW

    @property
    def decision_threshold(self) -> float | None:
        """Above which score a binary model says yes; None where its bundle names no such one."""
        return self.bundle.decision_threshold if self.bundle is not None else None

    def threshold_of(self, output: str) -> float | None:
        """The decision threshold, for the output that is decided by."""
        return self.decision_threshold if output == self._decided_output else None

    @cached_property
    def _decided_output(self) -> str:
        return decided_output(self.signature.outputs)

    @property
    def transformed(self) -> str:
        """Why its bundle takes transformed features; "" where it takes raw ones, or is bare."""
        if self.bundle is None:
            return ""
        return transformed.sentence(self.bundle.takes, self.bundle.provenance)

    @property
    def windows(self) -> Windows | None:
        """The windows that the server keeps; None where a client sends all that a model takes."""
        return self.bundle.windows if self.bundle is not None else None

    @property
    def windows_told(self) -> str:
        """What a row is made of, whoever keeps it; "" where it is one row."""
        try:
            found = self.windows or (windows.of(self.bundle.provenance) if self.bundle else None)
        except EdgelineError:  # a manifest may be anyone's, and this is told, no more
            return ""
        return found.words if found else ""

    @cached_property
    def asked(self) -> Signature:
        """What a client sends and gets: the signature, or where windows are kept here, rows."""
        return rows_of(self.signature, self.windows) if self.windows else self.signature

    def asked_inputs(self, names: Collection[str]) -> tuple[Tensor, ...]:
        """The inputs that a client means by some names: `asked`, unless it sends whole windows."""
        if self.windows and {tensor.name for tensor in self.signature.inputs} == set(names):
            return self.signature.inputs
        return self.asked.inputs

    @property
    def not_proven_missing(self) -> tuple[str, ...]:
        """Features without which its bundle proves nothing of a row."""
        return (self.bundle.not_proven_missing or ()) if self.bundle is not None else ()

    @property
    def unprobed(self) -> bool:
        """Whether its bundle is one of before, of which nothing was probed; a bare model says
        nothing."""
        return self.bundle is not None and self.bundle.not_proven_missing is None


class Instance:
    """One engine with what stands before it (see `loading`).

    Attributes:
        description: the model's names, shapes and labels.
        observers: called with the inputs and outputs of each prediction; they must be quick.
        deadline: of `time.monotonic`, when the answer to the request in work is useless.
        file: the signature of the model's file, which takes what host operations give.
        windows: the rows that are kept for its windows; None where a client sends all.
        ranges: what is asked is compared with these; None where they are unknown.
        outside: what `ranges` found in the request in work.
    """

    observers: tuple[Observer, ...] = ()
    deadline = float("inf")
    windows: KeptWindows | None = None
    ranges: RangeCheck | None = None
    outside: Outside = NOTHING

    def __init__(
        self,
        engine: Engine,
        description: Description,
        program: Program | None = None,
    ):
        self.description = description
        self.file = engine.signature
        self._program = program
        self._invoke = engine.invoke
        self._fixed = next((t.shape[0] for t in self.file.inputs if t.shape and t.shape[0] > 0), 0)
        tensors = (*self.file.inputs, *self.file.outputs)
        self._rows = all(tensor.shape and tensor.shape[0] < 0 for tensor in tensors)

    def ask(self, arrays: Arrays) -> Arrays:
        """Answer what a client sent: checked, and of rows the windows that end in them.

        Raises:
            ServingError: it does not fit the model, the runtime refuses it, or there is no window.
        """
        return self.run(self.prepare(arrays))

    def ask_each(self, arrays: Arrays) -> tuple[Arrays, Arrays, dict[int, str]]:
        """As `ask`, where an answer can refuse one instance of many (see `check_each`).

        Returns:
            The answers, what was asked for them, and why other instances are refused, by place.
        """
        fit, refused = self.prepare_each(arrays)
        return self.run(fit), fit, refused

    def prepare_each(self, arrays: Arrays) -> tuple[Arrays, dict[int, str]]:
        """As `prepare`, and why instances are refused that it leaves out, by place."""
        if self.windows is not None and not _are_windows(arrays, self.description):
            return self.prepare(arrays), {}
        fit, refused = check_each(arrays, self.description)
        if self.ranges is None:
            return fit, refused
        self.outside = self.ranges.outside(fit)
        return self._without_outside(fit, refused) if self.outside.rows else (fit, refused)

    def prepare(self, arrays: Arrays) -> Arrays:
        """What a client sent, checked, as the model takes it; rows are kept.

        Raises:
            ServingError: see `check` and `KeptWindows.take`.
        """
        if self.windows is None or _are_windows(arrays, self.description):
            return self._compared(check(arrays, self.description))
        rows = _checked(arrays, self.description.asked, self.description.not_proven_missing)
        return self.windows.take(self._compared(rows))

    def _compared(self, rows: Arrays) -> Arrays:
        """What was asked, once it is compared with the ranges."""
        if self.ranges is not None:
            self.outside = self.ranges.outside(rows)
            if self.outside.rows and self.ranges.refuse:
                raise invalid(self.ranges.refusal(self.outside, rows))
        return rows

    def _without_outside(
        self, fit: Arrays, refused: dict[int, str]
    ) -> tuple[Arrays, dict[int, str]]:
        """As `prepare_each` gives it, of a request with values out of range: their rows' numbers
        are those of the request then, or the rows are refused, too."""
        ranges, outside = self.ranges, self.outside
        assert ranges is not None  # it has found them
        places = [row for row in range(outside.count + len(refused)) if row not in refused]
        if not ranges.refuse:
            rows = {name: [places[row] for row in rows] for name, rows in outside.rows.items()}
            self.outside = Outside(rows, len(places) + len(refused))
            return fit, refused
        bad = sorted({row for rows in outside.rows.values() for row in rows})
        if len(bad) == outside.count:
            raise invalid(ranges.refusal(outside, fit, places))
        for row in bad:
            of_row = {name: [row] for name, rows in outside.rows.items() if row in rows}
            why = ranges.refusal(Outside(of_row, outside.count), fit, places)
            refused = {**refused, places[row]: why}
        self.outside = NOTHING  # what is answered is inside
        good = np.ones(outside.count, bool)
        good[bad] = False
        return {name: array[good] for name, array in fit.items()}, refused

    def run(self, arrays: Mapping[str, Array]) -> Arrays:
        """Run the model on checked input (see `check`).

        A model with a fixed batch gets the rows in pieces of it, the last filled up
        with its last row.

        Raises:
            ServingError: the runtime refuses the input.
        """
        answers = self.predict(arrays)
        for observe in self.observers:
            observe(arrays, answers)
        return answers

    def predict(self, arrays: Mapping[str, Array]) -> Arrays:
        """As `run`, but no observer is told."""
        if self._program is not None:
            try:
                arrays = self._program(arrays)
            except EdgelineError as error:
                raise invalid(str(error)) from error
        return self.infer(arrays)

    def infer(self, arrays: Mapping[str, Array]) -> Arrays:
        """Run the model's file alone on what it takes.

        Many rows go in pieces: what a runtime takes grows with them. A model whose answers are not
        of a row each gets them all at once.
        """
        try:
            if not self._fixed and not (self._rows and are_many(arrays)):
                return self._invoke(arrays)
            rows = len(arrays[self.file.inputs[0].name])
            if rows == self._fixed:
                return self._invoke(arrays)
            answers = []
            for piece, count in pieces(arrays, self._fixed):
                answers.append(self._invoke(piece))
                rows_of_each = {array.shape[:1] for array in answers[-1].values()}
                if not self._fixed and rows_of_each != {(count,)}:
                    return self._invoke(arrays)
        except EdgelineError as error:  # the runtime cannot take a value
            raise invalid(str(error)) from error
        except (ValueError, RuntimeError, MemoryError) as error:
            # the input fits the signature: the model is at fault (see `watch`)
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Model {self.description.name!r} cannot run on this input ({first_line(error)}).",
            ) from error
        return {name: np.concatenate([a[name] for a in answers])[:rows] for name in answers[0]}

    def close(self) -> None:
        """Its worker is done with it."""


def decided_output(outputs: Sequence[Tensor]) -> str:
    """Which output a binary model's decision is made of: `prediction`, or the only real one."""
    real = [each.name for each in outputs if "float" in each.dtype or each.scale is not None]
    if PREDICTION in real:
        return PREDICTION
    return real[0] if len(real) == 1 else ""


def check(arrays: Mapping[str, Array], description: Description) -> Arrays:
    """Check named arrays against a signature; give them in the shapes that the model takes.

    As `edgeline.runtimes.inputs.check`, but an array may leave out or add dimensions of size 1 at
    the end (a column of scalars for [batch, 1]).

    Raises:
        ServingError: an input is missing, unknown, or of the wrong dtype, shape or rows, or an
            instance lacks a feature that is not proven missing.
    """
    return _checked(arrays, description.signature, description.not_proven_missing)


def check_each(
    arrays: Mapping[str, Array], description: Description
) -> tuple[Arrays, dict[int, str]]:
    """As `check`, where an answer can refuse one instance of many.

    Returns:
        The arrays of the instances that are fit, and why others are not, by their place. Where
        none is fit, all of them together are refused as `check` does.
    """
    shaped = _fitted(arrays, description.signature)
    lacking = inputs.lacking(shaped, description.not_proven_missing)
    sizes = {len(array) if array.ndim else 0 for array in shaped.values()}
    if not lacking:
        return shaped, {}
    if len(lacking) == max(sizes) or 0 in sizes:
        check(arrays, description)
    fit = np.ones(max(sizes), bool)
    fit[list(lacking)] = False
    refused = {row: inputs.refusal(row, names) for row, names in lacking.items()}
    return {name: array[fit] for name, array in shaped.items()}, refused


def _checked(arrays: Mapping[str, Array], signature: Signature, never: Sequence[str]) -> Arrays:
    shaped = _fitted(arrays, signature)
    try:
        inputs.check_missing(shaped, never)
    except EdgelineError as error:
        raise invalid(str(error)) from error
    return shaped


def _fitted(arrays: Mapping[str, Array], signature: Signature) -> Arrays:
    """As `check`, without a look at missing values."""
    try:
        inputs.check_names(arrays, signature)
        shaped = {t.name: _shaped(arrays[t.name], t) for t in signature.inputs}
        inputs.check_tensors(shaped, signature)
    except EdgelineError as error:
        raise invalid(str(error)) from error
    return shaped


def _are_windows(arrays: Arrays, description: Description) -> bool:
    """Whether a client sent whole windows to a server that keeps them."""
    windows = description.windows
    return windows is not None and all(
        tensor.name in arrays and arrays[tensor.name].shape[1:] == tensor.shape[1:]
        for tensor in description.signature.inputs
        if tensor.name in windows.columns
    )


def _shaped(array: Array, tensor: Tensor) -> Array:
    """An array with as many dimensions as a tensor, where those at the end are of size 1."""
    shape, given = tensor.shape, array.shape
    if not shape:
        return array.reshape(()) if array.size == 1 else array
    if len(given) == len(shape):
        return array
    short, long = sorted((given, shape), key=len)
    if not given or any(s != 1 for s in long[max(1, len(short)) :]):
        return array
    return array.reshape(given[: len(shape)] + (1,) * (len(shape) - len(given)))
