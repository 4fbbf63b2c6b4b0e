"""One pipeline, six environments: what each says reaches every task, and nothing secret does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline import images
from edgeline.client.compiling import compile_pipeline
from edgeline.environments.environment import NAMES, load
from edgeline.errors import EdgelineError
from edgeline.lint.lint import lint

BUCKET = "destination=s3://models/taxi"
Documents = tuple[dict[str, Any], dict[str, Any]]


def compiled(folder: Path, environment: str, *settings: str) -> Documents:
    path = compile_pipeline(
        "taxi", str(folder / "taxi.yaml"), settings=(*settings, BUCKET), environment=environment
    )
    pipeline, platform = yaml.safe_load_all(path.read_text())
    return pipeline, platform


def container(documents: Documents, label: str) -> dict[str, Any]:
    found: dict[str, Any] = documents[0]["deploymentSpec"]["executors"][label]["container"]
    return found


def config(documents: Documents, label: str) -> dict[str, Any]:
    kubernetes = documents[1]["platforms"]["kubernetes"]
    found: dict[str, Any] = kubernetes["deploymentSpec"]["executors"][label]
    return found


def variables(documents: Documents, label: str) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(documents, label).get("env", ())}


def file(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", NAMES)
def test_the_pipeline_of_each_environment_is_taken_strictly_by_the_server(
    name: str, tmp_path: Path
) -> None:
    documents = compiled(tmp_path, name)
    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label in documents[0]["deploymentSpec"]["executors"]:
        message = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        json_format.ParseDict(executors[label], message)
        assert message.security_context.run_as_user == 1000
        assert message.security_context.run_as_non_root


@pytest.mark.parametrize("name", NAMES)
def test_its_manifests_have_no_fault_but_missing_digests(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "taxi.yaml")
    compile_pipeline("taxi", path, kubernetes=True, environment=name, settings=(BUCKET,))
    allowed = set() if "@" in images.reference("train") else {"image-not-pinned"}
    assert {finding.rule for finding in lint([path])} <= allowed


def test_resources_are_the_defaults_and_what_differs_by_task(tmp_path: Path) -> None:
    documents = compiled(tmp_path, "gcp")
    ingest, train = (container(documents, f"exec-{name}") for name in ("ingest", "train"))
    assert ingest["resources"] == {
        "cpuRequest": 0.25,
        "resourceCpuRequest": "250m",
        "cpuLimit": 2.0,
        "resourceCpuLimit": "2",
        "memoryRequest": 0.536870912,
        "resourceMemoryRequest": "512Mi",
        "memoryLimit": 4.294967296,
        "resourceMemoryLimit": "4Gi",
    }
    assert train["resources"]["accelerator"]["type"] == "nvidia.com/gpu"
    assert config(documents, "exec-train")["nodeSelector"]["labels"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4"
    }
    assert config(documents, "exec-train")["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert "nodeSelector" not in config(documents, "exec-ingest")


def test_tasks_get_the_store_s_credentials_by_reference_only(tmp_path: Path) -> None:
    documents = compiled(tmp_path, "onprem")
    assert documents[0]["defaultPipelineRoot"] == "s3://mlpipeline/pipelines"
    assert variables(documents, "exec-publish") == {
        "AWS_ENDPOINT_URL": "http://seaweedfs.kubeflow:9000",
        "AWS_REGION": "us-east-1",
    }
    taken = {
        pair["envVar"]: (secret["secretName"], pair["secretKey"])
        for secret in config(documents, "exec-publish")["secretAsEnv"]
        for pair in secret["keyToEnv"]
    }
    assert taken == {
        "AWS_ACCESS_KEY_ID": ("mlpipeline-minio-artifact", "accesskey"),
        "AWS_SECRET_ACCESS_KEY": ("mlpipeline-minio-artifact", "secretkey"),
    }


def test_the_signing_key_reaches_publish_alone(tmp_path: Path) -> None:
    text = """
name: mine
tasks:
  publish:
    secrets:
      - name: signing
        env: {TARGETS_KEY: targets.pem, EDGELINE_KEY_PASSPHRASE: passphrase}
"""
    documents = compiled(tmp_path, file(tmp_path, text), "signing_keys=env:TARGETS_KEY")
    secrets = config(documents, "exec-publish")["secretAsEnv"]
    assert {secret["secretName"] for secret in secrets} == {"signing"}
    taken = {pair["envVar"] for secret in secrets for pair in secret["keyToEnv"]}
    assert taken == {"TARGETS_KEY", "EDGELINE_KEY_PASSPHRASE"}
    assert "secretAsEnv" not in config(documents, "exec-train")
    parameters = documents[0]["root"]["inputDefinitions"]["parameters"]
    assert parameters["signing_keys"]["defaultValue"] == "env:TARGETS_KEY"


def test_a_site_s_mirror_takes_the_place_of_the_registry(tmp_path: Path) -> None:
    documents = compiled(tmp_path, "edge")
    image = container(documents, "exec-train")["image"]
    last = images.reference("train").rpartition("/")[2]
    assert image == f"registry.site.example:5000/edgeline/{last}"
    assert config(documents, "exec-train")["imagePullSecret"][0]["secretName"] == "site-registry"


def test_beam_runs_where_the_environment_says_unless_the_command_line_says_otherwise(
    tmp_path: Path,
) -> None:
    place = file(tmp_path, "name: mine\nbeam_options: [--runner=DataflowRunner]\n")

    def options(environment: str, *settings: str) -> Any:
        root = compiled(tmp_path, environment, *settings)[0]["root"]
        return root["inputDefinitions"]["parameters"]["beam_options"]["defaultValue"]

    assert options(place) == ["--runner=DataflowRunner"]
    assert options(place, 'beam_options=["--runner=DirectRunner"]') == ["--runner=DirectRunner"]


@pytest.mark.parametrize("name", NAMES)
def test_beam_is_in_the_task_s_process_where_artifacts_are_on_its_disk_only(
    name: str, tmp_path: Path
) -> None:
    root = compiled(tmp_path, name)[0]["root"]
    parameter = root["inputDefinitions"]["parameters"]["beam_options"]
    assert parameter["defaultValue"] == []


def test_caching_off_leaves_no_task_that_may_be_taken_from_an_earlier_run(tmp_path: Path) -> None:
    def cached(caching: str) -> set[str]:
        path = file(tmp_path, f"name: mine\ncaching: {caching}\n")
        pipeline = compiled(tmp_path, path)[0]
        dags = [pipeline["root"]["dag"]]
        dags += [entry["dag"] for entry in pipeline["components"].values() if "dag" in entry]
        return {
            name
            for dag in dags
            for name, task in dag["tasks"].items()
            if task.get("cachingOptions", {}).get("enableCache")
        }

    assert cached("false") == set()
    assert {"ingest", "train", "publish"} <= cached("true")
    assert "notify" not in cached("true")  # the pipeline's own wish


def test_the_same_pipeline_elsewhere_is_another_version(tmp_path: Path) -> None:
    def version(environment: str) -> str:
        path = str(tmp_path / "taxi.yaml")
        settings = (BUCKET,)
        compile_pipeline("taxi", path, True, settings=settings, environment=environment)
        name: str = list(yaml.safe_load_all(Path(path).read_text()))[1]["metadata"]["name"]
        return name

    assert version("aws") == version("aws") != version("gcp")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: mine\nnode_selectr: {}\n", "node_selectr"),
        ("name: mine\ndefaults: {cpu_limit: 2 cores}\n", r"\$\.defaults\.cpu_limit"),
        ("name: mine\nobject_store: {root: azblob://x}\n", r"\$\.object_store\.root"),
        ("name: mine\nrun_as_user: 0\n", r"\$\.run_as_user"),
        (
            "name: mine\ntasks: {trian: {cpu_limit: '2'}}\n",
            "a task 'trian', which is not a component",
        ),
        (
            "name: mine\ntasks: {train: {cpu_request: '2', cpu_limit: 500m}}\n",
            "requests cpu 2 for train, more than its limit 500m",
        ),
        ("name: [mine\n", "is not valid"),
        ("name: mine\nname: laptop\n", "line 2 has 'name' again"),
    ],
)
def test_a_fault_in_an_environment_file_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EdgelineError, match=said):
        compiled(tmp_path, file(tmp_path, text))
    assert not (tmp_path / "taxi.yaml").exists()


def test_an_unknown_environment_is_named_with_those_there_are() -> None:
    with pytest.raises(EdgelineError, match=r"laptop, onprem, gcp, aws, azure, edge\. A \.yaml"):
        load("moon")
