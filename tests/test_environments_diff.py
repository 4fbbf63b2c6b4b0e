"""`edgeline environments diff`: what differs by meaning, what is meant, and what cannot be told."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from edgeline.cli.main import cli
from edgeline.environments.apply import apply
from edgeline.environments.environment import load

Json = dict[str, Any]
IR: Json = {
    "pipelineInfo": {"name": "reading"},
    "root": {
        "inputDefinitions": {
            "parameters": {
                "data": {"defaultValue": "s3://data", "parameterType": "STRING"},
                "steps": {"defaultValue": 300.0, "parameterType": "NUMBER_INTEGER"},
                "sites": {"defaultValue": [], "parameterType": "LIST"},
            }
        },
        "dag": {"tasks": {"ingest": {"cachingOptions": {"enableCache": True}}, "train": {}}},
    },
    "components": {
        f"comp-{name}": {"executorLabel": f"exec-{name}"} for name in ("ingest", "train")
    },
    "deploymentSpec": {
        "executors": {
            f"exec-{name}": {"container": {"image": f"ghcr.io/edgeline/{name}:1", "command": ["x"]}}
            for name in ("ingest", "train")
        }
    },
}
ENVIRONMENT: Json = {
    "name": "place",
    "object_store": {"root": "s3://staging/runs", "region": "eu-central-1"},
    "defaults": {"cpu_limit": "1", "memory_limit": "4Gi"},
    "tasks": {"train": {"memory_limit": "16Gi"}},
}
SCHEDULE: Json = {
    "name": "nightly",
    "pipeline": "reading",
    "version": "current",
    "cron": "0 0 3 * * *",
    "parameters": {"data": "s3://staging/data"},
}


def folder(place: Path, environment: Json, schedules: list[Json], ir: Json = IR) -> Path:
    """An environment of a team's repository, with the pipeline as it is compiled for it."""
    for below in ("pipelines/versions", "cluster"):
        (place / below).mkdir(parents=True)
    (place / "environment.yaml").write_text(yaml.safe_dump(environment))
    pipeline, platform = apply(ir, {}, load(str(place / "environment.yaml")))
    version = {
        "kind": "PipelineVersion",
        "metadata": {"name": "reading-1", "namespace": "kubeflow"},
        "spec": {"pipelineName": "reading", "pipelineSpec": pipeline, "platformSpec": platform},
    }
    (place / "pipelines" / "versions" / "reading-1.yaml").write_text(yaml.safe_dump(version))
    (place / "cluster" / "versions.yaml").write_text("reading: reading-1\n")
    (place / "cluster" / "schedules.yaml").write_text(yaml.safe_dump({"schedules": schedules}))
    return place


def diff(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "250"}).invoke(
        cli, ["environments", "diff", *map(str, arguments)]
    )


def differences(*arguments: str | Path) -> dict[str, Json]:
    """By what differs and of which tasks."""
    done = diff(*arguments, "--json")
    assert done.exit_code in (0, 1), done.output
    found = json.loads(done.stdout)["differences"]
    return {" ".join([entry["what"], *entry["tasks"]]): entry for entry in found}


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return folder(tmp_path / "staging", ENVIRONMENT, [SCHEDULE])


def production(tmp_path: Path, ir: Json = IR, schedule: Json | None = None, **fields: Any) -> Path:
    return folder(
        tmp_path / "production", {**ENVIRONMENT, **fields}, [{**SCHEDULE, **(schedule or {})}], ir
    )


def test_what_is_the_same_is_no_difference(staging: Path, tmp_path: Path) -> None:
    # written in another way: 1000m is 1
    other = production(tmp_path, defaults={"cpu_limit": "1000m", "memory_limit": "4096Mi"})
    done = diff(staging, other)
    assert (done.exit_code, done.stdout) == (0, "Nothing differs.\n")


def test_differences_are_told_by_meaning_and_of_which_tasks(staging: Path, tmp_path: Path) -> None:
    secret = {"name": "store", "env": {"AWS_ACCESS_KEY_ID": "key"}}
    other = production(
        tmp_path,
        object_store={"root": "s3://live/runs", "endpoint": "minio:9000", "secret": secret},
        registry="mirror.example/all",
        run_as_user=2000,
        variables={"LEVEL": "info"},
        defaults={"cpu_limit": "1", "memory_limit": "4Gi", "timeout": 60},
        tasks={"train": {"memory_limit": "32Gi", "node_selector": {"disk": "ssd"}}},
        caching=False,
    )
    found = differences(staging, other)
    values = {key: entry["values"] for key, entry in found.items()}
    assert values == {
        "caching ingest": [True, False],
        "identity.AWS_ACCESS_KEY_ID ingest train": [None, "key of the secret store"],
        "identity.securityContext.runAsUser ingest train": ["1000", "2000"],
        "images ingest": ["ghcr.io/edgeline/ingest:1", "mirror.example/all/ingest:1"],
        "images train": ["ghcr.io/edgeline/train:1", "mirror.example/all/train:1"],
        "limits.memory_limit train": ["16Gi", "32Gi"],
        "limits.timeout ingest train": [None, "60"],
        "placement.node_selector.disk train": [None, "ssd"],
        "stores.AWS_ENDPOINT_URL ingest train": [None, "https://minio:9000"],
        "stores.AWS_REGION ingest train": ["eu-central-1", None],
        "stores.root": ["s3://staging/runs", "s3://live/runs"],
        "variables.LEVEL ingest train": [None, "info"],
    }
    table = diff(staging, other)
    assert table.exit_code == 1
    assert "s3://staging/runs" in table.stdout
    assert "[" not in table.stdout  # no markup is left


def test_what_an_environment_says_beside_what_is_compiled_is_compared(
    staging: Path, tmp_path: Path
) -> None:
    other = production(tmp_path, service_account="live-runner", registries=["ghcr.io/acme/tools"])
    for arguments in ((), ("reading",)):
        found = differences(staging, other, *arguments)
        assert {key: entry["values"] for key, entry in found.items()} == {
            "identity.service_account": [None, "live-runner"],
            "images.registries": [None, ["ghcr.io/acme/tools"]],
        }
    meant = listed(tmp_path, *({"what": what, "why": "its own"} for what in found))
    assert diff(staging, other, "--meant", meant).exit_code == 0


def test_parameters_sites_and_the_program_are_compared(staging: Path, tmp_path: Path) -> None:
    ir = copy.deepcopy(IR)
    parameters = ir["root"]["inputDefinitions"]["parameters"]
    parameters["steps"]["defaultValue"] = 30.0
    parameters["sites"]["defaultValue"] = ["north"]
    ir["deploymentSpec"]["executors"]["exec-train"]["container"]["command"] = ["y"]
    found = differences(staging, production(tmp_path, ir))
    assert found.keys() == {"parameters.steps", "sites.sites", "program"}
    assert found["sites.sites"]["values"] == [[], ["north"]]


def test_what_has_no_meaning_here_is_no_secret(staging: Path, tmp_path: Path) -> None:
    """A field of a newer kfp-kubernetes is told by its name."""
    other = production(tmp_path)
    file = other / "pipelines" / "versions" / "reading-1.yaml"
    document = yaml.safe_load(file.read_text())
    kubernetes = document["spec"]["platformSpec"]["platforms"]["kubernetes"]
    kubernetes["deploymentSpec"]["executors"]["exec-train"]["dnsPolicy"] = {"kind": "None"}
    kubernetes["somethingNew"] = 1
    file.write_text(yaml.safe_dump(document))
    found = differences(staging, other)
    assert found.keys() == {
        "other.dnsPolicy.kind train",
        "other.platforms.kubernetes.somethingNew",
    }


def test_schedules_are_compared_by_what_their_runs_get(staging: Path, tmp_path: Path) -> None:
    changed = {"cron": "0 0 4 * * *", "parameters": {"data": "s3://live/data", "steps": 300}}
    other = production(tmp_path, schedule=changed)
    found = differences(staging, other)  # 300 is the pipeline's default, which staging has, too
    assert {key: entry["values"] for key, entry in found.items()} == {
        "schedules.nightly.cron": ["0 0 3 * * *", "0 0 4 * * *"],
        "schedules.nightly.parameters.data": ["s3://staging/data", "s3://live/data"],
    }
    (other / "cluster" / "schedules.yaml").write_text("schedules: []\n")
    assert differences(staging, other)["schedules.nightly"]["values"] == ["0 0 3 * * *", None]


def listed(tmp_path: Path, *entries: Json) -> Path:
    path = tmp_path / "meant.yaml"
    path.write_text(yaml.safe_dump(list(entries)))
    return path


def test_differences_that_are_meant_are_no_failure(staging: Path, tmp_path: Path) -> None:
    other = production(tmp_path, object_store={"root": "s3://live/runs", "region": "us-east-1"})
    root: Json = {"what": "stores.root", "why": "a bucket each"}
    region = {
        "what": "stores.AWS_*",
        "why": "over there",
        "tasks": ["ingest", "train"],
        "values": ["us-east-1", "eu-central-1"],  # in any order
    }
    meant = listed(tmp_path, root, region)
    done = diff(staging, other, "--meant", meant)
    assert done.exit_code == 0, done.output
    assert "a bucket each" in done.stdout
    assert diff(other, staging, "--meant", meant).exit_code == 0
    # another value than that which is meant, another task, another pipeline
    for wrong in (
        {**region, "values": ["us-east-1", None]},
        {**region, "tasks": ["train"]},
        {**region, "pipelines": ["writing"]},
    ):
        assert diff(staging, other, "--meant", listed(tmp_path, root, wrong)).exit_code == 1
    meant = listed(tmp_path, root, {**region, "tasks": ["train"]})
    rows = differences(staging, other, "--meant", meant)
    assert rows["stores.AWS_REGION train"]["meant"] == "over there"
    assert rows["stores.AWS_REGION ingest"]["meant"] is None


def test_an_entry_that_stands_for_nothing_fails_where_all_is_compared(
    staging: Path, tmp_path: Path
) -> None:
    meant = listed(tmp_path, {"what": "stores.root", "why": "long ago"})
    other = production(tmp_path)
    done = diff(staging, other, "--meant", meant)
    assert done.exit_code == 1
    assert "stores.root (long ago) stands for no difference: take it out." in done.stderr
    assert diff(staging, other, "reading", "--meant", meant).exit_code == 0


def test_a_pipeline_that_only_one_has_is_a_difference(staging: Path, tmp_path: Path) -> None:
    other = production(tmp_path)
    file = other / "pipelines" / "versions" / "reading-1.yaml"
    file.write_text(file.read_text().replace("pipelineName: reading", "pipelineName: writing"))
    (other / "cluster" / "versions.yaml").unlink()
    (other / "cluster" / "schedules.yaml").unlink()
    found = json.loads(diff(staging, other, "--json").stdout)["differences"]
    told = {(*entry["pipelines"], entry["what"], *entry["values"]) for entry in found}
    assert ("reading", "pipelines", "compiled", None) in told
    assert ("writing", "pipelines", None, "compiled") in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("two", "holds 2 versions of reading"),
        ("gone", "names reading-9, which"),
        ("broken", "is not a compiled PipelineVersion"),
        ("empty", "holds no environment.yaml"),
        ("list", "each entry has what and why"),
        ("alone", "name a pipeline, too, or the folder"),
    ],
)
def test_what_cannot_be_told_is_another_exit_code(
    change: str, said: str, staging: Path, tmp_path: Path
) -> None:
    other: Path | str = production(tmp_path)
    assert isinstance(other, Path)
    versions = other / "pipelines" / "versions"
    arguments: list[str | Path] = []
    if change == "two":
        text = (versions / "reading-1.yaml").read_text().replace("reading-1", "reading-2")
        (versions / "reading-2.yaml").write_text(text)
        (other / "cluster" / "versions.yaml").unlink()
    elif change == "gone":
        (other / "cluster" / "versions.yaml").write_text("reading: reading-9\n")
    elif change == "broken":
        (versions / "reading-1.yaml").write_text("kind: PipelineVersion\nspec: {pipelineSpec: 3}\n")
    elif change == "empty":
        (other / "environment.yaml").unlink()
    elif change == "list":
        arguments = ["--meant", listed(tmp_path, {"what": "images"})]
    else:
        other = "onprem"
    done = diff(staging, other, *arguments)
    assert done.exit_code == 2 or getattr(done.exception, "exit_code", 0) == 2
    assert said in str(done.exception)


def test_edgeline_s_own_environments_are_compared_by_a_pipeline() -> None:
    found = differences("onprem", "gcp", "taxi")
    assert found["limits.memory_limit train"]["values"] == ["16Gi", "32Gi"]
    assert "program" not in found
