"""What serving costs beside each bare runtime: `python benchmarks/serving_runtimes.py`.

The same network in LiteRT, ONNX Runtime and OpenVINO, each as a bundle on a server of its own,
asked by one client over binary HTTP in turns with the runtime itself (one thread, the whole answer
copied), as `serving.py` does it. Every answer is compared with the bare runtime's.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environment import undistorted
from serving import MODEL, WARM, Floor, Http, latency, resident_mb, started

from edgeline.artifacts import sha256
from edgeline.artifacts.bundle import Bundle, Signature, write_manifest
from edgeline.components.compile.target import Source, find
from edgeline.formats.quantisation import INT8
from edgeline.runtimes import openvino_engine

AIM = 1.35
FILES = {"litert": "model.tflite", "onnx": "model.onnx", "openvino": "model.xml"}
RAW = "Inference-Header-Content-Length: 0\r\n"


def made(target: str, model: Path, folder: Path) -> Path:
    """A bundle of the LiteRT model for a target."""
    folder.mkdir()
    if target == "litert":
        (folder / FILES[target]).write_bytes(model.read_bytes())
    else:
        found = find(target)
        options = {option.name: option.default for option in found.options}
        found.compile(Source(tflite=model, quantisation=INT8), folder, options)
    described, signature = folder / "signature.json", Signature((), ())
    if described.exists():  # a LiteRT file has its own
        signature = Signature.from_json(json.loads(described.read_text()))
    files = {
        file.name: {"sha256": sha256(file), "size": file.stat().st_size}
        for file in folder.iterdir()
        if file != described
    }
    fields = ("multiclass_classification", "int8", "raw", signature, (), files)
    write_manifest(folder, Bundle("mobilenet", 1, target, FILES[target], *fields))
    return folder


def bare(target: str, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The runtime alone, as its documentation has one call it."""
    file = folder / FILES[target]
    if target == "litert":
        return Floor(file)
    if target == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda image: session.run(None, {name: image})[0]
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", openvino_engine.settings())
    request = compiled.create_infer_request()
    return lambda image: request.infer([image], share_inputs=True)[0]


def measure(target: str, folder: Path, image: np.ndarray, count: int) -> dict[str, Any]:
    """Latency beside the bare runtime, and the server's memory."""
    floor = bare(target, folder)
    right = np.ascontiguousarray(floor(image)).tobytes()
    process, ports, ready = started(folder)
    try:
        client = Http(ports["http"], "/v2/models/mobilenet/infer", image.tobytes(), RAW)

        def ask() -> None:
            client.send()
            if not client.receive().endswith(right):
                raise RuntimeError("a wrong answer")

        for _ in range(WARM):
            ask()
        found = latency(lambda: floor(image), ask, count)
        return {**found, "ready_s": ready, "memory_mb": resident_mb(process.pid)}
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    undistorted()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--count", type=int, default=200, help="requests a round")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    given = parser.parse_args()
    shape = Floor(given.model).shape
    image = np.frombuffer(random.Random(0).randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in FILES:
            bundle = made(target, given.model, Path(folder) / target)
            results[target] = measure(target, bundle, image, given.count)
    print(f"{given.model.stem}: {image.nbytes} bytes in over binary HTTP, one client; aim {AIM}")
    print("runtime    floor us      us   x floor   ready s    MB")
    for target, m in results.items():
        numbers = f"{m['floor_us']:9.0f} {m['us']:7.0f} {m['ratio']:9.2f}"
        print(f"{target:9} {numbers} {m['ready_s']:9.2f} {m['memory_mb']:5.0f}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
