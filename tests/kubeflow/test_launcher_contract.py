"""What a real Kubeflow Pipelines 2.17 hands a task, and what it refuses of one.

No Kubeflow can run beside these tests: one was recorded (`recorded/executor`), and the modules
`kfp_stand_in_*` stand in for it, after its source. Here they are compared with the recordings,
and so is what our faces take; test_pipelines_under_launcher.py runs each pipeline through them.
"""

# no `from __future__ import annotations`: kfp reads the annotations of the components below
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl
from kfp.dsl.executor import Executor
from kfp_stand_in_driver import run, specification
from kfp_stand_in_launcher import read_output
from kfp_stand_in_store import RefusedError, Store
from kfp_stand_in_tasks import real

from edgeline.components import catalogue
from edgeline.local.warm.running import Warm

pytestmark = pytest.mark.slow

RECORDED = Path(__file__).parent / "recorded" / "executor"
RECORDINGS = sorted(RECORDED.glob("*.json"))
RENAMED: dict[str, str] = {}  # a component or its input, as recorded -> as it is called now
OUTPUTS = {  # an output of a component, as recorded -> as it is called now
    "ingest": {"report": "examples_report"},
    "validate": {"report": "validation_report"},
    "transform": {"report": "features_report"},
    "train": {"report": "training_report", "metrics": "training_metrics"},
    "analyze": {"report": "evaluation_report", "metrics": "evaluation_metrics"},
    "import_model": {"report": "import_report"},
    "convert": {"report": "conversion_report", "metrics": "conversion_metrics"},
    "check": {"report": "placement_report"},
    "verify": {"report": "verification_report", "metrics": "verification_metrics"},
    "model_card": {"report": "model_card"},
}
HALF = "\ud800"  # half a surrogate pair: how Python reads a byte of a name that is not UTF-8


def _recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def _component_of(recording: Path) -> str:
    name = recording.stem.partition("--")[2].rstrip("-0123456789")
    return RENAMED.get(name, name)


def _stored(recording: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the stand-in has of a recorded task's outputs, by name."""
    store = Store()
    execution = store.create("task", None, None, {"parameterValues": {}, "artifacts": {}})
    for name, made in (recording["executor_output"] or {"artifacts": {}})["artifacts"].items():
        store.publish(execution, name, made["artifacts"][0])
    return store.outputs_of(execution)


@pytest.mark.parametrize(
    ("maker", "output", "taker"),
    [
        ("taxi--ingest", "examples", "taxi--validate"),
        ("taxi--transform", "transform_graph", "taxi--train"),
        ("taxi--train", "model", "taxi--analyze"),
        ("taxi--convert", "edge_model", "taxi--verify"),
        ("taxi--analyze", "evaluation", "taxi--publish"),
        ("digits--convert", "edge_model", "digits--check"),
    ],
)
def test_the_stand_in_hands_on_what_a_real_one_did(maker: str, output: str, taker: str) -> None:
    mine = _stored(_recording(maker))[output]
    (given,) = _recording(taker)["executor_input"]["inputs"]["artifacts"][output]["artifacts"]
    for artifact in (mine, given):
        artifact["metadata"].pop("store_session_info")
    assert mine["metadata"] == given["metadata"]
    assert mine["uri"] == given["uri"]
    assert mine["name"].isdecimal()
    assert given["name"].isdecimal()
    assert given.get("type", {"instanceSchema": ""}) == mine["type"]


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
def test_the_stand_in_refuses_what_a_real_one_did(file: Path) -> None:
    recording = json.loads(file.read_text())
    nulls = "Value_NullValue" in str(recording.get("ended", ""))
    try:
        _stored(recording)
    except RefusedError as error:
        assert nulls, error
        said = str(error).partition(" (")[0]
        assert said in recording["ended"][-1]
    else:
        assert not nulls


@dsl.component(base_image="python", install_kfp_package=False)
def make(word: str, made: dsl.Output[dsl.Artifact]):
    with open(made.path, "w") as stream:
        stream.write(word)


@dsl.component(base_image="python", install_kfp_package=False)
def two(one: dsl.Input[dsl.Artifact], other: dsl.Input[dsl.Artifact]):
    pass


@dsl.component(base_image="python", install_kfp_package=False)
def gather(many: dsl.Input[list[dsl.Artifact]]) -> str:
    words = []
    for each in many:
        with open(each.path) as stream:
            words.append(stream.read())
    return " ".join(words)


@dsl.component(base_image="python", install_kfp_package=False)
def tell(kind: str, made: dsl.Output[dsl.Artifact]) -> NamedTuple("Told", [("said", int)]):
    from typing import NamedTuple

    facts = {
        "null": None,
        "nan": float("nan"),
        "deep-nan": {"a": [float("inf")]},
        "half": "\ud800",
        "large": 10**400,
        "fine": [None],
    }
    if kind != "no-file":
        with open(made.path, "w") as stream:
            stream.write(kind)
    if kind in facts:
        made.metadata["fact"] = facts[kind]
    if kind == "case":
        made.metadata.update(AUC=1.0, auc=2.0)
    if kind == "long":
        made.metadata["labels"] = ["x" * 100] * 2000
    if kind == "fails":
        raise ValueError(kind)
    return NamedTuple("Told", [("said", int)])(7)


@dsl.component(base_image="python", install_kfp_package=False)
def last(status: dsl.PipelineTaskFinalStatus) -> str:
    return status.state


@dsl.pipeline
def twice():
    made = make(word="a")
    two(one=made.outputs["made"], other=made.outputs["made"])


@dsl.pipeline
def loops(words: list):
    with dsl.ParallelFor(words) as word:
        made = make(word=word)
    gather(many=dsl.Collected(made.outputs["made"]))


@dsl.pipeline
def loop_alone(words: list):
    with dsl.ExitHandler(last()):
        make(word="first")
        with dsl.ParallelFor(words) as word:
            make(word=word)


@dsl.pipeline
def tells(kind: str):
    with dsl.ExitHandler(last()):
        told = tell(kind=kind)
        two(one=told.outputs["made"], other=make(word="a").outputs["made"])


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(["light"], tmp_path_factory.mktemp("warm") / "log") as running:
        yield running


def test_one_artifact_given_twice_ends_the_run(warm: Warm, tmp_path: Path) -> None:
    done = run(specification(twice, tmp_path), {}, tmp_path, real(warm))
    assert "UNIQUE constraint failed" in done.refused
    assert [task.name for task in done.tasks] == ["make"]


def test_a_loop_is_collected_but_not_one_over_nothing(warm: Warm, tmp_path: Path) -> None:
    spec = specification(loops, tmp_path)
    done = run(spec, {"words": ["a", "b"]}, tmp_path / "two", real(warm))
    assert done.refused == ""
    assert done.of("gather")[0].parameters == {"Output": "a b"}
    done = run(spec, {"words": []}, tmp_path / "none", real(warm))
    assert "failed to resolve input artifact many" in done.refused
    assert "not in tasks" in done.refused


@pytest.mark.parametrize(("words", "state"), [(["a"], "COMPLETE"), ([], "RUNNING")])
def test_a_loop_over_nothing_leaves_the_runs_state_open(
    words: list[str], state: str, warm: Warm, tmp_path: Path
) -> None:
    done = run(specification(loop_alone, tmp_path), {"words": words}, tmp_path, real(warm))
    assert (done.refused, done.state) == ("", state)
    recorded = _recording("no-loop--notify" if words else "empty-loop-or-two-a--notify")
    assert recorded["executor_input"]["inputs"]["parameterValues"]["status"]["state"] == state


@pytest.mark.parametrize(
    ("kind", "refused"),
    [
        ("fine", ""),
        ("null", "Value_NullValue"),
        ("nan", "invalid value NaN"),
        ("deep-nan", "invalid value Infinity"),
        ("half", "invalid value"),
        ("large", "number out of range"),
        ("case", "Duplicate entry"),
        ("long", "argument list too long"),
        ("no-file", "left no file for made"),
        ("fails", "ValueError: fails"),
    ],
)
def test_what_a_task_may_not_leave(kind: str, refused: str, warm: Warm, tmp_path: Path) -> None:
    done = run(specification(tells, tmp_path), {"kind": kind}, tmp_path, real(warm))
    assert refused in done.refused
    assert bool(done.refused) == bool(refused)
    assert done.of("last")[0].parameters["Output"] in ("FAILED", "RUNNING", "COMPLETE")
    assert done.of("tell") == [] or refused in ("", "argument list too long")


def test_an_output_is_read_as_go_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "output.json"
    assert read_output(file) == {}
    for text in ('{"parameterValues": {"a": NaN}}', json.dumps({HALF: 1}), '{"other": 1}'):
        file.write_text(text)
        with pytest.raises(RefusedError, match="failed to unmarshall ExecutorOutput"):
            read_output(file)


@pytest.mark.parametrize(
    "file", [file for file in RECORDINGS if _component_of(file) in catalogue.names()],
    ids=lambda file: file.stem,
)  # fmt: skip
def test_a_face_takes_what_a_real_launcher_handed_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kfp's executor makes the arguments of what was recorded; the face's body does not run."""
    for store in ("S3", "MINIO"):
        place = f"kfp.dsl.types.artifact_types._{store}_LOCAL_MOUNT_PREFIX"
        monkeypatch.setattr(place, f"{tmp_path}/")
    given = json.loads(file.read_text())["executor_input"]
    given["outputs"]["outputFile"] = str(tmp_path / "output.json")
    component = _component_of(file)
    face = catalogue.load(component).python_func
    renamed = OUTPUTS.get(component, {})
    made = {renamed.get(name, name): one for name, one in given["outputs"]["artifacts"].items()}
    given["outputs"]["artifacts"] = made
    taken: dict[str, Any] = {}

    def stand_in(**arguments: Any) -> None:
        taken.update(arguments)

    stand_in.__annotations__ = face.__annotations__
    stand_in.__signature__ = inspect.signature(face)  # type: ignore[attr-defined]
    Executor(given, stand_in).execute()
    for name, handed in given["inputs"].get("artifacts", {}).items():
        found = taken[RENAMED.get(name, name)]
        many = found if isinstance(found, list) else [found]
        assert [each.uri for each in many] == [each["uri"] for each in handed["artifacts"]]
        assert all(isinstance(each, dsl.Artifact) for each in many)
    for name in made.keys() - {"executor-logs"}:
        assert taken[name].uri == made[name]["artifacts"][0]["uri"]
    values = given["inputs"].get("parameterValues", {})
    for name in values.keys() & face.__annotations__.keys() - {"status"}:
        assert taken[RENAMED.get(name, name)] == values[name]
