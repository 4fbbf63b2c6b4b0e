"""Signed repositories in a folder and in a real S3 server, from init to a device."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeline.artifacts.waves import WHOLE, Wave, WavePlan
from edgeline.cli.main import cli
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.repository import actions, keys, wave_actions
from edgeline.repository.place import open_place
from edgeline.repository.status import status
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, "a passphrase of the tests")


@pytest.fixture
def repository(destination, tmp_path):
    """A started repository; its keys are in tmp_path/keys."""
    actions.init(destination, {}, tmp_path / "keys")
    root = open_place(destination).read("metadata/1.root.json")
    (tmp_path / "root.json").write_bytes(root)
    return destination


@pytest.fixture
def send(inputs, tmp_path, repository):
    def call(content: bytes, signing: str = "", **more):
        return publish(
            **inputs(content),
            bundle_path=tmp_path / "outputs" / os.urandom(6).hex(),
            name="taxi",
            destination=repository,
            signing_keys=signing or str(tmp_path / "keys"),
            **more,
        )

    return call


def device(repository: str, tmp_path: Path):
    return synchronise(
        UpdateOrder(repository, str(tmp_path / "root.json"), str(tmp_path / "state"))
    )


def test_what_a_pipeline_publishes_reaches_a_device(send, repository, tmp_path):
    published = send(b"one")
    assert published.uri == f"{repository}/targets/taxi/1"
    result = device(repository, tmp_path)
    assert (result.outcome, list(result.models["taxi"])) == ("ok", [1])
    model = tmp_path / "state" / "models" / "taxi" / "1" / "model.tflite"
    assert model.read_bytes().endswith(b"one")
    assert send(b"one").version == 1  # the same content again is not a new version
    assert send(b"two").version == 2
    assert list(device(repository, tmp_path).models["taxi"]) == [1, 2]


def test_what_a_pipeline_publishes_has_the_model_s_usual_waves(send, repository, tmp_path, capsys):
    send(b"one")
    plan = WavePlan((Wave(1), Wave(WHOLE)))
    wave_actions.usual_waves(repository, "taxi", plan, [str(tmp_path / "keys")])
    assert send(b"two").version == 2
    said = capsys.readouterr().out
    assert "taxi 2 is rolled out by waves: wave 1 of 2 (0.0001 %)." in said
    assert send(b"two").version == 2
    result = device(repository, tmp_path)
    assert list(result.models["taxi"]) == [1]
    assert result.waits["taxi"][2]["sentence"] == "wave 2 of 2 (100 %), which is not open"


def test_a_key_in_the_environment_is_in_no_metadata(send, tmp_path, monkeypatch, capsys):
    pem = "".join((tmp_path / "keys" / f"{r}.pem").read_text() for r in ("targets",))
    monkeypatch.setenv("TARGETS_KEY", pem)
    online = [str(tmp_path / "keys" / f"{role}.pem") for role in ("snapshot", "timestamp")]
    published = send(b"one", ",".join(["env:TARGETS_KEY", *online]))
    said = json.dumps(published.metadata) + "".join(capsys.readouterr())
    assert "PRIVATE" not in said
    assert "passphrase" not in said


def test_a_wrong_passphrase_publishes_nothing(send, repository, monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, "wrong")
    with pytest.raises(EdgelineError, match="its passphrase is wrong or it is damaged"):
        send(b"one")
    assert status(repository)["versions"] == []


def test_publishers_at_once_lose_nothing(send, repository):
    contents, faults = [b"one", b"two", b"three", b"four"], []

    def work(content: bytes) -> None:
        try:
            send(content)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    found = status(repository)
    assert len(found["versions"]) == 4
    assert [role["missing"] for role in found["roles"].values()] == [0, 0, 0, 0]


def test_a_threshold_is_reached_by_one_holder_after_the_other(inputs, tmp_path, destination):
    """Root and targets need two of three; nobody ever holds two keys at once."""
    holders = {}
    for name in ("ann", "bob", "cem"):
        keys.generate(tmp_path / f"{name}.pem")
        holders[name] = str(tmp_path / f"{name}.pem")
    online = tmp_path / "online"
    public = [f"{path}.pub" for path in holders.values()]
    outcome = actions.init(
        destination,
        {"root": public, "targets": public},
        online,
        {"root": 2, "targets": 2},
        signing=[holders["ann"]],
    )
    assert outcome.missing == {"root": 1, "targets": 1, "snapshot": 1, "timestamp": 1}
    signed, outcome = actions.sign(destination, [holders["bob"]])
    assert signed == ["root", "targets"]
    signed, outcome = actions.sign(destination, [str(online)])
    assert outcome.live
    root = open_place(destination).read("metadata/1.root.json")
    (tmp_path / "root.json").write_bytes(root)

    published = publish(
        **inputs(b"one"),
        bundle_path=tmp_path / "output",
        name="taxi",
        destination=destination,
        signing_keys=holders["cem"],
    )
    assert published.version == 1
    _, outcome = actions.sign(destination, [str(online)])  # cron goes on meanwhile
    assert outcome.missing == {"targets": 1}
    assert device(destination, tmp_path).models == {}
    actions.sign(destination, [holders["ann"]])
    _, outcome = actions.sign(destination, [str(online)])
    assert outcome.live
    assert list(device(destination, tmp_path).models["taxi"]) == [1]


def test_the_commands(tmp_path, inputs):
    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(cli, ["repository", *arguments])
        assert (1 if result.exception else 0) == code, result.output
        return result.output if not code else str(result.exception)

    place, held = str(tmp_path / "store"), str(tmp_path / "keys")
    run("init", place, "--keys", held, "--root", str(tmp_path / "root.json"))
    assert "already" in run("init", place, "--keys", held, code=1)
    publish(
        **inputs(b"one"),
        bundle_path=tmp_path / "bundle",
        name="taxi",
        destination=str(tmp_path / "p"),
    )
    (tmp_path / "bundle" / "artifact.json").unlink()
    added = run("add", place, str(tmp_path / "bundle"), "--key", held, "--label", "stable")
    assert "taxi 1 is added: devices will see it." in added
    assert "timestamp" in run("sign", place, "--key", f"{held}/timestamp.pem")
    old = status(place)["roles"]["snapshot"]["keys"][0]
    run("key", str(tmp_path / "new.pem"))
    new = str(tmp_path / "new.pem")
    run(
        *("rotate-keys", place, "snapshot", "--add", f"{new}.pub", "--remove", old[:12]),
        *("--key", held, "--key", new),
    )
    found = json.loads(run("status", place, "--json"))
    assert found["roles"]["root"]["version"] == 2
    assert old not in found["roles"]["snapshot"]["keys"]
    assert found["versions"] == [{"name": "taxi", "version": 1, "labels": ["stable"]}]
    table = run("status", place)
    assert "taxi" in table
    assert "live" in table
    nothing = str(tmp_path / "nothing")
    assert f"no signed repository at {nothing}:" in run("status", nothing, code=1)
    for file in (tmp_path / "keys").glob("*.pem"):
        assert "ENCRYPTED" in file.read_text()
        assert file.stat().st_mode & 0o077 == 0
    assert not list(Path(place).rglob("*.pem"))


@pytest.mark.parametrize("place", ["", "/", "/targets", "/targets/beta", "/unsigned"])
def test_no_bundle_without_a_signature_is_published_where_no_device_would_see_it(
    place, inputs, repository, tmp_path
):
    destination = repository + place
    before = listed(repository, tmp_path)
    output = tmp_path / "outputs" / "bundle"
    with pytest.raises(EdgelineError) as caught:
        publish(**inputs(b"one"), bundle_path=output, name="taxi", destination=destination)
    said = str(caught.value)
    assert said.startswith(f"The destination {destination} ")
    assert f"give signing_keys and the destination {repository}" in said
    assert "\n" not in said
    assert not output.exists()
    assert listed(repository, tmp_path) == before


def test_nor_right_above_one(inputs, destination, tmp_path):
    actions.init(f"{destination}/fleet", {}, tmp_path / "keys")
    arguments = inputs(b"one")
    with pytest.raises(EdgelineError) as caught:
        publish(**arguments, bundle_path=tmp_path / "out", name="fleet", destination=destination)
    assert f"holds the signed repository {destination}/fleet" in str(caught.value)
    apart = f"{destination}/apart"
    publish(**arguments, bundle_path=tmp_path / "out", name="fleet", destination=apart)


def test_nor_into_one_that_waits_for_its_first_signatures(inputs, destination, tmp_path):
    actions.init(destination, {}, tmp_path / "keys")
    place = open_place(destination)
    place.write("metadata/staged/root.json", place.read("metadata/1.root.json"))
    place.remove("metadata/1.root.json")
    arguments = inputs(b"one")
    with pytest.raises(EdgelineError, match=r"is a signed repository.*edgeline repository add"):
        publish(**arguments, bundle_path=tmp_path / "out", name="taxi", destination=destination)


def test_nor_through_a_link(inputs, tmp_path):
    actions.init(str(tmp_path / "fleet"), {}, tmp_path / "keys")
    (tmp_path / "link").symlink_to(tmp_path / "fleet" / "targets")
    with pytest.raises(EdgelineError, match="lies in the signed repository"):
        publish(
            **inputs(b"one"),
            bundle_path=tmp_path / "out",
            name="taxi",
            destination=f"file://{tmp_path}/link",
        )


@pytest.mark.parametrize("failing", [False, True])
def test_the_bundle_that_is_added_stays_as_it_was(
    failing, inputs, repository, tmp_path, monkeypatch
):
    bundle = tmp_path / "mine"
    publish(**inputs(b"one"), bundle_path=bundle, name="taxi", destination=str(tmp_path / "other"))
    (bundle / "artifact.json").unlink()
    before = contents(bundle)
    arguments = ["repository", "add", repository, str(bundle), "--version", "7", "--label", "beta"]
    if failing:  # after the files were written
        monkeypatch.setattr(actions, "LIMIT", 10)
    done = CliRunner().invoke(cli, [*arguments, "--key", str(tmp_path / "keys")])
    assert (done.exit_code == 0) is not failing, done.output
    assert contents(bundle) == before
    if not failing:
        assert list(device(repository, tmp_path).models["taxi"]) == [7]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in [*folder.rglob("*")]
        if path.is_file()
    } | {"": (b"", folder.stat().st_mtime_ns)}


def listed(repository: str, tmp_path: Path) -> object:
    """Everything that is in it."""
    if "://" not in repository:
        return contents(tmp_path / "store")
    store = open_place(repository).store
    return [
        (entry.key, store.objects.read(entry.key))
        for entry in store.objects.below(f"{store.prefix}/")
    ]


def test_keys_come_from_a_secret_that_is_mounted(inputs, tmp_path, destination):
    """As the kubelet lays it: links through `..data`, and the passphrase among the files."""
    actions.init(destination, {}, tmp_path / "keys")
    mounted = tmp_path / "signing"
    (mounted / "..2026").mkdir(parents=True)
    (mounted / "..data").symlink_to("..2026")
    for role in ("targets", "snapshot", "timestamp"):
        (mounted / "..2026" / f"{role}.pem").write_bytes(
            (tmp_path / f"keys/{role}.pem").read_bytes()
        )
        (mounted / f"{role}.pem").symlink_to(f"..data/{role}.pem")
    (mounted / "passphrase").write_text("a passphrase of the tests")
    published = publish(
        **inputs(b"one"),
        bundle_path=tmp_path / "bundle",
        name="taxi",
        destination=destination,
        signing_keys=str(mounted),
    )
    assert published.uri == f"{destination}/targets/taxi/1"
    assert status(destination)["versions"]


def test_an_unchanged_run_publishes_neither_its_best_nor_its_candidates_again(send, repository):
    def run() -> list[int]:
        others = [send(name.encode(), candidate=name).version for name in ("wide", "deep")]
        return [send(b"best").version, *others]

    send(b"best")
    assert run() == run() == [1, 2, 3]
    # content that waits under one name waits under another, too
    assert send(b"deep", candidate="twin").version == 4
    found = status(repository)
    assert sorted(found["candidates"]["taxi"]) == ["deep", "twin", "wide"]
    # a candidate whose content devices have by now waits no more
    assert send(b"best", candidate="wide").version == 1
    assert sorted(status(repository)["candidates"]["taxi"]) == ["deep", "twin"]
