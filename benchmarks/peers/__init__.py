"""Other model servers with the same model, each in an environment of its own.

The environments are made once, in ~/.cache/edgeline-benchmarks. Each server gets two
interpreters of one thread, as ours on two cores.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "edgeline-benchmarks"
READY_TIME = 120.0


class MissingError(RuntimeError):
    """A peer that cannot be installed or started here."""


@dataclass(frozen=True)
class Served:
    """A server that runs: its ports, process, and seconds from start to ready."""

    http: int
    grpc: int
    process: subprocess.Popen[bytes]
    ready: float

    @property
    def memory(self) -> float:
        """Resident megabytes of all its processes, shared pages counted once."""
        import psutil

        root = psutil.Process(self.process.pid)
        processes = [root, *root.children(recursive=True)]
        return sum(process.memory_full_info().pss for process in processes) / 1e6


@dataclass(frozen=True)
class Peer:
    """`command` gives the command line and environment for a model, two ports and a folder."""

    name: str
    packages: tuple[str, ...]
    command: Callable[[Path, Path, int, int, Path], tuple[list[str], dict[str, str]]]
    protocols: tuple[str, ...]


@contextlib.contextmanager
def serving(peer: Peer, model: Path) -> Iterator[Served]:
    """Run a peer with a model.

    Raises:
        MissingError: it cannot be installed, or is not ready in time.
    """
    python = _environment(peer)
    http, grpc = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as folder:
        command, more = peer.command(python, model.resolve(), http, grpc, Path(folder))
        log = Path(folder) / "log"
        began = time.perf_counter()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **more}, stdout=stream, stderr=stream
            )
        try:
            while not _is_ready(http, model.stem):
                if process.poll() is not None or time.perf_counter() - began > READY_TIME:
                    raise MissingError(
                        f"{peer.name} did not start: {log.read_text(errors='replace')[-600:]}"
                    )
                time.sleep(0.02)
            yield Served(http, grpc, process, time.perf_counter() - began)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(peer: Peer) -> Path:
    folder = CACHE / peer.name.lower()
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = " ".join(peer.packages)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"{peer.name}: installing {wanted}", file=sys.stderr)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *peer.packages],
    ]
    for step in steps:
        ended = subprocess.run(step, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise MissingError(f"{peer.name} cannot be installed: {ended.stderr.strip()[-300:]}")
    stamp.write_text(wanted)
    return python


def _kserve(
    python: Path, model: Path, http: int, grpc: int, _: Path
) -> tuple[list[str], dict[str, str]]:
    return [str(python), str(HERE / "kserve_server.py"), str(model), str(http), str(grpc)], {}


def _mlserver(
    python: Path, model: Path, http: int, grpc: int, folder: Path
) -> tuple[list[str], dict[str, str]]:
    settings = {
        "name": model.stem,
        "implementation": "mlserver_runtime.LiteRT",
        "parameters": {"uri": str(model)},
    }
    server: dict[str, object] = {
        "http_port": http,
        "grpc_port": grpc,
        "parallel_workers": 0,
        "metrics_port": 0,
    }
    server |= {"host": "127.0.0.1", "debug": False, "metrics_endpoint": None}
    (folder / "model-settings.json").write_text(json.dumps(settings))
    (folder / "settings.json").write_text(json.dumps(server))
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    return command, {"PYTHONPATH": str(HERE)}


def _triton(
    python: Path, model: Path, http: int, grpc: int, folder: Path
) -> tuple[list[str], dict[str, str]]:
    """The binary that nvidia-pytriton brings, with the Python backend for this Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = python.parents[1] / "lib" / f"python{version}" / "site-packages"
    root = packages / "pytriton" / "tritonserver"
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise MissingError(f"Triton has no Python backend for Python {version}.")
    shutil.copy(stub, root / "backends" / "python" / stub.name)
    (root / "backends" / "python" / stub.name).chmod(0o755)
    place = folder / "models" / model.stem / "1"
    place.mkdir(parents=True)
    # the backend's Python does not look at PYTHONPATH
    start = f"import sys\n\nsys.path.insert(0, {str(packages)!r})\n"
    (place / "model.py").write_text(start + (HERE / "triton_model.py").read_text())
    shutil.copy(model, place / "model.tflite")
    (place.parent / "config.pbtxt").write_text(_triton_config(model))
    command = [
        *(str(root / "bin" / "tritonserver"), f"--model-repository={folder / 'models'}"),
        *(f"--backend-directory={root / 'backends'}", f"--http-port={http}"),
        *(f"--grpc-port={grpc}", "--allow-metrics=false", "--log-error=true"),
    ]
    libraries = f"{packages / 'nvidia_pytriton.libs'}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    return command, {"LD_LIBRARY_PATH": libraries}


def _triton_config(model: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model))
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()

    def tensor(kind: str, detail: dict[str, object]) -> str:
        dims = ", ".join(str(size) for size in np.asarray(detail["shape"]))
        name = detail["name"]
        return f'{kind} [{{ name: "{name}" data_type: TYPE_UINT8 dims: [{dims}] }}]\n'

    return (
        f'backend: "python"\nmax_batch_size: 0\n{tensor("input", into)}{tensor("output", out)}'
        "instance_group [{ count: 2 kind: KIND_CPU }]\n"
    )


def _is_ready(port: int, model: str) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/v2/models/{model}/ready"
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


_LITERT = "ai-edge-litert>=2.1"
PEERS = (
    Peer(
        "Triton",
        ("nvidia-pytriton==0.7.0", _LITERT),
        _triton,
        ("binary", "binary+header", "grpc", "v2 JSON"),
    ),
    Peer(
        "KServe",
        ("kserve==0.21.0", _LITERT),
        _kserve,
        ("binary+header", "grpc", "v2 JSON", "v1 JSON"),
    ),
    Peer("MLServer", ("mlserver==1.7.1", _LITERT), _mlserver, ("grpc", "v2 JSON")),
)
