"""Which runtime runs a bundle here, and whether it is installed. No runtime is imported for that.

A LiteRT file runs in LiteRT whatever its bundle was made for, as the CPU's file of an accelerator
does. Any other runs in the runtime that its bundle's target names.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeline.artifacts.bundle import Bundle, read_manifest
from edgeline.errors import EdgelineError

LITERT = "litert"


@dataclass(frozen=True)
class ServedRuntime:
    """A runtime beside LiteRT.

    Attributes:
        name: for people.
        package: that is imported, which is also what clients of the protocols know it by.
        platform: what Triton's clients know a model of it by.
        extra: of edgeline, that brings the server with it.
        module: of `edgeline.runtimes`, with `files` and `engines`.
    """

    name: str
    package: str
    platform: str
    extra: str
    module: str

    @property
    def installed(self) -> bool:
        """Whether its package is there; whether it works is not tried."""
        return find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """Package and version, by which verdicts on models are kept."""
        return f"{self.package} {_version(self.package)}"

    def load(self) -> Any:
        """Its module.

        Raises:
            EdgelineError: its package is not installed.
        """
        if not self.installed:
            raise EdgelineError(
                f"{self.name} is not installed: pip install 'edgeline[{self.extra}]'"
            )
        return import_module(f"edgeline.runtimes.{self.module}")


BY_TARGET = {
    "onnx": ServedRuntime(
        *("ONNX Runtime", "onnxruntime", "onnxruntime_onnx", "serve-onnx", "onnx_engine")
    ),
    "openvino": ServedRuntime(
        *("OpenVINO", "openvino", "openvino", "serve-openvino", "openvino_engine")
    ),
}


def of(bundle: Bundle, file: Path) -> ServedRuntime | None:
    """The runtime of a bundle's file; None for LiteRT.

    Raises:
        OSError: the file cannot be read.
        EdgelineError: it is for none of the runtimes that are served.
    """
    if bundle.target == LITERT:
        return None
    with open(file, "rb") as stream:
        if stream.read(8)[4:] == b"TFL3":
            return None
    if (found := BY_TARGET.get(bundle.target)) is None:
        raise EdgelineError(
            f"{bundle.name} {bundle.version} is made for {bundle.target}, and this server runs "
            f"LiteRT, {' and '.join(each.name for each in BY_TARGET.values())}: give the bundle to "
            "its runtime, or publish one of these."
        )
    return found


def is_elsewhere(target: str) -> bool:
    """Whether bundles for a target are those of other servers than this one."""
    if target == LITERT:
        return False
    return (found := BY_TARGET.get(target)) is None or not found.installed


def version_at(path: Path) -> str:
    """The version of the runtime of a bundle's folder; "" where that is LiteRT, or is not told."""
    try:
        bundle = read_manifest(path)
        found = of(bundle, path / bundle.model)
    except (OSError, EdgelineError):
        return ""
    return found.version if found else ""


def is_here(version: str) -> bool:
    """Whether what `version_at` said once is still so."""
    return any(runtime.version == version for runtime in BY_TARGET.values())


@functools.cache
def _version(package: str) -> str:
    if find_spec(package) is None:
        return "(not installed)"
    from importlib import metadata  # 3 MB that a server with LiteRT alone does without

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # another distribution brings it, such as a GPU's
        return str(getattr(import_module(package), "__version__", ""))
