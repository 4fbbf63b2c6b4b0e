"""What is installed: a wheel and an editable install, each in a clean environment.

They are built without the network and without isolation, from a copy of the sources, by the
setuptools of the `test` extra. The environments see this one's packages, but not its edgeline.
"""

from __future__ import annotations

import email
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import edgeline

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
INSTALLED_AS = {
    "edgeline": "edgeline",
    "components": "edgeline/components",
    "pipelines": "edgeline/pipelines",
    "images": "edgeline/images",
}
DATA = {".csv", ".html", ".typed"}
# beside the standard library
LIGHT = {"click", "edgeline"}


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and an empty folder to run its commands in."""

    path: Path
    folder: Path

    def run(self, command: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.path / "bin" / command), *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "PIP_NO_INDEX": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, code: str) -> str:
        return self.run("python", "-c", code).strip()


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """A copy, as building writes beside the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for folder in INSTALLED_AS:
        shutil.copytree(
            ROOT / folder,
            copy / folder,
            symlinks=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.pyc"),
        )
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy


def build(what: str, sources: Path, folder: Path) -> Path:
    """A `wheel` or an `sdist` of the sources."""
    code = f"from setuptools import build_meta; build_meta.build_{what}({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [file] = folder.iterdir()
    return file


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory) -> Path:
    return build("wheel", sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["wheel", "editable"])
def environment(request, sources, tmp_path_factory) -> Environment:
    path = tmp_path_factory.mktemp(request.param) / "venv"
    venv.create(path, with_pip=True, symlinks=True)
    # a path in a .pth file adds packages, not the .pth files beside them: no editable edgeline
    [site] = path.glob("lib/python*/site-packages")
    (site / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    made = Environment(path, tmp_path_factory.mktemp("elsewhere"))
    if request.param == "wheel":
        what = [str(request.getfixturevalue("wheel"))]
    else:
        what = ["--no-build-isolation", "--editable", str(sources)]
    made.run("python", "-m", "pip", "install", "--quiet", "--no-deps", *what)
    return made


def test_the_wheel_has_every_module(sources, wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{target}/{file.relative_to(sources / folder).as_posix()}"
        for folder, target in INSTALLED_AS.items()
        for file in (sources / folder).rglob("*.py")
    }
    assert len(wanted) > 100
    assert sorted(wanted - inside) == []


def test_a_wheel_from_the_source_archive_is_the_same(sources, wheel, tmp_path):
    (tmp_path / "sdist").mkdir()
    archive = build("sdist", sources, tmp_path / "sdist")
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    [folder] = (tmp_path / "unpacked").iterdir()
    (tmp_path / "wheel").mkdir()
    again = build("wheel", folder, tmp_path / "wheel")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_has_every_data_file(sources, wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        f"{target}/{file.relative_to(sources / folder).as_posix()}"
        for folder, target in INSTALLED_AS.items()
        for file in (sources / folder).rglob("*")
        if file.suffix in DATA
    }
    wanted |= {"edgeline/images/images.lock.yaml", "edgeline/starter/project/README.md"}
    assert {"edgeline/py.typed", "edgeline/pipelines/taxi/taxi.csv"} < wanted
    assert sorted(wanted - inside) == [], "name them in setup.cfg's package_data"


def test_the_wheel_has_nothing_beside_edgeline(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"edgeline", f"edgeline-{edgeline.__version__}.dist-info"}


def test_the_metadata_are_what_an_index_shows(wheel):
    files = zipfile.ZipFile(wheel)
    folder = f"edgeline-{edgeline.__version__}.dist-info"
    metadata = email.message_from_bytes(files.read(f"{folder}/METADATA"))
    assert metadata["Name"] == "edgeline"
    assert metadata["Version"] == edgeline.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload(decode=True).decode() == (ROOT / "README.md").read_text()
    assert set(metadata.get_all("Provides-Extra")) >= {"pipelines", "train", "compile", "serve"}
    assert f"{folder}/licenses/LICENSE" in files.namelist()


def test_edgeline_is_the_installed_one(environment, sources):
    file = Path(environment.python("import edgeline; print(edgeline.__file__)"))
    assert file.is_relative_to(environment.path) or file.is_relative_to(sources)
    assert not file.is_relative_to(ROOT)


def test_every_package_can_be_found(environment):
    code = """
import importlib.util, edgeline.components, edgeline.pipelines.taxi, edgeline.images
from edgeline.components import catalogue
for name in catalogue.names():
    assert importlib.util.find_spec(f"edgeline.components.{name}.component"), name
print(edgeline.images.reference("pipeline"))
"""
    assert environment.python(code).startswith("ghcr.io/")


def test_the_commands_work_away_from_the_sources(environment):
    assert "Train in the cloud" in environment.run("edgeline", "--help")
    assert edgeline.__version__ in environment.run("edgeline", "--version")
    assert "transformed_examples" in environment.run("edgeline", "components", "train")
    environment.run("edgeline", "compile", "taxi", "-o", "taxi.yaml")
    compiled = next(yaml.load_all((environment.folder / "taxi.yaml").read_text(), yaml.CSafeLoader))
    assert compiled["pipelineInfo"]["name"] == "taxi"


def test_a_starter_project_is_made_and_the_taxi_data_found(environment):
    environment.run("edgeline", "init", "rooms")
    assert len(list((environment.folder / "rooms").iterdir())) == 5
    code = """
from edgeline.components.ingest.ingest import ingest
facts = ingest(data="package://edgeline.pipelines.taxi/taxi.csv", examples_path="examples")
print(sum(split["rows"] for split in facts["splits"].values()))
"""
    lines = (ROOT / "pipelines" / "taxi" / "taxi.csv").read_text().splitlines()
    assert int(environment.python(code)) == len(lines) - 1


@pytest.mark.parametrize(
    "code",
    [
        "import edgeline",
        "import edgeline.cli.main, contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    edgeline.cli.main.cli(['--help'])",
    ],
    ids=["import", "help"],
)
def test_nothing_heavy_is_imported_before_it_is_used(code):
    lines = [
        "import sys",
        "before = set(sys.modules)",
        code,
        "import json",
        "print(json.dumps(sorted({m.split('.')[0] for m in set(sys.modules) - before})))",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) - sys.stdlib_module_names <= LIGHT
