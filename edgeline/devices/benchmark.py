"""A bundle's model measured on a device: what is sent, what comes back, and the profile of it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import device_profile, vectors
from edgeline.artifacts.bundle import Bundle
from edgeline.artifacts.device_profile import DeviceProfile
from edgeline.artifacts.differences import difference
from edgeline.devices import secure_shell
from edgeline.devices.secure_shell import SshAddress
from edgeline.errors import EdgelineError, UsageError, first_line, harmless
from edgeline.formats import typed
from edgeline.runtimes.interpreter import dequantise

HERE = Path(__file__).parent
MARK = b"edgeline-device-profile "  # as `supervisor` has it
LITERT = "litert"
INTERPRETER = "ai-edge-litert"
BEYOND = 660.0  # seconds to wait for all but the measurement, longer than `supervisor` does
MOST_ROWS = 4 << 20  # bytes
MOST_WHEELS = 1 << 30  # bytes
NO_OPERATORS = "the interpreter's Python interface does not give a profile by operator"


def measure(
    folder: Path,
    address: SshAddress,
    python: str = "python3",
    seconds: float = 10.0,
    threads: int = 1,
    wheels: Path | None = None,
) -> DeviceProfile:
    """Measure a bundle's model on a device.

    Args:
        folder: of the bundle.
        python: that measures, there.
        seconds: that calls are made for.
        wheels: a folder of wheels for a device without an interpreter and without an index.

    Raises:
        UsageError: `wheels` has none.
        EdgelineError: the bundle is damaged or not for LiteRT, the device cannot be reached or
            does not have what is needed, or its answers are other than the recorded ones.
    """
    bundle = bundles.read(folder)
    _refuse_what_is_not_measured(bundle)
    graph = device_profile.graph_of(folder / bundle.model)
    rows = (
        vectors.read(folder / vectors.FILE, bundle.signature)
        if vectors.FILE in bundle.files
        else vectors.synthetic(bundle.signature)
    )
    files = _files(folder, bundle, rows, wheels)
    order = {
        "files": [
            {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        ],
        "seconds": seconds,
        "threads": threads,
        "install": _packages(wheels is not None),
    }

    def given() -> Iterator[bytes]:
        yield json.dumps(order).encode() + b"\n"
        yield from files.values()

    program = (HERE / "supervisor.py").read_bytes()
    output = secure_shell.ask(address, python, program, given(), seconds + BEYOND)
    answer = _answer(address, output)
    if "fault" in answer:
        raise _fault(address, python, answer)
    try:
        return _profile(answer, bundle, rows, graph, threads, address)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise EdgelineError(
            f"{address} answers what cannot be read ({first_line(error)}): see what its Python is."
        ) from error


def _refuse_what_is_not_measured(bundle: Bundle) -> None:
    named = f"{bundle.name} {bundle.version}"
    if bundle.target != LITERT or not bundle.model.endswith(".tflite"):
        raise EdgelineError(
            f"{named} is made for {bundle.target}, which is not measured through ssh: give the "
            "bundle of the same model for litert."
        )
    if bundle.host_operations is not None:
        raise EdgelineError(
            f"{named} needs {', '.join(bundle.host_operations.named)} before its model, which only "
            "its server computes: serve it on the device, whose metrics tell its latency."
        )


def _files(
    folder: Path, bundle: Bundle, rows: vectors.Vectors, wheels: Path | None
) -> dict[str, bytes]:
    files = {name: (HERE / name).read_bytes() for name in ("sensors.py", "timed.py")}
    inputs: dict[str, Any] = {}
    count = _count(bundle, rows)
    for number, (name, array) in enumerate(rows.inputs.items()):
        part = array[:count]
        if part.dtype == object:  # strings, which have no plain form in a .npy
            inputs[name] = {"rows": vectors.encoded(part)}
        else:
            content = io.BytesIO()
            np.save(content, part, allow_pickle=False)
            inputs[name] = {"file": f"{number}.npy"}
            files[f"{number}.npy"] = content.getvalue()
    files["inputs.json"] = json.dumps(inputs).encode()
    files["model.tflite"] = (folder / bundle.model).read_bytes()
    found = sorted(wheels.glob("*.whl")) if wheels else []
    if wheels and not found:
        raise UsageError(f"{wheels} does not have a wheel: fill it with pip download.")
    if sum(each.stat().st_size for each in found) > MOST_WHEELS:
        raise UsageError(f"{wheels} has more than 1 GiB of wheels: keep those that are needed.")
    return {**files, **{f"wheels/{each.name}": each.read_bytes() for each in found}}


def _count(bundle: Bundle, rows: vectors.Vectors) -> int:
    """How many rows are sent: the process that is measured holds them beside the model."""
    count = len(next(iter(rows.inputs.values())))
    each = sum(array.nbytes for array in rows.inputs.values()) // max(1, count)
    batch = max(1, bundle.signature.inputs[0].shape[0])
    return min(count, max(batch, MOST_ROWS // max(1, each)))


def _packages(given: bool) -> list[str]:
    """What pip puts onto a device without an interpreter: of an index the version that is here.

    Args:
        given: whether there are wheels, whose version counts.
    """
    try:
        pinned = "" if given else f"=={version(INTERPRETER)}"
    except PackageNotFoundError:
        pinned = ""
    return [f"{INTERPRETER}{pinned}", "numpy"]


def _answer(address: SshAddress, output: bytes) -> Mapping[str, Any]:
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    if not lines:
        raise EdgelineError(
            f"{address} ended without an answer: see that its shell starts Python and nothing else."
        )
    found = typed.parse(lines[-1][len(MARK) :], f"What {address} answers")
    if not isinstance(found, dict):
        raise EdgelineError(f"What {address} answers is not an object: see what its Python is.")
    return found


def _fault(address: SshAddress, python: str, answer: Mapping[str, Any]) -> EdgelineError:
    said = harmless(str(answer.get("said", "")))[:500].rstrip(".")
    if answer["fault"] == "interpreter":
        return EdgelineError(
            f"{python} on {address} does not have a LiteRT interpreter, and {said}, so none can be "
            "lent to it: install tflite-runtime there, or give a Python from 3.10 with pip by "
            "--python."
        )
    if answer["fault"] == "pip":
        return EdgelineError(
            f"{python} on {address} does not have a LiteRT interpreter, and pip cannot put one "
            f"into its temporary folder ({said}): give its wheels with --wheels FOLDER."
        )
    if answer["fault"] == "failed":
        return EdgelineError(f"The model did not run on {address} ({said}): verify the bundle.")
    return EdgelineError(f"Nothing was measured on {address} ({said}): try again.")


def _profile(
    answer: Mapping[str, Any],
    bundle: Bundle,
    rows: vectors.Vectors,
    graph: str,
    threads: int,
    address: SshAddress,
) -> DeviceProfile:
    timed, power = answer["timed"], answer["power"]
    compared, largest = _compared(timed["answers"], bundle, rows, address)
    watts = power.get("watts")
    not_measured = {"operators": NO_OPERATORS}
    if watts is None:
        not_measured["energy"] = str(power["reason"])[:300]
    if answer["heat"]["throttled"] is None:
        not_measured["throttling"] = "the device does not tell whether it throttles"
    fields = {
        "measured_at": device_profile.now(),
        "bundle": bundle.name,
        "version": bundle.version,
        "content_digest": bundles.content_digest(bundle),
        "quantisation": bundle.quantisation,
        "model_sha256": bundle.files[bundle.model]["sha256"],
        "graph": graph,
        "device": {
            name: value[:200] if isinstance(value, str) else value
            for name, value in answer["device"].items()
        },
        "interpreter": f"{timed['interpreter']} {timed['interpreter_version']}".strip()[:100],
        "python": timed["python"][:20],
        "threads": threads,
        "installed": answer["installed"],
        "latency": {
            **{
                name: _positive(timed[name])
                for name in ("start_ms", "load_ms", "p50_ms", "p95_ms", "p99_ms", "mean_ms")
            },
            "batch": timed["batch"],
            "rows_per_second": round(1000 * timed["batch"] / _positive(timed["mean_ms"]), 3),
            "calls": timed["runs"],
        },
        "peak_bytes": timed["peak_bytes"],
        "heat": {**answer["heat"], "slowdown": round(_positive(timed["slowdown"]), 3)},
        "energy_mj": None if watts is None else round(watts * timed["mean_ms"], 5),
        "watts": None if watts is None else round(watts, 3),
        "energy_source": str(power.get("source", ""))[:100],
        "load_before": answer["load_before"],
        "others_cores": round(answer["others_cores"], 2),
        "rows_compared": compared,
        "max_difference": largest,
        "not_measured": not_measured,
    }
    try:
        found: DeviceProfile = typed.convert(fields, DeviceProfile)
    except EdgelineError as error:
        raise ValueError(str(error)) from None
    return found


def _positive(value: float) -> float:
    if not 0 < value < 1e9:
        raise ValueError(f"a time is {value}")
    return round(float(value), 5)


def _compared(
    answers: Mapping[str, Any], bundle: Bundle, rows: vectors.Vectors, address: SshAddress
) -> tuple[int, float | None]:
    """How many recorded rows were compared with the device's answers, and how far these differ."""
    if not rows.outputs:
        return 0, None
    outputs = bundle.signature.outputs
    kinds = {tensor.name: tensor.dtype for tensor in outputs}
    got = {name: vectors.decoded(name, answers[name], kinds[name]) for name in rows.outputs}
    count = min(len(each) for each in got.values())
    wanted = dequantise({name: each[:count] for name, each in rows.outputs.items()}, outputs)
    largest = 0.0
    for name, array in dequantise(
        {name: each[:count] for name, each in got.items()}, outputs
    ).items():
        if array.shape != wanted[name].shape or not count:
            raise ValueError(f"output {name!r} has the shape {list(array.shape)}")
        gaps = difference(array, wanted[name]).reshape(count, -1).max(axis=1)
        row = int(np.argmax(gaps))
        largest = max(largest, float(gaps[row]))
        if not gaps[row] <= rows.tolerance:
            raise EdgelineError(
                f"{address} answers row {row} of {vectors.FILE} with another {name!r}: the "
                f"difference is {gaps[row]:.3g}, above {rows.tolerance:g}: its interpreter is not "
                "one for this model, so nothing is written; give another with --python."
            )
    return count, largest
