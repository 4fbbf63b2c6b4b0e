"""How a KFP server is reached, by its API as documented (see documented_server.py)."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from documented_server import DocumentedServer

import edgeline
from edgeline.errors import EdgelineError
from edgeline.kubeflow import api as kubeflow
from edgeline.kubeflow.api import asking, connect, pipeline_id
from edgeline.schedules.declaration import read
from edgeline.schedules.reconcile import apply, differences

ONE = (
    "schedules: [{name: one, pipeline: taxi, version: taxi-1, every: 60, parameters: {steps: 7}}]\n"
)


def declare(folder: Path, text: str = ONE) -> Any:
    path = folder / "schedules.yaml"
    path.write_text(text)
    return read(path)


def test_more_schedules_and_versions_than_a_page_holds_are_all_seen(
    server: Any, taxi_spec: dict[str, object], tmp_path: Path
) -> None:
    server.page = 200  # the most that a real one gives; we ask for 100
    for _ in range(130):
        server.deploy("taxi", {"root": taxi_spec["root"]})
    text = "".join(
        f"  - {{name: s{n}, pipeline: taxi, version: taxi-{n}, every: 60}}\n" for n in range(1, 131)
    )
    declared = declare(tmp_path, f"schedules:\n{text}")
    client = connect(server.address)
    apply(client, differences(client, declared))
    assert len(server.recurring) == 130
    asked = len(server.changes)
    assert differences(client, declared) == []
    assert len(server.changes) == asked


def test_the_account_that_the_server_chooses_is_no_difference(
    any_server: Any, taxi_spec: dict[str, object], tmp_path: Path
) -> None:
    server = any_server
    server.deploy("taxi", taxi_spec)
    client = connect(server.address)
    apply(client, differences(client, declare(tmp_path, ONE)))
    (made,) = server.recurring.values()
    assert made["service_account"] == "pipeline-runner"
    assert differences(client, declare(tmp_path, ONE)) == []
    other = ONE.replace("every", "service_account: trainer, every")
    (change,) = differences(client, declare(tmp_path, other))
    assert (change.was, change.shall["service_account"]) == (
        {"service_account": "pipeline-runner"},
        "trainer",
    )


def test_a_busy_server_is_asked_again_but_nothing_is_made_twice(server: Any) -> None:
    client = connect(server.address)
    server.troubles = [503, 502]
    assert pipeline_id(client, "taxi") is None
    server.troubles, before = [503], len(server.changes)
    with pytest.raises(EdgelineError, match=r"refuses \(503\): upstream connect error"):
        asking(lambda: client.terminate_run("0"))
    assert len(server.changes) == before + 1


def test_a_silent_server_is_not_waited_for_for_ever(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeflow, "TIMEOUT", (1.0, 0.2))
    client = connect(server.address)
    server.troubles = [1.0, 1.0]
    with pytest.raises(EdgelineError, match=r"cannot be asked \(.*Read timed out"):
        asking(lambda: pipeline_id(client, "taxi"))


def test_a_token_is_read_anew_for_each_request(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.token = "first"
    nobody = connect(server.address)  # what kind of server it is, it tells everybody
    with pytest.raises(EdgelineError, match=r"refuses \(401\): .*identity is empty.*SA_TOKEN_PATH"):
        asking(lambda: pipeline_id(nobody, "taxi"))
    path = tmp_path / "token"
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(path))
    with pytest.raises(EdgelineError, match="which is not there"):
        connect(server.address)
    path.write_text("first")
    client = connect(server.address)
    server.token = "second"
    with pytest.raises(EdgelineError, match=r"The token in .*token has expired: write a new one"):
        asking(lambda: pipeline_id(client, "taxi"))
    path.write_text("second")  # as the kubelet does before the first one expires
    assert pipeline_id(client, "taxi") is None
    path.unlink()
    with pytest.raises(EdgelineError, match=r"token.* No such file|No such file.*token"):
        asking(lambda: pipeline_id(client, "taxi"))


def test_a_page_to_sign_in_on_is_no_answer(server: Any) -> None:
    client = connect(server.address)
    server.troubles = ["<!DOCTYPE html><title>Dex</title>"]
    with pytest.raises(EdgelineError, match="answers with a page to sign in on"):
        pipeline_id(client, "taxi")


def test_each_profile_has_its_own_pipelines_and_sees_the_shared_ones(
    any_server: Any, taxi_spec: dict[str, object], tmp_path: Path
) -> None:
    server = any_server
    server.multi_user = True
    server.deploy("shared", taxi_spec)
    server.deploy("taxi", taxi_spec, "team-b")
    ours = connect(server.address, "team-a")
    assert pipeline_id(ours, "shared")
    assert pipeline_id(ours, "taxi") is None
    run = edgeline.Client(server.address, namespace="team-a").submit("digits", name="mine")
    (made,) = [x for x in server.pipelines.values() if x["display_name"] == "digits"]
    assert made["namespace"] == "team-a"
    reference = server.runs[run.id]["pipeline_version_reference"]
    assert reference["pipeline_id"] == made["pipeline_id"]
    assert (
        len([x for x in server.versions.values() if x["pipeline_id"] == made["pipeline_id"]]) == 1
    )
    schedules = declare(tmp_path, ONE.replace("taxi", "shared"))  # shared-1
    apply(ours, differences(ours, schedules))
    assert [entry["namespace"] for entry in server.recurring.values()] == ["team-a"]
    assert differences(ours, schedules) == []
    assert not (tmp_path / "home").exists()  # kfp would note the namespace for every later client


def test_a_profile_that_is_not_named_is_said(any_server: Any) -> None:
    any_server.multi_user = True
    with pytest.raises(EdgelineError, match=r"has several teams, .*: give --namespace"):
        connect(any_server.address)
    assert any_server.asked == ["GET /apis/v2beta1/healthz"]


def test_a_viewer_uploads_nothing_for_all_teams_either(
    server: Any, taxi_spec: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    """The server would take the version from anybody, and then refuse the run."""
    server.multi_user = server.viewer = True
    server.deploy("taxi", taxi_spec)
    server.make(server.experiments, "experiment_id", display_name="Default", namespace="team-a")
    before = dict(server.versions)
    for shared in (True, False):
        with pytest.raises(EdgelineError, match=r"^somebody may not create \w+ in team-a: ask"):
            edgeline.Client(server.address, namespace="team-a").submit("taxi", shared=shared)
        assert server.versions == before
    server.viewer = False
    made = edgeline.Client(server.address, namespace="team-a").submit("taxi", shared=True)
    assert len(server.versions) == len(before) + 1
    assert {x["namespace"] for x in server.pipelines.values()} == {""}
    assert made.id in server.runs
    assert "shared pipeline taxi" in capsys.readouterr().err


def test_without_cache_no_task_is_taken_from_earlier_runs_and_no_version_is_made(
    server: Any,
) -> None:
    client = edgeline.Client(server.address)
    client.submit("taxi", name="cached")
    (version,) = server.versions.values()
    assert json.dumps(version["pipeline_spec"]).count('"enableCache": true') > 5
    run = client.submit(
        "taxi", name="anew", environment="onprem", cache=False, destination="s3://b"
    )
    assert list(server.versions.values()) == [version]  # which is what schedules take as the newest
    sent = server.runs[run.id]
    assert "pipeline_version_reference" not in sent
    assert "enableCache" not in json.dumps(sent["pipeline_spec"])
    assert sent["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert sent["runtime_config"]["parameters"]["destination"] == "s3://b"


def test_the_namespace_of_an_environment_is_whose_the_run_is(server: Any, tmp_path: Path) -> None:
    server.multi_user = True
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nnamespace: team-a\n")
    options = {"environment": str(mine), "destination": "s3://mlpipeline/private/team-a/models"}
    client = edgeline.Client(server.address)
    for given, namespace in ((client, "team-a"), ("team-b", "team-b")):
        submitted = (
            given if given is client else edgeline.Client(server.address, namespace="team-b")
        )
        run = submitted.submit("taxi", **options)
        experiment = server.experiments[server.runs[run.id]["experiment_id"]]
        assert experiment["namespace"] == namespace
    before = len(server.changes)
    with pytest.raises(EdgelineError, match=r"several teams, .* `namespace:` in the environment"):
        client.submit("taxi", environment="onprem", destination="s3://b/models")
    assert len(server.changes) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"experiment": "x" * 129}, r"experiment's name \(--experiment, .* has 129 bytes: use at"),
        ({"name": "x" * 256}, r"run's name \(--name, name=\) has 256 characters: use at most 255"),
        ({"name": "a 🚕"}, "has 🚕, which the server's database has no room for"),
        ({"experiment": ""}, "experiment's name .* is empty"),
    ],
)
def test_a_title_that_the_server_answers_with_500_is_refused_before(
    given: dict[str, str], said: str, server: Any
) -> None:
    with pytest.raises(EdgelineError, match=said):
        edgeline.Client(server.address).submit("taxi", **given)
    assert server.changes == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Of a server whose CA is itself: its certificate and key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now, here = dt.datetime.now(dt.timezone.utc), ipaddress.ip_address("127.0.0.1")
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(here)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "ca.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


@pytest.fixture
def secure_server(certificate: tuple[Path, Path]) -> Iterator[DocumentedServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    running = DocumentedServer(context)
    yield running
    running.shutdown()
    running.server_close()


def test_a_ca_of_one_s_own_is_taken(
    secure_server: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EdgelineError, match=r"cannot be asked .*CA in SSL_CERT_FILE"):
        connect(secure_server.address)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert pipeline_id(connect(secure_server.address), "taxi") is None


def test_an_address_without_a_protocol_is_told_so() -> None:
    with pytest.raises(EdgelineError, match="kfp is not a server's address: begin it with https:"):
        connect("kfp")


def test_a_malformed_address_is_a_sentence_that_repeats_no_password() -> None:
    with pytest.raises(EdgelineError, match="address is malformed") as caught:
        connect("https://me:secret@[kfp")
    assert "secret" not in str(caught.value)
