"""What a device has to hold: the model's file, and the runtime that runs it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

from edgeline.components.model_card.card import Card
from edgeline.reports import report
from edgeline.reports.report import Section

MICRO = "TensorFlow Lite Micro, a part of the firmware"


@dataclass(frozen=True)
class NeededRuntime:
    """A runtime: what it is called, and the package that brings it; "" where none here does."""

    name: str
    package: str = ""


LITERT = NeededRuntime("LiteRT", "ai-edge-litert")
BY_TARGET = {
    "litert": LITERT,
    "edgetpu": NeededRuntime("LiteRT, and libedgetpu on the device", "ai-edge-litert"),
    "onnx": NeededRuntime("ONNX Runtime", "onnxruntime"),
    "openvino": NeededRuntime("OpenVINO", "openvino"),
    "tvm": NeededRuntime("TVM's runtime", "apache-tvm"),
    "tensorrt": NeededRuntime("TensorRT, on the device"),
    "qualcomm-htp": NeededRuntime("QNN, on the device"),
    "imx500": NeededRuntime("the sensor's own"),
    **dict.fromkeys(("tflite-micro", "ethos-u55", "ethos-u65", "ethos-u85"), NeededRuntime(MICRO)),
}


def section(card: Card) -> list[Section]:
    """A row for each model that a device may load; nothing where there is none."""
    rows = []
    for edge in card.edge_models:
        runtime = LITERT if edge.graph else BY_TARGET["onnx"]
        rows.append((edge.name, edge.file.stat().st_size, runtime))
    for each in card.compiled:
        facts = each.artifact.metadata
        runtime = BY_TARGET.get(facts["target"], NeededRuntime("the target's own"))
        rows.append((each.name, int(facts["size"]), runtime))
    if not rows:
        return []
    table = report.table(
        ("Model", "Its bytes", "Runtime", "Its package, installed"),
        [
            (name, report.size(size), runtime.name, _installed(runtime.package))
            for name, size, runtime in rows
        ],
    )
    note = (
        f"A package is the one of Python on the machine that wrote this page ({platform.machine()}"
        "), without what it depends on; a program in C or C++ links less."
    )
    return [Section("What a device loads", table, note)]


def _installed(package: str) -> str:
    """The bytes of a package's files, as its installer listed them; a dash where it is not here."""
    try:
        files = metadata.files(package) if package else None
    except metadata.PackageNotFoundError:
        files = None
    size = sum(file.size or 0 for file in files or ())
    return report.size(size) if size else "–"
