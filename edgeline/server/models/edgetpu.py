"""The Edge TPU: which file of a model runs here, and through which delegate.

Coral's compiler writes `<model>_edgetpu.tflite` beside `<model>.tflite`. The first runs where
libedgetpu and a device are; else the second runs on the CPU and gives the same answers, slower.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts.bundle import Bundle
from edgeline.errors import EdgelineError
from edgeline.runtimes.interpreter import runtime

LIBRARY = "libedgetpu.so.1"
_SUFFIX = "_edgetpu"
log = logging.getLogger("edgeline.server")


@dataclass(frozen=True)
class ModelChoice:
    """A file to load with its delegates. `note` says why it is not the Edge TPU's."""

    file: Path
    delegates: tuple[object, ...] = ()
    device: str = "cpu"
    note: str = ""


class HeldError(EdgelineError):
    """There is only a model for the Edge TPU, and another process of this server's holds that."""


def choices(file: Path, bundle: Bundle | None, held: bool = False) -> Iterator[ModelChoice]:
    """What to load, the best first; the next where that fails.

    Args:
        held: whether another process holds the Edge TPU: it is left alone.

    Raises:
        HeldError: there is only a model for the Edge TPU, which is held.
        EdgelineError: there is only a model for the Edge TPU, and no Edge TPU.
    """
    compiled, plain = pair(file, bundle)
    if compiled is None:
        yield ModelChoice(file)
        return
    if held:
        if plain is None:
            raise HeldError(f"{compiled} needs an Edge TPU, which is in use.")
        yield ModelChoice(plain)
        return
    fault = ""
    try:
        ctypes.CDLL(LIBRARY)  # a delegate that fails to load complains on stderr
        delegate = runtime()[1](LIBRARY)
    except OSError:
        fault = f"there is no {LIBRARY} here"
    except ValueError:
        fault = f"{LIBRARY} finds no Edge TPU"
    else:
        yield ModelChoice(compiled, (delegate,), "edgetpu")
        fault = f"the Edge TPU does not run {compiled.name}"
    if plain is None:
        raise EdgelineError(
            f"{compiled} needs an Edge TPU, but {fault}: put {_plain_name(compiled)} beside it to "
            "run on the CPU."
        )
    note = f"{plain.name} runs on the CPU: {fault}."
    log.warning("%s", note)
    yield ModelChoice(plain, note=note)


def pair(file: Path, bundle: Bundle | None) -> tuple[Path | None, Path | None]:
    """The Edge TPU's and the CPU's file of a model, as far as there are."""
    if file.stem.endswith(_SUFFIX):
        plain = file.with_name(_plain_name(file))
        return file, plain if plain.is_file() else None
    if bundle is not None:
        name = Path(bundle.model)
        compiled = name.with_name(name.stem + _SUFFIX + name.suffix)
        if compiled.as_posix() in bundle.files:
            return file.with_name(compiled.name), file
    return None, file


def _plain_name(compiled: Path) -> str:
    return compiled.stem.removesuffix(_SUFFIX) + compiled.suffix
