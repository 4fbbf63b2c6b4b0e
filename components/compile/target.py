"""What a target is: the one interface behind which every vendor's compiler sits.

A target is a module of this package with a tuple `targets`; `MODULES` says which module holds
which target, so that listing them imports nothing. A new target is one module and one line.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline.errors import UsageError, did_you_mean
from edgeline.runtimes.interpreter import EdgeModel

__all__ = ["Compiled", "Option", "Placed", "Source", "Target"]

MODULES = {
    "litert": "litert",
    "tflite-micro": "tflite_micro",
    "edgetpu": "edgetpu",
    "ethos-u55": "ethos_u",
    "ethos-u65": "ethos_u",
    "ethos-u85": "ethos_u",
    "onnx": "onnx",
    "openvino": "openvino",
    "tvm": "tvm",
    "qualcomm-htp": "qualcomm_htp",
    "imx500": "imx500",
    "tensorrt": "tensorrt",
}
SAVED_MODEL, TFLITE, ONNX = "saved_model", "tflite", "onnx"  # the forms of a model


@dataclass(frozen=True)
class Source:
    """A model in the forms that targets take; a form that is not at hand is None.

    Attributes:
        quantisation: of the LiteRT file: float, fp16, dynamic, int8 or int16x8.
    """

    saved_model: Path | None = None
    tflite: Path | None = None
    onnx: Path | None = None
    quantisation: str = "float"


@dataclass(frozen=True)
class Placed:
    """An operator of the model and where the compiled model runs it.

    Attributes:
        device: `cpu`, or the accelerator's name (`npu`, `edgetpu`).
        reason: why it is not on the accelerator, in the compiler's words; else empty.
    """

    index: int
    operator: str
    device: str
    reason: str = ""


@dataclass(frozen=True)
class Compiled:
    """What a compiler made, in a folder.

    Attributes:
        model: the file that the device loads, relative to the folder.
        placed: every operator and where it runs; empty where the compiler does not tell.
        facts: numbers that it tells, with the unit in the name (`arena_bytes`).
        notes: sentences that a user must read.
        log: the compiler's whole output.
    """

    model: str
    placed: tuple[Placed, ...] = ()
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    log: str = ""

    @property
    def share(self) -> float:
        """Operators on an accelerator of all, 0 to 1; 0 where none is known."""
        on = sum(operator.device != "cpu" for operator in self.placed)
        return on / len(self.placed) if self.placed else 0.0


@dataclass(frozen=True)
class Option:
    """A setting of one target, given as `--set target.name=value`.

    Attributes:
        choices: the values that it may have; none: any.
    """

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A device family and how to compile for it.

    Attributes:
        name: as on the command line.
        summary: one line for tables.
        takes: the form of the model it compiles: SAVED_MODEL, TFLITE or ONNX, best first.
        quantisations: what a LiteRT file may have for it, what it is best at first.
        extra: the extra of edgeline that brings the compiler.
        missing: what is not installed and the command that installs it, or "".
        compile: reads the source, writes files into an existing empty folder.
        load: the compiled model in a folder as a function, or None where it cannot run here.
        limits: what is not proven without the device, said wherever the target is shown.
        fixed_shapes: whether its compiler needs every shape fixed; the LiteRT file that it
            gets then has a batch of 1 (see `fixed_shapes`).
    """

    name: str
    summary: str
    takes: tuple[str, ...]
    quantisations: tuple[str, ...]
    extra: str
    missing: Callable[[], str]
    compile: Callable[[Source, Path, Mapping[str, str]], Compiled]
    load: Callable[[Path, Compiled], EdgeModel] | None = None
    options: tuple[Option, ...] = ()
    limits: str = ""
    fixed_shapes: bool = False


def find(name: str) -> Target:
    """The target of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in MODULES:
        raise UsageError(f"There is no target {name!r}. {did_you_mean(name, MODULES)}")
    module: Any = importlib.import_module(f"{__package__}.{MODULES[name]}")
    found: Target = next(target for target in module.targets if target.name == name)
    return found
