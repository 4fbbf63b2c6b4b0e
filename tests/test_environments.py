"""One pipeline, six environments: what each says reaches every task, and nothing secret does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import json_format
from kfp import compiler, dsl, kubernetes
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from edgeline import images
from edgeline.cli.main import cli
from edgeline.client.compiling import compile_pipeline
from edgeline.components.ingest.component import ingest
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
    path = tmp_path / "pipelines" / "taxi.yaml"
    path.parent.mkdir()
    compile_pipeline("taxi", str(path), kubernetes=True, environment=name, settings=(BUCKET,))
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
    assert train["resources"]["resourceMemoryLimit"] == "32Gi"
    assert config(documents, "exec-train")["activeDeadlineSeconds"] == "86400"
    assert config(documents, "exec-ingest")["activeDeadlineSeconds"] == "21600"


def test_who_trains_or_publishes_candidates_has_what_train_and_publish_have(
    tmp_path: Path,
) -> None:
    path = tmp_path / "candidates.yaml"
    compile_pipeline("candidates", str(path), environment="onprem", settings=(BUCKET,))
    documents = list(yaml.safe_load_all(path.read_text()))
    train = container(documents, "exec-train-candidate")
    assert train["resources"]["resourceMemoryLimit"] == "16Gi"
    keys = [config(documents, f"exec-{name}") for name in ("publish", "publish-candidates")]
    assert keys[0]["secretAsVolume"] == keys[1]["secretAsVolume"] != []
    assert "secretAsVolume" not in config(documents, "exec-train-candidate")


GPU = """
name: mine
registry: mirror.example:5000/edgeline
tasks:
  train:
    accelerator: {type: nvidia.com/gpu, count: 2}
    node_selector: {cloud.google.com/gke-accelerator: nvidia-l4}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
"""


@pytest.mark.parametrize("name", NAMES)
def test_no_environment_waits_for_a_gpu_that_nothing_could_use(name: str, tmp_path: Path) -> None:
    for executor in compiled(tmp_path, name)[0]["deploymentSpec"]["executors"].values():
        assert "accelerator" not in executor["container"].get("resources", {})


def test_a_gpu_is_asked_for_only_by_an_image_that_can_use_it(tmp_path: Path) -> None:
    with pytest.raises(EdgelineError, match=r"2 nvidia\.com/gpu for train, whose image \S+ has no"):
        compiled(tmp_path, file(tmp_path, GPU))
    own = "    image: ghcr.io/acme/train-gpu-python:1\n"
    documents = compiled(tmp_path, file(tmp_path, GPU + own))
    train = container(documents, "exec-train")
    assert train["image"] == "mirror.example:5000/edgeline/train-gpu-python:1"
    assert train["resources"]["accelerator"]["resourceCount"] == "2"
    assert config(documents, "exec-train")["nodeSelector"]["labels"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4"
    }
    assert config(documents, "exec-train")["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    assert "nodeSelector" not in config(documents, "exec-ingest")
    assert container(documents, "exec-ingest")["image"].endswith("pipeline-python:0.1.0")
    with pytest.raises(EdgelineError, match="has no image 'nothing'"):
        compiled(tmp_path, file(tmp_path, GPU + "    image: nothing\n"))


def test_the_first_task_is_told_that_there_is_no_key(tmp_path: Path) -> None:
    """So it can refuse what has no identity; where any task has a key, it cannot know."""
    name = "EDGELINE_IDENTITY_ONLY"
    assert variables(compiled(tmp_path, "gcp"), "exec-settings")[name] == "true"
    assert name not in variables(compiled(tmp_path, "onprem"), "exec-settings")
    text = "name: mine\ntasks: {publish: {secrets: [{name: s, env: {AWS_SECRET_ACCESS_KEY: k}}]}}\n"
    assert name not in variables(compiled(tmp_path, file(tmp_path, text)), "exec-settings")


@pytest.mark.parametrize("name", ["onprem", "azure", "edge"])
def test_publish_alone_sees_the_signing_keys(name: str, tmp_path: Path) -> None:
    documents = compiled(tmp_path, name)
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    having = {label for label, each in executors.items() if "edgeline-signing" in str(each)}
    assert {label.rstrip("-23456789") for label in having} == {"exec-publish"}
    (files,) = config(documents, "exec-publish")["secretAsVolume"]
    assert (files["mountPath"], files["optional"]) == ("/etc/edgeline/signing", True)


def test_two_mounts_at_one_path_are_refused(tmp_path: Path) -> None:
    text = """
name: mine
defaults: {volumes: [{path: /keys, claim: work}]}
tasks: {publish: {secret_files: [{name: keys, path: /keys}]}}
"""
    with pytest.raises(EdgelineError, match="mounts a volume and a secret at /keys"):
        compiled(tmp_path, file(tmp_path, text))


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
        if secret["secretName"] != "edgeline-signing"
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


def test_workers_are_as_many_as_the_environment_says_unless_somebody_says_otherwise(
    tmp_path: Path,
) -> None:
    place = file(tmp_path, "name: mine\nworkers: 4\n")

    def workers(*settings: str) -> Any:
        given = ("checkpoint_dir=s3://bucket/checkpoints", *settings)
        parameters = compiled(tmp_path, place, *given)[0]["root"]["inputDefinitions"]["parameters"]
        return parameters["with_training"]["defaultValue"]["workers"]

    assert workers() == 4
    assert workers("workers=2") == 2


def test_a_task_that_needs_beam_gets_an_image_that_has_it(tmp_path: Path) -> None:
    beam = "name: mine\nbeam_options: [--job_endpoint=beam:8099]\n"
    own = "tasks: {validate: {image: registry.acme.dev/mine:1}}\n"
    for text, image in (
        (beam, images.reference("train")),
        ("name: mine\n", images.reference("pipeline")),
        (beam + own, "registry.acme.dev/mine:1"),
    ):
        documents = compiled(tmp_path, file(tmp_path, text))
        assert container(documents, "exec-validate")["image"] == image


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
  labels: {kueue.x-k8s.io/queue-name: team}
  annotations: {sidecar.istio.io/inject: "false"}
  volumes:
    - {path: /mnt/work, claim: work, sub_path: taxi}
    - {path: /scratch, size: 5Gi}
    - {path: /fast, size: 5Gi, storage_class: ssd}
    - {path: /dev/shm, memory: 2Gi}
  secret_files: [{name: signing, path: /etc/keys}]
  node_affinity:
    - {key: accelerator, values: [l4, a100], weight: 5}
    - {key: spot, operator: DoesNotExist}
workspace: {size: 20Gi, storage_class: ssd, access_modes: [ReadWriteMany]}
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
    kubernetes.add_pod_label(task, "kueue.x-k8s.io/queue-name", "team")
    kubernetes.add_pod_annotation(task, "sidecar.istio.io/inject", "false")
    kubernetes.mount_pvc(task, "work", "/mnt/work", sub_path="taxi")
    one = ["ReadWriteOnce"]
    kubernetes.add_ephemeral_volume(task, "edgeline-scratch", "/scratch", one, "5Gi")
    kubernetes.add_ephemeral_volume(task, "edgeline-fast", "/fast", one, "5Gi", "ssd")
    kubernetes.empty_dir_mount(task, "edgeline-dev-shm", "/dev/shm", "Memory", "2Gi")
    kubernetes.use_secret_as_volume(task, "signing", "/etc/keys")
    wish = {"key": "accelerator", "operator": "In", "values": ["l4", "a100"]}
    kubernetes.add_node_affinity(task, match_expressions=[wish], weight=5)
    need = {"key": "spot", "operator": "DoesNotExist"}
    kubernetes.add_node_affinity(task, match_expressions=[need])
    wanted = task.platform_config["kubernetes"]
    for secret in (*wanted["secretAsEnv"], *wanted["imagePullSecret"], *wanted["secretAsVolume"]):
        del secret["secretNameParameter"]  # which says the name once more
    del wanted["pvcMount"][0]["pvcNameParameter"]
    documents = compiled(tmp_path, file(tmp_path, text))
    assert config(documents, "exec-ingest") == wanted
    message = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
    json_format.ParseDict(config(documents, "exec-ingest"), message)

    @dsl.pipeline(
        name="own",
        pipeline_config=dsl.PipelineConfig(
            workspace=dsl.WorkspaceConfig(
                size="20Gi",
                kubernetes=dsl.KubernetesWorkspaceConfig(
                    pvcSpecPatch={"storageClassName": "ssd", "accessModes": ["ReadWriteMany"]}
                ),
            )
        ),
    )
    def own():
        ingest(data="x")

    compiler.Compiler().compile(own, str(tmp_path / "own.yaml"))
    _, platform = yaml.safe_load_all((tmp_path / "own.yaml").read_text())
    ours = documents[1]["platforms"]["kubernetes"]["pipelineConfig"]
    assert ours == platform["platforms"]["kubernetes"]["pipelineConfig"]


@pytest.mark.parametrize(
    ("volume", "said"),
    [
        ("{path: /x}", "the volume /x needs one of claim, size and memory"),
        ("{path: /x, claim: a, size: 1Gi}", "the volume /x needs one of"),
        ("{path: /x, size: 1Gi, sub_path: y}", "has sub_path without claim"),
        ("{path: /x, claim: a, sub_path: ../y}", "leads out of the claim"),
        ("{path: x, claim: a}", r"\$\.defaults\.volumes\[0\]\.path"),
        ("{path: /a/../etc, claim: a}", r"\$\.defaults\.volumes\[0\]\.path"),
    ],
)
def test_a_volume_that_cannot_be(volume: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(EdgelineError, match=said):
        load(file(tmp_path, f"name: mine\ndefaults: {{volumes: [{volume}]}}\n"))


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


def test_the_example_of_the_manual_is_an_environment(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[1] / "manifests" / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(name: mine\n.*?)```", manual, re.DOTALL)
    found = config(compiled(tmp_path, file(tmp_path, text)), "exec-train")
    assert [mount["mountPath"] for mount in found["pvcMount"]] == ["/mnt/work"]
    assert found["emptyDirMounts"][0]["medium"] == "Memory"
    assert found["podMetadata"]["labels"] == {"kueue.x-k8s.io/queue-name": "team"}
