"""What a device takes from a signed repository and what it refuses: real client, real HTTP."""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from publishing import Publisher, bundle, file_of, model, versions

from edgeline.repository import actions, keys, roles
from edgeline.repository.place import open_place
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("passphrase")]

MB = 1 << 20


def stage(
    publisher: Publisher, change: Callable[[roles.RepositoryState], None], keys_of: list[str]
) -> None:
    """Write metadata as somebody with these keys would, checked by nobody."""
    place = open_place(str(publisher.path))
    state = roles.read(place)
    for role in ("targets", "snapshot", "timestamp"):
        live = state.live[role].signed
        if role == "targets":
            following = live
        elif role == "snapshot":
            following = roles.Snapshot(meta={"targets.json": roles.MetaFile(live_version(state))})
        else:
            version = state.staged["snapshot"].signed.version
            following = roles.Timestamp(snapshot_meta=roles.MetaFile(version))
        roles.stage(state, role, following)
        change(state)
    signers = {s.public_key.keyid: s for s in keys.signers(keys_of)}
    for role in ("targets", "snapshot", "timestamp"):
        metadata = state.staged[role]
        for keyid in set(state.root.signed.roles[role].keyids) & signers.keys():
            metadata.sign(signers[keyid], append=True)
        number = "" if role == "timestamp" else f"{metadata.signed.version}."
        place.write(f"metadata/{number}{role}.json", metadata.to_bytes())


def as_it_is(_: roles.RepositoryState) -> None:
    """Change nothing."""


def live_version(state: roles.RepositoryState) -> int:
    return state.staged["targets"].signed.version


def test_versions_come_with_only_what_changed(publisher, web, look, tmp_path):
    extra = os.urandom(MB)
    publisher.add(model(2), extra=extra, labels=["stable"])
    first = look()
    assert (first.outcome, versions(first)) == ("ok", [2])
    assert first.models["m"][2]["labels"] == ["stable"]
    assert file_of(tmp_path, 2).read_bytes() == model(2)
    publisher.add(model(3), extra=extra, labels=["stable"])
    second = look()
    assert versions(second) == [2, 3]
    assert second.models["m"][2]["labels"] == []  # a label has one version
    assert second.fetched < 20_000  # not the megabyte that was there
    assert sum(web.sent[path] for path in web.sent if path.endswith("extra.bin")) == MB
    assert file_of(tmp_path, 3, "extra.bin").samefile(file_of(tmp_path, 2, "extra.bin"))
    assert look().fetched == 0


def test_old_versions_and_their_files_go(publisher, look, tmp_path):
    for weight in (2, 3, 4):
        publisher.add(model(weight), extra=os.urandom(1000))
        look()
    assert versions(look()) == [3, 4]  # the newest, and one to return to
    files = list((tmp_path / "state" / "files").iterdir())
    assert len(files) == 2 * 3


def test_a_tampered_file_is_refused(publisher, look, tmp_path):
    publisher.add(model(2))
    file = publisher.file(2)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    result = look()
    assert result.outcome == "refused"
    assert "targets/m/2/model.tflite is not the file that was signed" in result.sentence
    assert result.refused == {"m": {2: result.sentence}}
    assert versions(result) == []
    assert not list((tmp_path / "state" / "files").glob("*.partial"))
    file.write_bytes(model(2))
    assert versions(look()) == [2]


def test_a_file_that_is_too_long_is_not_read_to_its_end(publisher, look):
    publisher.add(model(2))
    publisher.file(2).write_bytes(model(2) + bytes(50 * MB))
    assert look().outcome == "refused"


def test_a_tampered_manifest_is_refused(publisher, look):
    publisher.add(model(2))
    manifest = publisher.file(2, "manifest.json")
    manifest.write_text(manifest.read_text().replace("regression", "regressiom"))
    result = look()
    assert (result.outcome, versions(result)) == ("refused", [])


@pytest.mark.parametrize("name", ["timestamp.json", "3.snapshot.json", "3.targets.json"])
def test_tampered_metadata_is_refused(publisher, look, name):
    assert versions(look()) == [1]
    publisher.add(model(2))
    file = publisher.metadata(name)
    value = json.loads(file.read_text())
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    file.write_text(json.dumps(value))
    result = look()
    assert (result.outcome, versions(result)) == ("refused", [1])
    assert "not genuine" in result.sentence
    assert not result.refused  # the version is as good as it was


def test_metadata_that_is_no_metadata_is_refused(publisher, look):
    assert versions(look()) == [1]
    for content in (b"", b"[]", b"<html>captive portal</html>", b'{"signed": 1}', bytes(1000)):
        publisher.metadata("timestamp.json").write_bytes(content)
        result = look()
        assert (result.outcome, versions(result)) == ("refused", [1]), content


def test_endless_metadata_is_cut(publisher, look):
    look()
    publisher.metadata("timestamp.json").write_bytes(b" " * MB)
    assert look().outcome == "unreachable"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_expired_metadata_is_refused(publisher, look, role):
    assert versions(look()) == [1]

    def expire(state: roles.RepositoryState) -> None:
        if role in state.staged:
            state.staged[role].signed.expires = datetime.now(timezone.utc) - timedelta(days=1)

    stage(publisher, expire, [str(publisher.keys)])
    result = look()
    assert (result.outcome, versions(result)) == ("expired", [1])
    publisher.sign()
    if role == "timestamp":
        assert look().outcome == "ok"


def test_a_rollback_to_an_older_version_is_refused(publisher, look, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(publisher.path, old)
    publisher.add(model(2))
    assert versions(look()) == [2]
    result = look(str(old))
    assert (result.outcome, versions(result)) == ("refused", [2])
    # and with a new timestamp that leads to the old snapshot: its key alone is no use
    stage(publisher, as_it_is, [str(publisher.keys)])
    place = open_place(str(publisher.path))
    state = roles.read(place)
    roles.stage(state, "timestamp", roles.Timestamp(snapshot_meta=roles.MetaFile(1)))
    state.staged["timestamp"].sign(keys.signer(str(publisher.keys / "timestamp.pem")))
    place.write("metadata/timestamp.json", state.staged["timestamp"].to_bytes())
    assert (look().outcome, versions(look())) == ("refused", [2])


def test_a_freeze_is_noticed(tmp_path):
    """Somebody goes on showing what was true: it is once the timestamp's time is over."""
    publisher = Publisher(tmp_path / "publisher", days={"timestamp": 3 / 86400})
    publisher.add(model(1))
    order = UpdateOrder(str(publisher.path), str(publisher.root), str(tmp_path / "state"))
    first = synchronise(order)
    assert (first.outcome, versions(first)) == ("ok", [1])
    end = datetime.fromisoformat(first.expires)
    while datetime.now(timezone.utc) <= end:
        time.sleep(0.1)
    frozen = synchronise(order)
    assert (frozen.outcome, versions(frozen)) == ("expired", [1])
    publisher.sign()
    assert synchronise(order).outcome == "ok"


def test_a_wrong_key_is_refused(publisher, look, tmp_path):
    assert versions(look()) == [1]
    other = Publisher(tmp_path / "other")
    for _ in range(3):
        other.add(model(9), extra=os.urandom(10))
    result = look(str(other.path))
    assert (result.outcome, versions(result)) == ("refused", [1])
    assert (
        synchronise(UpdateOrder(str(other.path), str(publisher.root), str(tmp_path / "new"))).models
        == {}
    )


def test_below_the_threshold_is_refused(publisher, look):
    second = publisher.key("second")
    actions.rotate_keys(
        str(publisher.path),
        "targets",
        [str(publisher.keys), second],
        adding=[second + ".pub"],
        threshold=2,
    )
    assert (look().outcome, versions(look())) == ("ok", [1])
    stage(publisher, as_it_is, [str(publisher.keys)])  # one of two
    result = look()
    assert (result.outcome, versions(result)) == ("refused", [1])
    assert "1/2 keys" in result.sentence or "2" in result.sentence


def test_rotated_keys_are_followed(publisher, look, tmp_path):
    """Root, targets and timestamp keys replaced one after the other while the device is away."""
    assert versions(look()) == [1]
    held = [str(publisher.keys)]
    for role in ("root", "targets", "timestamp", "root"):
        new = publisher.key(f"{role}-{len(held)}")
        old = roles.read(open_place(str(publisher.path))).root.signed.roles[role].keyids[0]
        held.append(new)
        outcome = actions.rotate_keys(
            str(publisher.path), role, held, adding=[new + ".pub"], removing=[old]
        )
        assert outcome.live
    assert publisher.metadata("5.root.json").is_file()
    made = bundle(publisher.folder / "bundle", model(2))
    _, outcome = actions.add(str(publisher.path), made, held)
    assert outcome.live
    result = look()
    assert (result.outcome, versions(result)) == ("ok", [1, 2])
    assert versions(look(online=False)) == [1, 2]
    # the keys that were removed sign nothing any more
    stage(publisher, as_it_is, [str(publisher.keys)])
    assert look().outcome == "refused"
    # a new device that was given the newest root needs none of the old
    shutil.copy(publisher.metadata("5.root.json"), publisher.root)
    new = synchronise(UpdateOrder(str(publisher.path), str(publisher.root), str(tmp_path / "new")))
    assert new.outcome == "refused"


def test_an_archive_of_the_repository_is_a_repository(publisher, look, tmp_path):
    publisher.add(model(2))
    archive = shutil.make_archive(str(tmp_path / "update"), "zip", publisher.path)
    result = look(archive)
    assert (result.outcome, versions(result)) == ("ok", [2])
    Path(archive).write_bytes(b"no archive")
    assert (look(archive).outcome, versions(look(archive))) == ("unreachable", [2])


def test_a_file_that_is_damaged_in_an_archive_is_named(publisher, look, tmp_path):
    archive = tmp_path / "update.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in publisher.path.rglob("*"):
            packed.write(file, file.relative_to(publisher.path))
        (manifest,) = [i for i in packed.infolist() if i.filename.endswith("m/1/manifest.json")]
    content = bytearray(archive.read_bytes())
    begin = manifest.header_offset + 30 + len(manifest.filename)
    content[begin : begin + 9] = b"\xff" * 9
    archive.write_bytes(content)
    result = look(str(archive))
    assert result.outcome == "refused"
    assert "m/1/manifest.json in the archive is damaged" in result.sentence


def test_a_bad_version_is_not_fetched_and_the_one_before_is(publisher, look):
    publisher.add(model(2))
    bad = look().models["m"][2]["manifest"]
    assert versions(look(bad=(bad,))) == [1, 2]
