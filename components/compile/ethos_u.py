"""Arm Ethos-U NPUs: Vela compiles the model and tells what runs where.

Vela takes any model: of one that is not integer it puts every operator on the CPU and exits
with 0. That is a failure here.
"""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgeline.components.compile import placement, process
from edgeline.components.compile.target import TFLITE, Compiled, Option, Source, Target
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.quantisation import INT8, INT16X8
from edgeline.runtimes import limits

OPERATOR = "ethos-u"
DEVICE = "npu"
MACS = {
    "ethos-u55": ("ethos-u55-128", ("32", "64", "128", "256")),
    "ethos-u65": ("ethos-u65-256", ("256", "512")),
    "ethos-u85": ("ethos-u85-256", ("128", "256", "512", "1024", "2048")),
}
# Vela's option, and the option of the target that sets it where it is not empty
FLAGS = {
    "--accelerator-config": "accelerator",
    "--config": "config",
    "--system-config": "system_config",
    "--memory-mode": "memory_mode",
    "--optimise": "optimise",
    "--arena-cache-size": "arena_cache_size",
}
# which of them no configuration leaves out
ALWAYS = ("sram_bytes", "macs", "npu_cycles", "estimated_cycles", "estimated_ms")
REFUSED = re.compile(r"operator: (\w+), ofm: '([^']*)'\s*\n-? ?(?:Reason: )?(.+)")
# the column of Vela's summary, the fact and its factor
SUMMARY = (
    ("sram_memory_used", "sram_bytes", 1024),
    ("dram_memory_used", "dram_bytes", 1024),
    ("on_chip_flash_memory_used", "on_chip_flash_bytes", 1024),
    ("off_chip_flash_memory_used", "flash_bytes", 1024),
    ("nn_macs", "macs", 1),
    ("cycles_npu", "npu_cycles", 1),
    ("cycles_total", "estimated_cycles", 1),
    ("inference_time", "estimated_ms", 1000),
)


def missing() -> str:
    """What is not installed, and how to get it."""
    if importlib.util.find_spec("ethosu"):
        return ""
    return "ethos-u-vela is not installed: pip install 'edgeline[ethos-u]'."


def compile_ethos_u(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Run Vela on the model.

    Raises:
        EdgelineError: Vela fails, or puts nothing on the NPU.
    """
    assert source.tflite
    model = tflite.read(source.tflite)
    with tempfile.TemporaryDirectory() as work:
        log = _vela(model, Path(work), options)
        made = Path(work) / f"{source.tflite.stem}_vela.tflite"
        if not made.is_file():
            raise EdgelineError(f"Vela made nothing of {source.tflite}, and said nothing of why.")
        facts = _facts(Path(work))
        file = made.name
        (folder / file).write_bytes(made.read_bytes())
    refused: dict[placement.OperatorKey, str] = {
        (name, output): reason.strip() for name, output, reason in REFUSED.findall(log)
    }
    kinds: dict[str, str] = {name: reason for (name, _), reason in refused.items()}

    def reason(key: placement.OperatorKey) -> str:
        return refused.get(key) or kinds.get(key[0], "left on the CPU by Vela")

    compiled = tflite.read(folder / file)
    placed = placement.place(model, [compiled], OPERATOR, DEVICE, reason)
    if all(operator.name != OPERATOR for operator in compiled.subgraphs[0].operators):
        on_cpu = [operator for operator in placed if operator.device == "cpu"]
        raise EdgelineError(
            f"Vela put all {len(placed)} operators of {source.tflite} on the CPU "
            f"({placement.counted(on_cpu)[:400]}): convert the model with quantisation='int8'."
        )
    return Compiled(
        model=file,
        placed=placed,
        facts={"accelerator": options["accelerator"], **facts},
        notes=_notes(log),
        log=log,
    )


def _vela(model: tflite.Model, work: Path, options: Mapping[str, str]) -> str:
    """Vela's output; it is a process of its own, for it may crash."""
    command = [sys.executable, "-m", "ethosu.vela", str(model.path), "--output-dir", str(work)]
    for flag, name in FLAGS.items():
        if value := options.get(name):
            command += [flag, value]
    ended = process.run(command, limits.converter_room(model.path))
    texts = [t for graph in model.subgraphs for t in graph.tensors if t.dtype == "STRING"]
    if ended.code < 0 and texts:
        raise EdgelineError(
            f"Vela {ended.how} on {model.path}, which holds text ({texts[0].name!r}): give it a "
            "network without its transform, or one whose features are numbers."
        )
    if ended.code:
        raise EdgelineError(f"Vela {ended.how} on {model.path}: {ended.last_error}.")
    return ended.output


def _facts(work: Path) -> dict[str, float | int | str]:
    """What Vela's summary tells; empty where it wrote none."""
    facts: dict[str, float | int | str] = {}
    for path in work.glob("*_summary_*.csv"):
        with open(path, newline="") as stream:
            row = next(csv.DictReader(stream))
        facts = {"system_config": row["system_config"], "memory_mode": row["memory_mode"]}
        for column, fact, factor in SUMMARY:
            value = float(row[column]) * factor
            if value == value and value > 0:
                facts[fact] = round(value, 4) if fact == "estimated_ms" else round(value)
    return facts


def _notes(log: str) -> tuple[str, ...]:
    if "No system configuration specified" not in log:
        return ()
    return (
        "Cycles and time are estimates for Vela's default system; give system_config and "
        "memory_mode of your board.",
    )


targets = tuple(
    Target(
        name=name,
        summary=f"Arm Ethos-U{name[-2:]} NPU, by Vela",
        takes=(TFLITE,),
        quantisations=(INT8, INT16X8),
        missing=missing,
        compile=compile_ethos_u,
        options=(
            Option(
                "accelerator",
                default,
                f"{name}-MACS, with {', '.join(macs[:-1])} or {macs[-1]} MACs a cycle.",
                tuple(f"{name}-{count}" for count in macs),
            ),
            Option("system_config", "", "A system of the configuration file; Vela's default."),
            Option("memory_mode", "", "A memory mode of the configuration file."),
            Option("config", "", "Vela's .ini files; by default Arm/vela.ini."),
            Option(
                "optimise",
                "Performance",
                "Size (least SRAM) or Performance.",
                ("Size", "Performance"),
            ),
            Option("arena_cache_size", "", "Bytes of SRAM to aim for."),
        ),
        limits="Cycles and time are Vela's estimates; no NPU has run the model here.",
        fixed_shapes=True,
        facts=ALWAYS,
    )
    for name, (default, macs) in MACS.items()
)
