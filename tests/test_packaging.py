"""What is installed: a wheel and an editable install, each in a clean environment.

They are built without the network and without isolation, from a copy of the sources, by the
setuptools of the `test` extra. The environments see this one's packages, but not its edgeline.
"""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trove_classifiers
import yaml
from built_wheel import INSTALLED_AS, ROOT, build, copy_sources, predicted, served

import edgeline

pytestmark = pytest.mark.slow

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
            env=self.variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def variables(self) -> dict[str, str]:
        alone = {"PIP_NO_INDEX": "1", "EDGELINE_WARM_SECONDS": "0"}
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), **alone}

    def serve(self, path: str) -> AbstractContextManager[str]:
        """The address of a server of this environment."""
        command = [self.path / "bin" / "edgeline", "serve", path]
        return served(command, self.folder, self.variables)

    def python(self, code: str) -> str:
        return self.run("python", "-c", code).strip()


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("sources"))


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
    assert metadata["Keywords"] and "Kubeflow" in metadata["Summary"]
    urls = dict(each.split(", ") for each in metadata.get_all("Project-URL"))
    assert {"Documentation", "Changelog", "Issues", "Source"} <= urls.keys()
    assert set(metadata.get_all("Classifier")) <= trove_classifiers.classifiers
    assert set(metadata.get_all("Provides-Extra")) >= {"pipelines", "train", "compile", "serve"}
    assert f"{folder}/licenses/LICENSE" in files.namelist()


def test_the_readme_renders_on_an_index_and_each_link_leads_out_of_it(wheel):
    """By PyPI's own renderer; a relative link would lead nowhere there."""
    from readme_renderer import markdown

    files = zipfile.ZipFile(wheel)
    content = files.read(f"edgeline-{edgeline.__version__}.dist-info/METADATA")
    text = email.message_from_bytes(content).get_payload(decode=True).decode()
    page = markdown.render(text)
    assert page and "<table>" in page
    links = re.findall(r'<(?:a|img)[^>]* (?:href|src)="([^"]*)"', page)
    assert len(links) > 30
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    tag = f"/v{edgeline.__version__}/"
    own = [link.partition(tag)[2] for link in links if tag in link]
    assert len(own) > 30
    assert [path for path in own if not (ROOT / path.partition("#")[0]).exists()] == []
    assert len(re.findall(r"<img[^>]*https://raw", page)) == 2
    assert text.replace(f"https://github.com/edgeline/edgeline/blob{tag}", "").replace(
        f"https://raw.githubusercontent.com/edgeline/edgeline{tag}", ""
    ) == (ROOT / "README.md").read_text("utf-8")


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


UV = Path(sys.executable).with_name("uv")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
CLEAN = {"serve": 200, "pipelines": 700}  # MB that the packages of an extra may take together
HEAVY = ("tensorflow", "apache_beam", "tfx_bsl")
NOT_SERVING = ("kfp", "pyarrow", "pandas", "kubernetes", "tuf", "cryptography")
SCORE = {"amount": [1.0, 2.0], "count": [1], "name": ["a"]}, 7.0  # of the bundle of the tests
OF = {
    "serve": f"""
import edgeline
model = edgeline.load("m")
print(model.predict([{SCORE[0]!r}])["score"].tolist())
""",
    "pipelines": "import edgeline; print(edgeline.Client())",
}


# what reads signatures is of another extra, which is said at the start
SIGNED = """
import edgeline, edgeline.errors
try:
    edgeline.follow("repository", "root.json", state="state")
except edgeline.errors.UsageError as error:
    print(error)
"""


def interpreter(minor: str) -> str:
    """A Python on the PATH, or one of pyenv's, which keeps them off it."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    name = f"python{minor}"
    kept = sorted(pyenv.glob(f"versions/{minor}.*/bin/{name}"), reverse=True)
    for place in filter(None, (shutil.which(name), *kept)):
        asked = [place, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        # pyenv's own command on the PATH fails for versions that are not switched on
        if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == minor:
            return str(place)
    pytest.skip(f"NOT TESTED: edgeline on Python {minor}, which is not here")


def installed(what: str, wheel: Path, folder: Path, python: str = "") -> Environment:
    """A clean environment with extras, of the versions that the tests run with.

    Args:
        python: whose packages come from the package index, as a user gets them; "" for this one's,
            of what uv's cache has since this project's own environment was made.
    """
    path = folder / "venv"
    offline = [] if python else ["--offline"]
    subprocess.run([UV, "venv", "--quiet", "--python", python or sys.executable, path], check=True)
    command = [UV, "pip", "install", "--quiet", "--python", path / "bin" / "python", *offline]
    constraints = ["--constraints", ROOT / "constraints.txt"]
    wanted = f"edgeline[{what}] @ {wheel.as_uri()}"
    done = subprocess.run([*command, *constraints, wanted], capture_output=True, text=True)
    if done.returncode and offline and "cache" in done.stderr:
        pytest.skip(f"NOT TESTED: edgeline[{what}] in a clean environment: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    return Environment(path, folder)


def works(what: str, environment: Environment) -> None:
    """What an extra is for works with its packages alone."""
    sys.path.append(str(ROOT / "tests" / "server"))
    from publishing import bundle, model

    bundle(environment.folder / "m", model(2), recorded=7)
    assert edgeline.__version__ in environment.run("edgeline", "--version")
    said = environment.python(OF[what])
    assert said == ("[[7.0]]" if what == "serve" else "Client(this machine)")
    lacking = HEAVY if what == "pipelines" else (*HEAVY, *NOT_SERVING)
    code = f"""
from importlib.util import find_spec
print([name for name in {lacking} if find_spec(name)])
"""
    assert environment.python(code) == "[]"
    if what == "serve":
        assert "pip install 'edgeline[serve-updates]'" in environment.python(SIGNED)
        row, score = SCORE
        with environment.serve("m") as address:
            assert predicted(address, "m", row)["score"] == [score]
    else:
        given = ("--env", "onprem", "--set", "destination=s3://models/taxi")
        environment.run("edgeline", "compile", "taxi", *given, "-o", "taxi.yaml")
        environment.run("edgeline", "lint", "taxi.yaml")


@pytest.mark.parametrize("what", CLEAN)
def test_an_extra_is_whole_and_small_in_a_clean_environment(what, wheel, tmp_path):
    environment = installed(what, wheel, tmp_path)
    works(what, environment)
    files = [file for file in environment.path.rglob("*") if file.is_file()]
    size = sum(file.lstat().st_size for file in files if file.suffix != ".pyc") / 1e6
    assert size < CLEAN[what], f"{size:.0f} MB"


@pytest.mark.long
@pytest.mark.parametrize("what", CLEAN)
@pytest.mark.parametrize("minor", PYTHONS)
def test_an_extra_is_whole_on_each_python(minor, what, wheel, tmp_path):
    works(what, installed(what, wheel, tmp_path, interpreter(minor)))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("minor", PYTHONS)
def test_each_python_trains_verifies_and_serves_with_all_that_is_to_be_had(minor, wheel, tmp_path):
    """From `pip install edgeline[all]` to a prediction, on real data."""
    environment = installed("all", wheel, tmp_path, interpreter(minor))
    environment.run("edgeline", "init", "diabetes", "--example", "diabetes")
    said = environment.run("edgeline", "run", "diabetes/pipeline.py")
    environment.run("edgeline", "verify", "diabetes/models/diabetes/1")
    header, first = (ROOT / "tests/data/tables/diabetes.csv").read_text().splitlines()[:2]
    row = dict(zip(header.split(","), map(json.loads, first.split(",")), strict=True))
    row.pop("progression")
    with environment.serve("diabetes/models") as address:
        [found] = predicted(address, "diabetes", {name: [each] for name, each in row.items()})
    assert 50 < found < 300, said  # of 25 to 346
