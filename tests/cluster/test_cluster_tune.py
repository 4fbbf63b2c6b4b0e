"""Searches for Katib and Kubeflow Trainer against a real API server: taken, and their trials' pods
admitted where a namespace asks for the strictest of Kubernetes' standards."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_server import ApiServer
from click.testing import CliRunner

from edgeline.cli.main import cli

APPLY = ("apply", "--server-side", "--validate=strict", "-f", "-")
SPACE = (
    '{"hidden_units": {"choices": [[8], [16]]}, '
    '"learning_rate": {"low": 1e-4, "high": 0.1, "log": true}}'
)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """The documents of `edgeline tune taxi --as`, by the system."""
    folder = tmp_path_factory.mktemp("searches")
    found = {}
    for system, more in (("katib", ()), ("optimization-job", ("--set", "sampler=random"))):
        file = folder / f"{system}.yaml"
        given = ["--env", "onprem", "--set", f"search_space={SPACE}", "-o", str(file), *more]
        done = CliRunner().invoke(cli, ["tune", "taxi", "--as", system, *given])
        assert done.exit_code == 0, done.output
        found[system] = list(yaml.safe_load_all(Path(file).read_text()))
    return found


@pytest.mark.parametrize("system", ["katib", "optimization-job"])
def test_a_search_is_taken_and_again_changes_nothing(
    system: str, written: dict[str, list[Json]], api_server: ApiServer
) -> None:
    for document in written[system]:
        api_server.kubectl(*APPLY, given=[document])
        kept = _kept(document, api_server)
        assert _holds(kept["spec"], document["spec"])
        api_server.kubectl(*APPLY, given=[document])
        assert _kept(document, api_server)["metadata"]["generation"] == 1


def test_what_trainer_refuses_is_refused_before(
    written: dict[str, list[Json]], api_server: ApiServer
) -> None:
    job = copy.deepcopy(written["optimization-job"][1])
    job["metadata"]["name"] = "another"
    job["spec"]["numTrials"] = 101  # as `edgeline tune` refuses it
    refused = api_server.try_kubectl(*APPLY, given=[job])
    assert refused.returncode and "numTrials" in refused.stderr


def test_a_trials_pod_is_admitted_under_the_restricted_standard(
    written: dict[str, list[Json]], api_server: ApiServer
) -> None:
    [experiment] = written["katib"]
    [runtime, _] = written["optimization-job"]
    job = experiment["spec"]["trialTemplate"]["trialSpec"]
    [node] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    templates = {
        "trial-of-katib": job["spec"]["template"],
        "trial-of-trainer": node["template"]["spec"]["template"],
    }
    for name, template in templates.items():
        metadata = {**template["metadata"], "name": name, "namespace": "kubeflow"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        api_server.kubectl("create", "-f", "-", given=[pod])  # admission refuses, a dry run warns
        metadata = {**job["metadata"], "name": name, "namespace": "kubeflow"}
        whole = {**job, "metadata": metadata, "spec": {**job["spec"], "template": template}}
        said = api_server.try_kubectl("create", "-f", "-", given=[whole])
        assert said.returncode == 0 and "PodSecurity" not in said.stderr, said.stderr


def _kept(document: Json, api_server: ApiServer) -> Json:
    kind, metadata = document["kind"].lower(), document["metadata"]
    text = api_server.kubectl(
        "get", kind, metadata["name"], "-n", metadata["namespace"], "-o", "yaml"
    )
    found: Json = yaml.safe_load(text)
    return found


def _holds(kept: Any, given: Any) -> bool:
    """Whether nothing of what was given is lost; the server adds defaults."""
    if isinstance(given, dict):
        return all(name in kept and _holds(kept[name], x) for name, x in given.items())
    if isinstance(given, list):
        return len(kept) == len(given) and all(map(_holds, kept, given))
    return bool(kept == given)
