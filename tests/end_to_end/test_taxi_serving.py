"""The published taxi bundle, served: the cloud's answers over every protocol, drift, retraining."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from command import Finished

from edgeline import artifacts
from edgeline.artifacts import bundle, examples, models, ranges, reference
from edgeline.artifacts.features import Feature, to_numpy
from edgeline.components.ingest.ingest import ingest
from edgeline.formats.dtypes import BY_NAME
from edgeline.server.protocols import messages
from edgeline.server.protocols.wire import decode, encode
from edgeline.server.tensors.binary import to_bytes

Arrays = dict[str, np.ndarray]
ROWS = 1000  # a request


def _uri(run: Finished, task: str, output: str) -> Path:
    return Path(run.record["tasks"][task]["outputs"][output]["uri"])


def _bundle(run: Finished) -> Path:
    return Path(run.record["tasks"]["publish"]["outputs"]["uri"].removeprefix("file://"))


@contextmanager
def _serving(folder: Path, *options: str) -> Iterator[tuple[int, int]]:
    """HTTP and gRPC port of `edgeline serve FOLDER`."""
    command = [sys.executable, "-m", "edgeline", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(
        [*command, "--grpc-port", "0", *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        ports = dict(part.split("=") for part in process.stdout.readline().split()[1:])
        try:
            yield int(ports["http"]), int(ports["grpc"])
        finally:
            process.terminate()
            assert process.wait(60) == 0


def _ask(port: int, path: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST" if body else "GET", path, body, headers or {})
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content[:500]
    length = answer.getheader("Inference-Header-Content-Length")
    connection.close()
    if length:
        return json.loads(content[: int(length)]), content[int(length) :]
    return json.loads(content)


def _batches(run: Finished, split: str, features: tuple[Feature, ...]) -> Iterator[Arrays]:
    data = artifacts.read(_uri(run, "ingest", "examples"), examples.SCHEMA)
    names = [feature.name for feature in features]
    for batch in examples.read_batches(data, split, names, ROWS):
        yield to_numpy(batch, features)


def _plain(array: np.ndarray) -> list[Any]:
    """As JSON, a missing float as null."""
    if array.dtype == object:
        return [[value.decode() for value in row] for row in array]
    return [[None if v != v else v for v in row] for row in array.tolist()]


def _v1(port: int, arrays: Arrays) -> np.ndarray:
    names = list(arrays)
    rows = zip(*(_plain(array) for array in arrays.values()), strict=True)
    instances = [dict(zip(names, row, strict=True)) for row in rows]
    body = json.dumps({"instances": instances}).encode()
    return np.array(_ask(port, "/v1/models/taxi:predict", body)["predictions"], "f4")


def _v2_json(port: int, arrays: Arrays) -> np.ndarray:
    inputs = [
        {"name": n, "shape": a.shape, "datatype": BY_NAME[_dtype(a)].v2, "data": _plain(a)}
        for n, a in arrays.items()
    ]
    output = _ask(port, "/v2/models/taxi/infer", json.dumps({"inputs": inputs}).encode())
    return np.array(output["outputs"][0]["data"], "f4")


def _v2_binary(port: int, arrays: Arrays) -> np.ndarray:
    return np.frombuffer(_v2_answer(port, arrays)[1], "<f4")


def _v2_answer(port: int, arrays: Arrays) -> tuple[dict[str, Any], bytes]:
    """The JSON header of an answer, and the tensors behind it."""
    parts = {name: to_bytes(array) for name, array in arrays.items()}
    inputs = [
        {"name": n, "shape": a.shape, "datatype": BY_NAME[_dtype(a)].v2,
         "parameters": {"binary_data_size": len(parts[n])}}
        for n, a in arrays.items()
    ]  # fmt: skip
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    answer: tuple[dict[str, Any], bytes]
    answer = _ask(port, "/v2/models/taxi/infer", header + b"".join(parts.values()), headers)
    return answer


def _v2_grpc(port: int, arrays: Arrays) -> np.ndarray:
    request = {
        "model_name": "taxi",
        "inputs": [
            {"name": n, "datatype": BY_NAME[_dtype(a)].v2, "shape": a.shape}
            for n, a in arrays.items()
        ],
        "raw_input_contents": [to_bytes(array) for array in arrays.values()],
    }
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = call(encode(request, messages.INFER_REQUEST), timeout=60)
    found = decode(memoryview(answer), messages.INFER_RESPONSE)
    return np.frombuffer(found["raw_output_contents"][0], "<f4")


def _dtype(array: np.ndarray) -> str:
    return "string" if array.dtype == object else array.dtype.name


@pytest.fixture(scope="module")
def features(taxi: Finished) -> tuple[Feature, ...]:
    return bundle.read(_bundle(taxi)).features


def test_each_eval_row_gets_the_clouds_answer_over_every_protocol(
    taxi: Finished, features: tuple[Feature, ...]
) -> None:
    cloud, _ = models.load_signature(
        artifacts.read(_uri(taxi, "train", "model"), models.SCHEMA), models.SERVING
    )
    rows = 0
    with _serving(_bundle(taxi)) as (http_port, grpc_port):
        for arrays in _batches(taxi, "eval", features):
            wanted = cloud(arrays)["prediction"].reshape(-1)
            for ask, port in (
                (_v1, http_port), (_v2_json, http_port), (_v2_binary, http_port),
                (_v2_grpc, grpc_port),
            ):  # fmt: skip
                answer = ask(port, arrays).reshape(-1)
                assert answer.shape == wanted.shape
                assert np.abs(answer - wanted).max() <= 1e-5, ask.__name__
            rows += len(wanted)
    splits = examples.splits(artifacts.read(_uri(taxi, "ingest", "examples"), examples.SCHEMA))
    assert rows == splits["eval"]


def test_real_trips_are_no_drift_and_shifted_ones_are_named(
    taxi: Finished, features: tuple[Feature, ...]
) -> None:
    file = _bundle(taxi) / reference.FILE
    assert file.stat().st_size < reference.MAX_BYTES
    with _serving(_bundle(taxi), "--drift-rate", "2000") as (port, _):
        for arrays in _batches(taxi, "train", features):  # the reference is of the eval split
            _v2_binary(port, arrays)
        (report,) = _ask(port, "/drift", b"")["models"]
        assert report["rows"] > 9000
        assert report["drifting"] == []
    with _serving(_bundle(taxi), "--drift-rate", "2000") as (port, _):
        for arrays in _batches(taxi, "train", features):
            arrays["fare"] = 2 * arrays["fare"]
            arrays["company"][::5] = b"New Cab Co"
            _v2_binary(port, arrays)
        (report,) = _ask(port, "/drift", b"")["models"]
    assert {"fare", "company"} <= set(report["drifting"])
    assert not {"trip_miles", "payment_type", "trip_start_hour"} & set(report["drifting"])
    assert report["inputs"]["company"]["unseen_values"][0] == "New Cab Co"
    assert report["inputs"]["fare"]["drifting"] == ["ks", "psi"]


def test_a_trip_unlike_any_in_training_is_told_in_its_answer(
    taxi: Finished, features: tuple[Feature, ...]
) -> None:
    allowed = ranges.read(_bundle(taxi) / ranges.FILE)
    with _serving(_bundle(taxi)) as (port, _):
        for arrays in _batches(taxi, "train", features):
            assert "parameters" not in _v2_answer(port, arrays)[0]
        arrays = {name: array.copy() for name, array in arrays.items()}
        arrays["fare"][1] = -30
        arrays["trip_miles"][1:3] = 2 * allowed["trip_miles"].most
        told = _v2_answer(port, arrays)[0]["parameters"]
        assert set(json.loads(told["out_of_range"])) == {"fare", "trip_miles"}
        assert told["out_of_range_rows"].startswith("0,1,1,0")


def test_logged_payloads_are_read_for_retraining(
    taxi: Finished, features: tuple[Feature, ...], tmp_path: Path
) -> None:
    options = ("--payloads", str(tmp_path / "payloads"), "--payload-rate", "1")
    with _serving(_bundle(taxi), *options) as (port, _):
        sent = next(_batches(taxi, "eval", features))
        answers = _v2_binary(port, sent)
    facts = ingest(
        str(tmp_path / "payloads" / "taxi" / "1"), tmp_path / "out", split_ratios={"all": 1}
    )
    assert facts["splits"]["all"]["rows"] == len(answers)
    logged = artifacts.read(tmp_path / "out", examples.SCHEMA)
    trained = artifacts.read(_uri(taxi, "ingest", "examples"), examples.SCHEMA)
    before, now = (examples.arrow_schema(a, s) for a, s in ((trained, "train"), (logged, "all")))
    for feature in features:
        assert now.field(feature.name).type == before.field(feature.name).type, feature.name
    (batch,) = examples.read_batches(logged, "all")
    again = to_numpy(batch, features)
    for feature in features:
        np.testing.assert_array_equal(again[feature.name], sent[feature.name])
    np.testing.assert_array_equal(np.array(batch["predicted_prediction"], "f4"), answers)


def test_accuracy_is_estimated_and_late_labels_say_the_same(
    taxi: Finished, features: tuple[Feature, ...]
) -> None:
    """On the held-out trips, and where eight in nine are paid by card: harder ones, as none by cash
    has a tip."""
    known = (*features, Feature("tips", "float32", (1,)))
    options = ("--drift-rate", "100000", "--decay-slices", "payment_type")
    for shifted in (False, True):
        with _serving(_bundle(taxi), *options) as (port, _):
            for number, arrays in enumerate(_batches(taxi, "eval", known)):
                if shifted:
                    by_card = (arrays["payment_type"] == b"Credit Card")[:, 0]
                    few = by_card | (np.arange(len(by_card)) % 8 == 0)
                    arrays = {name: array[few] for name, array in arrays.items()}
                tips, fare = np.nan_to_num(arrays.pop("tips")), np.nan_to_num(arrays["fare"])
                truth = (tips > np.float32(0.2) * fare)[:, 0]
                instances = [
                    dict(zip(arrays, row, strict=True))
                    for row in zip(*(_plain(array) for array in arrays.values()), strict=True)
                ]
                body, name = json.dumps({"instances": instances}).encode(), f"trips-{number}"
                _ask(port, "/v1/models/taxi:predict", body, {"X-Request-Id": name})
                label = json.dumps({"id": name, "label": truth.astype(int).tolist()}).encode()
                assert _ask(port, "/labels/taxi", label)["joined"] == len(truth)
            (report,) = _ask(port, "/decay/taxi", b"")["models"]
        estimated, measured = report["estimated"]["metrics"], report["measured"]["metrics"]
        for metric in ("accuracy", "auc"):
            assert abs(estimated[metric]["value"] - measured[metric]["value"]) < 0.02
        assert ("accuracy" in report["measured"]["decayed"]) is shifted
        assert ("accuracy" in report["estimated"]["decayed"]) is shifted
        assert report["concept"]["drifting"] is False
        assert {"Cash", "Credit Card"} <= {each["value"] for each in report["measured"]["slices"]}
