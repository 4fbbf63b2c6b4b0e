"""What a person is told by a server with several teams: each recording, asked for again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp_server_api import ApiException
from recorded_server import RECORDED, RecordedServer, conversation, uploads
from rich.console import Console

import edgeline
from edgeline.client.remote import RemoteRun
from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow import versions
from edgeline.kubeflow.api import asking, connect
from edgeline.kubeflow.refusals import refusal
from edgeline.schedules.declaration import read
from edgeline.schedules.reconcile import apply, differences, unpinned

UPLOADS = uploads()
RECORDINGS = sorted(json.loads((RECORDED / "multiuser.json").read_bytes()))
OF_ALICE = "e491c9b5-e7f1-4abb-84f0-9f57d58b7c83"  # a run in team-a
MAY_NOT = r"^{} may not {} in {}: ask its owner for the role {}\.$"


def submit(
    server: RecordedServer, folder: Path, version: str, namespace: str, **options: Any
) -> RemoteRun:
    """A run of what was uploaded then, by a version's name."""
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump_all(UPLOADS[version]["documents"]))
    console = Console(file=io.StringIO(), width=100)
    client = edgeline.Client(server.address, namespace=namespace, console=console)
    run = client.submit(str(path), **options)
    assert isinstance(run, RemoteRun)
    return run


def declare(folder: Path, text: str) -> Any:
    path = folder / "schedules.yaml"
    path.write_text(text)
    return read(path)


def test_each_recording_is_replayed() -> None:
    tests = (Path(__file__), Path(__file__).with_name("test_several_teams.py"))
    told = "".join(path.read_text() for path in tests)
    assert len(RECORDINGS) == 26
    assert [name for name in RECORDINGS if f'"{name}"' not in told] == []


@pytest.mark.parametrize("name", RECORDINGS)
def test_no_refusal_shows_what_the_server_is_written_in(name: str) -> None:
    for exchange in conversation(name):
        if exchange["status"] < 400:
            continue
        error = ApiException(status=exchange["status"], reason="Reason")
        error.body = json.dumps(exchange["answer"])
        said = str(refusal(error, "The server"))
        assert not [word for word in ("&", "{", "SubjectAccess", "rpc", "\n") if word in said], said
        if exchange["status"] == 403:
            who = exchange["who"]
            assert said.startswith(f"{who} may not " if "@" in who else "system:serviceaccount:")
            assert "ask its owner for the role kubeflow-" in said


def test_a_new_pipeline_is_made_in_one_s_own_namespace_and_run(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("submit-own-namespace")
    run = submit(recorded, tmp_path, "taxi-02ecb1325865f60e", "team-a", destination="/data/models")
    assert run.id == OF_ALICE
    made = ["experiments", "pipelines", "pipelines/upload_version", "runs"]
    assert [line.partition("?")[0].partition("v2beta1/")[2] for line in recorded.changes] == made
    # the server does not tell the root of a run; a profile's is this one
    assert run.root == "minio://mlpipeline/private-artifacts/team-a/v2/artifacts"


@pytest.mark.parametrize(
    ("destination", "told"),
    [
        ("s3://mlpipeline/models", True),
        ("minio://mlpipeline/private/team-b/models", True),
        ("s3://mlpipeline/private/team-a/models", False),
        ("s3://mlpipeline/shared/models", False),
        ("s3://others/models", False),
        ("/data/models", False),
    ],
)
def test_a_destination_that_a_profile_s_key_cannot_write_to_is_told(
    destination: str,
    told: bool,
    recorded: RecordedServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorded.replay("submit-own-namespace-again")
    submit(recorded, tmp_path, "taxi-02ecb1325865f60e", "team-a", destination=destination)
    said = f"the key of profile team-a may not write to {destination}, unless"
    assert (said in " ".join(capsys.readouterr().err.split())) is told


@pytest.mark.parametrize(
    ("name", "version", "namespace"),
    [
        ("submit-own-namespace-again", "taxi-02ecb1325865f60e", "team-a"),
        ("token-own-namespace", "taxi-02ecb1325865f60e", "team-a"),
        ("shared-used-from-a-namespace", "digits-9a8c034a8dcc7cdb", "team-b"),
    ],
)
def test_what_is_there_is_run_and_nothing_else_is_made(
    name: str, version: str, namespace: str, recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay(name)
    given = {"destination": "/data/models"} if version.startswith("taxi") else {}
    assert submit(recorded, tmp_path, version, namespace, **given).id
    assert recorded.changes == ["POST /apis/v2beta1/runs"]


def test_an_empty_pipeline_of_one_s_own_hides_no_shared_one(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("shared-used-from-a-namespace")
    own = next(key for key in recorded.replayed if "pipelines [" in key and "team-b" in key)
    recorded.replayed[own] = [(200, {"pipelines": [{"pipeline_id": "own"}]})]
    recorded.answer("GET pipelines/own/versions", {})
    assert submit(recorded, tmp_path, "digits-9a8c034a8dcc7cdb", "team-b").id
    assert recorded.changes == ["POST /apis/v2beta1/runs"]


def test_two_who_submit_at_once_both_run(recorded: RecordedServer, tmp_path: Path) -> None:
    """The second to upload, and to make an experiment, is told that it is there: looked again."""
    recorded.replay("two-at-once-409")
    (upload,) = (key for key in recorded.replayed if "upload_version" in key)
    (listed,) = (key for key in recorded.replayed if key.startswith("GET") and "/versions" in key)
    (_, taken), (_, theirs) = recorded.replayed[upload]
    recorded.replayed[upload] = [(409, taken)]
    recorded.replayed[listed] = [(200, {}), (200, {"pipeline_versions": [theirs]})]
    (experiments,) = (key for key in recorded.replayed if key.startswith("GET") and "exper" in key)
    recorded.replayed[experiments].insert(0, (200, {}))
    recorded.answer("POST experiments", {"code": 6, "message": "already exist"}, 409)
    (sent,) = (
        exchange["sent"]["runtime_config"]["parameters"]
        for exchange in conversation("two-at-once-409")
        if exchange["request"].endswith("/runs")
    )
    run = submit(recorded, tmp_path, "vision-a750f8787e28e3c4", "team-a", **sent)
    assert run.id == "cd0fc70f-0bc0-45e3-a16a-01c5c04a8e72"


def test_who_may_only_look_is_told_which_role_is_missing(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("submit-viewer")
    said = MAY_NOT.format("carol@example.com", "create runs", "team-a", "kubeflow-edit")
    with pytest.raises(EdgelineError, match=said):
        submit(recorded, tmp_path, "taxi-02ecb1325865f60e", "team-a", destination="/data/models")


def test_a_foreign_namespace_is_told(recorded: RecordedServer, tmp_path: Path) -> None:
    recorded.replay("submit-foreign-namespace")
    said = MAY_NOT.format("alice@example.com", "list pipelines", "team-b", "kubeflow-view")
    with pytest.raises(EdgelineError, match=said):
        submit(recorded, tmp_path, "taxi-02ecb1325865f60e", "team-b", destination="/data/models")
    assert recorded.changes == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("token-expired", r"^The token in .*/token has expired: write a new one into it\.$"),
        (
            "token-wrong-audience",
            r"^The token in .* needs the audience pipelines\.kubeflow\.org\.$",
        ),
    ],
)
def test_a_token_that_will_not_do_is_told_with_its_file(
    name: str, said: str, recorded: RecordedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("abc.def.ghi")
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    recorded.replay(name)
    with pytest.raises(EdgelineError, match=said):
        submit(recorded, tmp_path, "taxi-02ecb1325865f60e", "team-a", destination="/data/models")
    assert recorded.changes == []


def test_lists_need_the_namespace_and_nobody_is_told_to_name_a_token(
    recorded: RecordedServer,
) -> None:
    recorded.replay("lists-with-and-without-namespace")
    client = connect(recorded.address, "team-a")
    runs = asking(lambda: client.list_runs(namespace=client.get_user_namespace()))
    assert OF_ALICE in [run.run_id for run in runs.runs]
    said = MAY_NOT.format("alice@example.com", "list runs", "team-b", "kubeflow-view")
    with pytest.raises(EdgelineError, match=said):
        asking(lambda: client.list_runs(namespace="team-b"))
    (nobody,) = (
        (status, answer)
        for status, answer in recorded.replayed[
            "GET /apis/v2beta1/recurringruns [('namespace', 'team-a')]"
        ]
        if status == 401
    )
    recorded.answer("GET recurringruns", nobody[1], nobody[0])
    recorded.replayed = {}
    with pytest.raises(EdgelineError, match="name the file of a token in KF_PIPELINES_SA_TOKEN"):
        asking(lambda: client.list_recurring_runs(namespace="team-a"))


def test_a_foreign_run_is_neither_told_nor_ended(recorded: RecordedServer) -> None:
    recorded.replay("foreign-run-and-lists")
    client = connect(recorded.address, "team-b")
    run = RemoteRun(client, OF_ALICE, "taxi", [], "", Console(file=io.StringIO()), poll=0.0)
    for what, ask in (("get", lambda: run.state), ("get", run.wait), ("terminate", run.cancel)):
        role = "kubeflow-view" if what == "get" else "kubeflow-edit"
        said = f"bob@example.com may not {what} runs in team-a: ask its owner for the role {role}"
        with pytest.raises(EdgelineError, match=said):
            ask()


def test_a_foreign_pipeline_s_versions_are_not_told(recorded: RecordedServer) -> None:
    recorded.replay("foreign-pipeline-by-id-is-run")
    client = connect(recorded.address, "team-a")
    with pytest.raises(EdgelineError, match=r"^alice@example.com may not \w+ pipelines in team-b"):
        asking(lambda: client.list_pipeline_versions("d9e988b3-64c9-44e2-9d58-4193d9077e11"))


def test_a_run_that_is_cancelled_twice_is_cancelled(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("python-client-wait-cancel-twice")
    given = {"destination": "/data/models", "experiment": "notebooks", "name": "from python"}
    run = submit(recorded, tmp_path, "taxi-02ecb1325865f60e", "team-a", **given)
    run.cancel()
    (told,) = (key for key in recorded.replayed if key.endswith(f"/runs/{run.id} []"))
    recorded.replayed[told] = recorded.replayed[told][-1:]  # what it said after that
    run.cancel()
    assert [line.rpartition(":")[2] for line in recorded.changes[-2:]] == ["terminate"] * 2


def test_a_schedule_of_a_shared_pipeline_names_its_version(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("schedules-apply")
    client = connect(recorded.address, "team-a")
    taxi = "{name: nightly taxi, pipeline: taxi, version: latest, cron: 0 0 2 * * *}"
    digits = "{name: shared digits, pipeline: digits, version: latest, every: 3600}"
    for text in (digits, digits.replace("version: latest, ", "")):
        declared = declare(tmp_path, f"schedules: [{taxi}, {text}]")
        with pytest.raises(
            UsageError, match=r"'shared digits' .* `version: digits-ea3cd2103d9d42b5`"
        ):
            differences(client, declared)
    assert recorded.changes == []


def test_a_schedule_of_one_s_own_pipeline_is_made_in_the_namespace(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("schedules-apply")
    client = connect(recorded.address, "team-a")
    text = (
        "owner: real\nschedules:\n  - name: nightly taxi\n    pipeline: taxi\n    version: latest\n"
        "    cron: 0 0 2 * * *\n    experiment: nightly\n"
        "    parameters: {destination: /data/models}\n"
    )
    changes = differences(client, declare(tmp_path, text))
    assert [(change.action, change.name) for change in changes] == [("create", "nightly taxi")]
    apply(client, changes)
    made = [line.partition("v2beta1/")[2] for line in recorded.changes]
    assert made[:2] == ["experiments", "recurringruns"]
    assert made[2].endswith(":enable")


def test_the_account_of_our_manifests_makes_schedules_in_a_new_experiment(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("schedules-service-account-of-manifests")
    client = connect(recorded.address, "team-b")
    text = (
        "owner: git\nschedules:\n  - name: taxi\n    pipeline: taxi\n    version: latest\n"
        "    cron: 0 0 2 * * *\n    experiment: brand new\n    service_account: default-editor\n"
        "    parameters: {destination: /data/models}\n"
    )
    apply(client, differences(client, declare(tmp_path, text)))
    assert [line.partition("v2beta1/")[2] for line in recorded.changes][:2] == [
        "experiments",
        "recurringruns",
    ]


def test_a_viewer_s_schedule_is_refused_and_those_that_run_what_comes_are_named(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("schedules-viewer")
    client = connect(recorded.address, "team-a")
    text = (
        "owner: real\nschedules:\n  - name: nightly taxi\n    pipeline: taxi\n    version: latest\n"
        "    cron: 0 0 3 * * *\n    parameters: {destination: /data/models}\n"
    )
    declared = declare(tmp_path, text)
    named = asking(lambda: unpinned(client, declared))
    assert [line.partition(" on the server names no version")[0] for line in named] == [
        "Schedule 'nightly taxi'",
        "Schedule 'shared digits'",
    ]
    changes = [change for change in differences(client, declared) if change.action == "change"]
    said = MAY_NOT.format("carol@example.com", "create schedules", "team-a", "kubeflow-edit")
    with pytest.raises(EdgelineError, match=said):
        asking(lambda: apply(client, changes))


def test_what_a_stranger_uploaded_is_known_by_its_name(recorded: RecordedServer) -> None:
    """A schedule without a version ran it: the newest of a shared pipeline."""
    recorded.replay("shared-schedule-without-version-runs-strangers-upload")
    client = connect(recorded.address, "team-b")
    pipeline = "51416010-f7c5-41ab-843a-1edf1314d649"
    strange, true = (
        client.get_pipeline_version(pipeline, version)
        for version in (
            "edee95da-122b-4883-a9ae-9bec9ca80338",
            "d25ef547-2382-46e3-a3ea-1a9d52f8cbd2",
        )
    )
    assert versions.misnamed(strange.display_name, strange.pipeline_spec)
    assert not versions.misnamed(true.display_name, true.pipeline_spec)
