"""An ONNX file as a LiteRT file that gives the same answers, or a sentence why there is none.

onnx2tf converts (see `onnx_converter`). It moves channels last where the input is an image with
the channels first, which is how images come here; all other inputs and outputs keep the order of
the file. What it makes is no more than a proposal: it is asked made-up rows beside the file as it
came (see `made_up`), and where the answers differ the next way to convert is tried, with fewer
rewritings. Where none is right the file is refused.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeline.artifacts import differences, pixels
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.components.import_model import made_up, onnx_converter, onnx_plain, tflite_file
from edgeline.components.import_model.onnx_converter import WAY_OUT, Attempt, NotConvertedError
from edgeline.components.import_model.onnx_plain import PlainOnnx
from edgeline.components.import_model.open_batch import opened
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.dtypes import Array
from edgeline.formats.quantisation import INT8, Quantisation
from edgeline.runtimes import child, interpreter, isolated, limits, original
from edgeline.runtimes.interpreter import EdgeModel

SHAKEN = 20  # times the change that a millionth makes: a network rounds in each of its layers
ALONE = 2  # batches whose rows are asked one by one, too
ROUNDING = 0.02  # of an output's largest value: of quantised files, whose steps are the same here


@dataclass(frozen=True)
class LitertForm:
    """What became of an ONNX file.

    Attributes:
        data: the LiteRT file, with the signature `serving_default`.
        signature: what it takes and gives.
        described: what the ONNX file takes and gives, under the same names, in its own order.
        channels_last: inputs whose channels come first in the ONNX file and last here.
        answers_last: outputs of which that holds.
        converter: such as "onnx2tf 2.6.9".
        difference: the largest of an answer from the file's on made-up rows, as a share of an
            output's largest value.
        rows: how many these were.
    """

    data: bytes
    signature: Signature
    described: Signature
    channels_last: tuple[str, ...]
    answers_last: tuple[str, ...]
    converter: str
    difference: float
    rows: int


def convert(
    data: bytes,
    signature: Signature,
    quantisation: Quantisation,
    input_shape: Sequence[int],
    name: str,
) -> LitertForm:
    """Convert a valid ONNX file whose inputs and outputs have our names.

    Args:
        data, signature: of `onnx_file.describe`.
        quantisation: of the file, which says how much of a difference is rounding.
        input_shape: see `onnx_plain.plain`.
        name: what the user calls the file.

    Raises:
        EdgelineError: onnx2tf is not there, takes too much, or does not convert the file; what it
            makes has an operator that LiteRT lacks, or gives other answers.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        came, source, single = (folder / f"{each}.onnx" for each in ("came", "model", "single"))
        came.write_bytes(data)
        plain = _plain(came, signature, input_shape, name)
        source.write_bytes(plain.model)
        single.write_bytes(plain.single)
        answers = _asked(source, plain, name)
        _refuse_neighbours(answers, plain, quantisation, name)
        reasons = []
        with onnx_converter.started(source, folder) as converter:
            for attempt, open_ in _attempts(plain, source, single):
                try:
                    made = _made(converter.convert(attempt), plain, open_, folder)
                    edge = _loaded(made)
                    moved = _moved(edge.signature, plain.signature)
                    found = _compared(edge, answers, plain, moved, quantisation, made)
                except NotConvertedError as error:
                    reasons.append(str(error))
                    continue
                return LitertForm(
                    made.read_bytes(),
                    edge.signature,
                    plain.signature,
                    moved,
                    found.answers_last,
                    f"onnx2tf {converter.version}",
                    found.difference,
                    found.rows,
                )
    [(reason, _)] = Counter(reasons).most_common(1)
    raise EdgelineError(f"{name} does not become a LiteRT file ({reason}): {WAY_OUT}.")


def _asked(source: Path, plain: PlainOnnx, name: str) -> EdgeModel:
    """The file as it came, to be asked."""
    called = {"inputs": plain.takes, "outputs": plain.gives}
    try:
        return isolated.model(source, original.onnx_file, source, plain.signature, called)
    except EdgelineError as error:
        text = str(error).replace(str(source), name).removesuffix(": compile it again.")
        raise EdgelineError(
            f"{text.removesuffix('.')}, and so nothing can be compared with it: export it with "
            "operators that onnxruntime has."
        ) from error


def _refuse_neighbours(
    answers: EdgeModel, plain: PlainOnnx, quantisation: Quantisation, name: str
) -> None:
    """Refuses a file with an open batch that answers a row by the rows beside it.

    Devices ask for rows as they come, and pieces of a batch are rows that chance put together.
    """
    if not plain.single:
        return
    asked = 0
    for batch in made_up.batches(plain.signature):
        count = len(next(iter(batch.rows.values())))
        if count < 2 or asked == ALONE:
            return
        try:
            among = answers(batch.rows)
            alone = [
                answers({each: array[row : row + 1] for each, array in batch.rows.items()})
                for row in range(count)
            ]
        except EdgelineError:  # what it does not take, or gives in no rows, is said later
            continue
        asked += 1
        for output, wanted in among.items():
            found = [answer[output] for answer in alone]
            limit = _rounding(wanted, quantisation)
            if any(each.shape[1:] != wanted.shape[1:] for each in found) or (
                differences.gap(np.concatenate(found), wanted).of_range > limit
            ):
                raise EdgelineError(
                    f"{name} answers a row by the rows beside it: {output!r} of a row alone is not "
                    "what it is among others. Export it so that rows are apart, or for a batch of "
                    "1."
                )


def _plain(path: Path, signature: Signature, input_shape: Sequence[int], name: str) -> PlainOnnx:
    try:
        found: PlainOnnx = child.call(
            _made_plain, path, signature, input_shape, name, memory=limits.room(path)
        )
    except child.ChildError as error:
        raise EdgelineError(
            f"{name} is not a model that can be read: ONNX's reader {error.how}"
            f"{child.last_error(error.log)}: export it again."
        ) from error
    return found


def _made_plain(
    tell: Callable[[str], None],
    path: Path,
    signature: Signature,
    input_shape: Sequence[int],
    name: str,
) -> PlainOnnx:
    tell("reading")
    return onnx_plain.plain(path.read_bytes(), signature, input_shape, name)


def _attempts(plain: PlainOnnx, source: Path, single: Path) -> Iterator[tuple[Attempt, bool]]:
    """Ways to convert, that which gives the leanest file first; and whether its batch is opened.

    The batch is open where the file leaves it open and an answer is right for several rows; else
    the LiteRT file takes one row at a time.
    """
    every = tuple(plain.takes.values())
    images = {plain.takes[each.name] for each in plain.signature.inputs if _channels_first(each)}
    kept = tuple(name for name in every if name not in images)
    keeps = tuple(dict.fromkeys((kept, every)))
    if not plain.single:
        yield from ((Attempt(source, keep), False) for keep in keeps)
        yield Attempt(source, every, simplify=False), False
        if plain.recurrent:  # LiteRT would keep their state from one row to the next
            yield Attempt(source, every, unroll=True), False
        return
    if plain.recurrent:
        yield from ((Attempt(single, every, unroll=True), open_) for open_ in (True, False))
    for file, open_ in ((single, True), (source, False), (single, False)):
        yield from ((Attempt(file, keep), open_) for keep in keeps)
    yield Attempt(source, every, simplify=False), False
    yield Attempt(single, every, simplify=False), False


def _channels_first(tensor: Tensor) -> bool:
    return len(tensor.shape) == 4 and pixels.channels_first(tensor.shape[1:])


def _made(converted: Path, plain: PlainOnnx, open_: bool, folder: Path) -> Path:
    """The converted file with a signature of our names, its batch opened or as it is."""
    made = folder / f"{converted.parent.name}{'-open' if open_ else ''}.tflite"
    try:
        custom: list[str] = child.call(
            _signed, converted, plain, open_, made, memory=limits.room(converted)
        )
    except child.ChildError as error:
        reason = f"its reader {error.how}{child.last_error(error.log)}"
        raise NotConvertedError(f"onnx2tf wrote a file that cannot be read: {reason}") from error
    except EdgelineError as error:
        reason = _about(error, converted)
        raise NotConvertedError(f"onnx2tf wrote a file that cannot be read: {reason}") from error
    if custom:
        raise NotConvertedError(
            f"onnx2tf leaves the operator {', '.join(custom)}, which LiteRT cannot load"
        )
    return made


def _signed(
    tell: Callable[[str], None], path: Path, plain: PlainOnnx, open_: bool, made: Path
) -> list[str]:
    """Writes the file with our names as its signature; returns the custom operators in it."""
    tell("reading")
    model = tflite.read(path)
    graph = model.subgraphs[0]
    places = {tensor.name: place for place, tensor in enumerate(graph.tensors)}
    inputs = {ours: places.get(name, -1) for ours, name in plain.takes.items()}
    outputs = {ours: places.get(name, -1) for ours, name in plain.gives.items()}
    if {*inputs.values()} != {*graph.inputs} or {*outputs.values()} != {*graph.outputs}:
        raise EdgelineError("its inputs and outputs are not those of the ONNX file")
    data = opened(path.read_bytes()) if open_ else path.read_bytes()
    made.write_bytes(tflite_file.signed(data, 0, inputs, outputs))
    return sorted({o.name for each in model.subgraphs for o in each.operators if o.custom})


def _loaded(made: Path) -> EdgeModel:
    try:
        return isolated.model(made, interpreter.load, made)
    except EdgelineError as error:
        raise NotConvertedError(_about(error, made)) from error


def _about(error: EdgelineError, made: Path) -> str:
    """What is said of a file of ours, which nobody knows by its path; without the way out.

    Our sentences end with it, behind a colon, and it is of a file that the user has.
    """
    text = str(error).replace(str(made), "the converted file").removesuffix(".")
    said, _, way_out = text.rpartition(": ")
    return said if said and ")" not in way_out else text


def _moved(edge: Signature, came: Signature) -> tuple[str, ...]:
    """The inputs that take the channels last, and first in the file that came."""
    shapes = {tensor.name: tensor.shape for tensor in edge.inputs}
    return tuple(
        tensor.name
        for tensor in came.inputs
        if _channels_first(tensor)
        and shapes[tensor.name][1:] == original.channels_last(tensor.shape[1:])
    )


@dataclass(frozen=True)
class _Compared:
    """What made-up rows tell: see `LitertForm`."""

    difference: float
    rows: int
    answers_last: tuple[str, ...]


def _compared(
    edge: EdgeModel,
    came: EdgeModel,
    plain: PlainOnnx,
    moved: Sequence[str],
    quantisation: Quantisation,
    made: Path,
) -> _Compared:
    """Ask both made-up rows.

    Raises:
        NotConvertedError: the answers differ, or the file that came answers none of the rows.
    """
    largest, rows, unanswered = 0.0, 0, ""
    last: dict[str, bool] = {}
    for batch in made_up.batches(plain.signature, plain.bounds, plain.casts, plain.asks_finite):
        if batch.gaps and (quantisation == INT8 or plain.recurrent):
            continue  # ONNX leaves open what integers and recurrent layers make of NaN
        try:
            wanted = came(batch.rows)
            shaken = came(made_up.nudged(batch.rows)) if batch.wide else wanted
        except EdgelineError as error:  # nobody said that it takes such numbers
            unanswered = unanswered or _about(error, made)
            continue
        try:
            given = edge(original.as_converted(batch.rows, edge.signature.inputs, moved))
        except EdgelineError as error:
            raise NotConvertedError(f"the converted file fails: {_about(error, made)}") from error
        any_value = not batch.wide and (plain.asks_finite or not batch.gaps)
        for name, expected in wanted.items():
            limit = max(_rounding(expected, quantisation), _shaken(shaken[name], expected))
            try:
                gap = _gap(name, given[name], expected, limit, any_value, last)
            except NotConvertedError as error:
                raise NotConvertedError(f"{error}, with {batch.words}") from error
            largest = largest if batch.wide else max(largest, gap)
        rows += len(next(iter(batch.rows.values())))
    if not rows:
        raise NotConvertedError(
            f"it answers no made-up row, so that none can be compared: {unanswered}"
        )
    return _Compared(largest, rows, tuple(name for name, is_last in last.items() if is_last))


def _rounding(expected: Array, quantisation: Quantisation) -> float:
    """How much of an output's largest value a right answer may lie away."""
    return 0.0 if expected.dtype.kind in "iub" else min(quantisation.compiled_difference, ROUNDING)


def _shaken(answer: Array, expected: Array) -> float:
    """As much for an output that a millionth of the input already changes so."""
    both = np.isfinite(answer) & np.isfinite(expected)
    return SHAKEN * differences.gap(answer[both], expected[both]).of_range


def _gap(
    name: str,
    answer: Array,
    expected: Array,
    limit: float,
    any_value: bool,
    last: dict[str, bool],
) -> float:
    """How far an output lies from the right one, in whichever order of sizes it is right.

    Args:
        any_value: whether NaN and infinities have to be the same; else they say nothing.
        last: by output whether its channels are last here and first in the file; the first answers
            settle it.
    """
    forms = {False: expected}
    if expected.ndim > 2:
        forms[True] = np.moveaxis(expected, 1, -1)
    forms = {form: each for form, each in forms.items() if last.get(name, form) == form}
    said = (
        f"output {name!r} of the converted file has shape {list(answer.shape)} instead of "
        f"{list(expected.shape)}"
    )
    for form, wanted in forms.items():
        if answer.shape != wanted.shape:
            continue
        told = np.ones(wanted.shape, bool) if any_value else np.isfinite(wanted)
        if (found := differences.gap(answer[told], wanted[told]).of_range) <= limit:
            last[name] = form
            return found
        said = (
            f"the converted file gives other answers: output {name!r} differs by {found:.3g} "
            f"of its largest value on made-up rows, where {limit:g} is rounding"
        )
    raise NotConvertedError(said)
