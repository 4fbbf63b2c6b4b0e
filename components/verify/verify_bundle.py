"""Verify a published bundle with nothing but numpy and its runtime, as a device can."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeline.artifacts import bundle, host_operations, transformed, vectors, windows
from edgeline.artifacts.bundle import Bundle, Signature, Tensor
from edgeline.artifacts.differences import difference
from edgeline.artifacts.transformed import Cause
from edgeline.components.verify import malformed, runtimes
from edgeline.components.verify.latency import Latency, measure
from edgeline.components.verify.malformed import Case
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, limits
from edgeline.runtimes.interpreter import EdgeModel, dequantise


@dataclass(frozen=True)
class BundleCheck:
    """A bundle that passed: what was done, for people.

    Attributes:
        name, version: of the bundle.
        vector_rows: recorded rows whose answers agree; 0 where the bundle has none.
        max_difference: the largest difference of these answers, None without rows.
        cases: what every malformed input did.
        latency: of this machine.
        takes: `raw` or `transformed` features.
        transformed: why not raw ones, in a sentence; "" where it takes raw ones.
        transformed_because: the same as fields.
        probes: how many the model was asked when it was verified; None for a bundle of before.
        not_proven_missing: features whose missing value was not among them.
        host_operations: what is computed before the model's file, in a sentence; "" without any.
        windows: what rows a row of the model is made of, and who keeps them; "" where it is one.
    """

    name: str
    version: int
    vector_rows: int
    max_difference: float | None
    cases: tuple[Case, ...]
    latency: Latency
    takes: str = "raw"
    transformed: str = ""
    transformed_because: tuple[Cause, ...] = ()
    probes: int | None = None
    not_proven_missing: tuple[str, ...] = ()
    host_operations: str = ""
    windows: str = ""


def verify_bundle(folder: str | Path) -> BundleCheck:
    """Check files, signature, recorded answers and malformed input of a bundle, in a child.

    Raises:
        EdgelineError: what is wrong with it: a file is missing or damaged, the model cannot
            be loaded, crashes, takes too long or too much memory, has another signature than the
            manifest, gives other answers than recorded, or does not stand malformed input.
    """
    folder = Path(folder)
    bundle.read(folder)
    try:
        found: BundleCheck = child.call(_verify, folder, memory=limits.room(folder))
        return found
    except child.ChildError as error:
        raise EdgelineError(
            f"{folder} is not fit for use: its model {error.how} while {error.doing}"
            f"{child.last_error(error.log)}: convert it again."
        ) from error


def _verify(tell: Callable[[str], None], folder: Path) -> BundleCheck:
    tell("loading")
    manifest = bundle.read(folder)
    model = folder / manifest.model
    place = folder if manifest.host_operations else model
    runtime = runtimes.load(place)
    if model.suffix == runtimes.ONNX:
        runtime = EdgeModel(_scaled(runtime.signature, manifest.signature), runtime.invoke)
    _check_signature(model, runtime.signature, manifest.signature)
    recorded = vectors.FILE in manifest.files
    tell("running")
    with tempfile.TemporaryDirectory() as scratch:
        rows = folder / vectors.FILE
        if not recorded:
            rows = Path(scratch) / vectors.FILE
            vectors.write(rows, vectors.synthetic(manifest.signature))
        latency = measure(place, rows)  # in a child: a model that crashes ends only that
        expected = vectors.read(rows, runtime.signature)
        largest = _check_answers(folder, runtime, expected) if recorded else None
        cases = malformed.examine(place, rows)
    if faults := malformed.faults(cases):
        raise EdgelineError(f"{folder} is not fit for use: {malformed.sentence(faults[0])}")
    count = len(next(iter(expected.inputs.values()))) if recorded else 0
    return BundleCheck(
        manifest.name,
        manifest.version,
        count,
        largest,
        tuple(cases),
        latency,
        manifest.takes,
        transformed.sentence(manifest.takes, manifest.provenance),
        tuple(transformed.causes(manifest.provenance)),
        _probes(manifest),
        manifest.not_proven_missing or (),
        host_operations.sentence(manifest.host_operations),
        _windows(manifest),
    )


def _windows(manifest: Bundle) -> str:
    kept = manifest.windows or windows.of(manifest.provenance)
    return kept.words if kept else ""


def _probes(manifest: Bundle) -> int | None:
    """How many were asked; a manifest may be anyone's."""
    told = manifest.verification.get("probes")
    asked = told.get("asked") if isinstance(told, dict) else None
    return asked if isinstance(asked, int) else None


def _check_signature(model: Path, found: Signature, listed: Signature) -> None:
    for side in ("inputs", "outputs"):
        have = {tensor.name: tensor for tensor in getattr(found, side)}
        want = {tensor.name: tensor for tensor in getattr(listed, side)}
        for name in sorted(have.keys() | want.keys()):
            if not _same(have.get(name), want.get(name)):
                raise EdgelineError(
                    f"The {side[:-1]} {name!r} of {model} is {_words(have.get(name))}, but the "
                    f"manifest says {_words(want.get(name))}: publish the bundle again."
                )


def _scaled(found: Signature, listed: Signature) -> Signature:
    """What an ONNX file takes and gives, with the scales that only the manifest has."""
    known = {tensor.name: tensor for tensor in (*listed.inputs, *listed.outputs)}

    def scaled(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(
            replace(
                tensor, scale=known[tensor.name].scale, zero_point=known[tensor.name].zero_point
            )
            if tensor.name in known
            else tensor
            for tensor in tensors
        )

    return Signature(scaled(found.inputs), scaled(found.outputs))


def _same(have: Tensor | None, want: Tensor | None) -> bool:
    if have is None or want is None:
        return have is want
    scales = np.array([have.scale or 0.0, want.scale or 0.0], np.float32)
    return (have.dtype, have.shape, have.zero_point, scales[0]) == (
        want.dtype,
        want.shape,
        want.zero_point,
        scales[1],
    )


def _words(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"


def _check_answers(folder: Path, runtime: EdgeModel, expected: vectors.Vectors) -> float:
    outputs = runtime.signature.outputs
    answer = dequantise(runtime(expected.inputs), outputs)
    largest = 0.0
    for name, wanted in dequantise(expected.outputs, outputs).items():
        if answer[name].shape != wanted.shape:
            raise EdgelineError(
                f"Output {name!r} of {folder} has shape {list(answer[name].shape)}, but "
                f"{vectors.FILE} has {list(wanted.shape)}: publish the bundle again."
            )
        gaps = difference(answer[name], wanted).reshape(len(wanted), -1).max(axis=1)
        row = int(np.argmax(gaps))
        largest = max(largest, float(gaps[row]))
        if gaps[row] > expected.tolerance:
            raise EdgelineError(
                f"Row {row} of {folder / vectors.FILE} gives another {name!r} here: the difference "
                f"is {gaps[row]:.3g}, above {expected.tolerance:g}: use another runtime or "
                "convert the model again."
            )
    return largest
