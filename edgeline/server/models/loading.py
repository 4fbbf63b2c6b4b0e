"""From a model on disk to warmed interpreters.

A model is read into memory, once for all its interpreters, and not mapped: a file that is cut
short in place would otherwise kill the process (SIGBUS) in the middle of a request.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import calibration, ranges, reference, sha256, vectors
from edgeline.artifacts.bundle import Bundle, Signature, Tensor
from edgeline.artifacts.differences import difference
from edgeline.artifacts.features import MISSING_INT
from edgeline.artifacts.folder import is_of
from edgeline.errors import EdgelineError, first_line
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.runtimes import litert_engine, served_runtimes
from edgeline.runtimes.engine import Engine
from edgeline.runtimes.interpreter import dequantise
from edgeline.runtimes.served_runtimes import ServedRuntime
from edgeline.server.errors import ServingError
from edgeline.server.models import edgetpu
from edgeline.server.models.model import Arrays, Description, Instance, check

_MOST_LABELS = 1 << 20  # bytes of a file of class names
_MOST_EXAMPLE = 1 << 18  # bytes of a file of recorded rows, of which one is kept
log = logging.getLogger("edgeline.server")


class TransientError(EdgelineError):
    """It says nothing about the model, which may be tried again later."""


def load(
    path: Path,
    name: str,
    version: int,
    instances: int,
    threads: int,
    digests: Mapping[str, str] | None = None,
    held: bool = False,
) -> list[Instance]:
    """Load a bundle folder or a bare `.tflite` file into its runtime's engines, and warm them.

    A bundle that brings recorded rows has to give their answers. The Edge TPU's model of
    a bundle is used where there is one, else the CPU's (see `edgetpu`).

    Args:
        digests: of a bare model, the sha256 that its files must have, by name (see `digests`); a
            bundle's are in its manifest. None takes them as they are.
        held: whether the Edge TPU is in use by another process of this server's.

    Raises:
        TransientError: a file cannot be read, or was changed meanwhile.
        EdgelineError: the bundle or model is damaged, its operators are not in this runtime, or
            it gives other answers than were recorded.
    """
    description = Description(name, version, Signature((), ()))
    file, runtime = path, None
    if not path.is_file():
        bundle = bundles.read(path)
        file = path / bundle.model
        runtime = served_runtimes.of(bundle, file)
        description = replace(
            description,
            signature=bundle.signature,
            labels=bundle.labels,
            takes=bundle.takes,
            bundle=bundle,
            reference=_reference(path) if reference.FILE in bundle.files else None,
            ranges=_ranges(path) if ranges.FILE in bundle.files else None,
            calibration=_calibration(path) if calibration.FILE in bundle.files else None,
            example=_example(path / vectors.FILE) if vectors.FILE in bundle.files else None,
        )
    else:
        description = replace(description, labels=_labels(path))
    if description.bundle is not None:
        digests = {n: str(entry["sha256"]) for n, entry in description.bundle.files.items()}
        digests = {(path / name).as_posix(): digest for name, digest in digests.items()}
    elif digests is not None:
        digests = {(path.parent / name).as_posix(): digest for name, digest in digests.items()}
    if runtime is not None:
        loaded = _load_other(runtime, file, description, instances, threads, digests)
    else:
        loaded = _load_choice(file, description, instances, threads, digests, held)
    if description.bundle is not None and vectors.FILE in description.bundle.files:
        _check_answers(loaded[0], path)
    return loaded


def digests(path: Path) -> dict[str, str]:
    """sha256 of the files of a bare model that may be loaded, by name.

    Raises:
        OSError: one cannot be read.
    """
    return {file.name: sha256(file) for file in edgetpu.pair(path, None) if file is not None}


def _load_choice(
    file: Path,
    description: Description,
    instances: int,
    threads: int,
    digests: Mapping[str, str] | None,
    held: bool,
) -> list[Instance]:
    """Load the Edge TPU's file, or the CPU's where that does not run."""
    fault: EdgelineError | None = None
    for choice in edgetpu.choices(file, description.bundle, held):
        content = _read(choice.file, digests)
        described = replace(description, device=choice.device, note=choice.note)
        count = 1 if choice.delegates else instances  # one device serves one run at a time
        try:
            loaded = [
                _instance(_litert(content, choice, threads), choice.file, described)
                for _ in range(count)
            ]
            for instance in loaded:
                _warm(instance, choice.file)
            return loaded
        except EdgelineError as error:
            fault = error
            if choice.delegates:
                log.warning("%s", error)
    raise fault or EdgelineError(f"{file} cannot be loaded.")


def _load_other(
    runtime: ServedRuntime,
    file: Path,
    description: Description,
    instances: int,
    threads: int,
    digests: Mapping[str, str] | None,
) -> list[Instance]:
    """Load a file of another runtime than LiteRT."""
    bundle = description.bundle
    assert bundle is not None  # whose target says which runtime
    try:
        module = runtime.load()
    except EdgelineError as error:
        raise EdgelineError(
            f"{bundle.name} {bundle.version} is made for {bundle.target}, and {error}, or publish "
            "a LiteRT model."
        ) from None
    files = module.files(file)
    if digests is not None and (gone := [f for f in files if f.as_posix() not in digests]):
        raise EdgelineError(f"{gone[0]} is not listed in its manifest: publish the bundle again.")
    contents = [_read(each, digests) for each in files]
    try:
        engines = module.engines(contents, _of_file(bundle), instances, threads)
    except MemoryError as error:
        raise _too_large(file) from error
    except ImportError as error:
        raise EdgelineError(
            f"{runtime.name} is installed, but does not work here ({first_line(error)}): pip "
            f"install 'edgeline[{runtime.extra}]' again."
        ) from error
    except Exception as error:
        raise _unfit(file, error) from error
    described = replace(description, runtime=runtime.package, platform=runtime.platform)
    loaded = [_instance(engine, file, described) for engine in engines]
    for instance in loaded:
        _warm(instance, file)
    return loaded


def _of_file(bundle: Bundle) -> Signature:
    """What a bundle says of its file alone, which host operations may stand before."""
    if bundle.host_operations is None:
        return bundle.signature
    own = {tensor.name: tensor for tensor in bundle.signature.inputs}
    made = set(bundle.host_operations.gives)
    return Signature(
        tuple(
            Tensor(each.name, each.dtype, (-1, *each.shape))
            if each.name in made or each.name not in own
            else own[each.name]
            for each in bundle.host_operations.inputs
        ),
        bundle.signature.outputs,
    )


def _read(file: Path, digests: Mapping[str, str] | None) -> bytes:
    """The bytes of a file: those that were tried, not what has taken their place since."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise TransientError(f"{file} cannot be read ({error.strerror}).") from error
    wanted = None if digests is None else digests.get(file.as_posix(), "")
    if wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
        raise TransientError(f"{file} was changed while it was being loaded.")
    return content


def _labels(file: Path) -> tuple[str, ...] | None:
    """Class names beside a bare model: `<model>.txt` or `labels.txt`, one a line."""
    for names in (file.with_suffix(".txt"), file.with_name("labels.txt")):
        try:
            if not names.is_file():
                continue
            with open(names, "rb") as stream:
                text = stream.read(_MOST_LABELS + 1)
            if len(text) <= _MOST_LABELS:
                return tuple(line.strip() for line in text.decode().splitlines())
            error: Exception = ValueError(f"it has over {_MOST_LABELS:,} bytes")
        except (OSError, UnicodeDecodeError) as caught:
            error = caught
        log.warning("%s cannot be read (%s): classes have numbers.", names, error)
    return None


def _reference(folder: Path) -> reference.Reference | None:
    try:
        return reference.read(folder / reference.FILE)
    except EdgelineError as error:
        log.warning("%s The model is served, but not watched.", error)
        return None


def _ranges(folder: Path) -> ranges.Ranges | None:
    try:
        return ranges.read(folder / ranges.FILE)
    except EdgelineError as error:
        log.warning("%s The model is served, but values out of range are not noticed.", error)
        return None


def _calibration(folder: Path) -> calibration.Calibration | None:
    try:
        return calibration.read(folder / calibration.FILE)
    except EdgelineError as error:
        log.warning("%s The model is served, but its accuracy is not estimated.", error)
        return None


def _example(file: Path) -> Mapping[str, object] | None:
    """The first row of recorded ones, for people who try a request; None where they are large.

    Damage is told when the rows are asked (`_check_answers`).
    """
    try:
        if file.stat().st_size > _MOST_EXAMPLE:
            return None
        found = json.loads(file.read_bytes())["inputs"]
        rows = {name: values[0] for name, values in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return {
        name: _sent(row[0]) if isinstance(row, list) and len(row) == 1 else row
        for name, row in rows.items()
    }


def _sent(value: object) -> object:
    """A value as a client sends it: the agreed number of a missing one is beyond what JavaScript
    can hold."""
    return None if value == MISSING_INT else value


def verify(path: Path, digest: str) -> None:
    """Check a bundle's files against its manifest, and that against the digest that was signed.

    Raises:
        EdgelineError: a file is missing or damaged, or the manifest is another.
    """
    try:
        if path.is_file():
            return
        if digest and not is_of(path / bundles.MANIFEST, digest):
            raise EdgelineError(f"{path / bundles.MANIFEST} is not the one that was signed.")
    except OSError as error:
        raise TransientError(f"{path} cannot be read ({error.strerror}).") from error
    bundles.read(path)


def is_elsewhere(path: Path) -> bool:
    """Whether a path is a bundle that its manifest says to be for a runtime that is not here."""
    try:
        return path.is_dir() and served_runtimes.is_elsewhere(bundles.read_manifest(path).target)
    except (OSError, EdgelineError):
        return False


def zeros(signature: Signature) -> Arrays:
    """One row of zeros and empty strings for each input."""
    arrays: dict[str, Array] = {}
    for tensor in signature.inputs:
        shape = tuple(max(1, size) for size in tensor.shape)
        blank = np.zeros(shape, BY_NAME[tensor.dtype].numpy)
        arrays[tensor.name] = np.full(shape, b"", object) if tensor.dtype == "string" else blank
    return arrays


def _check_answers(instance: Instance, folder: Path) -> None:
    """Run the rows that verify recorded, and compare the answers in real values."""
    outputs = instance.description.signature.outputs
    recorded = vectors.read(folder / vectors.FILE, instance.description.signature)
    try:
        found = dequantise(instance.run(check(recorded.inputs, instance.description)), outputs)
    except ServingError as error:
        raise EdgelineError(f"{folder} fails on its recorded rows: {error}") from error
    for name, wanted in dequantise(recorded.outputs, outputs).items():
        same = name in found and found[name].shape == wanted.shape
        gap = difference(found[name], wanted).max(initial=0.0) if same else 0.0
        if not same or gap > recorded.tolerance:
            raise EdgelineError(
                f"{folder} gives other answers here than were recorded in {vectors.FILE} "
                f"(output {name!r}): it needs another runtime."
            )


def _warm(instance: Instance, file: Path) -> None:
    """Run a model once on zeros, so that the first request does not pay for lazy set-up."""
    try:
        instance.infer(zeros(instance.file))
    except ServingError as error:
        raise EdgelineError(f"{file} fails on zeros: {error}") from error.__cause__ or error
    except MemoryError as error:
        raise _too_large(file) from error
    except Exception as error:  # what a damaged model makes a runtime raise is of any kind
        raise _unfit(file, error) from error


def _too_large(file: Path) -> EdgelineError:
    return EdgelineError(f"{file} takes more memory than there is: convert it to a smaller model.")


def _unfit(file: Path, error: Exception) -> EdgelineError:
    said = first_line(error)[:300]
    if not isinstance(error, (ValueError, RuntimeError)):
        said = "the runtime does not understand its tables"
    return EdgelineError(f"{file} is not a model that runs here ({said}): convert it again.")


def _litert(content: bytes, choice: edgetpu.ModelChoice, threads: int) -> Engine:
    try:
        return litert_engine.engine(content, threads, choice.delegates)
    except MemoryError as error:
        raise _too_large(choice.file) from error
    except Exception as error:
        raise _unfit(choice.file, error) from error


def _instance(engine: Engine, file: Path, description: Description) -> Instance:
    """An engine behind the host operations of its bundle, under what a client may know of it."""
    found, declared = engine.signature, description.signature
    program, sends = None, found
    if description.bundle is not None and description.bundle.host_operations is not None:
        from edgeline.runtimes.host.program import Program, sent  # memory that others do not need

        operations = description.bundle.host_operations
        program = Program(operations, found.inputs)
        sends = sent(found, operations, description.bundle.features)
    if declared.inputs and {t.name for t in declared.inputs} != {t.name for t in sends.inputs}:
        raise EdgelineError(
            f"{file} takes {sorted(t.name for t in sends.inputs)}, but its manifest says "
            f"{sorted(t.name for t in declared.inputs)}: publish it again."
        )
    for tensor in (*sends.inputs, *sends.outputs):
        if tensor.dtype not in BY_NAME:
            raise EdgelineError(
                f"{file} has tensor {tensor.name!r} of {tensor.dtype}, which no client can send."
            )
    return Instance(engine, replace(description, signature=sends, loops=engine.loops), program)
