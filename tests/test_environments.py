"""One pipeline, six environments: what each says reaches every task, and nothing secret does."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import json_format
from kfp import kubernetes
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline import images
from edgeline.cli.main import cli
from edgeline.client.compiling import compile_pipeline
from edgeline.environments import NAMES
from edgeline.environments.environment import load
from edgeline.errors import EdgelineError
from edgeline.lint.lint import lint

ENVIRONMENTS = Path(__file__).parents[1] / "edgeline" / "environments"
BUCKET = "destination=s3://models/taxi"
Documents = tuple[dict[str, Any], dict[str, Any]]


def compiled(folder: Path, environment: str, *settings: str) -> Documents:
    path = compile_pipeline(
        "taxi", str(folder / "taxi.yaml"), settings=(*settings, BUCKET), environment=environment
    )
    pipeline, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
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
    shutil.copyfile(ENVIRONMENTS / f"{name}.yaml", tmp_path / "environment.yaml")  # its mirror
    allowed = set() if "@" in images.reference("train") else {"image-not-pinned"}
    assert {finding.rule for finding in lint([tmp_path])} <= allowed


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
    assert "defaultPipelineRoot" not in documents[0]  # the namespace's kfp-launcher says it
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
    assert parameters["with_delivery"]["defaultValue"]["signing_keys"] == "env:TARGETS_KEY"


def test_a_site_s_mirror_takes_the_place_of_the_registry(tmp_path: Path) -> None:
    documents = compiled(tmp_path, "edge")
    image = container(documents, "exec-train")["image"]
    last = images.reference("train").rpartition("/")[2]
    assert image == f"registry.site.example:5000/edgeline/{last}"
    assert config(documents, "exec-train")["imagePullSecret"][0]["secretName"] == "site-registry"


def beam_options(pipeline: dict[str, Any]) -> Any:
    """What the form shows, which is what counts where a form leaves it out."""
    shown = pipeline["root"]["inputDefinitions"]["parameters"]["with_training"]["defaultValue"]
    tasks = pipeline["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    given = tasks["settings"]["inputs"]["parameters"]["defaults"]["runtimeValue"]["constant"]
    assert given.get("training", {}).get("beam_options", []) == shown["beam_options"]
    return shown["beam_options"]


def test_beam_runs_where_the_environment_says_unless_the_command_line_says_otherwise(
    tmp_path: Path,
) -> None:
    place = file(tmp_path, "name: mine\nbeam_options: [--runner=DataflowRunner]\n")

    def options(environment: str, *settings: str) -> Any:
        return beam_options(compiled(tmp_path, environment, *settings)[0])

    assert options(place) == ["--runner=DataflowRunner"]
    assert options(place, 'beam_options=["--runner=DirectRunner"]') == ["--runner=DirectRunner"]


@pytest.mark.parametrize("name", NAMES)
def test_beam_is_in_the_task_s_process_where_artifacts_are_on_its_disk_only(
    name: str, tmp_path: Path
) -> None:
    assert beam_options(compiled(tmp_path, name)[0]) == []


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
        name: str = list(yaml.load_all(Path(path).read_text(), yaml.CSafeLoader))[1]["metadata"][
            "name"
        ]
        return name

    assert version("aws") == version("aws") != version("gcp")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: mine\nnode_selectr: {}\n", "node_selectr"),
        ("name: mine\ndefaults: {cpu_limit: 2 cores}\n", r"\$\.defaults\.cpu_limit"),
        ("name: mine\nobject_store: {root: azblob://x}\n", r"\$\.object_store\.root"),
        ('name: mine\nvariables: {"A\\n": x}\n', r"\$\.variables"),
        ('name: mine\ndefaults: {cpu_limit: "1\\n"}\n', r"\$\.defaults\.cpu_limit"),
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
    with pytest.raises(EdgelineError, match=rf"{', '.join(NAMES)}\. A \.yaml"):
        load("moon")


def test_what_is_of_kubernetes_is_as_kfp_kubernetes_writes_it(tmp_path: Path) -> None:
    """Its import costs more than the whole compiling, so compiling does without."""
    text = """
name: mine
image_pull_secrets: [one, two]
run_as_user: 7
object_store: {secret: {name: store, env: {KEY: key, SECRET: secret}}}
secrets: [{name: own, env: {TOKEN: token}}]
defaults:
  timeout: 60
  node_selector: {disk: ssd}
  tolerations:
    - {key: gpu, operator: Exists, effect: NoSchedule}
    - {key: a, value: b, effect: NoExecute, toleration_seconds: 0}
"""
    task: Any = SimpleNamespace(platform_config={})
    kubernetes.add_node_selector(task, "disk", "ssd")
    kubernetes.add_toleration(task, "gpu", "Exists", effect="NoSchedule")
    kubernetes.add_toleration(task, "a", "Equal", "b", "NoExecute", 0)
    kubernetes.use_secret_as_env(task, "store", {"key": "KEY", "secret": "SECRET"})
    kubernetes.use_secret_as_env(task, "own", {"token": "TOKEN"})
    kubernetes.set_image_pull_secrets(task, ["one", "two"])
    kubernetes.set_security_context(task, run_as_user=7, run_as_non_root=True)
    kubernetes.set_timeout(task, 60)
    wanted = task.platform_config["kubernetes"]
    for secret in (*wanted["secretAsEnv"], *wanted["imagePullSecret"]):
        del secret["secretNameParameter"]  # which says the name once more
    found = config(compiled(tmp_path, file(tmp_path, text)), "exec-ingest")
    assert found == wanted


def test_what_the_author_set_on_a_task_is_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("""
from kfp import dsl, kubernetes

from edgeline.components.ingest.component import ingest


@dsl.pipeline(name="own")
def pipeline(data: str):
    task = ingest(data=data)
    kubernetes.mount_pvc(task, "claim", "/data")
    kubernetes.add_node_selector(task, "disk", "ssd")
    kubernetes.add_toleration(task, "gpu", "Exists")
""")
    text = """
name: mine
defaults: {node_selector: {zone: a}, tolerations: [{key: b, operator: Exists}]}
"""
    output, place = str(tmp_path / "out.yaml"), file(tmp_path, text)
    path = compile_pipeline(str(tmp_path / "own.py"), output, environment=place)
    pipeline, platform = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    found = config((pipeline, platform), "exec-ingest")
    assert found["pvcMount"][0]["mountPath"] == "/data"
    assert found["nodeSelector"]["labels"] == {"disk": "ssd", "zone": "a"}
    assert [entry["key"] for entry in found["tolerations"]] == ["gpu", "b"]


def test_the_command_lists_them() -> None:
    help_text = CliRunner().invoke(cli, ["compile", "--help"], terminal_width=200).output
    assert ", ".join(NAMES) in " ".join(help_text.split())
