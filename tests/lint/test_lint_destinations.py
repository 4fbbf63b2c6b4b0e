"""Where a compiled pipeline and its schedules publish: never to the disk of a task's own pod."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgeline.client.compiling import compile_pipeline
from edgeline.lint.lint import lint

RULES = ("destination-relative", "destination-not-mounted")
RELATIVE, UNMOUNTED = RULES
SMALL = """
from kfp import dsl, kubernetes
from edgeline.components.ingest.component import ingest
from edgeline.components.publish.component import publish
from kfp.dsl import Artifact, Model

@dsl.pipeline(name="inner")
def inner(where: str):
    model = dsl.importer(artifact_uri="s3://b/m", artifact_class=Model)
    fact = dsl.importer(artifact_uri="s3://b/v", artifact_class=Artifact)
    publish(
        edge_model=model.output, verification=fact.output, name="small", destination=where
    )

@dsl.pipeline(name="small")
def pipeline(folder: str = "s3://models/small", destination: str = "what is this?"):
    ingest(data=destination)
    inner(where=folder)
"""
MOUNTED = """
from kfp import dsl, kubernetes
from edgeline.components.publish.component import publish
from kfp.dsl import Artifact, Model

@dsl.pipeline(name="mounted")
def pipeline(destination: str = "/mnt/models/fleet"):
    model = dsl.importer(artifact_uri="s3://b/m", artifact_class=Model)
    fact = dsl.importer(artifact_uri="s3://b/v", artifact_class=Artifact)
    task = publish(
        edge_model=model.output, verification=fact.output, name="small", destination=destination
    )
    kubernetes.mount_pvc(task, "models", "/mnt/models")
"""


def found(*paths: Path) -> list[tuple[str, str]]:
    return [(entry.rule, entry.path) for entry in lint(paths) if entry.rule in RULES]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same pipeline as IR and as manifests."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "small.py").write_text(SMALL)
    return [
        compile_pipeline(str(folder / "small.py"), str(folder / "out.yaml"), manifests).read_text()
        for manifests in (False, True)
    ]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A pipeline whose destination goes through a parameter of another name and a nested graph."""
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize(
    ("folder", "rule"),
    [
        ("models", RELATIVE),
        ("./models", RELATIVE),
        ("../models", RELATIVE),
        ("~/models", RELATIVE),
        (".", RELATIVE),
        ("/models", UNMOUNTED),
        ("file:///models", UNMOUNTED),
        ("FILE://localhost/models", UNMOUNTED),
        ("s3://models/fleet", None),
        ("minio://models", None),
    ],
)
@pytest.mark.parametrize("manifests", [False, True])
def test_the_default_of_whatever_parameter_publish_is_given(
    folder: str, rule: str | None, manifests: bool, compiled: list[str], tmp_path: Path
) -> None:
    text = compiled[manifests]
    assert "defaultValue: s3://models/small" in text
    output = tmp_path / "small.yaml"
    output.write_text(text.replace("s3://models/small", folder))
    said = found(output)
    assert [entry for entry, _ in said] == ([rule] if rule else [])
    assert all(path.endswith("parameters.folder.defaultValue") for _, path in said)


def test_a_claim_that_is_mounted_at_the_task_keeps_what_is_published(tmp_path: Path) -> None:
    (tmp_path / "mounted.py").write_text(MOUNTED)
    for kubernetes in (False, True):
        output = tmp_path / f"mounted-{kubernetes}.yaml"
        compile_pipeline(str(tmp_path / "mounted.py"), str(output), kubernetes)
        assert found(output) == []
        elsewhere = ("destination=/mnt/models-of-mine",)
        compile_pipeline(str(tmp_path / "mounted.py"), str(output), kubernetes, settings=elsewhere)
        assert [rule for rule, _ in found(output)] == [UNMOUNTED]


def test_a_destination_that_is_written_into_the_pipeline(small: Path, tmp_path: Path) -> None:
    small.write_text(SMALL.replace("where=folder", 'where="models"'))
    output = compile_pipeline(str(small), str(tmp_path / "small.yaml"))
    ((rule, path),) = found(output)
    assert rule == RELATIVE
    assert path.endswith("publish.inputs.parameters.destination")


SCHEDULES = """
schedules:
  - name: nightly
    pipeline: small
    cron: "0 0 3 * * *"
    parameters: {folder: models, destination: rows}
  - name: weekly
    pipeline: unknown
    every: 604800
    parameters: {destination: models}
  - name: hourly
    pipeline: small
    every: 3600
"""


def test_the_parameters_of_schedules(small: Path, tmp_path: Path) -> None:
    compile_pipeline(str(small), f"{tmp_path}/pipelines/", kubernetes=True)
    (tmp_path / "schedules.yaml").write_text(SCHEDULES)
    wanted = [
        (RELATIVE, "schedules[0].parameters.folder"),
        (RELATIVE, "schedules[1].parameters.destination"),  # nothing else is known of it
    ]
    assert found(tmp_path) == wanted
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "pipeline-schedules"},
        "data": {"schedules.yaml": SCHEDULES, "other": "schedules: [1, {parameters: 2}]"},
    }
    (tmp_path / "schedules.yaml").write_text(yaml.safe_dump(config))
    assert [rule for rule, _ in found(tmp_path)] == [RELATIVE, RELATIVE]


@pytest.mark.parametrize(
    "text", ["schedules: 3", "schedules: [null, 3, {}]", "schedules: [{parameters: [1]}]"]
)
def test_malformed_schedules_do_not_stop_the_linter(text: str, tmp_path: Path) -> None:
    (tmp_path / "schedules.yaml").write_text(text)
    assert found(tmp_path) == []
