"""Targets and pipelines that other installed packages bring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import outside_package
import pytest

from edgeline import artifacts, plugins
from edgeline.artifacts import vectors
from edgeline.components.compile import forms, target
from edgeline.components.compile.compile import SCHEMA, compile_edge_model
from edgeline.components.import_model.import_model import import_model
from edgeline.components.plan.plan import plan
from edgeline.components.verify.latency import measure
from edgeline.errors import EdgelineError, UsageError
from edgeline.pipelines import catalogue

pytestmark = pytest.mark.slow

DATA = Path(__file__).parent / "data"
PIPELINE = """
from kfp import dsl


@dsl.component(base_image="python:3.12", install_kfp_package=False)
def greet(name: str) -> str:
    from acme_words import word

    return f"{word}, {name}"


@dsl.pipeline(name="acme-greeting", description="Greets somebody.")
def pipeline(who: str = "world"):
    greet(name=who)
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path for packages, here and in what the tests start."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    yield folder
    for name in [name for name in sys.modules if name.startswith("acme")]:
        del sys.modules[name]


@pytest.fixture
def acme(path: Path) -> Path:
    points = "[edgeline.targets]\nacme-npu = acme_npu:target\n"
    return outside_package.make(path, "acme-edgeline", points, acme_npu=outside_package.TARGET)


def edgeline(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("edgeline")), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ)
    )


@pytest.mark.usefixtures("acme")
def test_a_target_of_another_package_is_compiled_for(tmp_path):
    options = ["--set", "acme-npu.cycles=9"]
    run = edgeline(
        *("compile-model", DATA / "cnn_float.tflite", "--target", "acme-npu", "--target"),
        *("litert", *options, "--json", "-o", "out"),
        folder=tmp_path,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    ours, theirs = sorted(
        json.loads(run.stdout)["targets"], key=lambda row: row["target"] != "litert"
    )
    assert (ours["failure"], theirs["failure"]) == (None, None)
    assert (theirs["target"], theirs["facts"]) == ("acme-npu", {"cycles": 9})
    assert theirs["quantisation"] == "int8"  # converted, as its row says
    made = artifacts.read(tmp_path / "out" / "acme-npu", SCHEMA)
    assert (made.path / made.metadata["model"]).read_bytes().startswith(b"acme")
    assert "acme-npu" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.usefixtures("acme")
def test_its_options_and_names_are_checked_as_those_of_all(tmp_path):
    assert plan(["litert", "acme-npu"]).targets == ["litert", "acme-npu"]
    with pytest.raises(EdgelineError, match=r"'acme' is not one of litert, .*, acme-npu\."):
        plan(["acme"])
    with pytest.raises(UsageError, match=r"no target 'acme-npy'\. Did you mean acme-npu\?"):
        target.find("acme-npy")
    run = edgeline(
        *("compile-model", DATA / "cnn_int8.tflite", "--target", "acme-npu"),
        *("--set", "acme-npu.cycle=1"),
        folder=tmp_path,
    )
    assert run.returncode == 2
    assert "Target acme-npu has no option 'cycle'" in run.stderr


LOUD = """
import os
from edgeline.components.compile import forms

def load(folder, compiled):
    os.write(1, b"A runtime's greeting\\n")
    return forms.litert(folder / "model.tflite")
"""


def test_the_latency_of_a_runtime_that_prints_is_measured(path, tmp_path):
    source = outside_package.TARGET.replace('"model.acme")', '"model.tflite")')
    source = source.replace("model.acme", "model.tflite").replace('b"acme" + ', "")
    source = source.replace("target = Target(", f"{LOUD}\ntarget = Target(\n    load=load,")
    points = "[edgeline.targets]\nacme-npu = acme_npu:target\n"
    outside_package.make(path, "acme-edgeline", points, acme_npu=source)
    import_model(str(DATA / "cnn_int8.tflite"), str(tmp_path / "edge"))
    compile_edge_model("acme-npu", str(tmp_path / "made"), str(tmp_path / "edge"))
    rows = vectors.synthetic(forms.litert(DATA / "cnn_int8.tflite").signature)
    vectors.write(tmp_path / vectors.FILE, rows)
    assert measure(tmp_path / "made", tmp_path / vectors.FILE).runs > 0


def test_help_lists_targets_and_imports_none(path, tmp_path):
    loud = f"open({str(tmp_path / 'imported')!r}, 'w')"
    points = "[edgeline.targets]\nacme-npu = acme_npu:target\nlitert = acme_npu:target\n"
    outside_package.make(path, "acme-edgeline", points, acme_npu=loud)
    run = edgeline("compile-model", "--help", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    text = " ".join(run.stdout.split())
    assert ", ".join(target.MODULES) + ", acme-npu (of acme-edgeline)" in text
    assert "Target litert of package acme-edgeline is refused" in text
    assert not (tmp_path / "imported").exists()
    assert target.find("litert").summary.startswith("LiteRT")  # edgeline's own


@pytest.mark.parametrize(
    ("source", "value", "why"),
    [
        ("import nowhere_to_be_found", "acme_npu:target", "No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(3)", "acme_npu:target", "SystemExit: 3"),
        ("1 +", "acme_npu:target", "SyntaxError"),
        ("other = 1", "acme_npu:target", "has no attribute 'target'"),
        ("other = 1", "acme_npu", "acme_npu is not a Target of"),
        ("target = 'acme-npu'", "acme_npu:target", "acme_npu:target is not a Target of"),
        (outside_package.TARGET.replace("acme-npu", "x"), "acme_npu", "with that name"),
    ],
)
def test_a_broken_target_is_one_sentence_with_its_package(path, source, value, why):
    points = f"[edgeline.targets]\nacme-npu = {value}\n"
    outside_package.make(path, "acme-edgeline", points, acme_npu=source)
    with pytest.raises(EdgelineError) as caught:
        target.find("acme-npu")
    sentence = str(caught.value)
    assert sentence.startswith("Target acme-npu of package acme-edgeline cannot be loaded (")
    assert why in sentence
    assert sentence.endswith("or uninstall it.")
    assert "\n" not in sentence
    assert target.find("litert").name == "litert"


def test_a_broken_target_stops_no_other(path, tmp_path):
    points = "[edgeline.targets]\nacme-npu = acme_npu:target\n"
    failing = outside_package.TARGET.replace(
        '(folder / "model', 'raise AttributeError("x"); (folder / "model'
    )
    points += "acme-raises = acme_raises\n"
    outside_package.make(
        *(path, "acme-edgeline", points),
        acme_npu="1 +",
        acme_raises=failing.replace("acme-npu", "acme-raises"),
    )
    names = [part for name in ("acme-npu", "acme-raises", "litert") for part in ("--target", name)]
    options = ["--set", "acme-npu.cycles=1", "--json"]
    run = edgeline("compile-model", DATA / "cnn_int8.tflite", *names, *options, folder=tmp_path)
    assert run.returncode == 1
    broken, raising, litert = json.loads(run.stdout)["targets"]
    assert "package acme-edgeline cannot be loaded" in broken["failure"]
    assert "The compiler of acme-raises failed" in raising["failure"]
    assert litert["failure"] is None
    assert "Traceback" not in run.stderr


@pytest.mark.usefixtures("acme")
def test_two_packages_with_one_name_are_both_refused(path):
    points = "[edgeline.targets]\nacme-npu = acme_other\nbad/name = acme_other\n"
    outside_package.make(path, "acme-too", points, acme_other="")
    assert target.outside() == {}
    assert "uninstall one of the two" in target.refused()["acme-npu"]
    assert "that is not a name" in target.refused()["bad/name"]
    with pytest.raises(EdgelineError, match="acme-too is refused, for acme-edgeline brings one"):
        target.find("acme-npu")


def test_malformed_metadata_of_a_package_break_nothing(path):
    outside_package.make(path, "acme-odd", "[edgeline.targets]\nno equals sign\n", acme_odd="")
    assert target.outside() == {}
    assert "tvm" in target.names()


def test_a_pipeline_of_another_package_runs_and_its_code_is_in_the_key_of_the_cache(path, tmp_path):
    points = "[edgeline.pipelines]\nacme = acme_pipe\n"
    words = path / "acme_words.py"
    outside_package.make(
        *(path, "acme-edgeline", points), acme_pipe=PIPELINE, acme_words="word = 'Hello'\n"
    )

    def run() -> tuple[str, str]:
        done = edgeline("run", "acme", "--cache", "--set", "who=Ada", folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        record = max(
            (tmp_path / "edgeline-runs").glob("acme-greeting-*/run.json"), key=os.path.getmtime
        )
        task = json.loads(record.read_text())["tasks"]["greet"]
        return task["state"], task["outputs"]["Output"]

    assert run() == ("succeeded", "Hello, Ada")
    assert run() == ("cached", "Hello, Ada")
    words.write_text("word = 'Good morning'\n")
    assert run() == ("succeeded", "Good morning, Ada")
    done = edgeline("compile", "acme", "-o", "acme.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "name: acme-greeting" in (tmp_path / "acme.yaml").read_text()


def test_pipelines_are_listed_with_their_package(path, tmp_path):
    points = "[edgeline.pipelines]\nacme = acme_pipe:pipeline\nworse = acme_worse\n"
    points += "odd = acme_pipe:greet\ntaxi = acme_pipe\n"
    outside_package.make(
        *(path, "acme-edgeline", points), acme_pipe=PIPELINE, acme_worse="raise OSError('no')"
    )
    done = edgeline("pipelines", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    assert "acme Greets somebody. (of acme-edgeline)" in text
    assert "Pipeline worse of package acme-edgeline cannot be loaded (OSError: no)" in text
    assert "acme_pipe:greet is not a kfp pipeline" in text
    assert "Pipeline taxi of package acme-edgeline is refused" in text
    assert "taxi" in catalogue.names()
    with pytest.raises(UsageError, match=r"no pipeline 'acmee'\. Did you mean acme\?"):
        catalogue.load("acmee")


def test_what_is_installed_for_editing_counts_too(path):
    before = plugins.digest()
    outside_package.make(path, "acme-edgeline", "[edgeline.targets]\nacme-npu = acme.npu\n")
    (path / "acme").mkdir()
    (path / "acme" / "__init__.py").write_text("raise OSError('is not imported for this')")
    (path / "acme" / "npu.py").write_text("one = 1")
    first = plugins.digest()
    (path / "acme" / "npu.py").write_text("one = 2")
    assert len({before, first, plugins.digest()}) == 3
