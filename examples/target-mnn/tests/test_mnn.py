"""The target `mnn`, as a package that somebody has installed beside edgeline."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeline.artifacts import bundle
from edgeline.components.compile import forms, target
from edgeline.components.compile.compile import compile_edge_model, load_compiled
from edgeline.components.import_model.import_model import import_model
from edgeline.errors import EdgelineError
from edgeline.runtimes import isolated

HERE = Path(__file__).parent
PACKAGE, ROOT = HERE.parent, HERE.parents[2]
CACHE = Path(os.environ.get("EDGELINE_TEST_CACHE", Path.home() / ".cache/edgeline-tests"))
LOCK = hashlib.sha256((HERE / "mnn.lock").read_bytes()).hexdigest()[:16]
MNN = CACHE / f"target-mnn-{LOCK}-{sys.implementation.cache_tag}"
DIGITS = ROOT / "edgeline" / "starter" / "pictures" / "digits.tflite"
DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package's wheel and MNN on the path, here and in what is started."""
    if not (MNN / "complete").is_file():
        pytest.skip(
            "NOT TESTED: the target MNN; examples/target-mnn/tests/build_mnn.sh installs MNN."
        )
    folder = tmp_path_factory.mktemp("site")
    sources = tmp_path_factory.mktemp("sources")
    for name in ("edgeline_mnn.py", "pyproject.toml", "README.md"):
        (sources / name).write_bytes((PACKAGE / name).read_bytes())
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=sources, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(MNN)]))
        for place in (MNN, folder):
            patch.syspath_prepend(str(place))
        yield


def edgeline(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeline", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An edge model of the digits."""
    folder = tmp_path_factory.mktemp("digits")
    import_model(str(DIGITS), str(folder / "edge"), str(folder / "report.html"))
    return folder / "edge"


def test_it_is_a_target_like_others():
    found = target.find("mnn")
    assert (found.missing(), found.takes) == ("", (target.TFLITE,))
    assert target.outside()["mnn"].distribution == "edgeline-target-mnn"


@pytest.mark.parametrize(
    ("weights", "quantisation", "most", "share"),
    [
        ("float32", "float", 1e-6, 1.1),
        ("float16", "fp16", 1e-3, 0.7),
        ("int8", "dynamic", 0.03, 0.5),
    ],
)
def test_what_it_makes_answers_as_its_source(digits, tmp_path, weights, quantisation, most, share):
    made = compile_edge_model(
        *("mnn", str(tmp_path / "made"), str(digits)), options={"weights": weights}
    )
    assert made.metadata["quantisation"] == quantisation
    assert made.metadata["size"] < share * DIGITS.stat().st_size
    mnn = isolated.model(tmp_path / "made", load_compiled, tmp_path / "made")
    source = forms.litert(DIGITS)
    rows = {"image": np.random.default_rng(1).uniform(0, 255, (50, 28, 28, 1)).astype(np.float32)}
    gap = forms.difference(source, mnn, rows)
    assert gap.max < most
    assert mnn.signature == source.signature
    gaps = {"image": np.full((1, 28, 28, 1), np.nan, np.float32)}
    assert np.isnan(source(gaps)["prediction"]).all()
    assert not np.isnan(mnn(gaps)["prediction"]).any()  # and so the README warns
    assert made.metadata["facts"]["nan"] == "lost"


def test_equal_models_give_equal_files(digits, tmp_path):
    for name in ("one", "two"):
        compile_edge_model("mnn", str(tmp_path / name), str(digits))
    one, two = ((tmp_path / name / "files") for name in ("one", "two"))
    for file in ("model.mnn", "names.json"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    names = json.loads((one / "names.json").read_text())
    assert names["inputs"].keys() == {"image"}
    assert str(tmp_path) not in (tmp_path / "one" / "compile.log").read_text()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("mixed.tflite", "MNN has no int64, which 'count' of .* is: build the model with float32"),
        ("cnn_int8.tflite", "takes a LiteRT model of quantisation float, but .* is int8"),
        ("loop.tflite", "MNN has no form of"),
        ("detector.tflite", "is not a model that MNN can run: build it from other operators"),
    ],
)
def test_what_mnn_cannot_is_one_sentence(file, sentence, tmp_path):
    import_model(str(DATA / file), str(tmp_path / "edge"))
    with pytest.raises(EdgelineError, match=sentence) as caught:
        compile_edge_model("mnn", str(tmp_path / "made"), str(tmp_path / "edge"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_without_mnn_it_says_what_to_install(monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    found = target.find("mnn")
    assert found.missing() == "Package MNN is not installed: pip install edgeline-target-mnn"
    with pytest.raises(EdgelineError, match="is not installed"):
        found.compile(target.Source(tflite=DIGITS), Path(), {"weights": "float32"})


@pytest.mark.long
def test_the_commands_of_the_readme_publish_what_was_verified_on_every_row(tmp_path):
    """By tasks of a pipeline, which have TensorFlow, beside which MNN's converter ends."""
    [block] = [each for each in shown() if "edgeline run" in each]
    for command in block.replace("\\\n", "").strip().splitlines():
        name, *arguments = shlex.split(command)
        assert name == "edgeline"
        done = edgeline(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    published = bundle.read(tmp_path / "models" / "digits-mnn" / "1")
    assert (published.target, published.model) == ("mnn", "model.mnn")
    assert published.verification["approved"] is True
    assert published.verification["rows"] > 0
    assert published.verification["max_difference"] < 1e-5


def shown() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (PACKAGE / "README.md").read_text("utf-8"), re.DOTALL)
