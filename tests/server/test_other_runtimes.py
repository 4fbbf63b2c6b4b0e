"""Bundles for ONNX Runtime and OpenVINO, served as those of LiteRT are."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from other_runtimes import (
    ECHO,
    FIXED,
    KIND,
    PLAIN,
    SCORE,
    STORED,
    TEXT,
    X,
    bundle,
    endless_bytes,
    onnx_bytes,
    openvino_files,
)
from running import MIXED, Running, eventually

from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import HostOperations, HostStep
from edgeline.errors import EdgelineError
from edgeline.repository import actions
from edgeline.runtimes import served_runtimes
from edgeline.server.errors import Code, ServingError
from edgeline.server.models import loading
from edgeline.server.protocols import messages as m
from edgeline.server.protocols.wire import decode, encode
from edgeline.server.versions import trial
from edgeline.server.versions.forkserver import ForkServer
from edgeline.server.versions.sources import VersionSource
from edgeline.server.versions.verdicts import Verdicts

ROWS = [[1.0, 2.0], [-3.0, 0.5], [0.0, 8.0]]
DOUBLE = [[2.0, 4.0], [-6.0, 1.0], [0.0, 16.0]]
ALL = ("plain", "stored", "fixed", "text", "inter")
BINARY = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def inter(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """PLAIN as OpenVINO's files."""
    return openvino_files(tmp_path_factory.mktemp("inter"))


@pytest.fixture(scope="module")
def store(inter: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind, and a damaged one of each runtime."""
    root = tmp_path_factory.mktemp("store")
    bundle(root / "plain" / "1", {"model.onnx": onnx_bytes(PLAIN)}, recorded=2.0)
    bundle(root / "stored" / "1", {"model.onnx": onnx_bytes(STORED)}, STORED)
    bundle(root / "fixed" / "1", {"model.onnx": onnx_bytes(FIXED)}, FIXED)
    bundle(root / "text" / "1", {"model.onnx": onnx_bytes(TEXT)}, TEXT)
    bundle(root / "inter" / "1", inter, recorded=2.0)
    bundle(root / "broken" / "1", {"model.onnx": onnx_bytes(PLAIN)[:-40]})
    bundle(root / "torn" / "1", {**inter, "model.bin": b""})
    return root


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Running]:
    running = Running(store, "--poll", "0")
    yield running
    code, log = running.stop()
    assert code == 0
    assert "Traceback" not in log, log


def reasons(server: Running) -> dict[str, tuple[str, str]]:
    index = server.ask("POST", "/v2/repository/index", {})[1]
    return {entry["name"]: (entry["state"], entry["reason"]) for entry in index}


@pytest.mark.parametrize("name", ["plain", "fixed", "inter"])
def test_each_protocol_gives_the_same_answers(server, name):
    status, answer, _ = server.ask(
        "POST", f"/v1/models/{name}:predict", {"instances": [{"x": row} for row in ROWS]}
    )
    assert (status, answer) == (200, {"predictions": DOUBLE})
    x = {"name": "x", "datatype": "FP32", "shape": [3, 2]}
    status, answer, _ = server.ask(
        "POST", f"/v2/models/{name}/infer", {"inputs": [{**x, "data": ROWS}]}
    )
    assert (status, answer["outputs"][0]["data"]) == (200, np.ravel(DOUBLE).tolist())
    raw = np.array(ROWS, "<f4").tobytes()
    head = json.dumps({"inputs": [{**x, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    for sent, size in ((raw, 0), (head + raw, len(head))):
        if name == "fixed" and not size:  # such a body has the rows of the signature
            continue
        headers = {**BINARY, "Inference-Header-Content-Length": str(size)}
        path = f"/v2/models/{name}/infer"
        status, body, given = server.ask("POST", path, sent, headers)
        assert status == 200
        if size:
            assert body["outputs"][0]["data"] == np.ravel(DOUBLE).tolist()
        else:
            start = int(given["inference-header-content-length"])
            assert body[start:] == np.array(DOUBLE, "<f4").tobytes()


@pytest.mark.parametrize("name", ["plain", "inter"])
def test_grpc_gives_the_same_answers(server, name):
    grpc = pytest.importorskip("grpc", reason="NO GRPCIO: nothing is sent")
    tensor = {"name": "x", "datatype": "FP32", "shape": [3, 2]}
    raw = [np.array(ROWS, "<f4").tobytes()]
    message = {"model_name": name, "inputs": [tensor], "raw_input_contents": raw}
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        answer = call(encode(message, m.INFER_REQUEST), timeout=30)
    [content] = decode(memoryview(answer), m.INFER_RESPONSE)["raw_output_contents"]
    assert bytes(content) == np.array(DOUBLE, "<f4").tobytes()


def test_the_answers_are_those_of_the_bare_runtimes(store, inter):
    import onnxruntime
    import openvino

    x = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(store / "plain" / "1" / "model.onnx")
    read = openvino.Core().read_model(inter["model.xml"], inter["model.bin"])
    bare = {
        "plain": session.run(["score"], {"x": x})[0],
        "inter": openvino.compile_model(read, "CPU").infer_new_request({"x": x})["score"],
    }
    for name, wanted in bare.items():
        instances = loading.load(store / name / "1", name, 1, instances=2, threads=2)
        answers = [instance.ask({"x": x})["score"] for instance in instances]
        instances[0].ask({"x": -x})  # what was answered stays
        for answer in answers:
            np.testing.assert_array_equal(answer, wanted)


def test_stored_integers_are_told_with_their_scale(server, store):
    x = {"name": "x", "datatype": "INT8", "shape": [2, 2], "data": [5, 3, 1, 7]}
    status, answer, _ = server.ask("POST", "/v2/models/stored/infer", {"inputs": [x]})
    # real 1, 0, -1, 2, doubled, by 0.25, less 1
    assert (status, answer["outputs"][0]["data"]) == (200, [7, -1, -9, 15])
    assert answer["outputs"][0]["datatype"] == "INT8"
    (instance,) = loading.load(store / "stored" / "1", "stored", 1, 1, 1)
    assert instance.description.signature == STORED


def test_text_comes_and_goes_as_utf_8_and_nothing_else_does(server):
    def ask(kind: object) -> tuple[int, dict]:
        row = {"x": [1, 2], "kind": kind}
        return server.ask("POST", "/v1/models/text:predict", {"instances": [row]})[:2]

    for text in ("cash", "", "größe 🚕", "a\0b"):
        assert ask([text]) == (200, {"predictions": [{"score": [2.0, 4.0], "echo": [text]}]})
    status, answer = ask([{"b64": "/w=="}])
    assert (status, "Input 'kind' has bytes that are not UTF-8" in answer["error"]) == (400, True)
    assert server.metric('edgeline_requests_total{model="text",version="1",code="FAILED') == 0


def test_what_runs_a_model_is_told(server):
    for name, platform, runtime in (
        ("plain", "onnxruntime_onnx", "onnxruntime"),
        ("inter", "openvino", "openvino"),
    ):
        metadata = server.ask("GET", f"/v2/models/{name}")[1]
        assert (metadata["platform"], metadata["inputs"][0]["shape"]) == (platform, [-1, 2])
        config = server.ask("GET", f"/v2/models/{name}/config")[1]
        assert config["backend"] == runtime
        assert config["parameters"]["device"] == {"string_value": "cpu"}
        labels = f'model="{name}",version="1",device="cpu",runtime="{runtime}"'
        assert server.metric(f"edgeline_model_device{{{labels}}}") == 1
    assert server.ask("GET", "/v2/models/fixed")[1]["inputs"][0]["shape"] == [4, 2]


def test_a_runtime_is_loaded_where_a_model_needs_it(server, start):
    def loaded(running: Running) -> set[str]:
        mapped = Path(f"/proc/{running.process.pid}/maps").read_text()
        return {name for name in ("onnxruntime", "openvino") if name in mapped}

    assert loaded(server) == {"onnxruntime", "openvino"}
    assert loaded(start(MIXED, "--poll", "0")) == set()


def test_a_damaged_file_costs_its_own_model(server):
    found = reasons(server)
    assert {name for name, (state, _) in found.items() if state == "READY"} == {*ALL}
    assert "model.onnx is not a model that runs here (Failed to load" in found["broken"][1]
    assert "model.xml is not a model that runs here (Incorrect weights" in found["torn"][1]
    assert server.ask("GET", "/v2/health/ready")[0] == 503  # as for a damaged LiteRT model


def test_a_model_that_does_not_end_costs_a_child(tmp_path):
    folder = bundle(tmp_path / "m" / "1", {"model.onnx": endless_bytes()})
    said = "took over 1 s to load and warm|was not loaded and warm after 3 s"  # a busy machine's
    ends = pytest.raises(EdgelineError, match=said)
    with closing(ForkServer(trial.MODULE)) as forks, ends:
        trial.run(forks, trial.TrialOrder(str(folder), load_time=1))


def test_a_loop_is_never_run_on_the_event_loop(store, tmp_path, monkeypatch):
    folder = bundle(tmp_path / "m" / "1", {"model.onnx": endless_bytes()})
    monkeypatch.setattr(loading, "_warm", lambda *_: None)  # which would not end
    assert loading.load(folder, "m", 1, 1, 1)[0].description.loops
    for name in ("plain", "inter"):
        assert not loading.load(store / name / "1", name, 1, 1, 1)[0].description.loops


def test_rows_that_a_model_fails_on_are_its_own_fault_and_the_next_are_answered(tmp_path):
    from onnx import TensorProto, helper

    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["r", 2]) for n in ("x", "score")]
    one = helper.make_tensor("one", TensorProto.INT64, [2], [1, 2])
    node = helper.make_node("Reshape", ["x", "one"], ["score"])
    graph = helper.make_graph([node], "m", infos[:1], infos[1:], [one])
    version = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=version, ir_version=9).SerializeToString()
    (instance,) = loading.load(bundle(tmp_path / "m" / "1", {"model.onnx": made}), "m", 1, 1, 1)
    x = np.array(ROWS, np.float32)
    with pytest.raises(ServingError, match="'m' cannot run on this input") as fault:
        instance.ask({"x": x})
    assert fault.value.code is Code.FAILED_PRECONDITION
    assert instance.ask({"x": x[:1]})["score"].tolist() == ROWS[:1]


def test_host_operations_stand_before_it(tmp_path):
    count = HostStep("StringLength", ("code",), ("x",), {"unit": "BYTE"})
    file = Signature((Tensor("x", "int32", (-1, 1)),), (SCORE,))
    sends = Signature((Tensor("code", "string", (-1, 1)),), (Tensor("score", "int32", (-1, 1)),))
    folder = bundle(
        tmp_path / "m" / "1",
        {"model.onnx": _lengths()},
        sends,
        features=(Feature("code", "string"),),
        not_proven_missing=(),
        host_operations=HostOperations(1, (count,), (Feature("x", "int32"),)),
    )
    (instance,) = loading.load(folder, "m", 1, 1, 1)
    assert instance.description.signature.inputs == sends.inputs
    assert instance.file.inputs == file.inputs
    code = np.array([[b"abc"], [b""]], object)
    assert instance.ask({"code": code})["score"].tolist() == [[3], [0]]


def _lengths() -> bytes:
    from onnx import TensorProto, helper

    infos = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["rows", 1])
        for name in ("x", "score")
    ]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["score"])], "m", *zip(infos))
    version = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=version, ir_version=9).SerializeToString()


def _external(folder: Path) -> bytes:
    """PLAIN with its weight in another file."""
    import onnx

    made = onnx.load_from_string(onnx_bytes(PLAIN))
    weight = made.graph.initializer[0]
    weight.raw_data = np.float32(2).tobytes()
    weight.ClearField("float_data")
    onnx.external_data_helper.set_external_data(weight, "weights.bin", 0, 4)
    weight.ClearField("raw_data")
    (folder / "weights.bin").write_bytes(np.float32(2).tobytes())
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        (replace(PLAIN, inputs=(replace(X, dtype="float64"),)), "'x' is float32, but by its"),
        (replace(PLAIN, inputs=(replace(X, shape=(-1, 3)),)), r"has shape \[-1, 2\], but by its"),
        (replace(PLAIN, inputs=(X, KIND)), "has no input 'kind', which its manifest names"),
        (replace(PLAIN, outputs=(SCORE, ECHO)), "has no output 'echo', which its manifest names"),
        (Signature((replace(X, name="y"),), (SCORE,)), "has no input 'y'"),
    ],
)
def test_a_file_that_is_not_of_its_manifest_is_refused(tmp_path, signature, said):
    folder = bundle(tmp_path / "m" / "1", {"model.onnx": onnx_bytes(PLAIN)}, signature)
    with pytest.raises(
        EdgelineError, match=rf"model\.onnx is not a model that runs here \(.*{said}"
    ):
        loading.load(folder, "m", 1, 1, 1)


def test_weights_elsewhere_are_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where ONNX Runtime would look for them
    folder = bundle(tmp_path / "m" / "1", {"model.onnx": _external(tmp_path)})
    with pytest.raises(EdgelineError, match="its weights are in another file"):
        loading.load(folder, "m", 1, 1, 1)


def test_openvino_reads_its_own_format_alone(tmp_path, inter):
    files = {"model.xml": onnx_bytes(PLAIN), "model.bin": b""}
    folder = bundle(tmp_path / "m" / "1", files)
    with pytest.raises(EdgelineError, match=r"model\.xml is not a model .*it is not XML"):
        loading.load(folder, "m", 1, 1, 1)
    folder = bundle(tmp_path / "n" / "1", {"model.xml": inter["model.xml"]})
    with pytest.raises(EdgelineError, match=r"model\.bin is not listed in its manifest"):
        loading.load(folder, "n", 1, 1, 1)


def test_openvino_is_given_no_whole_number_that_it_would_cut(tmp_path):
    """2147483653 would be -2147483643 without a word."""
    import openvino

    count = Tensor("count", "int64", (-1, 1))
    given = openvino.opset13.parameter([-1, 1], np.int64, name="count")
    made = openvino.Model([openvino.opset13.negative(given)], [given], "m")
    made.inputs[0].get_tensor().set_names({"count"})
    made.outputs[0].get_tensor().set_names({"score"})
    openvino.save_model(made, tmp_path / "model.xml")
    files = {name: (tmp_path / name).read_bytes() for name in ("model.xml", "model.bin")}
    signature = Signature((count,), (replace(count, name="score"),))
    folder = bundle(tmp_path / "m" / "1", files, signature)
    (instance,) = loading.load(folder, "m", 1, 1, 1)
    most = np.array([[2**31 - 1]])
    assert instance.ask({"count": most})["score"].tolist() == (-most).tolist()
    with pytest.raises(ServingError, match="'count' holds 2147483653, and this model's runtime"):
        instance.ask({"count": np.array([[1], [2**31 + 5]])})


def test_openvino_is_given_no_text(tmp_path):
    import openvino

    (tmp_path / "text.onnx").write_bytes(onnx_bytes(TEXT))
    openvino.save_model(openvino.Core().read_model(tmp_path / "text.onnx"), tmp_path / "model.xml")
    files = {name: (tmp_path / name).read_bytes() for name in ("model.xml", "model.bin")}
    folder = bundle(tmp_path / "m" / "1", files, TEXT)
    with pytest.raises(EdgelineError, match=r"its 'kind' holds strings, which are not served"):
        loading.load(folder, "m", 1, 1, 1)


def test_other_answers_than_were_recorded_are_refused(tmp_path):
    folder = bundle(tmp_path / "m" / "1", {"model.onnx": onnx_bytes(PLAIN)}, recorded=3.0)
    with pytest.raises(EdgelineError, match="gives other answers here than were recorded"):
        loading.load(folder, "m", 1, 1, 1)


def test_a_runtime_that_is_missing_is_named_with_what_brings_it(store, monkeypatch):
    def find(package: str, *_: object) -> object:
        return None if package in ("onnxruntime", "openvino") else importlib.util.find_spec(package)

    monkeypatch.setattr(served_runtimes, "find_spec", find)
    for name, target, extra in (("plain", "onnx", "onnx"), ("inter", "openvino", "openvino")):
        with pytest.raises(EdgelineError) as fault:
            loading.load(store / name / "1", name, 1, 1, 1)
        said = f"{name} 1 is made for {target}, and {served_runtimes.BY_TARGET[target].name} is not"
        assert str(fault.value).startswith(said)
        assert f"pip install 'edgeline[serve-{extra}]'" in str(fault.value)
        assert loading.is_elsewhere(store / name / "1")  # no fault of this server


def test_a_verdict_is_of_the_runtime_that_runs_it(store, tmp_path, monkeypatch):
    source = VersionSource("plain", 1, store / "plain" / "1", (1,))

    def verdicts(litert: str) -> Verdicts:
        found = Verdicts(tmp_path / "state", litert)
        found.identify(source)
        return found

    verdicts("litert 1").condemn(source, "it crashes")
    assert verdicts("litert 2").fault(source) == "it crashes"
    assert len(verdicts("litert 2").bad()) == 1
    monkeypatch.setattr(served_runtimes, "_version", lambda _: "99")
    assert verdicts("litert 2").fault(source) == ""  # another version may do better
    assert len(verdicts("litert 2").bad()) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("passphrase")
def test_an_update_by_a_signed_repository(start, publisher, tmp_path):
    """From LiteRT to ONNX Runtime, and not to a file that is damaged."""
    options = f"--root={publisher.root}", f"--state={tmp_path / 'state'}", "--poll=0.2"
    server = start(publisher.path, *options)
    assert server.ask("GET", "/v2/models/m")[1]["platform"] == "litert"
    for number, content in ((2, onnx_bytes(PLAIN)), (3, b"no model")):
        made = bundle(tmp_path / str(number) / "m" / "1", {"model.onnx": content})
        assert actions.add(str(publisher.path), made, [str(publisher.keys)])[1].live
        eventually(lambda number=number: str(number) in states(server))
        assert server.ask("GET", "/v2/models/m")[1]["platform"] == "onnxruntime_onnx"
    body = {"instances": [{"x": ROWS[0]}]}
    assert server.ask("POST", "/v1/models/m:predict", body)[1] == {"predictions": [DOUBLE[0]]}
    assert "is not a model that runs here" in states(server)["3"][1]


def states(server: Running) -> dict[str, tuple[str, str]]:
    """State and reason of each version of `m` that is no longer being tried."""
    index = server.ask("POST", "/v2/repository/index", {})[1]
    return {e["version"]: (e["state"], e["reason"]) for e in index if e["state"] != "LOADING"}
