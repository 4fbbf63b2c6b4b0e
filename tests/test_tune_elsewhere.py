"""`edgeline tune --as`: the search of a pipeline for Katib and Kubeflow Trainer to carry out."""

from __future__ import annotations

import functools
import json
import re
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from manifests.schemas import CRDS, validate

from edgeline.cli.main import cli
from edgeline.client import asked_trial, katib, optimization_job
from edgeline.client.declared_search import TRIAL, DeclaredSearch, declared
from edgeline.components.settings.objects import PREFIX
from edgeline.environments.environment import Environment, load
from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow import trainer_status
from edgeline.lint.lint import lint
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameters import parameters_of, parse

Json = dict[str, Any]
# of kubeflow/katib, pkg/metricscollector/v1beta1/common/const.go
KATIBS_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
SPACE: Json = {
    "units": {"low": 4, "high": 64, "log": True},
    "layers": {"choices": [[64, 32], [16]]},
    "width": {"low": 4, "high": 30, "step": 8},
    "learning-rate": {"low": 1e-4, "high": 0.1, "log": True},
    "dropout": {"low": 0, "high": 1, "type": "float"},
    "activation": {"choices": ["relu", 'a "quoted" one']},
}
CHOSEN = {
    "units": "17",
    "layers": "[64, 32]",
    "width": "12",
    "learning-rate": "0.01",
    "dropout": "0.25",
    "activation": "1",
}
GIVEN = (
    "data=s3://bucket/trips.csv",
    "label=big_tip",
    "module=edgeline.pipelines.taxi.module",
    "model_name=9-taxis",
    "destination=s3://bucket/models",
    'objectives=["auc"]',
)


@functools.cache
def parameters() -> Json:
    return parameters_of(catalogue.load("tuned"))


def search(*settings: str, space: Json = SPACE, place: Environment | None = None) -> DeclaredSearch:
    place = place or load("onprem")
    usual = (*GIVEN, f"search_space={json.dumps(space)}")
    whole = {each.partition("=")[0]: each for each in (*usual, *settings)}
    return declared(parse(whole.values(), parameters()), parameters(), "Katib", place)


def experiment(*settings: str, place: Environment | None = None) -> Json:
    return katib.experiment(search(*settings), place or load("onprem"), "kubeflow")


def trial_of(document: Json, chosen: dict[str, str]) -> Json:
    """The Job that Katib makes of a template: it replaces texts in its JSON."""
    template = document["spec"]["trialTemplate"]
    text = json.dumps(template["trialSpec"])
    for each in template["trialParameters"]:
        mark = f"${{trialParameters.{each['name']}}}"
        assert mark in text
        text = text.replace(mark, chosen[each["reference"]])
    assert "${trialParameters." not in text
    found: Json = json.loads(text)
    return found


def variables(pod: Json) -> dict[str, str]:
    """What a pod's container sees, of what stands in its template."""
    [container] = pod["spec"]["containers"]
    return {
        each["name"]: each["value"].replace("$$", "$")
        for each in container["env"]
        if "value" in each
    }


def typed_experiment() -> Any:
    """Katib's own types of an Experiment, whose CustomResourceDefinition takes everything."""
    whole = json.loads((CRDS / "katib" / "swagger.json").read_text())
    for each in whole["definitions"].values():
        if "properties" in each:
            each["additionalProperties"] = False
    for name in ("v1.unstructured.Unstructured", "v1.ObjectMeta"):
        whole["definitions"][name] = {"type": "object"}
    return jsonschema.Draft202012Validator(
        {"$ref": "#/definitions/v1beta1.Experiment", "definitions": whole["definitions"]}
    )


def test_an_experiment_is_what_katib_takes() -> None:
    made = experiment("trials=40", "jobs=4", "sampler_seed=7")
    validate(made)
    typed_experiment().validate(made)
    spec = made["spec"]
    assert re.fullmatch(r"model-9-taxis-[0-9a-f]{8}", made["metadata"]["name"])
    assert (spec["maxTrialCount"], spec["parallelTrialCount"]) == (40, 4)
    assert spec["objective"]["objectiveMetricName"] == "auc"
    assert spec["algorithm"] == {
        "algorithmName": "tpe",
        "algorithmSettings": [{"name": "random_state", "value": "7"}],
    }
    assert {each["name"]: each["feasibleSpace"] for each in spec["parameters"]} == {
        "units": {"min": "4", "max": "64", "distribution": "logUniform"},
        "layers": {"list": ["[64, 32]", "[16]"]},
        "width": {"list": ["4", "12", "20", "28"]},
        "learning-rate": {"min": "0.0001", "max": "0.1", "distribution": "logUniform"},
        "dropout": {"min": "0", "max": "1"},
        "activation": {"list": ["0", "1"]},
    }
    # the same search is the same object, another one another
    assert experiment("trials=40", "jobs=4", "sampler_seed=7") == made
    assert experiment("trials=41")["metadata"]["name"] != made["metadata"]["name"]


def test_a_trials_job_is_complete_and_as_restricted_as_a_namespace_may_ask() -> None:
    job = trial_of(experiment(), CHOSEN)
    validate({**job, "metadata": {**job["metadata"], "name": "taxi-1"}})
    pod = job["spec"]["template"]
    assert job["spec"]["backoffLimit"] == 0 and pod["spec"]["restartPolicy"] == "Never"
    [container] = pod["spec"]["containers"]
    assert container["command"] == ["edgeline", "tune-trial"] and "args" not in container
    assert container["image"].startswith("ghcr.io/edgeline/compile-python")
    assert container["resources"]["limits"] == {"cpu": "8", "memory": "16Gi"}  # of train
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["runAsUser"] == 1000
    assert pod["spec"]["securityContext"]["fsGroup"] == 1000
    assert not pod["spec"]["automountServiceAccountToken"]
    keys = [each for each in container["env"] if "valueFrom" in each]
    assert {each["name"] for each in keys} == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    told = json.loads(variables(pod)[TRIAL])
    assert "destination" not in told and f"{PREFIX}delivery" not in told
    assert variables(pod)["KUBEFLOW_TRAINER_OPT_LEARNING_RATE"] == "0.01"


def test_everything_of_an_environment_reaches_a_trial(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        """
name: site
registry: mirror.example/edgeline
image_pull_secrets: [registry]
run_as_user: 2000
service_account: trainer
variables: {HTTPS_PROXY: "http://$(PROXY):80"}
secrets: [{name: journal, env: {PGPASSWORD: password}, optional: true}]
tasks:
  tune:
    cpu_limit: "3"
    timeout: 600
    accelerator: {type: tpu.example/v5, count: 2}
    node_selector: {pool: search}
    tolerations: [{key: spot, operator: Exists, effect: NoExecute, toleration_seconds: 60}]
    labels: {kueue.x-k8s.io/queue-name: team, team: a}
    annotations: {note: one}
    volumes:
      - {path: /data, claim: rows, sub_path: taxi}
      - {path: /tmp, size: 50Gi, storage_class: fast}
      - {path: /dev/shm, memory: 1Gi}
    secret_files: [{name: ca, path: /etc/ca}]
    node_affinity:
      - {key: zone, values: [a, b]}
      - {key: fast, operator: Exists, weight: 5}
    pod_affinity:
      - {labels: {app: db}, topology: zone, apart: true}
      - {labels: {app: store}, topology: host, weight: 3}
"""
    )
    job = trial_of(experiment(place=load(str(file))), CHOSEN)
    validate({**job, "metadata": {**job["metadata"], "name": "taxi-1"}})
    pod = job["spec"]["template"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert "kueue.x-k8s.io/queue-name" not in pod["metadata"]["labels"]
    assert pod["metadata"]["annotations"] == {"note": "one"}
    spec = pod["spec"]
    [container] = spec["containers"]
    assert container["image"].startswith("mirror.example/edgeline/compile-python")
    assert container["resources"]["limits"] == {"cpu": "3", "tpu.example/v5": "2"}
    [proxy] = [each for each in container["env"] if each["name"] == "HTTPS_PROXY"]
    assert proxy["value"] == "http://$$(PROXY):80"  # Kubernetes makes one $ of them, and no more
    assert container["securityContext"]["runAsUser"] == 2000
    assert (spec["serviceAccountName"], spec["activeDeadlineSeconds"]) == ("trainer", 600)
    assert spec["tolerations"][0]["tolerationSeconds"] == 60
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert {*mounted} == {"/data", "/tmp", "/dev/shm", "/etc/ca"}
    named = {each["name"]: each for each in spec["volumes"]}
    assert "ephemeral" in named[mounted["/tmp"]] and len(named) == 4
    assert {*spec["affinity"]} == {"nodeAffinity", "podAffinity", "podAntiAffinity"}


def test_without_a_user_the_cluster_chooses_user_and_group(tmp_path: Path) -> None:
    file = tmp_path / "openshift.yaml"
    file.write_text("name: openshift\nrun_as_user: null\n")
    pod = trial_of(experiment(place=load(str(file))), CHOSEN)["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    context = pod["containers"][0]["securityContext"]
    assert context["runAsNonRoot"] and "runAsUser" not in context


def test_kueue_admits_a_trainjob_by_its_own_label(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    labels = "{kueue.x-k8s.io/queue-name: team, kueue.x-k8s.io/priority-class: low, team: a}"
    file.write_text(f"name: site\ntasks:\n  tune:\n    labels: {labels}\n")
    place = load(str(file))
    runtime, job = optimization_job.documents(search("sampler=random", place=place), place, "team")
    validate(runtime)
    validate(job)
    given = job["spec"]["trainJobTemplate"]["metadata"]["labels"]
    assert given["kueue.x-k8s.io/queue-name"] == "team"
    assert given["kueue.x-k8s.io/priority-class"] == "low"
    [node] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    metadata = node["template"]["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "a" and "kueue" not in json.dumps(runtime)
    # another queue is another search, which can be applied beside it
    file.write_text(file.read_text().replace("queue-name: team", "queue-name: night"))
    other = optimization_job.documents(search("sampler=random"), load(str(file)), "team")
    assert other[1]["metadata"]["name"] != job["metadata"]["name"]


def test_what_katib_would_replace_in_a_parameter_is_refused(tmp_path: Path) -> None:
    note = 'hyperparameters={"note": "${trialParameters.units}"}'
    with pytest.raises(UsageError, match=r"hyperparameters holds \$\{trialParameters\.…\}, which"):
        experiment(note)
    found = search(note, "sampler=random")  # Trainer replaces nothing
    runtime, _ = optimization_job.documents(found, load("onprem"), "team")
    [node] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    told = json.loads(variables(node["template"]["spec"]["template"])[TRIAL])
    hyperparameters = told[f"{PREFIX}training"]["hyperparameters"]
    assert hyperparameters == {"note": "${trialParameters.units}"}
    file = tmp_path / "site.yaml"
    file.write_text("name: site\nvariables: {NOTE: '${trialParameters.units}'}\n")
    with pytest.raises(UsageError, match="Environment site holds"):
        experiment(place=load(str(file)))


def test_an_optimization_job_is_what_trainer_takes() -> None:
    found = search("sampler=random", "trials=20", "jobs=2", "sampler_seed=3")
    runtime, job = optimization_job.documents(found, load("onprem"), "team")
    validate(runtime)
    validate(job)
    spec = job["spec"]
    assert spec["objectives"] == [{"metric": "auc", "direction": "Maximize"}]
    assert spec["searchAlgorithm"] == {"random": {"seed": 3}}
    assert (spec["numTrials"], spec["parallelTrials"]) == (20, 2)
    assert {each["name"]: each["searchSpace"] for each in spec["parameters"]} == {
        "units": {"logUniform": {"min": "4", "max": "64", "type": "Int"}},
        "layers": {"categorical": {"choices": ["[64, 32]", "[16]"]}},
        "width": {"categorical": {"choices": ["4", "12", "20", "28"]}},
        "learning-rate": {"logUniform": {"min": "0.0001", "max": "0.1", "type": "Float"}},
        "dropout": {"uniform": {"min": "0", "max": "1", "type": "Float"}},
        "activation": {"categorical": {"choices": ["0", "1"]}},
    }
    assert spec["trainJobTemplate"]["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    [node] = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    pod = node["template"]["spec"]["template"]
    assert pod["spec"]["containers"][0]["name"] == "node"
    assert json.loads(variables(pod)[TRIAL])["label"] == "big_tip"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["search_space={}"],
            "Katib cannot call search_space(trial) of the module: give the space",
        ),
        (["pruning=median", "search_seconds=60"], "knows nothing like search_seconds, pruning"),
        (["study_folder=/journal"], "Katib knows nothing like study_folder"),
        (["choose_by=accuracy"], "Katib knows nothing like choose_by"),
        (
            ["data=rows.csv"],
            "data is rows.csv, which a trial's pod does not have: put it into a store",
        ),
        (["module=taxi/module.py"], "module is taxi/module.py, which a trial's pod does not"),
        (["data=s3://bucket/a.csv,rows-*.csv"], "data is rows-*.csv, which a trial's pod"),
        (["data=/home/me/rows.csv"], "data is /home/me/rows.csv, which a trial's pod"),
        (["data=file:///home/me/a%20b.csv"], "data is /home/me/a b.csv, which a trial's pod"),
        (["baseline_uri=./loc"], "baseline_uri is loc, which a trial's pod"),
        (["schema_uri=schemas/one"], "schema_uri is schemas/one, which a trial's pod"),
        (['search_space={"a b": {"choices": [1, 2]}}'], "search_space.a b cannot be a variable"),
        (
            ['search_space={"Rate": {"choices": [1, 2]}, "rate": {"choices": [1, 2]}}'],
            "search_space has Rate and rate, which would be the same variable",
        ),
        (
            ['search_space={"units": {"low": 1, "high": 500, "step": 1}}'],
            "search_space.units has 500 values, more than 100",
        ),
        (['hyperparameters={"api_token": "hunter2hunter2"}'], "hyperparameters holds what may be"),
        (['hyperparameters={"a": "postgresql://u:pw@db/x"}'], "hyperparameters holds what may be"),
        (["data=https://me:pw@host/x.csv"], "data holds what may be a secret"),
        (["data=https://host/x.csv?X-Amz-Signature=ab"], "data holds what may be a secret"),
    ],
)
def test_what_nobody_else_can_carry_out_is_refused(
    settings: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").touch()
    (tmp_path / "taxi").mkdir()
    (tmp_path / "taxi" / "module.py").touch()
    with pytest.raises(EdgelineError, match=re.escape(said)):
        search(*settings)


def test_what_a_trial_can_reach_is_told_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(
        """
name: site
tasks:
  tune:
    volumes: [{path: /rows, claim: rows}, {path: /scratch, size: 9Gi}]
    secret_files: [{name: schema, path: /etc/schema}]
"""
    )
    place = load(str(file))
    for settings in (
        ["data=/rows/2026/*.csv,s3://lake/trips#version=3"],
        [f"data=file:///rows/a.csv#sha256={'ab' * 32}", "schema_uri=/etc/schema/one"],
        ["data=postgresql://me@one,two/db", "query=SELECT 1"],
        ["module=/rows/taxi.py", 'column_types={"token": "string"}', 'rename={"api_key": "kind"}'],
    ):
        told = json.dumps(search(*settings, place=place).trial)
        assert all(each.partition("=")[2].strip('"') in told for each in settings[:1])
    for elsewhere in ("/rowsets/a.csv", "/rows/../home/a.csv", "/scratch/a.csv"):
        with pytest.raises(EdgelineError, match=r"which a trial's pod does not have.*/rows\)"):
            search(f"data={elsewhere}", place=place)


def test_a_sampler_that_the_other_lacks_is_refused() -> None:
    with pytest.raises(UsageError, match="Katib has no sampler nsga2: set sampler to one of tpe"):
        experiment("sampler=nsga2")
    with pytest.raises(UsageError, match="OptimizationJob has no sampler tpe yet: set sampler=ra"):
        optimization_job.documents(search(), load("onprem"), "kubeflow")
    with pytest.raises(UsageError, match="at most 100 trials"):
        many = search("trials=101", "sampler=random")
        optimization_job.documents(many, load("onprem"), "kubeflow")


def test_a_trial_is_told_what_katib_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = trial_of(experiment("trials=40", "steps=20"), CHOSEN)["spec"]["template"]
    for name, value in variables(pod).items():
        monkeypatch.setenv(name, value)
    training = asked_trial.asked(variables(pod)[TRIAL], {})[f"{PREFIX}training"]
    assert training["search_space"] == {
        "units": {"choices": [17]},
        "layers": {"choices": [[64, 32]]},
        "width": {"choices": [12]},
        "learning-rate": {"choices": [0.01]},
        "dropout": {"choices": [0.25]},
        "activation": {"choices": ['a "quoted" one']},
    }
    assert (training["trials"], training["steps"]) == (1, 20)
    again = asked_trial.asked(variables(pod)[TRIAL], {"units": "18"})
    assert again[f"{PREFIX}training"]["search_space"]["units"] == {"choices": [18]}


def test_a_trial_that_is_told_nonsense_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = search(space={"units": {"choices": [8, 16]}}).told
    run = functools.partial(CliRunner().invoke, cli)
    for arguments, given, said in (
        ((), "", "it is empty|What the trial is told is missing"),
        ((), "{", "EDGELINE_TRIAL does not hold what a trial is told"),
        ((), "[]", "EDGELINE_TRIAL does not hold what a trial is told"),
        ((), told, "units is not given: give units=VALUE, or the variable KUBEFLOW_TRAINER_OPT_"),
        (("units=9",), told, "units is '9': give one of 8, 16"),
        (("unit=8",), told, "Nothing searches for unit. .*units"),
        (("units",), told, "'units' is not NAME=VALUE"),
        (("units=8", "units=8"), told, "its name is there twice"),
    ):
        if given:
            monkeypatch.setenv(TRIAL, given)
        done = run(["tune-trial", *arguments])
        message = done.output + str(done.exception)
        assert done.exit_code != 0 and re.search(said, message), message


def test_katib_reads_what_a_trial_prints() -> None:
    numbers = {"auc": 0.8125, "size_bytes": 12345.0, "ethos-u55.sram_bytes": 1e22, "loss": -7.5e-05}
    lines = [katib.PRINTED.format(name=name, value=repr(x)) for name, x in numbers.items()]
    read = dict(re.search(katib.FILTER, line).groups()[:2] for line in lines)  # type: ignore[union-attr]
    assert {name: float(text) for name, text in read.items()} == numbers
    # of a filter that somebody takes out, names without a dot are read all the same
    by_default = [re.findall(KATIBS_FILTER, line)[0][:2] for line in lines]
    assert ("auc", "0.8125") in by_default and ("loss", "-7.5e-05") in by_default
    assert not re.search(katib.FILTER, "auc=0.99")  # what the module itself may print


def test_trainer_is_told_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: tmp_path / name for name in ("key", "certificate", "token")}
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", files["key"], "-out", files["certificate"]]
    subprocess.run(["openssl", "req", "-x509", *made, *subject], check=True, capture_output=True)
    files["token"].write_text("of-this-job\n")
    told: list[Any] = []
    answers = [200, 403]

    class Controller(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(answers.pop(0))
            self.end_headers()
            self.wfile.write(b'{"message": "Forbidden"}')

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("localhost", 0), Controller)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["key"])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert not trainer_status.is_there()
    monkeypatch.setenv(trainer_status.URL, f"https://localhost:{server.server_port}/status")
    monkeypatch.setenv(trainer_status.CERTIFICATE, str(files["certificate"]))
    monkeypatch.setenv(trainer_status.TOKEN, str(files["token"]))
    assert trainer_status.is_there()
    trainer_status.tell({"auc": 0.75, "size_bytes": 2048.0})
    [(path, authorization, body)] = told
    assert (path, authorization) == ("/status", "Bearer of-this-job")
    assert body["trainerStatus"]["progressPercentage"] == 100
    assert body["trainerStatus"]["metrics"] == [
        {"name": "auc", "value": "0.75"},
        {"name": "size_bytes", "value": "2048.0"},
    ]
    with pytest.raises(EdgelineError, match=r"HTTP Error 403.*Forbidden.*cannot count it"):
        trainer_status.tell({"auc": 0.75})
    server.shutdown()
    server.server_close()
    with pytest.raises(EdgelineError, match="was not told this trial's metrics"):
        trainer_status.tell({"auc": 0.75})
    monkeypatch.setenv(trainer_status.URL, "http://localhost/status")
    with pytest.raises(EdgelineError, match="its address is not https://"):
        trainer_status.tell({"auc": 0.75})


def test_the_command_writes_what_lint_has_nothing_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["tune", "taxi", "--env", "onprem", "--objective", "auc", "--objective", "size_bytes"]
    given += ["--set", 'search_space={"hidden_units": {"choices": [[8], [16]]}}']
    done = CliRunner().invoke(cli, [*given, "--as", "katib", "-o", "search.yaml"])
    assert done.exit_code == 0, done.output
    assert "Katib searches for auc alone; size_bytes: recorded of each trial." in done.output
    assert "without a digest" in done.output
    [document] = yaml.safe_load_all(Path("search.yaml").read_text())
    validate(document)
    assert document["spec"]["objective"]["additionalMetricNames"] == ["size_bytes"]
    random = ["--as", "optimization-job", "--set", "sampler=random", "--namespace", "team"]
    done = CliRunner().invoke(cli, [*given, *random])
    assert done.exit_code == 0, done.output
    [file] = Path().glob("taxi-*.yaml")
    assert {each["kind"] for each in yaml.safe_load_all(file.read_text())} == {
        "TrainingRuntime",
        "OptimizationJob",
    }
    found = lint([Path("search.yaml"), file])
    assert not [each for each in found if "digest" not in each.message], found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--as", "katib"], "--as katib needs the environment of the trials: give --env"),
        (["--as", "katib", "--env", "laptop"], "Environment laptop is not a cluster"),
        (["--as", "katib", "--env", "onprem", "--cache"], "--json and --root are for a search"),
        (["--as", "katib", "--env", "onprem", "--root", "x"], "--json and --root are for a search"),
        (["--env", "onprem"], "--env is for a manifest: give --as, too, or leave it out"),
        (
            [
                *("--as", "katib", "--env", "onprem", "--objective", "edgetpu.instruction_bytes"),
                *("--set", 'search_space={"learning_rate": {"low": 0.001, "high": 0.1}}'),
            ],
            "edgetpu takes models of quantisation int8, but the edge models are float",
        ),
        (
            [
                *("--as", "katib", "--env", "onprem"),
                *("--set", 'search_space={"unit": {"choices": [8, 16]}}'),
            ],
            "search_space has the hyperparameter 'unit', which build_model of",
        ),
    ],
)
def test_options_that_do_not_fit_together_are_refused(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["tune", "taxi", *arguments])
    assert done.exit_code != 0 and said in done.output + str(done.exception)
