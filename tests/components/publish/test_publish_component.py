"""The face, in a local pipeline against the real S3 server."""

import json

import pytest
import yaml
from kfp import compiler, dsl, local
from kfp.dsl import Artifact, Model

from edgeline.components.publish.component import publish
from edgeline.stores.store import fetch


@dsl.pipeline
def publishing(
    edge_model_path: str, evaluation_path: str, verification_path: str, destination: str
) -> int:
    task = publish(
        edge_model=dsl.importer(artifact_uri=edge_model_path, artifact_class=Model).output,
        evaluation=dsl.importer(artifact_uri=evaluation_path, artifact_class=Artifact).output,
        verification=dsl.importer(artifact_uri=verification_path, artifact_class=Artifact).output,
        name="taxi",
        destination=destination,
        pipeline_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
    )
    return task.outputs["version"]


@pytest.fixture
def local_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))


@pytest.mark.usefixtures("local_run")
def test_a_pipeline_publishes_and_tells_no_keys(s3, s3_destination, inputs, tmp_path, capfd):
    run = publishing(**inputs(), destination=s3_destination)
    assert run.output == 1
    bundle = fetch(f"{s3_destination}/taxi/1", tmp_path / "fetched")
    assert bundle.provenance["pipeline"].startswith("publishing")
    assert bundle.provenance["run"]
    output = "".join(capfd.readouterr())
    assert f"{s3_destination}/taxi/1 is published." in output
    told = [file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    assert any('"uri"' in text for text in told)
    for secret in (s3.access_key, s3.secret_key):
        assert not any(secret in text for text in (output, *told))


@pytest.mark.usefixtures("local_run")
def test_a_fault_in_the_pipeline_tells_no_keys(s3, inputs, monkeypatch, capfd):
    monkeypatch.setenv("MINIO_SECRET_KEY", "sesame-sesame")
    with pytest.raises(RuntimeError):
        publishing(**inputs(), destination="s3://bundles/x")
    output = "".join(capfd.readouterr())
    assert "refuses the keys in the environment (SignatureDoesNotMatch)" in output
    assert s3.access_key not in output
    assert "sesame-sesame" not in output


def test_the_compiled_pipeline_installs_nothing(tmp_path):
    compiler.Compiler().compile(publishing, str(tmp_path / "pipeline.yaml"))
    ir = yaml.load((tmp_path / "pipeline.yaml").read_text(), yaml.CSafeLoader)
    (container,) = [
        executor["container"]
        for executor in ir["deploymentSpec"]["executors"].values()
        if "container" in executor
    ]
    assert "pip install" not in json.dumps(container)
