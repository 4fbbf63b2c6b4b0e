"""Coral's Edge TPU: its closed compiler, `edgetpu_compiler`, where it is on the PATH.

What it prints and logs is read (the lines are those of version 16.0), and the compiled file
says which operators are left. It calls a model of which nothing is mapped a success; that is
a failure here. (coral.ai/docs/edgetpu/compiler)
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeline.components.check.edgetpu_compiled import CUSTOM_OPERATOR, decode
from edgeline.components.compile import placement, process
from edgeline.components.compile.target import TFLITE, Compiled, Option, Source, Target
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.formats.quantisation import INT8
from edgeline.runtimes import limits

PROGRAM = "edgetpu_compiler"
DEVICE = "edgetpu"
MAPPED = "Mapped to Edge TPU"
# options of the target by the compiler's flag; those of SWITCHES take no value
FLAGS = {
    "--min_runtime_version": "min_runtime_version",
    "--intermediate_tensors": "intermediate_tensors",
    "--num_segments": "num_segments",
    "--delegate_search_step": "delegate_search_step",
    "--timeout_sec": "timeout_sec",
}
SWITCHES = {"--search_delegate": "search_delegate", "-a": "multiple_subgraphs"}
NUMBERS = ("min_runtime_version", "num_segments", "delegate_search_step", "timeout_sec")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
# a line of the summary of a model, and what it is here
SUMMARY = {
    "Output size": "compiled_bytes",
    "On-chip memory used for caching model parameters": "cached_bytes",
    "On-chip memory remaining for caching model parameters": "cache_left_bytes",
    "Off-chip memory used for streaming uncached model parameters": "streamed_bytes",
    "Number of Edge TPU subgraphs": "subgraphs",
    "Total number of operations": "operators",
    "Number of operations that will run on Edge TPU": "operators_on_tpu",
    "Number of operations that will run on CPU": "operators_on_cpu",
}
ROW = re.compile(r"(\S+)\s+(\d+)\s+(\S.*)")
# a hard failure: what the compiler says, what it means, what to do
FAILURES = (
    (
        r"Model not quantized",
        "the model is not quantised",
        "convert it with quantisation='int8'",
    ),
    (
        r"Didn't find op for builtin opcode '(?P<name>\w+)' version '(?P<version>\d+)'",
        "the compiler does not know {name} in version {version}",
        "build that layer from older operators (no groups in a convolution), or convert the "
        "model with the TensorFlow of the compiler's age, 2.5",
    ),
    (
        r"large activation tensors",
        "activations are too large for the Edge TPU's memory",
        "give the model a smaller input or fewer channels in its first layers",
    ),
    (
        r"dynamic-sized tensors",
        "the model has a dynamic shape",
        "export it with a fixed signature",
    ),
    (
        r"[Tt]imed out|exceeded timeout",
        "the compiler ran out of its time",
        "give a larger edgetpu.timeout_sec, or set edgetpu.search_delegate=true",
    ),
    (
        r"Internal compiler error",
        "the compiler failed inside",
        "set edgetpu.search_delegate=true, so that it looks for a part that compiles, or end "
        "the mapped part with edgetpu.intermediate_tensors",
    ),
    (
        r"Model could not be parsed|Invalid model",
        "the compiler cannot read the model",
        "convert it again",
    ),
)


@dataclass
class Summary:
    """What the compiler printed of one model: its file, numbers, and rows of the operator log."""

    model: str
    facts: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[str, int, str]] = field(default_factory=list)


def missing() -> str:
    """What is not installed, and how to get it."""
    if shutil.which(PROGRAM):
        return ""
    return (
        f"{PROGRAM} is not on the PATH: on Debian or Ubuntu (amd64) install the package "
        "edgetpu-compiler from Coral's apt repository (coral.ai/docs/edgetpu/compiler), or run "
        "the compile component in its image; `edgeline check MODEL --target edgetpu` says "
        "without it where every operator would run."
    )


def compile_edgetpu(source: Source, folder: Path, options: Mapping[str, str]) -> Compiled:
    """Run the compiler on the model, and on the models to co-compile with it.

    Raises:
        EdgelineError: an option is unfit, the compiler fails, or maps nothing.
    """
    assert source.tflite
    model = tflite.read(source.tflite)
    arguments = _arguments(options)
    with tempfile.TemporaryDirectory() as work:
        inputs = _inputs(source.tflite, options, Path(work))
        command = [PROGRAM, "--out_dir", str(folder), "--show_operations", *arguments]
        ended = process.run([*command, *map(str, inputs)], limits.converter_room(*inputs))
    log = re.sub(r" in \d+ ms\b", "", ended.output)  # equal input gives equal output
    summaries = parse(log)
    made = {path.name: path for path in sorted(folder.glob("*_edgetpu.tflite"))}
    if ended.code or not made:
        raise _failure(source.tflite, ended)
    own = _own(inputs[0].stem, made, int(options["num_segments"]))
    compiled = [tflite.read(path) for path in own]
    rows = [row for path in own for row in _rows(path, summaries)]
    reasons = {name: status for name, _, status in reversed(rows) if status != MAPPED}
    placed = placement.place(
        model,
        compiled,
        CUSTOM_OPERATOR,
        DEVICE,
        lambda key: reasons.get(key[0], "left on the CPU by the compiler"),
    )
    if all(o.name != CUSTOM_OPERATOR for part in compiled for o in part.subgraphs[0].operators):
        raise EdgelineError(
            f"The Edge TPU compiler called {source.tflite} a success but mapped none of its "
            f"{len(placed)} operators ({placement.counted(placed)[:400]}): `edgeline check` says "
            "what to change in the model."
        )
    return Compiled(
        model=own[0].name,
        placed=placed,
        facts=_facts(compiled, [s for s in summaries if _is_of(s, own)]),
        notes=_notes(own, made, model),
        log=log,
    )


def parse(output: str) -> list[Summary]:
    """The summaries in what the compiler printed, one a model, in their order."""
    found: list[Summary] = []
    for line in output.splitlines():
        name, _, value = line.strip().partition(":")
        if name == "Output model":
            found.append(Summary(Path(value.strip()).name))
        elif found and name in SUMMARY and value.strip():
            found[-1].facts[SUMMARY[name]] = _size(value.strip())
        elif found and (row := _row(line)):
            found[-1].rows.append(row)
    return found


def parse_log(text: str) -> list[tuple[str, int, str]]:
    """The rows of a `.log` file: operator, count, status."""
    return [row for line in text.splitlines() if (row := _row(line))]


def _row(line: str) -> tuple[str, int, str] | None:
    found = ROW.fullmatch(line.strip())
    if not found or not found[1].replace("_", "").isalnum() or ":" in line:
        return None
    return found[1], int(found[2]), found[3].strip()


def _size(text: str) -> int:
    """Bytes of `6.00MiB`, or a number."""
    found = re.fullmatch(r"([\d.]+)\s*(B|KiB|MiB|GiB)?", text)
    return round(float(found[1]) * UNITS[found[2] or "B"]) if found else 0


def _arguments(options: Mapping[str, str]) -> list[str]:
    for name in NUMBERS:
        if options[name] and not options[name].isdigit():
            raise EdgelineError(f"edgetpu.{name} is {options[name]!r}: give a whole number.")
    arguments = []
    for flag, name in FLAGS.items():
        if options[name] and (
            name != "delegate_search_step" or options["search_delegate"] == "true"
        ):
            arguments += [flag, options[name]]
    for flag, name in SWITCHES.items():
        if options[name] not in ("true", "false"):
            raise EdgelineError(f"edgetpu.{name} is {options[name]!r}: give true or false.")
        if options[name] == "true":
            arguments.append(flag)
    return arguments


def _inputs(model: Path, options: Mapping[str, str], work: Path) -> list[Path]:
    """Copies of the models, under names that differ, as the compiler names its output by them."""
    others = [Path(name.strip()) for name in options["together_with"].split(",") if name.strip()]
    copies: list[Path] = []
    for path in [model, *others]:
        tflite.read(path)  # one sentence where it is not a model
        stem, taken = path.stem, {copy.stem for copy in copies}
        number = 2
        while stem in taken:
            stem, number = f"{path.stem}_{number}", number + 1
        copies.append(work / f"{stem}.tflite")
        shutil.copyfile(path, copies[-1])
    return copies


def _own(stem: str, made: Mapping[str, Path], segments: int) -> list[Path]:
    """The files made of the first model: one, or its segments in their order."""
    if segments > 1:
        names = [f"{stem}_segment_{n}_of_{segments}_edgetpu.tflite" for n in range(segments)]
    else:
        names = [f"{stem}_edgetpu.tflite"]
    if absent := [name for name in names if name not in made]:
        raise EdgelineError(
            f"The Edge TPU compiler made no {absent[0]}: give a smaller edgetpu.num_segments."
        )
    return [made[name] for name in names]


def _rows(path: Path, summaries: Sequence[Summary]) -> list[tuple[str, int, str]]:
    """The operator log of a compiled file, from its .log, else from what was printed."""
    log = path.with_suffix(".log")
    if log.is_file() and (rows := parse_log(log.read_text(errors="replace"))):
        return rows
    return [row for summary in summaries if summary.model == path.name for row in summary.rows]


def _is_of(summary: Summary, own: Sequence[Path]) -> bool:
    return summary.model in {path.name for path in own}


def _facts(
    compiled: Sequence[tflite.Model], summaries: Sequence[Summary]
) -> dict[str, float | int | str]:
    """What was printed, summed over the segments, and what the files hold."""
    facts: dict[str, float | int | str] = {}
    for name in ("cached_bytes", "cache_left_bytes", "streamed_bytes", "subgraphs"):
        if values := [summary.facts[name] for summary in summaries if name in summary.facts]:
            facts[name] = min(values) if name == "cache_left_bytes" else sum(values)
    decoded = [decode(model) for model in compiled]
    facts["segments"] = len(compiled)
    facts["edgetpu_runtime"] = max(each.runtime_version for each in decoded)
    facts["instruction_bytes"] = sum(each.instruction_bytes for each in decoded)
    return facts


def _notes(
    own: Sequence[Path],
    made: Mapping[str, Path],
    model: tflite.Model,
) -> tuple[str, ...]:
    notes = []
    if len(own) > 1:
        files = ", ".join(path.name for path in own)
        notes.append(f"A pipeline of {len(own)} segments, one Edge TPU each: {files}.")
    if others := sorted(made.keys() - {path.name for path in own}):
        notes.append(
            f"Co-compiled with {', '.join(others)}: load them on the same Edge TPU, so that they "
            "share its memory; the first has precedence in the cache."
        )
    if any(operator.name == CUSTOM_OPERATOR for operator in model.subgraphs[0].operators):
        notes.append("The model was compiled for the Edge TPU already.")
    return tuple(notes)


def _failure(model: Path, ended: process.EndedProgram) -> EdgelineError:
    for pattern, meaning, fix in FAILURES:
        if found := re.search(pattern, ended.output):
            return EdgelineError(
                f"The Edge TPU compiler refuses {model}: {meaning.format(**found.groupdict())}; "
                f"{fix}."
            )
    if "Segmentation fault" in ended.output or ended.code in (-11, 139):
        return EdgelineError(
            f"The Edge TPU compiler crashed on {model}: set edgetpu.search_delegate=true, or "
            "edgetpu.num_segments=1 where the model has few layers."
        )
    if ended.code:
        return EdgelineError(
            f"The Edge TPU compiler {ended.how} on {model} ({ended.last_error}): `edgeline "
            "check` says which operators it cannot take."
        )
    return EdgelineError(
        f"The Edge TPU compiler ended without compiling {model} or saying why: set "
        "edgetpu.search_delegate=true, or a smaller edgetpu.num_segments."
    )


targets = (
    Target(
        name="edgetpu",
        summary="Coral Edge TPU, by edgetpu_compiler",
        takes=(TFLITE,),
        quantisations=(INT8,),
        missing=missing,
        compile=compile_edgetpu,
        options=(
            Option("num_segments", "1", "Cut the model into a pipeline of Edge TPUs."),
            Option("together_with", "", "Other .tflite files, by commas, to co-compile with."),
            Option("min_runtime_version", "", "The oldest Edge TPU runtime to run on, 10 to 14."),
            Option("intermediate_tensors", "", "Tensors, by commas, that end the mapped part."),
            Option("search_delegate", "false", "Look for the longest part that compiles."),
            Option("delegate_search_step", "1", "Operators to step back at a time in the search."),
            Option("timeout_sec", "180", "Seconds the compiler may take, 0 for any."),
            Option("multiple_subgraphs", "false", "Map more than the first part that can be."),
        ),
        limits="The compiled model is not run here: that needs an Edge TPU.",
        fixed_shapes=True,
        facts=("instruction_bytes",),
    ),
)
