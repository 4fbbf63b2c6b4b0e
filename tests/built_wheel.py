"""Edgeline as it is built, and what an installed one serves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).parents[1]
INSTALLED_AS = {
    "edgeline": "edgeline",
    "components": "edgeline/components",
    "pipelines": "edgeline/pipelines",
    "images": "edgeline/images",
}


def copy_sources(folder: Path) -> Path:
    """What is built from, in another place, as building writes beside it."""
    for name in INSTALLED_AS:
        shutil.copytree(
            ROOT / name,
            folder / name,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def build(what: str, sources: Path, folder: Path) -> Path:
    """A `wheel` or an `sdist` of the sources, by this environment's setuptools, offline."""
    code = f"from setuptools import build_meta; build_meta.build_{what}({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [file] = folder.iterdir()
    return file


@contextmanager
def served(
    command: Sequence[str | Path], folder: Path, variables: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The address of a server that a command starts, which is told free ports.

    Args:
        command: `edgeline serve PATH`, in whatever way it is called.
        folder: where it is called.
        variables: its whole environment; None for this process' own.
    """
    with subprocess.Popen(
        [*command, "--port", "0", "--grpc-port", "0"],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout
        said = [""]
        while not said[-1].startswith("READY") and (line := server.stdout.readline()):
            said.append(line)
        try:
            assert said[-1].startswith("READY"), "".join(said)
            ports = dict(part.split("=") for part in said[-1].split()[1:])
            yield f"http://127.0.0.1:{ports['http']}"
        finally:
            server.terminate()
            rest = server.communicate(timeout=120)[0]
    assert server.returncode == 0, rest


def predicted(address: str, model: str, row: Mapping[str, Any]) -> Any:
    """What a server answers to one row, by output."""
    body = json.dumps({"instances": [row]}).encode()
    with urlopen(Request(f"{address}/v1/models/{model}:predict", body), timeout=120) as answer:
        [found] = json.load(answer)["predictions"]
    return found
