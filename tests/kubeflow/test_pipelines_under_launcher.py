"""Each pipeline as a real Kubeflow Pipelines 2.17 would run it, by what stands in for it (see
test_launcher_contract.py): every way through it ends, and real data come out published.

`make test` runs taxi and two imported models so; `make long` the others, which tests/end_to_end
runs by `edgeline run`."""

# no `from __future__ import annotations`: kfp reads the annotations of the pipeline below
import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest_sites import running_registry
from kfp import dsl
from kfp_stand_in_driver import Run, run, specification
from kfp_stand_in_tasks import hollow, real
from make_onnx import onnx_model

from edgeline.client.compiling import compile_definition
from edgeline.components import catalogue
from edgeline.components.faces import settings
from edgeline.local.warm.running import Warm
from edgeline.local.warm.stages import STAGES
from edgeline.pipelines.catalogue import load, names
from edgeline.pipelines.parameters import check, from_spec

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    log = tmp_path_factory.mktemp("warm") / "log"
    with Warm(list(STAGES), log) as running:
        yield running


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
    "candidates": {
        "data": "d", "module": "m", "label": "l", "model_name": "n", "destination": "/d",
        "candidates": [{"name": "a"}, {"name": "b", "steps": 3}, {"name": "c", "module": "o"}],
    },
    "tuned": {
        "data": "d", "module": "m", "label": "l", "model_name": "n", "destination": "/d",
        "objectives": ["auc"], "search_space": {"units": {"choices": [8, 16]}},
    },
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
    [
        (name, kind)
        for name in names()
        if name != "monitor"  # which is below
        for kind in (KINDS if name == "pretrained" else [""])
    ],
)
def test_every_way_through_a_pipeline_ends(
    name: str, kind: str, several: bool, tmp_path: Path
) -> None:
    """Its tasks are hollow: what they are handed counts. Each ends COMPLETE, loops or none."""
    spec = _ours(name)
    known = {field for each in from_spec(spec).values() for field in each.fields}
    chosen = {**SEVERAL, "explained_rows": 5} if several else {"targets": [], "sites": []}
    given = {**REQUIRED[name], **{key: chosen[key] for key in chosen.keys() & known}}
    answers = {
        "validate": {"valid": True},
        "analyze": {"blessed": True, "decision_threshold": 0.5},
        "verify": {"approved": True},
        "explain": {"agrees": True},
        "import_model": {"kind": kind},
        "choose": {"found": True, "chosen": "b"},
        "tune": {"hyperparameters": {"units": 16}},
        "publish_candidates": {"uris": []},
        "publish": {"uri": "/d/n/1", "version": 1},
        "serve": {"model": "ghcr.io/acme/models/n@sha256:0", "commit": ""},
    }
    done = run(spec, _form(spec, given), tmp_path, hollow(answers))
    assert (done.refused, done.state) == ("", "COMPLETE")
    (card,) = done.of("model_card")
    if name == "candidates":
        tried = [task.executor_input["inputs"] for task in done.of("train_candidate")]
        given = [each["parameterValues"] for each in tried]
        assert [each["name"] for each in given] == ["a", "b", "c"]
        assert [each["own_module"] for each in given] == ["", "", "o"]
        assert [each["place"] for each in given] == ["0", "1", "2"]
        assert [json.loads(each["training"])["steps"] for each in given] == [1000, 3, 1000]
        for collector in ("choose", "publish_candidates"):
            (task,) = done.of(collector)
            collected = task.executor_input["inputs"]["artifacts"]["candidates"]["artifacts"]
            assert len(collected) == 3
    if name == "tuned":
        (trained,) = done.of("train")
        taken = trained.executor_input["inputs"]["parameterValues"]["hyperparameters"]
        assert taken == {"units": 16}
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
    assert len(done.of("explain")) == int(several and "explained_rows" in known)


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
    spec = specification(worked_out, tmp_path)
    given = {"with_training": {"steps": 3}, "with_evaluation": {"baseline_model_uri": "b"}}
    done = run(spec, given, tmp_path, real(warm))
    assert done.refused == ""
    (task,) = done.of("settings")
    assert task.executor_input["inputs"]["parameterValues"]["training"] == {"steps": 3.0}
    assert (task.parameters["steps"], task.parameters["batch_size"]) == (3, 40)
    assert task.parameters["eval_config"] == {"a": 1}
    assert task.parameters["baseline_model_uri"] == "b"
    assert task.parameters["has_sites"] is False


@pytest.mark.parametrize("name", REQUIRED)  # all that publish
def test_what_is_not_approved_is_not_published(name: str, tmp_path: Path) -> None:
    answers = {
        "validate": {"valid": True},
        "analyze": {"blessed": True, "decision_threshold": 0.5},
        "verify": {"approved": False},
        "import_model": {"kind": "onnx"},
        "choose": {"found": False, "chosen": ""},
        "tune": {"hyperparameters": {"units": 16}},
        "publish_candidates": {"uris": []},
    }
    spec = _ours(name)
    done = run(spec, _form(spec, REQUIRED[name]), tmp_path, hollow(answers))
    assert done.refused == ""
    assert done.of("publish") == []
    assert len(done.of("model_card")) == (0 if name == "candidates" else 1)  # of which model?
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


@pytest.fixture(scope="module")
def candidates(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two candidates on 1,500 trips and one that fails, published to a plain folder."""
    folder = tmp_path_factory.mktemp("candidates")
    rows = (ROOT / "pipelines" / "taxi" / "taxi.csv").read_text().splitlines(keepends=True)[:1501]
    (folder / "taxi.csv").write_text("".join(rows))
    given = {
        "data": str(folder / "taxi.csv"),
        "module": "edgeline.pipelines.taxi.module",
        "label": "big_tip",
        "model_name": "taxi",
        "destination": str(folder / "models"),
        "steps": 30,
        "eval_config": {},
        "max_metric_drop": 0.1,
        "candidates": [
            {"name": "short", "steps": 10},
            {"name": "long"},
            {"name": "broken", "class_weights": "maybe=2"},
        ],
    }
    return run(_ours("candidates"), _form(_ours("candidates"), given), folder, real(warm))


@pytest.mark.long
def test_the_best_candidate_is_published_and_what_failed_fails_no_task(candidates: Run) -> None:
    _ended(candidates)
    (chosen,) = candidates.of("choose")
    assert chosen.parameters["found"] is True
    assert chosen.parameters["chosen"] in ("short", "long")
    assert candidates.of("publish_candidates")[0].parameters["uris"] == []
    assert len(candidates.of("publish")) == len(candidates.of("model_card")) == 1
    assert len(candidates.of("train_candidate")) == 3


GREY, COLOUR = {"images": {"image": [28, 28, 1]}}, {"images": {"image": [32, 32, 3]}}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "onnx": ("", GREY),
    "tflite": ("cnn_int8.tflite", {**GREY, "targets": ["litert"]}),
    "tflite-float": ("cnn_float.tflite", GREY),
    "keras": ("small.keras", COLOUR),
}
SHORT = ("tflite", "keras")  # of a file that is taken as it is, and of one that is converted


@pytest.fixture(scope="module")
def pretrained(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """The pipeline for imported models on 40 digits, by its way: each is run once."""
    folder = tmp_path_factory.mktemp("pretrained")
    digits = pq.read_table(ROOT / "pipelines" / "digits" / "digits.parquet").slice(0, 40)
    pq.write_table(digits, folder / "digits.parquet")
    spec = _ours("pretrained")

    @functools.cache
    def way_of(way: str) -> Run:
        file, more = WAYS[way]
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
        return run(spec, _form(spec, given), folder / way, real(warm))

    return way_of


def _ended(done: Run) -> None:
    assert (done.refused, done.state) == ("", "COMPLETE")
    assert done.of("notify")[0].executor_input["inputs"]["parameterValues"]["status"]
    nulls = [task.name for task in done.tasks if "null" in json.dumps(task.artifacts)]
    assert nulls == []


def test_taxi_runs_to_its_end(taxi: Run, site: dict[str, Any]) -> None:
    _ended(taxi)
    assert len(taxi.of("publish")) == 1
    assert len(taxi.of("serve")) == len(site["sites"])


@pytest.mark.long
def test_vision_runs_to_its_end_with_all_its_targets(vision: Run) -> None:
    _ended(vision)
    (card,) = vision.of("model_card")
    page = vision.stored(card.artifacts["model_card"]).read_text()
    for target in ("litert", "onnx"):
        assert re.search(rf"<td class=s[^>]*>{target}</td>", page)


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=() if way in SHORT else pytest.mark.long) for way in WAYS],
)
def test_pretrained_runs_to_its_end(pretrained: Callable[[str], Run], way: str) -> None:
    done = pretrained(way)
    _ended(done)
    assert done.of("import_model")[0].parameters["kind"] == way
    assert len(done.of("publish")) == 1 + len(WAYS[way][1].get("targets", []))
    assert len(done.of("model_card")) == 1
    taken = done.of("verify")[0].executor_input["inputs"]["artifacts"]
    assert ("model" in taken) == (way in ("tflite-float", "keras"))


def test_monitor_looks_at_what_was_published(taxi: Run, warm: Warm, tmp_path: Path) -> None:
    spec = _ours("monitor")
    (tmp_path / "payloads").mkdir()
    given = {
        "payloads_uri": str(tmp_path / "payloads"),
        "bundle_uri": str(taxi.folder / "models" / "taxi"),
        "min_rows": 0,
    }
    done = run(spec, _form(spec, given), tmp_path / "run", real(warm))
    _ended(done)
    (task,) = done.of("monitor")
    page = done.stored(task.artifacts["monitoring_report"]).read_text()
    assert "Nothing is judged, as that takes 500 rows." in page


def test_each_face_has_run(
    taxi: Run, pretrained: Callable[[str], Run], site: dict[str, Any]
) -> None:
    ran = {task.component for done in (taxi, *map(pretrained, SHORT)) for task in done.tasks}
    faces = {name.rstrip("-0123456789").replace("-", "_") for name in ran}
    unused = {"acceptance", "plan"}  # for pipelines of one's own
    unused |= {"monitor"}  # above
    # whose trials take a minute: tests/end_to_end/test_tuned.py, with `long`
    unused |= {"tune"}
    unused |= {"explain"}  # by choice: tests/components/explain
    # of candidates: above, with `long`
    unused |= {"choose", "publish_candidates", "train_candidate"}
    assert set(catalogue.names()) - faces - unused == (set() if site["sites"] else {"serve"})
