"""What a device keeps of updates: downloads that were cut, its disk damaged, full, or shared."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time

import pytest
from publishing import file_of, model, versions

from edgeline.server.updates import disk as stores
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise

pytestmark = pytest.mark.usefixtures("passphrase")

MB = 1 << 20


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


def sizes(files):
    """Of those that are still called so."""
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            yield file.stat().st_size


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
    while not any(size >= 2 * MB for size in sizes(files.glob("*.partial"))):
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


def test_two_servers_do_not_share_a_state_folder(look, tmp_path):
    import fcntl

    look()
    with open(tmp_path / "state" / "tuf" / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = look()
    assert result.outcome == "failed"
    assert "another server" in result.sentence
