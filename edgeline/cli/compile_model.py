"""`edgeline compile-model`."""

from __future__ import annotations

import sys
from typing import Any

import click

from edgeline.cli.arguments import existing, new_folder


@click.command("compile-model")
@click.argument("model", callback=existing)
@click.option("--target", "targets", multiple=True, required=True, help="A target. Repeatable.")
@click.option("--quantisation", default="", help="By default the best one for each target.")
@click.option(
    "--representative",
    default="",
    callback=existing,
    help="Calibration data: .npz, .npy, examples or image folder.",
)
@click.option(
    "--scaling", default="", help="0..1 or -1..1: add scaling from pixel values 0 to 255."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="TARGET.OPTION=VALUE",
    help="Set an option of a target. Repeatable.",
)
@click.option(
    "-o",
    "--output",
    default="",
    callback=new_folder,
    help="The folder to write; by default MODEL-compiled.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compile_model(as_json: bool, **request: Any) -> None:
    """Convert and compile MODEL for one or more targets, and report the result for each.

    MODEL is a SavedModel folder, a .keras, .h5, .tflite or .onnx file, or a folder that train,
    convert or import_model wrote. Targets: litert, tflite-micro, edgetpu, ethos-u55, ethos-u65,
    ethos-u85, onnx, openvino, tvm, qualcomm-htp, imx500, tensorrt.
    """
    from edgeline.local.compile_model import Request
    from edgeline.local.compile_model import compile_model as work

    sys.exit(work(Request(**request), as_json))
