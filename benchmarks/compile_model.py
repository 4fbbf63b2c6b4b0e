"""Models from Keras to devices by one command: `python benchmarks/compile_model.py`.

MobileNetV2 (224 px) to LiteRT, Ethos-U55 and ONNX as int8, timed; InceptionV3 to LiteRT as
float, dynamic range, int8 and int4, for their sizes. Both have random weights, which changes
neither. What a quantisation loses is how far its logits of random pictures are from the float
model's, as a share of the largest; trained weights lose another share.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted, without_onednn
from measuring import measure
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results" / "compile_model.json"
EDGELINE = Path(sys.executable).with_name("edgeline")
MAKE = """
import sys, keras
keras.utils.set_random_seed(0)
getattr(keras.applications, sys.argv[1])(weights=None).save(sys.argv[2])
"""
DEVICES = ("litert", "ethos-u55", "onnx")
MOST_SECONDS = 60  # for the three devices
INT4 = "dynamic_wi4_afp32_octav"
MOST_SHARES = {"dynamic": 0.2527, "int8": 0.2527, INT4: 0.2}  # of the float model's size
PICTURES = 4


def main() -> None:
    undistorted()
    without_onednn()
    with tempfile.TemporaryDirectory(prefix="edgeline-benchmark-") as folder:
        summary = compare(Path(folder))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(summary, indent=1) + "\n")
    show(summary)


def compare(folder: Path) -> dict[str, Any]:
    """Compile both models; seconds, bytes, and the share that maps."""
    mobile, inception = (_made(name, folder) for name in ("MobileNetV2", "InceptionV3"))
    devices = _compile(mobile, DEVICES, "int8", folder)
    sizes = {
        quantisation: _compile(inception, ("litert",), quantisation, folder)
        for quantisation in ("float", *MOST_SHARES)
    }
    whole = sizes["float"]["targets"]["litert"]["size"]
    return {
        "cores": os.cpu_count(),
        "MobileNetV2": devices,
        "InceptionV3": sizes,
        "shares": {
            quantisation: round(found["targets"]["litert"]["size"] / whole, 4)
            for quantisation, found in sizes.items()
        },
        "losses": _losses(folder, inception.stem),
    }


def _made(name: str, folder: Path) -> Path:
    path = folder / f"{name}.keras"
    command: list[str | Path] = [sys.executable, "-c", MAKE, name, path]
    subprocess.run(command, check=True, capture_output=True)
    return path


def _compile(model: Path, targets: tuple[str, ...], quantisation: str, folder: Path) -> Any:
    output = folder / f"{model.stem}-{quantisation}"
    command: list[str | Path] = [
        EDGELINE,
        "compile-model",
        model,
        "--quantisation",
        quantisation,
        "-o",
        output,
    ]
    for target in targets:
        command += ["--target", target]
    cost = measure([*command, "--json"], folder, folder / "log")
    found = {}
    for target in targets:
        metadata = json.loads((output / target / "artifact.json").read_text())["metadata"]
        kept = ("size", "operators", "on_accelerator", "share")
        found[target] = {name: metadata[name] for name in kept}
    return {
        "seconds": round(cost.wall, 1),
        "cpu_seconds": round(cost.cpu, 1),
        "peak_bytes": cost.memory,
        "load": round(cost.load, 2),
        "targets": found,
    }


def _losses(folder: Path, name: str) -> dict[str, float]:
    """The largest difference from the float model's logits, as a share of the largest of them."""
    from edgeline.components.convert import running

    pictures = np.random.default_rng(0).random((PICTURES, 299, 299, 3), np.float32)

    def answers(quantisation: str) -> Any:
        file = folder / f"{name}-{quantisation}" / "litert" / "files" / "model.tflite"
        model = running.load(_without_softmax(file.read_bytes()))
        (output,) = running.answers(model, {model.signature.inputs[0].name: pictures}).values()
        return output.astype(np.float64)

    real = answers("float")
    return {
        quantisation: round(
            float(np.abs(answers(quantisation) - real).max() / np.abs(real).max()), 4
        )
        for quantisation in MOST_SHARES
    }


def _without_softmax(file: bytes) -> bytes:
    """A model that gives its logits: 1,000 probabilities by chance are 0 in steps of 1 / 256."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    from edgeline.formats.packing import packed, unpacked

    model = unpacked(file)
    graph = model.subgraphs[0]
    codes = [model.operatorCodes[each.opcodeIndex].builtinCode for each in graph.operators]
    place = codes.index(BuiltinOperator.SOFTMAX)
    logits = int(graph.operators[place].inputs[0])
    graph.operators, graph.outputs = graph.operators[:place], [logits]
    model.signatureDefs[0].outputs[0].tensorIndex = logits
    return packed(model, len(file))


def show(summary: dict[str, Any]) -> None:
    table = Table(title="edgeline compile-model", title_justify="left")
    for name in ("model", "quantisation", "target", "MB", "mapped", "s", "CPU s", "load"):
        table.add_column(name)
    runs = [("MobileNetV2", "int8", summary["MobileNetV2"])]
    runs += [("InceptionV3", name, run) for name, run in summary["InceptionV3"].items()]
    for model, quantisation, run in runs:
        for target, found in run["targets"].items():
            mapped = f"{found['on_accelerator']} of {found['operators']}"
            cells = (model, quantisation, target, f"{found['size'] / 1e6:.1f}", mapped)
            table.add_row(*cells, *(str(run[key]) for key in ("seconds", "cpu_seconds", "load")))
    console = Console()
    console.print(table)
    seconds, shares = summary["MobileNetV2"]["seconds"], summary["shares"]
    console.print(f"three devices: {seconds} s, at most {MOST_SECONDS} wanted")
    console.print(f"of the float size: {shares}, at most {MOST_SHARES} wanted")
    console.print(f"largest difference of a logit, of the largest: {summary['losses']}")
    if seconds > MOST_SECONDS or any(shares[name] > most for name, most in MOST_SHARES.items()):
        sys.exit("Missed.")


if __name__ == "__main__":
    main()
