"""What a target is: the one interface behind which every vendor's compiler sits.

A target of edgeline's own is a module of this package with a tuple `targets`, and one row of
`TABLE`, so that listing targets imports nothing. Another package brings one by an entry point of
the group `edgeline.targets` (see `edgeline.plugins`): a `Target`, or a module with such a tuple.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgeline import plugins
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats.quantisation import FLOAT, Quantisation

if TYPE_CHECKING:
    from edgeline.runtimes.interpreter import EdgeModel

__all__ = ["ONNX", "SAVED_MODEL", "TFLITE", "Compiled", "Option", "Placed", "Source", "Target"]


@dataclass(frozen=True)
class Row:
    """A target before anything of it is imported.

    Attributes:
        name: as on the command line.
        module: of this package.
        extra: of edgeline's, which brings what it needs from an index; its compiler may be the
            vendor's own program.
    """

    name: str
    module: str
    extra: str


TABLE = (
    Row("litert", "litert", "serve"),
    Row("tflite-micro", "tflite_micro", "tflite-micro"),
    Row("edgetpu", "edgetpu", "compile"),
    Row("ethos-u55", "ethos_u", "ethos-u"),
    Row("ethos-u65", "ethos_u", "ethos-u"),
    Row("ethos-u85", "ethos_u", "ethos-u"),
    Row("onnx", "onnx", "onnx"),
    Row("openvino", "openvino", "openvino"),
    Row("tvm", "tvm", "tvm"),
    Row("qualcomm-htp", "qualcomm_htp", "qualcomm"),
    Row("imx500", "imx500", ""),
    Row("tensorrt", "tensorrt", "onnx"),
)
MODULES = {row.name: row.module for row in TABLE}
SAVED_MODEL, TFLITE, ONNX = "saved_model", "tflite", "onnx"  # the forms of a model


@dataclass(frozen=True)
class Source:
    """A model in the forms that targets take; a form that is not at hand is None.

    Attributes:
        quantisation: of the LiteRT or ONNX file.
    """

    saved_model: Path | None = None
    tflite: Path | None = None
    onnx: Path | None = None
    quantisation: Quantisation = FLOAT

    @property
    def files(self) -> tuple[Path | None, ...]:
        """Every form, there or not."""
        return self.saved_model, self.tflite, self.onnx


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
        quantisations: rows of `edgeline.formats.quantisation` that a LiteRT file may have for
            it, what it is best at first.
        missing: what is not installed and the command that installs it, or "".
        compile: reads the source, writes files into an existing empty folder.
        load: the compiled model in a folder as a function, or None where it cannot run here.
        limits: what is not proven without the device, said wherever the target is shown.
        fixed_shapes: whether its compiler needs every shape fixed; the LiteRT file that it
            gets then has a batch of 1 (see `fixed_shapes`).
        facts: names of numbers among the facts of each model that it compiles, by which models can
            be compared.
    """

    name: str
    summary: str
    takes: tuple[str, ...]
    quantisations: tuple[Quantisation, ...]
    missing: Callable[[], str]
    compile: Callable[[Source, Path, Mapping[str, str]], Compiled]
    load: Callable[[Path, Compiled], EdgeModel] | None = None
    options: tuple[Option, ...] = ()
    limits: str = ""
    fixed_shapes: bool = False
    facts: tuple[str, ...] = ()


def outside() -> dict[str, plugins.Plugin]:
    """The targets that other installed packages bring, by name; nothing is imported."""
    return plugins.found(plugins.TARGETS, MODULES)


def refused() -> dict[str, str]:
    """Why a target that another package brings cannot be asked for, by its name."""
    return plugins.refused(plugins.TARGETS, MODULES)


def is_known(name: str) -> bool:
    """Whether there is a target of that name; nothing is imported."""
    return name in MODULES or name in outside()


def names() -> list[str]:
    """All targets, those of other packages last; nothing is imported."""
    return [*MODULES, *outside()]


def find(name: str) -> Target:
    """The target of a name.

    Raises:
        UsageError: there is none.
        EdgelineError: another package brings it, and it cannot be loaded.
    """
    if name in MODULES:
        module: Any = importlib.import_module(f"{__package__}.{MODULES[name]}")
        found: Target = next(target for target in module.targets if target.name == name)
        return found
    if plugin := outside().get(name):
        return _load(plugin)
    if sentence := refused().get(name):
        raise EdgelineError(sentence)
    raise UsageError(f"There is no target {name!r}. {did_you_mean(name, names())}")


def _load(plugin: plugins.Plugin) -> Target:
    loaded = plugin.load()
    several: Any = getattr(loaded, "targets", ()) if isinstance(loaded, ModuleType) else (loaded,)
    named = [each for each in several if getattr(each, "name", "") == plugin.name]
    if not named or not isinstance(named[0], Target):
        raise plugin.broken(f"{plugin.value} is not a Target of {__name__} with that name")
    return named[0]
