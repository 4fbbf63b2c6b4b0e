"""Servers that several teams share, as a real one answered (recorded/multiuser.json)."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from recorded_server import RecordedServer, shown, uploads

import edgeline
from edgeline.client import upload
from edgeline.errors import EdgelineError
from edgeline.kubeflow import versions
from edgeline.kubeflow.api import asking, connect, find_version
from edgeline.schedules.declaration import read
from edgeline.schedules.reconcile import differences

pytestmark = pytest.mark.slow

TAKEN = "shared-version-name-taken-by-other-content"
UPLOADS = uploads()


def wanted(version: str, shared: bool = False) -> upload.WantedPipeline:
    pipeline = version.rpartition("-")[0]
    return upload.WantedPipeline(pipeline, version, UPLOADS[version]["documents"], "", shared)


def evil(name: str = TAKEN) -> Any:
    """What a stranger uploaded under the name of somebody else's version."""
    server = RecordedServer()
    server.replay(name)
    (spec,) = [
        version["pipeline_spec"]
        for answers in server.replayed.values()
        for _, answer in answers
        for version in answer.get("pipeline_versions", [])
    ]
    server.shutdown()
    server.server_close()
    return spec


def test_a_pipeline_that_is_shown_and_may_not_be_read_is_not_shared(
    recorded: RecordedServer,
) -> None:
    """As a server that keeps pipelines in Kubernetes shows those of its own namespace."""
    recorded.replay("native-shared-pipeline-that-may-not-be-read")
    client = connect(recorded.address, "team-a")
    found = upload.find(client, wanted("taxi-ad70a819a6629c30"))
    assert found == upload.FoundPipeline(None, None)  # so it is uploaded to one's own
    assert find_version(client, "taxi") == (None, None)
    assert recorded.changes == []


@pytest.mark.parametrize("name", UPLOADS)
def test_a_version_is_known_by_what_the_server_shows_of_it(name: str) -> None:
    documents = UPLOADS[name]["documents"]
    there = shown(documents)
    digest = hashlib.sha256(json.dumps(there, sort_keys=True).encode()).hexdigest()
    assert digest == UPLOADS[name]["shown_sha256"]  # so this is what the server answered
    assert versions.equal(there, documents)
    assert not versions.misnamed(name, there)
    for other in UPLOADS.keys() - {name}:
        assert versions.misnamed(other, there)


def changed(path: tuple[str, ...], value: Any) -> Any:
    """A version of taxi, as the server shows it, with one value changed."""
    there = copy.deepcopy(shown(UPLOADS["taxi-a8804c169288dcc8"]["documents"]))
    inner = there
    for key in path[:-1]:
        inner = inner[key]
    assert inner.get(path[-1]) != value
    inner[path[-1]] = value
    return there


TRAIN = ("pipeline_spec", "deploymentSpec", "executors", "exec-train", "container")


@pytest.mark.parametrize(
    "there",
    [
        changed((*TRAIN, "image"), "example.com/evil"),
        changed((*TRAIN, "env"), [{"name": "PYTHONPATH", "value": "/evil"}]),
        changed(("pipeline_spec", "defaultPipelineRoot"), "s3://elsewhere"),
        changed(("platform_spec", "platforms"), {}),
        changed(("platform_spec",), None),
        changed(("pipeline_spec", "unknown"), 1),
        changed(("pipeline_spec", "root", "inputDefinitions"), {"parameters": float("nan")}),
        {},
        None,
        [],
        "text",
        {"pipeline_spec": None},
    ],
)
def test_one_other_value_is_other_content(there: Any) -> None:
    assert not versions.equal(there, UPLOADS["taxi-a8804c169288dcc8"]["documents"])
    assert versions.misnamed("taxi-a8804c169288dcc8", there)


def test_a_name_that_a_stranger_took_is_refused_and_nothing_is_run(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay(TAKEN)
    path = tmp_path / "digits.yaml"
    documents = UPLOADS["digits-71eb4fba1655e6b0"]["documents"]
    path.write_text(yaml.safe_dump_all(documents))
    client = edgeline.Client(recorded.address, namespace="team-a")
    with pytest.raises(EdgelineError) as caught:
        client.submit(str(path))
    said = str(caught.value)
    assert said.startswith(
        "Version digits-71eb4fba1655e6b0 of pipeline digits on the server is not"
    )
    assert "anybody can upload to a shared pipeline" in said
    assert "make a pipeline digits in team-a" in said
    assert "\n" not in said
    assert recorded.changes == []


def test_a_shared_version_of_the_same_content_is_run(recorded: RecordedServer) -> None:
    recorded.replay("shared-used-from-a-namespace")
    client = connect(recorded.address, "team-b")
    found = upload.find(client, wanted("digits-9a8c034a8dcc7cdb"))
    assert found.place
    assert found.place.shared
    assert found.version
    assert recorded.changes == []


def test_a_version_of_one_s_own_is_found_by_its_content(recorded: RecordedServer) -> None:
    recorded.replay("submit-own-namespace-again")
    client = connect(recorded.address, "team-a")
    found = upload.find(client, wanted("taxi-02ecb1325865f60e"))
    assert found == upload.FoundPipeline(
        upload.ServerPipeline("a3d13d9b-126d-4349-b0a6-d57a30bd6082"),
        "810a5279-9717-4e92-81d3-2f1398e10730",
    )


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("shared-new-version-by-any-user", "digits-ac2427b8eac30ba3"),
        ("shared-new-version-by-viewer", "tabular-304c716e1a24f07a"),
    ],
)
def test_what_is_new_never_goes_to_a_shared_pipeline_unasked(
    name: str, version: str, recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay(name)
    namespace = "team-a" if "viewer" in name else "team-b"
    client = connect(recorded.address, namespace)
    found = upload.find(client, wanted(version))
    assert found == upload.FoundPipeline(None, None)  # in the namespace there is no such pipeline
    recorded.answer("POST pipelines", {"pipeline_id": "own"})
    recorded.answer("POST pipelines/upload_version", {"pipeline_version_id": "new"})
    recorded.replayed = {}
    (tmp_path / "pipeline.yaml").write_text("{}")
    made = upload.upload(client, wanted(version), found, tmp_path / "pipeline.yaml")
    assert made == upload.FoundPipeline(upload.ServerPipeline("own"), "new")
    assert [line for line in recorded.changes if "upload_version" in line] == [
        f"POST /apis/v2beta1/pipelines/upload_version?name={version}&pipelineid=own"
    ]


def test_shared_uploads_there_and_says_who_runs_it(
    recorded: RecordedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.replay("shared-new-version-by-any-user")
    client = connect(recorded.address, "team-b")
    new = wanted("digits-ac2427b8eac30ba3", shared=True)
    found = upload.find(client, new)
    assert found.place
    (tmp_path / "pipeline.yaml").write_text("{}")
    made = upload.upload(client, new, found, tmp_path / "pipeline.yaml")
    assert made.version
    assert made.place == found.place
    said = " ".join(capsys.readouterr().err.split())
    assert "schedules of every team that name no version run it from now on" in said


def test_two_who_upload_at_once_both_get_the_version(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("two-at-once-409")
    client = connect(recorded.address, "team-a")
    new = wanted("vision-a750f8787e28e3c4")
    found = upload.FoundPipeline(
        upload.ServerPipeline("4ce5253e-72b8-4b3e-9e61-3482e6d36732"), None
    )
    (tmp_path / "pipeline.yaml").write_text("{}")
    key = next(key for key in recorded.replayed if key.startswith("GET") and "versions" in key)
    upload_key = next(key for key in recorded.replayed if "upload_version" in key)
    for spec in (shown(list(new.documents)), evil()):
        theirs = {"pipeline_version_id": "theirs", "pipeline_spec": spec}
        recorded.replayed[key] = [(200, {"pipeline_versions": [theirs]})]
        recorded.replayed[upload_key] = [(409, {"error_message": "Failed to create"})]
        if spec == evil():
            with pytest.raises(EdgelineError, match="is not what would be uploaded"):
                upload.upload(client, new, found, tmp_path / "pipeline.yaml")
        else:
            made = upload.upload(client, new, found, tmp_path / "pipeline.yaml")
            assert made.version == "theirs"


def test_a_viewer_s_upload_is_refused_with_the_role_that_is_missing(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay("submit-viewer-new-version-400-without-reason")
    recorded.answer("GET pipelines", {})  # no shared one either
    client = connect(recorded.address, "team-a")
    new = wanted("taxi-39e5bcf07801ac46")
    found = upload.find(client, new)
    (tmp_path / "pipeline.yaml").write_text("{}")
    with pytest.raises(EdgelineError, match=r"namespace team-a: .* role kubeflow-edit\.$"):
        asking(lambda: upload.upload(client, new, found, tmp_path / "pipeline.yaml"))


@pytest.mark.parametrize(
    "name", ["submit-no-namespace", "schedules-no-namespace", "shared-new-version-without-identity"]
)
def test_without_a_namespace_nothing_is_asked_but_what_kind_of_server_it_is(
    name: str, recorded: RecordedServer
) -> None:
    recorded.replay(name)
    with pytest.raises(EdgelineError, match="has several teams"):
        connect(recorded.address)
    assert recorded.asked == ["GET /apis/v2beta1/healthz"]


@pytest.mark.parametrize("home", ["of kfp", "unwritable"])
def test_the_namespace_kubeflow_is_that_one_whatever_kfp_noted(
    home: str, recorded: RecordedServer, tmp_path: Path
) -> None:
    """kfp takes its default value for none given, and its file of settings decides then."""
    recorded.replay("namespace-kubeflow-ignored-for-context")  # two schedules in team-a
    own = "GET /apis/v2beta1/recurringruns [('namespace', 'kubeflow')]"
    recorded.replayed[own] = [(200, {})]
    noted = tmp_path / ".config" / "kfp" / "context.json"
    noted.parent.mkdir(parents=True)
    noted.write_text('{"namespace": "team-a"}')
    file = tmp_path / "none.yaml"
    file.write_text("owner: real\nschedules: []\n")
    command = [sys.executable, "-m", "edgeline", "schedules", "prune", str(file)]
    done = subprocess.run(
        [*command, "--host", recorded.address, "--namespace", "kubeflow"],
        env={"HOME": str(tmp_path) if home == "of kfp" else "/dev/null/none", "PATH": "/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing differs." in done.stdout
    assert recorded.changes == []
    asked = [line for line in recorded.asked if "recurringruns" in line]
    assert all("namespace=kubeflow" in line for line in asked)
    assert len(asked) == 1
    assert noted.read_text() == '{"namespace": "team-a"}'


def test_a_pod_s_own_namespace_is_taken_and_noted_nowhere(
    recorded: RecordedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.replay("submit-own-namespace-again")
    (tmp_path / "namespace").write_text("team-a\n")
    monkeypatch.setattr("kfp.Client._NAMESPACE_PATH", str(tmp_path / "namespace"))
    assert connect(recorded.address).get_user_namespace() == "team-a"
    assert connect(recorded.address, "kubeflow").get_user_namespace() == "kubeflow"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("answer", [[], "ok", 1, {"status": "ok"}, {"apiServerReady": False}])
def test_a_server_that_does_not_say_whether_it_has_teams_is_not_taken_to_have_none(
    answer: Any, recorded: RecordedServer
) -> None:
    recorded.answer("GET healthz", answer)
    with pytest.raises(EdgelineError, match="does not say whether it has several teams"):
        connect(recorded.address, "team-a")


@pytest.mark.parametrize("namespace", ["", "Team A", "team_a", "a" * 64, "-a", "team-a\n"])
def test_a_namespace_that_none_can_be_is_refused(namespace: str) -> None:
    with pytest.raises(EdgelineError, match=r"^Namespace .* is refused by Kubernetes"):
        connect("http://127.0.0.1:9", namespace)


def test_a_schedule_runs_no_version_that_is_not_what_its_name_says(
    recorded: RecordedServer, tmp_path: Path
) -> None:
    recorded.replay(TAKEN)
    recorded.answer("GET recurringruns", {})
    (tmp_path / "schedules.yaml").write_text(
        "schedules: [{name: s, pipeline: digits, version: digits-71eb4fba1655e6b0, every: 3600}]"
    )
    client = connect(recorded.address, "team-a")
    with pytest.raises(EdgelineError, match="has other content than its name says"):
        differences(client, read(tmp_path / "schedules.yaml"))
    assert recorded.changes == []
