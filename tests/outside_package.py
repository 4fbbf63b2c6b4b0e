"""A package of somebody else, as pip leaves it in a folder on the path."""

from __future__ import annotations

from pathlib import Path

TARGET = """
from edgeline.components.compile.target import TFLITE, Compiled, Option, Target
from edgeline.formats.quantisation import FLOAT, INT8


def compile_acme(source, folder, options):
    (folder / "model.acme").write_bytes(b"acme" + source.tflite.read_bytes())
    return Compiled("model.acme", facts={"cycles": int(options["cycles"])})


target = Target(
    name="acme-npu",
    summary="Acme's NPU",
    takes=(TFLITE,),
    quantisations=(INT8,),
    missing=lambda: "",
    compile=compile_acme,
    options=(Option("cycles", "7", "how many it takes"),),
)
targets = (target,)
"""


def make(folder: Path, name: str, points: str, **modules: str) -> Path:
    """Write modules with the metadata that name entry points.

    Args:
        points: of `entry_points.txt`.
        modules: sources by name.
    """
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (info / "RECORD").write_text("".join(f"{module}.py,,\n" for module in modules))
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source)
    return folder
