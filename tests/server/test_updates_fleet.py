"""What devices of a large fleet meet: small and failing disks, wrong clocks, moved places."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import json
import os
import shutil
import ssl
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest
from publishing import Publisher, Web, model, versions

from edgeline.repository import actions, roles
from edgeline.repository.place import open_place
from edgeline.server.periodic import pauses
from edgeline.server.updates import clock as proven
from edgeline.server.updates import disk as stores
from edgeline.server.updates import fetching
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.synchronise import synchronise

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("passphrase")]
MB = 1 << 20
LOCAL = ip_address("127.0.0.1")


@pytest.fixture
def clock(monkeypatch) -> Callable[[int], None]:
    """Set the year of this device's clock."""

    def turn(year: int) -> None:
        class Wrong(dt.datetime):
            @classmethod
            def now(cls, tz=None):
                return dt.datetime.now(tz).replace(year=year)

        module = SimpleNamespace(datetime=Wrong, timezone=dt.timezone)
        monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime", module)
        monkeypatch.setattr("edgeline.server.updates.synchronise.datetime", Wrong)
        monkeypatch.setattr("edgeline.server.updates.clock.datetime", Wrong)
        monkeypatch.setattr(fetching, "datetime", Wrong)

    return turn


@pytest.fixture
def disk(monkeypatch, tmp_path) -> Callable[[int], None]:
    """Give the state folder's disk a size, by what it says is free."""

    def resize(size: int) -> None:
        def usage(_: Path) -> SimpleNamespace:
            files = (tmp_path / "state" / "files").glob("*")
            return SimpleNamespace(free=size - sum(file.stat().st_size for file in files))

        monkeypatch.setattr(stores.shutil, "disk_usage", usage)
        monkeypatch.setattr(stores, "RESERVE", MB)

    return resize


# disks


def test_a_disk_for_two_versions_takes_the_third(publisher, look, disk):
    disk(8 * MB)
    for weight in (2, 3, 4, 5):
        publisher.add(model(weight), extra=os.urandom(3 * MB))
        assert look().outcome == "ok", weight
    assert versions(look()) == [4, 5]
    publisher.add(model(6), extra=os.urandom(9 * MB))  # it never fits
    result = look()
    assert (result.outcome, versions(result), result.pending) == ("full", [5], {"m": [6]})


def test_what_a_broken_download_has_is_not_asked_for_twice(publisher, look, disk, tmp_path):
    publisher.add(model(2), extra=os.urandom(6 * MB))
    entry = publisher.file(2, "extra.bin")
    files = tmp_path / "state" / "files"
    files.mkdir(parents=True)
    digest = stores.sha256(entry)
    (files / f"{digest}.partial").write_bytes(entry.read_bytes()[: 5 * MB])
    (files / f"{'0' * 64}.partial").write_bytes(bytes(2 * MB))  # of a version that is gone
    disk(10 * MB)
    result = look()
    assert (result.outcome, versions(result)) == ("ok", [2])
    assert result.fetched < 2 * MB


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A file system that is mounted read-only: what Linux does when a memory card fails."""
    if os.geteuid() != 0:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        yield
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        return
    mounted = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True)
    remount = ["mount", "-o", "remount,ro,bind", str(folder)]
    if mounted.returncode or subprocess.run(remount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: nothing may be mounted read-only here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_state_folder_that_became_read_only_serves_what_it_has(start, publisher, web, tmp_path):
    state = tmp_path / "state"
    order = UpdateOrder(web.url, str(publisher.root), str(state))
    assert versions(synchronise(order)) == [1]
    publisher.add(model(2))
    with read_only(state):
        result = synchronise(order)
        assert (result.outcome, versions(result)) == ("failed", [1])
        assert "The state folder cannot be written (Read-only file system)" in result.sentence
        assert versions(synchronise(UpdateOrder(**{**vars(order), "online": False}))) == [1]
        server = start(web.url, f"--root={publisher.root}", f"--state={state}", "--poll=0")
        assert server.ask("GET", "/v2/health/ready")[0] == 200
        for body in (b"", b"an archive"):
            status, answer, _ = server.ask("POST", "/updates", body)
            assert (status, "state folder" in answer["error"]) == (503, True)
        assert server.metric("edgeline_update_stale") == 1
        server.stop()
    assert versions(synchronise(order)) == [1, 2]


# clocks


def test_a_clock_that_begins_in_1970_does_not_stop_updates(publisher, look, clock):
    """A board without a battery. What protects it is the order of versions, not their age."""
    clock(1970)
    assert versions(look()) == [1]
    publisher.add(model(2))
    assert (look().outcome, versions(look())) == ("ok", [1, 2])


def test_a_clock_of_1970_hides_no_freeze(publisher, look, clock, monkeypatch):
    """What was signed tells the time, and the machine for how long it has been running since."""
    clock(1970)
    assert look().outcome == "ok"
    running = proven._running() + 8 * 86400  # a timestamp lasts seven days
    monkeypatch.setattr(proven, "_running", lambda: running)
    result = look()
    assert (result.outcome, versions(result)) == ("expired", [1])
    assert "clock it is 1970-" in result.sentence
    assert f"and by what was signed at least {dt.date.today().year}-" in result.sentence
    monkeypatch.setattr(proven, "_BOOT", publisher.folder / "none")  # started again
    assert look().outcome == "expired"


def test_time_does_not_go_back_behind_what_was_proven(publisher, look, clock, monkeypatch):
    assert look().outcome == "ok"
    old = {file: file.read_bytes() for file in publisher.path.glob("metadata/*")}
    with monkeypatch.context() as later:
        later.setattr(roles, "datetime", shifted(days=30))
        publisher.sign()
        clock(1970)
        assert look().outcome == "ok"
    for file, content in old.items():  # a new device could be shown these
        file.write_bytes(content)
    shutil.copy(publisher.path.parent / "root.json", publisher.folder / "again.json")
    for file in (Path(publisher.folder).parent / "state" / "tuf").glob("*.json"):
        if file.name != "clock.json":
            file.unlink()
    result = look()
    assert result.outcome == "expired"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"time": 1}', '{"time": "soon", "boot": "", "running": 0, "root": 1}']
)
def test_a_damaged_file_of_the_clock_is_nothing(publisher, look, tmp_path, content):  # noqa: ARG001
    (tmp_path / "state" / "tuf").mkdir(parents=True)
    (tmp_path / "state" / "tuf" / "clock.json").write_text(content)
    assert proven.at_least(tmp_path / "state" / "tuf") is None
    assert look().outcome == "ok"
    assert json.loads((tmp_path / "state" / "tuf" / "clock.json").read_text())["boot"]


def test_a_publisher_whose_clock_was_ahead_locks_nobody_out(publisher, look, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr(roles, "datetime", shifted(days=60))
        publisher.sign()
    assert look().outcome == "ok"
    publisher.sign()
    publisher.add(model(2))
    assert (look().outcome, versions(look())) == ("ok", [1, 2])


def test_a_time_signed_with_a_stolen_key_goes_with_the_key(publisher, look, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr(roles, "datetime", shifted(days=9999))
        actions.sign(str(publisher.path), [str(publisher.keys / "timestamp.pem")])
    right = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)
    monkeypatch.setattr(roles, "now", lambda _: right)
    assert look().outcome == "expired"
    publisher.sign()
    assert look().outcome == "expired"
    new = publisher.key("new")
    (old,) = roles.read(open_place(str(publisher.path))).root.signed.roles["timestamp"].keyids
    signing = [str(publisher.keys), new]
    made = actions.rotate_keys(str(publisher.path), "timestamp", signing, [f"{new}.pub"], [old])
    assert made.live
    assert look().outcome == "ok"


def shifted(days: int) -> type[dt.datetime]:
    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.now(tz) + dt.timedelta(days=days)

    return Shifted


def test_a_clock_that_is_ahead_is_named(publisher, look, clock):
    assert versions(look()) == [1]
    publisher.add(model(2))
    clock(2099)
    result = look()
    assert (result.outcome, versions(result)) == ("expired", [1])
    assert "by this device's clock it is 2099-" in result.sentence


def test_a_store_that_refuses_for_the_clock_tells_both_times(look, clock, web, monkeypatch):
    monkeypatch.setattr(web, "refuse", 403)
    assert "clock" not in look().sentence
    clock(1970)
    result = look()
    assert result.outcome == "unreachable"
    assert f"; by its clock it is {dt.date.today().year}-" in result.sentence
    assert "and by this device's 1970-" in result.sentence


def test_a_certificate_that_is_not_yet_valid_names_the_clock(publisher, tmp_path, monkeypatch):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    tomorrow = dt.datetime.now(dt.timezone.utc) + dt.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOCAL)]), critical=False)
        .not_valid_before(tomorrow)
        .not_valid_after(tomorrow + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem.write_bytes(
        key.private_bytes(*forms, serialization.NoEncryption()) + certificate.public_bytes(forms[0])
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    web = Web(publisher.path)
    web._server.socket = context.wrap_socket(web._server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    try:
        url = web.url.replace("http", "https")
        result = synchronise(UpdateOrder(url, str(publisher.root), str(tmp_path / "state")))
    finally:
        web.close()
    assert result.outcome == "unreachable"
    assert "certificate is not yet valid" in result.sentence
    assert "; by this device's clock it is " in result.sentence


# places


def test_a_repository_may_move(publisher, look):
    assert versions(look()) == [1]
    there = publisher.folder / "elsewhere"
    publisher.path.rename(there)
    publisher.path = there
    assert look().outcome == "unreachable"
    publisher.add(model(2))
    other = Web(there)
    try:
        result = look(other.url)
        assert (result.outcome, versions(result)) == ("ok", [1, 2])
    finally:
        other.close()


def test_a_new_root_takes_over_a_device(publisher, look, tmp_path):
    """The old keys are lost: the device is given another root, and keeps its state folder."""
    publisher.add(model(2))
    assert versions(look()) == [2]
    other = Publisher(tmp_path / "other")
    other.add(model(3))
    assert look(str(other.path)).outcome == "refused"
    shutil.copy(other.root, publisher.root)
    result = look(str(other.path))
    assert (result.outcome, versions(result)) == ("ok", [1])
    assert versions(look(str(other.path), online=False)) == [1]


# the herd


def test_a_fleet_that_starts_at_once_does_not_ask_at_once():
    """10,000 devices after a power cut, looking every minute: 167 a second on average."""
    seconds: Counter[int] = Counter()
    for _ in range(10_000):
        times = itertools.accumulate(pauses(60, due=True))
        seconds.update(int(time) for time in itertools.takewhile(lambda t: t < 300, times))
    assert sum(seconds.values()) == pytest.approx(50_000, rel=0.02)
    assert max(seconds.values()) < 2 * 167


class Faltering:
    """A repository that breaks off in the middle of `extra.bin`, and then fails three times."""

    def __init__(self, location: str) -> None:
        self._place, self._calls = fetching.origin(location), 0

    def open(self, path: str, offset: int = 0):
        stream, start = self._place.open(path, offset)
        if not path.endswith("extra.bin"):
            return stream, start
        self._calls += 1
        if self._calls == 1:
            return io.BytesIO(stream.read(MB // 2)), start
        if self._calls < 5:
            raise fetching.UnreachableError("status 503")
        return stream, start


def test_a_server_in_trouble_is_not_hurried(publisher, look, monkeypatch):
    publisher.add(model(2), extra=os.urandom(MB))
    waited: list[float] = []
    monkeypatch.setattr(stores.time, "sleep", waited.append)
    monkeypatch.setattr("edgeline.server.updates.synchronise.origin", Faltering)
    assert versions(look(str(publisher.path))) == [2]
    assert len(waited) == 3
    for number, seconds in enumerate(waited):
        assert 2**number / 2 <= seconds <= 2**number
