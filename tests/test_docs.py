"""The READMEs of the components: as the faces are, and right in what they say. The picture of a
run, and links of all documents."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from edgeline import __version__, docs
from edgeline.components import catalogue
from edgeline.errors import EdgelineError

NAMES = catalogue.names()
ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs").glob("*.md"))


def test_every_readme_is_as_its_face_is():
    assert list(docs.drifted()) == [], "make docs"


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_has_every_input_and_output_described(name):
    spec = catalogue.load(name).component_spec
    text = docs.readme(name)
    for key in [*(spec.inputs or {}), *(spec.outputs or {})]:
        ports = text.partition("\n## Metrics\n")[0]  # whose names may be those of parameters
        rows = [line for line in ports.splitlines() if line.startswith(f"| `{key}`")]
        assert rows, f"{key} has no row"
        cells = [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]
        assert all(len(row) == 4 and row[3].strip() for row in cells), rows
    assert f"\n# {name}\n" in text
    assert spec.implementation.container.image.startswith(re.search(r"runs in `(.+?)`", text)[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_valid_python(name):
    snippet = docs.example(name)
    compile(snippet, f"{name}/README.md", "exec")
    assert snippet in docs.readme(name)


def test_the_examples_together_are_a_pipeline_that_compiles(tmp_path):
    from kfp import compiler, dsl

    # each after those whose outputs it takes; an exit handler's task takes none
    waiting = {name: docs.example(name) for name in NAMES}
    ordered, parameters = [], set()
    while waiting:
        ready = min(
            name
            for name, text in waiting.items()
            if not any(f"{other}_task." in text for other in waiting if other != name)
        )
        inputs = catalogue.load(ready).component_spec.inputs or {}
        parameters |= {key for key in inputs if f" {key}={key}," in waiting[ready]}
        ordered.append(waiting.pop(ready).replace("    ...", "    another(data='d')"))
    body = "\n".join(ordered).replace("\n", "\n    ")
    arguments = ", ".join(f"{key}: str" for key in sorted(parameters))
    scope = {"another": catalogue.load("ingest")}
    source = f"def examples({arguments}):\n    {body}"
    exec(compile(source, "examples.py", "exec", dont_inherit=True), scope)  # kfp reads annotations
    pipeline = dsl.pipeline(name="examples")(scope["examples"])
    compiler.Compiler().compile(pipeline, str(tmp_path / "examples.yaml"))
    assert pipeline.pipeline_spec.deployment_spec["executors"]


def test_an_artifact_says_what_it_holds():
    row = next(line for line in docs.readme("train").splitlines() if line.startswith("| `model`"))
    assert [cell.strip() for cell in row.split("|")][2:4] == ["Model", "`model/v1`"]


def test_defaults_and_required_parameters_are_told_apart():
    rows = docs.readme("ingest").splitlines()
    assert any(re.match(r"\| `data` +\| str +\| \*\*required\*\* ", row) for row in rows)
    assert any(re.match(r"\| `encoding` +\| str +\| `'utf-8'` ", row) for row in rows)


def test_signs_of_markup_in_a_docstring_are_escaped():
    assert r"#sha256=\<hex>" in docs.readme("ingest")


def test_drift_is_found_named_and_mended(tmp_path, monkeypatch):
    import edgeline.components

    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "component.py").touch()
    monkeypatch.setattr(
        edgeline.components, "__path__", [str(tmp_path), *edgeline.components.__path__]
    )
    docs.main()
    assert not docs.drifted()
    stale = tmp_path / "train" / "README.md"
    stale.write_text(stale.read_text().replace("1000", "999"))
    assert list(docs.drifted()) == [stale]
    assert "999" in stale.read_text()  # looking writes nothing


def test_an_unknown_component_is_refused():
    with pytest.raises(EdgelineError, match="There is no component 'ingets'"):
        docs.readme("ingets")


def test_the_picture_of_a_run_is_as_new_as_what_draws_its_page(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import screenshot

    assert screenshot.PICTURE.read_bytes().startswith(b"\x89PNG")
    assert screenshot.RECORD.read_text() == screenshot.digests(), "make screenshot"


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{file.name}" for file in GUIDES)])
def test_every_link_within_the_repository_leads_somewhere(name):
    file = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", file.read_text()):
        assert "://" in target or (file.parent / target).exists(), target


STANDS = re.compile(
    r"(?:-python|/edge-server|/edge-server-coral):(\d+\.\d+\.\d+)|newTag: (\d\S*)"
    r"|\?ref=v(\d\S*)|(?s:VERSION\" \{\s+default = \"(.+?)\")"
)
LOCKED = ("images.lock.yaml", "manifests/components/images/kustomization.yaml")  # by a release


def test_every_file_that_names_the_version_names_this_one():
    """A release writes the lock file and what follows from it; CONTRIBUTING lists the others."""
    found = {}
    for folder in ("images", "manifests"):
        for file in sorted((ROOT / folder).rglob("*")):
            name = file.relative_to(ROOT).as_posix()
            if file.suffix not in (".md", ".yaml", ".hcl") or name.endswith(LOCKED):
                continue
            if versions := {v for each in STANDS.findall(file.read_text()) for v in each if v}:
                found[name] = versions
    assert all(versions == {__version__} for versions in found.values()), found
    steps = (ROOT / "CONTRIBUTING.md").read_text().split("## Release")[1]
    assert set(found) == set(re.findall(r"`((?:images|manifests)/\S+\.(?:md|yaml|hcl))`", steps))


def test_the_images_readme_says_what_runs_in_each():
    rows = re.findall(
        r"^\| `(pipeline|train)` \| (.+?) \|", (ROOT / "images/README.md").read_text(), re.M
    )
    runs: dict[str, set[str]] = {}
    for name in NAMES:
        image = catalogue.load(name).component_spec.implementation.container.image
        runs.setdefault(re.search(r"/(\w+)-python", image)[1], set()).add(name)
    assert {image: set(names.split(", ")) for image, names in rows} == {
        image: runs[image] for image in ("pipeline", "train")
    }


def test_every_dependency_has_a_reason():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = config["options.extras_require"].values()
    lines = "\n".join([config["options"]["install_requires"], *extras]).split()
    asked = re.findall(r"^([A-Za-z][\w-]*)(?=[\[>=<;]|$)", "\n".join(lines), re.M)
    table = (ROOT / "ARCHITECTURE.md").read_text().split("## Dependencies, and why each")[1]
    said = set(re.findall(r"[\w-]+", table))
    assert len(asked) > 50
    assert [
        name for name in asked if name not in {*said, "edgeline", "python_version", "sys_platform"}
    ] == []
