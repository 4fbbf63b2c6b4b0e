"""Schedules against KFP's API as documented (see documented_server.py): no real KFP server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_here import Edgeline
from kfp_server_api import ApiException

from edgeline.client.compiling import compile_definition, compile_pipeline
from edgeline.client.pinning import pinned
from edgeline.environments.environment import load
from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow.api import connect
from edgeline.pipelines import catalogue
from edgeline.schedules.declaration import read
from edgeline.schedules.reconcile import apply, differences

pytestmark = pytest.mark.slow

NIGHTLY = """
schedules:
  - name: taxi-nightly
    pipeline: taxi
    version: latest
    cron: 0 0 3 * * *
    parameters: {steps: 200, eval_config: {thresholds: [1, 0.5]}}
  - name: taxi-hourly
    pipeline: taxi
    version: latest
    every: 3600
    start: 2027-01-01T00:00:00+01:00
    enabled: false
    experiment: tries
"""


@pytest.fixture
def folder(tmp_path: Path, server: Any, taxi_spec: dict[str, object]) -> Path:
    server.deploy("taxi", taxi_spec)
    return tmp_path


def declare(folder: Path, text: str) -> str:
    path = folder / "schedules.yaml"
    path.write_text(text)
    return str(path)


def reconcile(server: Any, path: str) -> list[str]:
    """Make it so; returns what was done."""
    client = connect(server.address)
    changes = differences(client, pinned(read(path), Path(path).parent))
    apply(client, changes)
    return [f"{change.action} {change.name}" for change in changes]


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(server, "diff", path)`: the command in this process."""
    here = Edgeline(monkeypatch, capsys)

    def run(server: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
        return here.ended("schedules", *arguments, "--host", server.address)

    return run


def test_what_the_file_says_is_made_and_the_second_time_nothing_is_done(
    folder: Path, any_server: Any
) -> None:
    server = any_server
    path = declare(folder, NIGHTLY)
    assert reconcile(server, path) == ["create taxi-nightly", "create taxi-hourly"]
    before, asked = dict(server.recurring), len(server.changes)
    assert reconcile(server, path) == []
    assert server.recurring == before
    assert len(server.changes) == asked  # not even a request that changes something
    nightly, hourly = before.values()
    assert nightly["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert (nightly["status"], hourly["status"]) == ("ENABLED", "DISABLED")
    assert hourly["trigger"]["periodic_schedule"]["start_time"] == "2026-12-31T23:00:00Z"
    assert nightly["no_catchup"] is True


def test_a_changed_schedule_is_made_anew_and_the_others_are_left_alone(
    folder: Path, server: Any
) -> None:
    reconcile(server, declare(folder, NIGHTLY))
    hourly = next(key for key, run in server.recurring.items() if "periodic" in str(run["trigger"]))
    path = declare(folder, NIGHTLY.replace("0 0 3", "0 30 4").replace("steps: 200", "steps: 9"))
    (change,) = differences(connect(server.address), read(path))
    assert change.was == {
        "cron": "0 0 3 * * *",
        "parameters": {
            "with_training": {"steps": 200},
            "with_evaluation": {"eval_config": {"thresholds": [1, 0.5]}},
        },
    }
    assert reconcile(server, path) == ["change taxi-nightly"]
    assert hourly in server.recurring
    assert len(server.recurring) == 2


def test_what_somebody_changed_by_hand_is_shown_and_changed_back(
    folder: Path, server: Any, run: Run
) -> None:
    path = declare(folder, NIGHTLY)
    reconcile(server, path)
    nightly = next(iter(server.recurring.values()))
    nightly["status"] = "DISABLED"
    assert reconcile(server, path) == ["switch taxi-nightly"]
    assert nightly["status"] == "ENABLED"
    nightly["max_concurrency"] = "7"
    shown = run(server, "diff", path)
    assert shown.returncode == 1
    assert "max_concurrency" in shown.stdout
    assert "7" in shown.stdout
    [found] = json.loads(run(server, "diff", path, "--json").stdout)["differences"]
    assert (found["action"], found["name"]) == ("change", "taxi-nightly")
    assert found["was"]["max_concurrency"] == 7
    assert reconcile(server, path) == ["change taxi-nightly"]
    assert run(server, "diff", path).returncode == 0


def test_apply_keeps_what_left_the_file_and_prune_deletes_it(
    folder: Path, server: Any, run: Run
) -> None:
    path = declare(folder, NIGHTLY)
    assert run(server, "apply", path).returncode == 0
    fewer = declare(folder, NIGHTLY.split("  - name: taxi-hourly")[0])
    assert run(server, "apply", fewer).returncode == 0
    assert len(server.recurring) == 2
    assert run(server, "prune", fewer).returncode == 0
    assert [entry["display_name"] for entry in server.recurring.values()] == ["taxi-nightly"]


def test_one_command_does_both_for_a_job_in_the_cluster(
    folder: Path, server: Any, run: Run
) -> None:
    path = declare(folder, NIGHTLY)
    assert run(server, "apply", path).returncode == 0
    later = NIGHTLY.split("  - name: taxi-hourly")[0].replace("0 0 3", "0 0 4")
    assert run(server, "apply", "--prune", declare(folder, later)).returncode == 0
    (only,) = server.recurring.values()
    assert only["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"
    assert run(server, "apply", "--prune", declare(folder, "schedules: []")).returncode == 0
    assert not server.recurring


def test_a_schedule_whose_experiment_was_deleted_is_made_anew(folder: Path, server: Any) -> None:
    path = declare(folder, NIGHTLY)
    reconcile(server, path)
    (tries,) = [key for key, x in server.experiments.items() if x["display_name"] == "tries"]
    del server.experiments[tries]  # KFP leaves its recurring runs
    assert reconcile(server, path) == ["change taxi-hourly"]
    assert reconcile(server, path) == []


def test_a_server_that_is_rolled_out_is_waited_for(
    folder: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeline.schedules.reconcile.PAUSES", (0.0, 0.0, 0.0))
    path = declare(folder, NIGHTLY)
    server.unready = 3
    assert reconcile(server, path) == ["create taxi-nightly", "create taxi-hourly"]
    assert reconcile(server, path) == []
    server.unready = 9
    before = dict(server.recurring)
    with pytest.raises(ApiException, match="wait for the rollout"):
        reconcile(server, declare(folder, NIGHTLY.replace("0 0 3", "0 0 4")))
    assert server.recurring == before


def test_schedules_of_others_are_never_touched(folder: Path, server: Any, run: Run) -> None:
    reconcile(server, declare(folder, NIGHTLY + "owner: team-a\n"))
    server.make(server.recurring, "recurring_run_id", display_name="by-hand", trigger={})
    before = dict(server.recurring)
    assert run(server, "prune", declare(folder, "schedules: []\nowner: team-b\n")).returncode == 0
    assert server.recurring == before


def test_an_apply_that_was_cut_short_is_ended_by_the_next(folder: Path, server: Any) -> None:
    path = declare(folder, NIGHTLY)
    reconcile(server, path)
    new = declare(folder, NIGHTLY.replace("0 0 3", "0 0 5"))
    client = connect(server.address)
    (change,) = differences(client, read(new))
    client.delete_recurring_run = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        apply(client, [change])
    enabled = [
        entry["trigger"]["cron_schedule"]["cron"]
        for entry in server.recurring.values()
        if entry["display_name"] == "taxi-nightly" and entry["status"] == "ENABLED"
    ]
    assert enabled == ["0 0 3 * * *"]  # never none, never two
    reconcile(server, new)
    assert reconcile(server, new) == []
    (left,) = [x for x in server.recurring.values() if x["display_name"] == "taxi-nightly"]
    assert (left["trigger"]["cron_schedule"]["cron"], left["status"]) == ("0 0 5 * * *", "ENABLED")


def test_a_version_that_is_named_is_kept_when_a_newer_one_comes(
    folder: Path, server: Any, taxi_spec: dict[str, object]
) -> None:
    path = declare(
        folder,
        NIGHTLY.replace("version: latest\n    cron", "version: taxi-1\n    cron"),
    )
    reconcile(server, path)
    server.deploy("taxi", taxi_spec)
    assert reconcile(server, path) == []
    first = next(key for key, x in server.versions.items() if x["display_name"] == "taxi-1")
    nightly = next(iter(server.recurring.values()))
    assert nightly["pipeline_version_reference"]["pipeline_version_id"] == first


OVERLAYS = [
    path
    for path in sorted(
        (Path(__file__).parents[2] / "manifests" / "overlays").glob("*/*/schedules.yaml")
    )
    if "schedules: []" not in path.read_text()
]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.parts[-3])
def test_the_schedules_of_our_overlays_run_what_submit_uploads(path: Path, server: Any) -> None:
    with pytest.raises(EdgelineError, match="which the server does not have: deploy it first"):
        reconcile(server, str(path))
    (schedule,) = read(path).schedules
    version = deploy(server, path.parts[-3], schedule.parameters)
    assert reconcile(server, str(path)) == ["create taxi-nightly"]
    assert reconcile(server, str(path)) == []
    assert reference(server)["pipeline_version_id"] == version


def deploy(server: Any, environment: str, parameters: Any) -> str:
    """Taxi, compiled for an environment, under its content's name."""
    taxi = compile_definition(catalogue.load("taxi"), {}, load(environment), parameters)
    pipeline, platform = taxi.documents
    number = server.deploy("taxi", {"pipeline_spec": pipeline, "platform_spec": platform})
    (entry,) = [each for each in server.versions.values() if each["display_name"] == number]
    entry.update(name=taxi.version, display_name=taxi.version)
    return str(entry["pipeline_version_id"])


def test_a_schedule_whose_runs_the_server_will_not_tell_is_named(
    tmp_path: Path, server: Any, run: Run
) -> None:
    """Five targets make a workflow that Argo compresses; with one less than three it fits."""
    (pipeline,) = compile_definition(
        catalogue.load("digits"), {"destination": "s3://models/edge"}, None, {}
    ).documents
    server.deploy("digits", pipeline)
    five = "schedules:\n  - {name: five, pipeline: digits, version: latest, every: 3600}\n"
    path = declare(tmp_path, five)
    assert "2 of its 5 targets fit" in run(server, "diff", path).stderr
    done = run(server, "apply", path)
    assert done.returncode == 0
    assert "Warning: Schedule 'five': the workflow of this run becomes some 1,3" in done.stderr
    two = five.replace("every: 3600", "every: 3600, parameters: {targets: [onnx, tflite-micro]}")
    assert "Warning" not in run(server, "apply", declare(tmp_path, two)).stderr


def reference(server: Any) -> Any:
    """Which version the only recurring run names."""
    (entry,) = server.recurring.values()
    return entry["pipeline_version_reference"]


def test_schedules_of_pipelines_that_are_not_there_are_told_one_by_one_and_the_others_applied(
    folder: Path, server: Any, run: Run
) -> None:
    wrong = NIGHTLY + (
        "  - {name: early, pipeline: digits, version: latest, every: 3600}\n"
        "  - {name: old, pipeline: taxi, version: taxi-9, every: 3600}\n"
    )
    reconcile(server, declare(folder, NIGHTLY.replace("taxi-nightly", "early")))
    kept = [key for key, run in server.recurring.items() if run["display_name"] == "early"]
    done = run(server, "apply", "--prune", declare(folder, wrong))
    assert done.returncode == 1
    first, second = done.stderr.strip().splitlines()[-2:]
    assert "Schedule 'early' names pipeline 'digits', which the server does not have" in first
    assert "Schedule 'old' names version 'taxi-9', which pipeline 'taxi' does not have" in second
    named = {run["display_name"]: key for key, run in server.recurring.items()}
    assert named.keys() == {"taxi-nightly", "taxi-hourly", "early"}
    assert [named["early"]] == kept  # what it ran before goes on
    said = run(server, "diff", declare(folder, wrong))
    assert said.returncode == 2
    assert "'early'" in said.stderr
    assert "'old'" in said.stderr


def test_a_local_file_names_the_version_of_its_content(folder: Path, server: Any) -> None:
    compiled = folder / "pipelines" / "mine.yaml"
    compiled.parent.mkdir()
    taxi = compile_definition(catalogue.load("taxi"), {"with_training": {"steps": 7}}, None, {})
    compiled.write_text(taxi.text)
    one = "schedules:\n  - {name: one, pipeline: taxi, from: pipelines/mine.yaml, every: 3600}\n"
    path = declare(folder, one)
    with pytest.raises(EdgelineError, match=f"names version '{taxi.version}', which .* not have"):
        reconcile(server, path)
    (schedule,) = pinned(read(path), folder).schedules
    assert schedule.version == taxi.version
    other = declare(folder, one.replace("pipeline: taxi", "pipeline: digits"))
    with pytest.raises(UsageError, match=r"is of pipeline 'digits', and .*mine.yaml is 'taxi'"):
        reconcile(server, other)
    with pytest.raises(UsageError, match=r"pipelines/none\.yaml does not exist"):
        reconcile(server, declare(folder, one.replace("mine", "none")))
    assert server.changes == []


def test_the_current_version_is_what_compile_wrote_and_a_revert_goes_back(
    folder: Path, server: Any
) -> None:
    text = NIGHTLY.split("  - name: taxi-hourly")[0].replace("version: latest", "version: current")
    path, current = declare(folder, text), folder / "versions.yaml"
    with pytest.raises(UsageError, match=r"versions\.yaml, which says .* --current .* writes it"):
        reconcile(server, path)
    current.write_text("digits: digits-1\n")
    with pytest.raises(UsageError, match="'taxi-nightly' runs the current version of 'taxi', and"):
        reconcile(server, path)
    assert server.changes == []
    reverted = []
    for settings in ((), ("steps=7",)):
        arguments = {"settings": settings, "kubernetes": True, "current": str(current)}
        compile_pipeline("taxi", f"{folder}/pipelines/", **arguments)
        reverted.append(current.read_text())
        name = yaml.safe_load(current.read_text())["taxi"]
        assert (folder / "pipelines" / "versions" / f"{name}.yaml").is_file()
        spec = yaml.safe_load((folder / "pipelines" / "versions" / f"{name}.yaml").read_text())
        server.deploy("taxi", spec["spec"]["pipelineSpec"])
        list(server.versions.values())[-1].update(display_name=name, name=name)
    assert "digits: digits-1" in current.read_text()  # others keep theirs
    assert reconcile(server, path) == ["create taxi-nightly"]
    current.write_text(reverted[0])
    (change,) = differences(connect(server.address), pinned(read(path), folder))
    assert (change.action, list(change.was)) == ("change", ["version"])


def test_a_schedule_without_a_version_is_refused_with_the_line_to_add(
    folder: Path, server: Any, run: Run
) -> None:
    unpinned = NIGHTLY.replace("    version: latest\n", "", 1)
    done = run(server, "apply", declare(folder, unpinned))
    assert done.returncode == 2
    assert done.stderr.startswith("Error: Schedule 'taxi-nightly' names no version")
    assert "add the line `version: taxi-1`" in done.stderr
    assert "`version: latest`" in done.stderr
    assert server.changes == []
    assert run(server, "apply", declare(folder, NIGHTLY)).returncode == 0
    named = run(server, "diff", declare(folder, unpinned))  # and there it runs what comes
    assert named.returncode == 2
    assert "'taxi-nightly' on the server names no version: each run takes what was" in named.stderr


def test_a_newer_version_is_told_and_counts_where_it_is_asked_for(
    folder: Path, server: Any, taxi_spec: dict[str, object], run: Run
) -> None:
    path = declare(folder, NIGHTLY.replace("version: latest", "version: taxi-1", 1))
    reconcile(server, path)
    before = run(server, "diff", path, "--newer")
    assert (before.returncode, "newer" in before.stdout) == (0, False)
    server.deploy("taxi", taxi_spec)
    told = run(server, "diff", path)
    assert told.returncode == 0
    said = "Schedule 'taxi-nightly' runs taxi-1; a newer version waits: taxi-2."
    assert said in told.stdout
    assert "taxi-hourly" not in told.stdout  # it takes the newest
    assert run(server, "diff", path, "--newer").returncode == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("cron: 0 0 3 * * *", "cron: 0 3 * * *"), "'taxi-nightly' of .* has a cron .*the six of"),
        (("cron: 0 0 3 * * *\n", "\n"), "'taxi-nightly' of .* needs either cron or every"),
        (("every: 3600", "evry: 3600"), "evry"),
        (("name: taxi-hourly", "name: taxi-nightly"), "is there twice"),
        (("00:00:00+01:00", "00:00:00"), "without a time zone"),
        (("pipeline: taxi\n", "pipeline: tax\n"), "which the server does not have"),
        (("steps: 200", "steps: 200, steps: 300"), "has 'steps' again"),
        (("every: 3600", "every: 1"), "has every: 1, which runs it after 1 s: let 60 s pass"),
        (("every: 3600", "every: -1"), "has every: -1"),
        (("every: 3600", "every: 99999999999999"), "every: 99999999999999, more .* can count"),
        (("cron: 0 0 3 * * *", "cron: '*/20 0 3 * * *'"), "'taxi-nightly' of .* after 20 s"),
        (("cron: 0 0 3 * * *", "cron: 99 0 2 * * *"), "second 99 is not within 0 to 59"),
        (("cron: 0 0 3 * * *", "cron: 0 0 2 * * FOO"), "weekday 'FOO' is not a number or name"),
        (("cron: 0 0 3 * * *", "cron: 0 0 2 L * *"), "day 'L' is not a number"),
        (("cron: 0 0 3 * * *", "cron: '@nonsense'"), "@nonsense is not one of @yearly"),
        (("enabled: false", "end: 2020-01-01T00:00:00Z"), "ends before it starts"),
        (("start: 2027-01-01T00:00:00+01:00", "end: 2020-01-01T00:00:00Z"), "has an end that is p"),
        (
            ("enabled: false", "pipeline_root: nonsense"),
            "pipeline_root 'nonsense', which .* cannot",
        ),
        (("enabled: false", "service_account: Not A Name"), "service_account 'Not A Name', which"),
        (("experiment: tries", f"experiment: {'ü' * 65}"), "an experiment that has 130 bytes"),
        (("name: taxi-hourly", "name: 🚕"), "has a name that has 🚕, which the server's database"),
        (
            ("version: latest\n    every", "version: a\n    from: b\n    every"),
            "both version and f",
        ),
        (("enabled: false", "environment: onprem"), "has an environment without from"),
        (("steps: 200", "stepz: 200"), "'taxi-nightly': parameter stepz: .* Did you mean steps"),
        (("version: latest\n    cron", "version: old\n    cron"), "'old', which .* does not have"),
    ],
)
def test_a_fault_in_the_file_is_named_before_anything_is_changed(
    change: tuple[str, str], said: str, folder: Path, server: Any
) -> None:
    assert change[0] in NIGHTLY
    path = declare(folder, NIGHTLY.replace(*change, 1))
    with pytest.raises(EdgelineError, match=said):
        reconcile(server, path)
    assert server.changes == []


def test_a_server_out_of_reach_is_one_sentence(folder: Path) -> None:
    command = [sys.executable, "-m", "edgeline", "schedules", "diff", declare(folder, NIGHTLY)]
    command += ["--host", "http://127.0.0.1:9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2  # 1 is a difference
    assert "cannot be asked" in done.stderr
    assert "Traceback" not in done.stderr
