"""What a device takes from a signed repository and what it refuses: real client, real HTTP."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from publishing import PASSPHRASE, Publisher, Web, model

from edgeline.repository import actions, keys, roles
from edgeline.repository.place import open_place
from edgeline.server.updates import disk as stores
from edgeline.server.updates.order import UpdateOrder, UpdateResult
from edgeline.server.updates.synchronise import synchronise

MB = 1 << 20


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, PASSPHRASE)


@pytest.fixture
def publisher(tmp_path) -> Publisher:
    """A repository with version 1 of `m`."""
    made = Publisher(tmp_path / "publisher")
    made.add(model(1))
    return made


@pytest.fixture
def web(publisher) -> Iterator[Web]:
    web = Web(publisher.path)
    yield web
    web.close()


@pytest.fixture
def look(publisher, web, tmp_path) -> Callable[..., UpdateResult]:
    """A look of one device; `location` for another place than the web server."""

    def look(location: str = "", **options) -> UpdateResult:
        order = {"root": str(publisher.root), "state": str(tmp_path / "state"), **options}
        return synchronise(UpdateOrder(location or web.url, **order))

    return look


def versions(result: UpdateResult) -> list[int]:
    return sorted(result.models.get("m", {}))


def file_of(tmp_path: Path, version: int, name: str = "model.tflite") -> Path:
    return tmp_path / "state" / "models" / "m" / str(version) / name


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
    _, outcome = actions.add(str(publisher.path), _bundle(publisher), held)
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


def _bundle(publisher: Publisher) -> Path:
    from publishing import bundle

    return bundle(publisher.folder / "bundle", model(2))


def test_a_cut_download_goes_on_where_it_stopped(publisher, web, look, tmp_path):
    publisher.add(model(2), extra=os.urandom(MB))
    web.cut = 300_000
    result = look()  # the connection breaks every 300,000 bytes, and each time it goes on
    assert (result.outcome, versions(result)) == ("ok", [2])
    assert web.sent["/targets/m/2/extra.bin"] == MB  # no byte twice
    assert web.ranges == ["bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert (
        file_of(tmp_path, 2, "extra.bin").read_bytes()
        == publisher.file(2, "extra.bin").read_bytes()
    )


def test_a_cut_download_goes_on_after_a_restart(publisher, web, tmp_path):
    """The process is killed in the middle of a file; the next one fetches the rest."""
    publisher.add(model(2), extra=os.urandom(8 * MB))
    web.cut, web.stall = 3 * MB, True
    order = {"location": web.url, "root": str(publisher.root), "state": str(tmp_path / "state")}
    child = subprocess.Popen(
        [sys.executable, "-m", "edgeline.server.updates.child"], stdin=subprocess.PIPE
    )
    child.stdin.write(json.dumps(order).encode())
    child.stdin.close()
    files = tmp_path / "state" / "files"
    end = time.monotonic() + 30
    while not any(file.stat().st_size >= 2 * MB for file in files.glob("*.partial")):
        assert time.monotonic() < end
        time.sleep(0.01)
    child.kill()
    child.wait()
    (partial,) = files.glob("*.partial")
    have = partial.stat().st_size
    web.cut, web.stall = None, False
    result = synchronise(UpdateOrder(**order))
    assert (result.outcome, versions(result)) == ("ok", [2])
    assert f"bytes={have}-" in web.ranges
    assert result.fetched < 8 * MB - have + 20_000


def test_a_damaged_partial_download_is_not_used(publisher, look, tmp_path):
    publisher.add(model(2))
    files = tmp_path / "state" / "files"
    files.mkdir(parents=True)
    digest = json.loads(publisher.file(2, "manifest.json").read_text())["files"]["model.tflite"]
    (files / f"{digest['sha256']}.partial").write_bytes(b"something else")
    assert look().outcome == "refused"
    assert versions(look()) == [2]


def test_without_a_network_the_disk_is_verified_and_serves(publisher, web, look):
    assert versions(look()) == [1]
    publisher.add(model(2))
    web.down = True
    result = look()
    assert (result.outcome, versions(result)) == ("unreachable", [1])
    assert versions(look(online=False)) == [1]
    web.down = False
    assert versions(look()) == [1, 2]


@pytest.mark.parametrize("name", ["model.tflite", "manifest.json"])
def test_a_tampered_file_on_the_disk_is_refused(look, tmp_path, name):
    look()
    file = file_of(tmp_path, 1, name)
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.unlink()
    file.write_bytes(content)
    result = look(online=False)
    assert (result.outcome, versions(result)) == ("refused", [])
    assert versions(look()) == [1]  # fetched again


def test_a_bundle_put_on_the_disk_by_hand_is_not_offered(look, tmp_path):
    look()
    shutil.copytree(file_of(tmp_path, 1).parent, file_of(tmp_path, 7).parent)
    assert versions(look(online=False)) == [1]


def test_tampered_metadata_on_the_disk_is_refused(look, tmp_path):
    look()
    file = tmp_path / "state" / "tuf" / "targets.json"
    value = json.loads(file.read_text())
    value["signed"]["version"] += 1
    file.write_text(json.dumps(value))
    result = look(online=False)
    assert (result.outcome, versions(result)) == ("refused", [])
    assert versions(look()) == [1]


def test_a_version_above_the_limit_is_refused(publisher, look):
    publisher.add(model(2), extra=os.urandom(MB))
    result = look(limit=MB)
    assert result.outcome == "refused"
    assert "--max-update" in result.sentence


def test_a_full_disk_changes_nothing_tmpfs(publisher, web, tmp_path, monkeypatch):
    """A real full disk; once seen before a byte is fetched, once in the middle of a file."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: no small file system may be mounted here (needs root)")
    try:
        monkeypatch.setattr(stores, "RESERVE", MB)
        order = UpdateOrder(web.url, str(publisher.root), str(disk / "state"))
        assert versions(synchronise(order)) == [1]
        publisher.add(model(2), extra=os.urandom(25 * MB))
        result = synchronise(order)
        assert (result.outcome, versions(result)) == ("full", [1])
        assert "/targets/m/2/extra.bin" not in web.sent
        monkeypatch.setattr(stores, "RESERVE", -100 * MB)
        result = synchronise(order)
        assert (result.outcome, versions(result)) == ("full", [1])
        assert web.sent["/targets/m/2/extra.bin"] > 10 * MB
        free = shutil.disk_usage(disk).free
        assert free > 18 * MB  # what was fetched in vain is gone
        assert versions(synchronise(UpdateOrder(**{**vars(order), "online": False}))) == [1]
        publisher.add(model(3))
        assert versions(synchronise(order)) == [1, 3]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_changes_nothing_file_size_limit(publisher, web, tmp_path):
    """The same where nothing may be mounted: no file may grow above a megabyte."""
    state = tmp_path / "state"
    order = {"location": web.url, "root": str(publisher.root), "state": str(state)}
    assert versions(synchronise(UpdateOrder(**order))) == [1]
    publisher.add(model(2), extra=os.urandom(2 * MB))
    done = subprocess.run(
        [sys.executable, "-m", "edgeline.server.updates.child"],
        input=json.dumps(order).encode(),
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MB, MB)),
    )
    result = json.loads(done.stdout)
    assert (result["outcome"], list(result["models"]["m"])) == ("full", ["1"])
    assert not list((state / "files").glob("*.partial"))
    assert versions(synchronise(UpdateOrder(**order))) == [1, 2]


def test_an_archive_of_the_repository_is_a_repository(publisher, look, tmp_path):
    publisher.add(model(2))
    archive = shutil.make_archive(str(tmp_path / "update"), "zip", publisher.path)
    result = look(archive)
    assert (result.outcome, versions(result)) == ("ok", [2])
    Path(archive).write_bytes(b"no archive")
    assert (look(archive).outcome, versions(look(archive))) == ("unreachable", [2])


def test_two_servers_do_not_share_a_state_folder(look, tmp_path):
    import fcntl

    look()
    with open(tmp_path / "state" / "tuf" / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = look()
    assert result.outcome == "failed"
    assert "another server" in result.sentence


def test_a_bad_version_is_not_fetched_and_the_one_before_is(publisher, look):
    publisher.add(model(2))
    bad = look().models["m"][2]["manifest"]
    assert versions(look(bad=(bad,))) == [1, 2]
