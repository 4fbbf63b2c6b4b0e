"""The Deployment, and the rules as Argo Events takes them."""

from __future__ import annotations

import copy
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1] / "manifests"))
from schemas import kustomize, validate

from edgeline.lint.lint import lint
from edgeline.triggers.argo import manifests
from edgeline.triggers.rules import TriggerFile, read

ROOT = Path(__file__).parents[2]
KFP = "http://ml-pipeline.kubeflow:8888"


def rule(name: str, **more: Any) -> dict[str, Any]:
    run = {"pipeline": "taxi", "where": KFP, "parameters": {"steps": 7, "model_name": "{model}"}}
    return {"name": name, "model": "taxi", "signals": ["drift"], "run": run, **more}


def test_the_component_fits_the_pipelines_of_an_overlay(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests", symlinks=True)
    team = tmp_path / "team"
    team.mkdir()
    readme = (ROOT / "docs" / "triggers.md").read_text()
    blocks = [each.partition("```")[0] for each in readme.split("```yaml\n")[1:]]
    (shown,) = [each for each in blocks if "components/triggers" in each]
    here = re.sub(r"https://github.com/edgeline/edgeline//(\S+)\?ref=\S+", r"../\1", shown)
    (team / "kustomization.yaml").write_text(here)
    rules = yaml.safe_dump({"rules": [rule("retrain", quorum=5)]})
    (team / "triggers.yaml").write_text(rules)
    read(team / "triggers.yaml")
    objects = kustomize(team)
    for each in objects:
        validate(each)
    kinds = {each["kind"]: each for each in objects}
    assert kinds["ConfigMap"]["data"]["triggers.yaml"] == rules
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    mounted = {volume.get("configMap", {}).get("name") for volume in pod["volumes"]} - {None}
    assert mounted == {kinds["ConfigMap"]["metadata"]["name"]}
    (allowed,) = kinds["Role"]["rules"]
    assert set(allowed["verbs"]) == {"get", "list", "create"}
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["image"].startswith("ghcr.io/edgeline/pipeline-python")
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    found = {str(entry) for entry in lint([tmp_path / "built"])}
    assert {entry for entry in found if "image-not-pinned" not in entry} == set()


def test_argo_events_gets_what_it_can_tell_and_the_rest_is_named() -> None:
    declared = msgspec.convert(
        {
            "rules": [
                rule("retrain", features=["fare"], cool_down=3600, budget=4, then="candidate"),
                rule("weekly", signals=["schedule", "io.edgeline.decay.measured"]),
                rule("fleet", quorum=5),
                rule("laptop", run={"pipeline": "taxi"}),
                rule("window", run={"pipeline": "p", "where": KFP, "parameters": {"a": "{since}"}}),
            ]
        },
        TriggerFile,
    )
    text = manifests(declared)
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for said in (
        "verifies no signature",
        "run any image as any service account of its namespace",
        "rule fleet is left out: a Sensor does not count 5 devices",
        "rule laptop is left out: it runs here",
        "rule window is left out: a Sensor does not know when",
    ):
        assert said in comment
    documents = list(yaml.safe_load_all(text))
    for each in documents:
        validate(each)
    kinds = ["EventSource", "ServiceAccount", "Role", "RoleBinding", "Sensor"]
    assert [each["kind"] for each in documents] == kinds
    sensor = documents[-1]
    wrong = copy.deepcopy(sensor)
    wrong["spec"]["dependencies"][0]["filters"]["datas"] = []
    with pytest.raises(jsonschema.ValidationError, match="datas"):
        validate(wrong)
    jobs = [each["template"]["k8s"]["source"]["resource"] for each in sensor["spec"]["triggers"]]
    for job in jobs:
        validate(job)
    assert [job["metadata"]["name"] for job in jobs] == ["edgeline-retrain", "edgeline-weekly"]
    assert [job["spec"]["ttlSecondsAfterFinished"] for job in jobs] == [21600, 86400]
    (command, _) = [job["spec"]["template"]["spec"]["containers"][0]["command"] for job in jobs]
    assert command == (
        f"edgeline submit taxi --host {KFP} --experiment Default --set steps=7 "
        "--set model_name=taxi --set candidate=retrain"
    ).split(" ")
    (filters, *_) = [each["filters"]["data"] for each in sensor["spec"]["dependencies"]]
    values = {each["path"]: each["value"][0] for each in filters if "comparator" not in each}
    # Argo matches a list as its JSON, and searches
    assert re.search(values["body.data.drifting"], '["miles","fare.mean"]')
    assert not re.search(values["body.data.drifting"], '["fares"]')
    assert re.search(values["body.type"], "io.edgeline.drift.detected")
    assert sensor["spec"]["triggers"][1]["template"]["conditions"] == "weekly-0 || weekly-1"
