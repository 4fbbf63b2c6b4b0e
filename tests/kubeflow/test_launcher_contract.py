"""What a real Kubeflow Pipelines 2.17 hands a task, and what it refuses of one.

No Kubeflow can run beside these tests: one was recorded (`recorded/executor`), and the modules
`kfp_stand_in_*` stand in for it, after its source. They are first held to the recordings, then each
pipeline runs through them.
"""

# no `from __future__ import annotations`: kfp reads the annotations of the components below
import functools
import inspect
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import yaml
from conftest_sites import running_registry
from kfp import compiler, dsl
from kfp.dsl.executor import Executor
from kfp_stand_in_driver import Run, run
from kfp_stand_in_launcher import read_output
from kfp_stand_in_store import RefusedError, Store
from kfp_stand_in_tasks import hollow, real
from make_onnx import onnx_model

from edgeline.client.compiling import compile_definition
from edgeline.components import catalogue
from edgeline.components.faces import settings
from edgeline.local.warm import STAGES, Warm
from edgeline.pipelines.catalogue import load, names
from edgeline.pipelines.parameters import check, from_spec

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
ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
HALF = "\ud800"  # half a surrogate pair: how Python reads a byte of a name that is not UTF-8


def _recording(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def _component_of(recording: Path) -> str:
    name = recording.stem.partition("--")[2].rstrip("-0123456789")
    return RENAMED.get(name, name)


# --- the stand-in, held to what a real one was recorded to do -------------------------------------


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


def _specification(pipeline: Any, folder: Path) -> dict[str, Any]:
    file = folder / "pipeline.yaml"
    compiler.Compiler().compile(pipeline, str(file))
    found: dict[str, Any] = next(yaml.load_all(file.read_text(), yaml.CSafeLoader))
    return found


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    log = tmp_path_factory.mktemp("warm") / "log"
    with Warm(list(STAGES), log) as running:
        yield running


def test_one_artifact_given_twice_ends_the_run(warm: Warm, tmp_path: Path) -> None:
    done = run(_specification(twice, tmp_path), {}, tmp_path, real(warm))
    assert "UNIQUE constraint failed" in done.refused
    assert [task.name for task in done.tasks] == ["make"]


def test_a_loop_is_collected_but_not_one_over_nothing(warm: Warm, tmp_path: Path) -> None:
    spec = _specification(loops, tmp_path)
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
    done = run(_specification(loop_alone, tmp_path), {"words": words}, tmp_path, real(warm))
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
    done = run(_specification(tells, tmp_path), {"kind": kind}, tmp_path, real(warm))
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


# --- our faces and pipelines ---------------------------------------------------------------------


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


@functools.cache
def _ours(name: str) -> dict[str, Any]:
    return dict(compile_definition(load(name), {}, None, {}).documents[0])


def _form(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """As somebody types it into the form: a dict takes the place of the whole default."""
    return check(given, from_spec(spec))


REQUIRED = {
    "digits": {},
    "taxi": {},
    "tabular": {"data": "d", "module": "m", "label": "l", "model_name": "n", "destination": "/d"},
    "vision": {
        "data": "d", "images": {"i": [1, 1, 1]}, "module": "m", "label": "l", "model_name": "n",
        "destination": "/d",
    },
    "pretrained": {"source": "s", "data": "d", "model_name": "n", "destination": "/d"},
}  # fmt: skip
KINDS = ["onnx", "tflite", "tflite-float", "keras", "saved_model"]
SITES = [{"site": "cluster://here"}, {"site": "cluster://there"}, {"site": "cluster://here"}]
TARGETS = ["tvm", "onnx", "tvm"]
SEVERAL = {"targets": TARGETS, "sites": SITES, "models_repository": "ghcr.io/acme/models"}


@pytest.mark.parametrize("several", [False, True], ids=["no-loops", "loops"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in names() for kind in (KINDS if name == "pretrained" else [""])],
)
def test_every_way_through_a_pipeline_ends(
    name: str, kind: str, several: bool, tmp_path: Path
) -> None:
    """Its tasks are hollow: what they are handed counts. Each ends COMPLETE, loops or none."""
    spec = _ours(name)
    known = {field for each in from_spec(spec).values() for field in each.fields}
    chosen = SEVERAL if several else {"targets": [], "sites": []}
    given = {**REQUIRED[name], **{key: chosen[key] for key in chosen.keys() & known}}
    answers = {
        "validate": {"valid": True},
        "analyze": {"blessed": True},
        "verify": {"approved": True},
        "import_model": {"kind": kind},
        "publish": {"uri": "/d/n/1", "version": 1},
        "serve": {"model": "ghcr.io/acme/models/n@sha256:0", "commit": ""},
    }
    done = run(spec, _form(spec, given), tmp_path, hollow(answers))
    assert (done.refused, done.state) == ("", "COMPLETE")
    (card,) = done.of("model_card")
    if several and "targets" in known:
        collected = card.executor_input["inputs"]["artifacts"]
        assert {
            name: len(collected[name]["artifacts"]) for name in collected if name[-1] == "s"
        } == {
            "compiled_models": 2,
            "verifications": 2,
        }
        assert len(done.of("compile")) == 2  # each target once
    assert len(done.of("serve")) == (2 if several and "sites" in known else 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"with_edge": {"quantisation": "int-8"}}, "Parameter edge.quantisation: 'int-8' is not"),
        ({"with_training": {"step": 3}}, "training.step: there is no such field. Did you mean"),
        ({"with_splits": {"split_ratios": []}}, "splits.split_ratios: [] is not an object with"),
    ],
)
def test_what_a_form_cannot_give_ends_the_run_before_any_work(
    given: dict[str, Any], said: str, warm: Warm, tmp_path: Path
) -> None:
    done = run(_ours("taxi"), given, tmp_path, real(warm))
    assert said in done.refused
    assert [task.component for task in done.tasks] == ["notify"]


@dsl.pipeline
def worked_out(with_training: dict, with_evaluation: dict = {}):  # noqa: B006
    settings(
        kind="tabular",
        defaults={"evaluation": {"eval_config": {"a": 1}}},
        training=with_training,
        evaluation=with_evaluation,
    )


def test_a_dict_in_the_form_is_filled_in(warm: Warm, tmp_path: Path) -> None:
    """KFP puts it in the place of the whole default, and makes 3 a 3.0."""
    spec = _specification(worked_out, tmp_path)
    given = {"with_training": {"steps": 3}, "with_evaluation": {"baseline_model_uri": "b"}}
    done = run(spec, given, tmp_path, real(warm))
    assert done.refused == ""
    (task,) = done.of("settings")
    assert task.executor_input["inputs"]["parameterValues"]["training"] == {"steps": 3.0}
    assert (task.parameters["steps"], task.parameters["batch_size"]) == (3, 40)
    assert task.parameters["eval_config"] == {"a": 1}
    assert task.parameters["baseline_model_uri"] == "b"
    assert task.parameters["has_sites"] is False


@pytest.mark.parametrize("name", names())
def test_what_is_not_approved_is_not_published(name: str, tmp_path: Path) -> None:
    answers = {
        "validate": {"valid": True},
        "analyze": {"blessed": True},
        "verify": {"approved": False},
        "import_model": {"kind": "onnx"},
    }
    spec = _ours(name)
    done = run(spec, _form(spec, REQUIRED[name]), tmp_path, hollow(answers))
    assert done.refused == ""
    assert done.of("publish") == []
    assert len(done.of("model_card")) == 1
    assert len(done.of("notify")) == 1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Parameters that deploy to a folder of a Git repository; none without a registry here."""
    if not shutil.which("docker-registry"):
        yield {"sites": []}
        return
    folder = tmp_path_factory.mktemp("site")
    bare, work = folder / "models.git", folder / "work"
    person = ("-c", "user.name=somebody", "-c", "user.email=s@example.com")
    for words in (
        ("init", "--quiet", "--bare", "--initial-branch=main", bare),
        ("clone", "--quiet", bare, work),
        ("-C", work, "commit", "--quiet", "--allow-empty", "-m", "Begin"),
        ("-C", work, "push", "--quiet", "origin", "HEAD:main"),
    ):
        subprocess.run(["git", *person, *words], check=True, capture_output=True)
    with running_registry(folder) as registry:
        yield {
            "sites": [{"site": f"git+file://{bare}//sites/north"}],
            "models_repository": f"{registry.address}/models",
        }


@pytest.fixture(scope="module")
def taxi(warm: Warm, site: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Taxi on 3,000 trips, published and deployed."""
    folder = tmp_path_factory.mktemp("taxi")
    rows = (ROOT / "pipelines" / "taxi" / "taxi.csv").read_text().splitlines(keepends=True)[:3001]
    (folder / "taxi.csv").write_text("".join(rows))
    given = {
        "data": str(folder / "taxi.csv"),
        "destination": str(folder / "models"),
        "steps": 60,
        "eval_config": {},
        "max_metric_drop": 0.1,
        **site,
    }
    return run(_ours("taxi"), _form(_ours("taxi"), given), folder, real(warm))


@pytest.fixture(scope="module")
def vision(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Vision on 600 digits, compiled for two targets."""
    folder = tmp_path_factory.mktemp("vision")
    digits = pq.read_table(ROOT / "pipelines" / "digits" / "digits.parquet").slice(0, 600)
    pq.write_table(digits, folder / "digits.parquet")
    given = {
        "data": str(folder / "digits.parquet"),
        "destination": str(folder / "models"),
        "steps": 60,
        "steps_per_epoch": 60,
        "eval_config": {},
        "max_metric_drop": 1.0,
        "representative_rows": 50,
        "targets": ["litert", "onnx"],
    }
    return run(_ours("digits"), _form(_ours("digits"), given), folder, real(warm))


GREY, COLOUR = {"images": {"image": [28, 28, 1]}}, {"images": {"image": [32, 32, 3]}}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx": ("", GREY),
    "tflite": ("cnn_int8.tflite", {**GREY, "targets": ["litert"]}),
    "tflite-float": ("cnn_float.tflite", GREY),
    "keras": ("small.keras", COLOUR),
}


@pytest.fixture(scope="module")
def pretrained(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each way of the pipeline for imported models, on 40 digits."""
    folder = tmp_path_factory.mktemp("pretrained")
    digits = pq.read_table(ROOT / "pipelines" / "digits" / "digits.parquet").slice(0, 40)
    pq.write_table(digits, folder / "digits.parquet")
    spec, done = _ours("pretrained"), {}
    for way, (file, more) in WAYS.items():
        source = DATA / file if file else onnx_model(folder / "fields.onnx")
        given = {
            "source": str(source),
            "data": str(folder / "digits.parquet"),
            "model_name": way,
            "destination": str(folder / "models"),
            "quantisation": "float",
            "split_ratios": {"train": 1, "eval": 1},
            **more,
        }
        done[way] = run(spec, _form(spec, given), folder / way, real(warm))
    return done


def _ended(done: Run) -> None:
    assert (done.refused, done.state) == ("", "COMPLETE")
    assert done.of("notify")[0].executor_input["inputs"]["parameterValues"]["status"]
    nulls = [task.name for task in done.tasks if "null" in json.dumps(task.artifacts)]
    assert nulls == []


def test_taxi_runs_to_its_end(taxi: Run, site: dict[str, Any]) -> None:
    _ended(taxi)
    assert len(taxi.of("publish")) == 1
    assert len(taxi.of("serve")) == len(site["sites"])


def test_vision_runs_to_its_end_with_all_its_targets(vision: Run) -> None:
    _ended(vision)
    (card,) = vision.of("model_card")
    page = vision.stored(card.artifacts["model_card"]).read_text()
    for target in ("litert", "onnx"):
        assert re.search(rf"<td class=s[^>]*>{target}</td>", page)


@pytest.mark.parametrize("way", WAYS)
def test_pretrained_runs_to_its_end(pretrained: dict[str, Run], way: str) -> None:
    done = pretrained[way]
    _ended(done)
    assert done.of("import_model")[0].parameters["kind"] == way
    assert len(done.of("publish")) == 1 + len(WAYS[way][1].get("targets", []))
    assert len(done.of("model_card")) == 1
    taken = done.of("verify")[0].executor_input["inputs"]["artifacts"]
    assert ("model" in taken) == (way in ("tflite-float", "keras"))


def test_each_face_has_run(
    taxi: Run, vision: Run, pretrained: dict[str, Run], site: dict[str, Any]
) -> None:
    ran = {task.component for done in (taxi, vision, *pretrained.values()) for task in done.tasks}
    faces = {name.rstrip("-0123456789").replace("-", "_") for name in ran}
    unused = {"plan"}  # for pipelines whose parameters are plain
    assert set(catalogue.names()) - faces - unused == (set() if site["sites"] else {"serve"})
