"""A device that tells its fleet: a real server, its key and counter, a folder for a network."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import certificates as made_certificates
import pytest
from fleet_serving import FleetServing, ran
from receiving import Receiver
from running import MIXED, Running, eventually

from edgeline.errors import EdgelineError, UsageError
from edgeline.fleet.drops import DropFolder
from edgeline.server.fleet import places, protocol, reporter, signatures
from edgeline.server.fleet.device_keys import DeviceKeys
from edgeline.server.fleet.posting import PostOrder, post
from edgeline.server.settings import ServerSettings
from edgeline.stores.objects import ObjectEntry, Objects


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetServing]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "drops").mkdir()
    running = FleetServing(folder, "--drops", str(folder / "drops"), "--drop-poll", "0.2")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log, running.log


@pytest.fixture
def order(fleet: FleetServing, tmp_path: Path, request: pytest.FixtureRequest) -> PostOrder:
    """Of a device of the test's own, with a token."""
    device = request.node.name.replace("test_", "").replace("_", "-")[:40]
    (tmp_path / "token").write_text(fleet.token(device=device) + "\n")
    place, folder = fleet.url, str(tmp_path / "state" / "fleet")
    return PostOrder(place, folder, device, str(tmp_path / "token"), {"models": [ran("m", 1)]})


def test_a_server_tells_what_came_of_each_version(
    fleet: FleetServing, order: PostOrder, tmp_path: Path
) -> None:
    models = tmp_path / "models" / "m"
    (models / "1").mkdir(parents=True)
    shutil.copy(MIXED, models / "1" / "model.tflite")
    options = ["--poll", "0.2", "--state", str(tmp_path / "state"), "--device", order.device]
    options += ["--fleet", fleet.url, "--fleet-interval", "3600"]

    def told() -> dict[str, object]:
        (found,) = fleet.listed(f"?q={order.device}") or [{"counter": 0, "models": []}]
        return found

    def outcomes() -> dict[int, str]:
        return {each["version"]: each["outcome"] for each in told()["models"]}

    server = Running(models.parent, *options, "--enroll-token-file", order.token_file)
    try:
        eventually(lambda: outcomes() == {1: "trying"}, 60)  # on probation for a minute
        assert told()["interpreter"]
        (models / "2").mkdir()
        (models / "2" / "model.part").write_bytes(b"not a model")
        (models / "2" / "model.part").rename(models / "2" / "model.tflite")
        eventually(lambda: outcomes().get(2) == "failed", 60)  # though the interval is an hour
        sent = 'edgeline_fleet_statuses_sent_total{result="sent"}'
        eventually(lambda: server.metric(sent) >= 2)
    finally:
        assert "Traceback" not in server.stop()[1]
    counter = told()["counter"]
    identity = tmp_path / "state" / "fleet" / "identity.json"
    assert identity.stat().st_mode & 0o777 == 0o600
    again = Running(models.parent, *options)  # without the token
    try:
        eventually(lambda: told()["counter"] > counter, 60)
    finally:
        assert "Traceback" not in again.stop()[1]


def test_a_fleet_that_is_away_holds_up_nothing(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("A" * 43)
    server = Running(
        MIXED,
        *("--fleet", "http://127.0.0.1:9", "--device", "alone", "--state", str(tmp_path / "state")),
        *("--fleet-interval", "1", "--enroll-token-file", str(tmp_path / "token")),
    )
    try:
        assert server.ask("GET", "/v2/health/ready")[0] == 200
        eventually(lambda: server.metric("edgeline_fleet_statuses_sent_total") >= 1, 60)
        assert server.metric('edgeline_fleet_statuses_sent_total{result="failed"}') >= 1
    finally:
        _, log = server.stop()
    assert "127.0.0.1:9 cannot be asked" in log
    assert "Traceback" not in log


def test_a_device_is_enrolled_again_by_another_token(fleet: FleetServing, order: PostOrder) -> None:
    assert post(order).result == "sent"
    assert post(order).result == "sent"
    assert fleet.ask("POST", "/v1/fleet/revoke", {"device": order.device})[0] == 200
    refused = post(order)
    assert (refused.result, refused.sentence.partition(":")[0]) == (
        "refused",
        f"{order.device} is revoked",
    )
    Path(order.token_file).write_text(fleet.token(device=order.device))
    assert post(order).result == "sent"
    shutil.rmtree(order.folder)  # a lost state
    assert "The token was used" in post(order).sentence
    Path(order.token_file).write_text("not a token")
    assert "damaged" in post(order).sentence
    Path(order.token_file).unlink()
    assert "is not enrolled at" in post(order).sentence


def test_a_key_whose_answer_was_lost_holds_up_no_other_token(
    fleet: FleetServing, order: PostOrder
) -> None:
    assert post(order).result == "sent"
    folder = Path(order.folder)
    known = json.loads((folder / "identity.json").read_text())
    (folder / "identity.json").rename(folder / "identity.new")  # as if ended before the answer
    assert post(order).result == "sent"
    assert json.loads((folder / "identity.json").read_text()) == known
    (folder / "identity.json").rename(folder / "identity.new")
    token = fleet.token(device=order.device)
    Path(order.token_file).write_text(token)
    assert post(order).result == "sent"
    (folder / "identity.json").unlink()
    Path(order.token_file).write_text(token := fleet.token(device=order.device))
    name = signatures.token_name(signatures.public_bytes(signatures.token_key(token)))
    (folder / "identity.new").write_text(json.dumps({"key": known["key"], "token": name}))
    assert "was enrolled before" in post(order).sentence
    assert post(order).result == "sent"  # by another key


def test_a_server_that_has_moved_knows_its_devices(fleet: FleetServing, order: PostOrder) -> None:
    assert post(order).result == "sent"
    moved = fleet.url.replace("127.0.0.1", "localhost")
    assert post(replace(order, place=moved)).result == "sent"


def test_the_largest_status_is_taken(fleet: FleetServing, order: PostOrder) -> None:
    columns = [f"{n}" + "\u00e9" * 300 for n in range(20)]

    def largest(models: int, why: str, **more: object) -> list[dict[str, object]]:
        told = [ran("\u00e9" * 128, n, "failed", why=why, **more) for n in range(models)]
        assert post(replace(order, status={"models": told})).result == "sent"
        return list(fleet.listed(f"?q={order.device}")[0]["models"])

    assert largest(1, "", drift=columns)[0]["drift"] == [name[:200] for name in columns]
    assert largest(64, "", drift=columns)[0]["drift"] is True  # and not which
    few = largest(64, "\u00e9" * 500, drift=columns)
    assert min(each["version"] for each in few) == 64 - len(few) > 0  # the oldest are left out


def test_what_answers_and_is_not_a_fleet_has_taken_nothing(order: PostOrder) -> None:
    receiver = Receiver()
    place = receiver.url.partition("/hook")[0]
    found = post(PostOrder(place, order.folder, "x", order.token_file))
    receiver.close()
    assert (found.result, found.sentence) == ("failed", f"{place} is not a fleet's server.")


def test_statuses_come_by_a_folder(fleet: FleetServing, order: PostOrder) -> None:
    folder = fleet.folder / "drops"
    dropped = PostOrder(str(folder), order.folder, order.device, order.token_file, order.status)
    (folder / "huge.status").write_bytes(b"x" * 200_000)
    assert post(dropped).result == "sent"

    def counter() -> int:
        return int((fleet.listed(f"?q={order.device}") or [{"counter": 0}])[0]["counter"])

    eventually(lambda: counter() == 1)  # though the enrolment came with it
    assert "'too large': 1" in fleet.log
    assert post(dropped).result == "sent"
    eventually(lambda: counter() == 2)
    file = folder / f"{order.device}.status"
    forged = file.read_bytes().replace(b'"version": 1', b'"version": 9')
    (folder / "other.status").write_bytes(file.read_bytes())  # under another's name
    (folder / "x.status").write_bytes(b"nothing of the kind")
    before = fleet.metric('edgeline_fleet_statuses_total{result="forged"}')
    file.write_bytes(forged.replace(b'"counter":2', b'"counter":3'))
    eventually(lambda: fleet.metric('edgeline_fleet_statuses_total{result="forged"}') > before)
    assert counter() == 2


def test_a_huge_object_of_a_bucket_is_not_read_to_its_end() -> None:
    pieces = iter([b"x" * (1 << 14)] * 6)  # a seventh would end the test
    written = datetime.now(timezone.utc)

    class Bucket:
        def below(self, _: str) -> list[ObjectEntry]:
            return [ObjectEntry(f"{name}.status", written) for name in ("a", "b", "c")]

        def stream(self, _: str) -> Any:
            return SimpleNamespace(read=lambda _: next(pieces), close=lambda: None)

    drops = DropFolder(None, cast(Objects, Bucket()), "")
    assert list(drops.new(1)) == [("a.status", b"")]
    assert drops.left_out == 2
    assert list(drops.new(1)) == []


def test_what_lay_there_before_a_restart_is_no_replay(tmp_path: Path) -> None:
    (tmp_path / "drops").mkdir()
    options = ("--drops", str(tmp_path / "drops"), "--drop-poll", "0.2")
    server = FleetServing(tmp_path, *options)
    (tmp_path / "token").write_text(server.token(device="a"))
    order = PostOrder(options[1], str(tmp_path / "device"), "a", str(tmp_path / "token"))
    assert post(order).result == "sent"
    eventually(lambda: [each["counter"] for each in server.listed()] == [1])
    assert server.stop() == 0
    again = FleetServing(tmp_path, *options)
    assert post(order).result == "sent"
    eventually(lambda: again.listed()[0]["counter"] == 2)
    assert again.metric('edgeline_fleet_statuses_total{result="replayed"}') == 0
    assert again.stop() == 0
    assert "not taken" not in again.log
    assert "Traceback" not in again.log


def test_the_fleet_is_known_by_its_certificate(tmp_path: Path) -> None:
    files = made_certificates.make(tmp_path)
    ca, key = str(files / "ca.pem"), str(files / "server.key")
    server = FleetServing(tmp_path, "--certificate", str(files / "server.pem"), "--key", key)
    try:
        url = f"https://localhost:{server.http}"
        command = [sys.executable, "-m", "edgeline", "fleet", "token", "--fleet", url, "--for", "a"]
        made = subprocess.run(
            command, env={**os.environ, "SSL_CERT_FILE": ca}, capture_output=True, check=True
        )
        (tmp_path / "token").write_bytes(made.stdout)
        order = {"place": url, "folder": str(tmp_path / "device"), "device": "a"}
        order["token_file"] = str(tmp_path / "token")
        found = asyncio.run(reporter._child(order, None))
        assert found["result"] == "failed"
        assert "certificate verify failed" in found["sentence"]
        assert asyncio.run(reporter._child(order, ca)) == {"result": "sent", "sentence": ""}
    finally:
        server.stop()


def test_keys_of_devices_are_there_while_the_fleet_is_away(tmp_path: Path) -> None:
    server = FleetServing(tmp_path)
    device, kept = server.enrolled("a"), tmp_path / "keys.json"
    DeviceKeys(server.url, kept=kept).close()
    assert server.stop() == 0
    assert kept.stat().st_mode & 0o777 == 0o600
    signature = device.signed(b"an event")[protocol.SIGNATURE].encode()
    keys = DeviceKeys(server.url, kept=kept)
    assert keys.has_signed("a", signature, b"an event")
    keys.close()
    with pytest.raises(EdgelineError, match="tells no keys"):
        DeviceKeys("http://127.0.0.1:9", kept=kept)  # another fleet's are not these


def test_settings_that_tell_nobody_anything_are_refused() -> None:
    with pytest.raises(UsageError, match="--fleet needs --device"):
        ServerSettings(fleet="http://fleet")
    with pytest.raises(UsageError, match="--fleet-ca is for --fleet"):
        ServerSettings(fleet_ca="ca.pem")
    with pytest.raises(UsageError, match="--fleet-interval is 0"):
        ServerSettings(fleet="drops", device="a", state="s", fleet_interval=0)


def test_the_commands_show_the_fleet(fleet: FleetServing, order: PostOrder) -> None:
    assert post(order).result == "sent"

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "edgeline", "fleet", *arguments, "--fleet", fleet.url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert f"{order.device}  current" in told("show", "--search", order.device)
    assert json.loads(told("show", "--json", "--model", "m"))["models"][0]["version"] == 1


def test_events_are_signed_by_the_key_that_the_fleet_knows(
    fleet: FleetServing, order: PostOrder
) -> None:
    settings = ServerSettings(
        fleet=fleet.url, device=order.device, state=str(Path(order.folder).parent)
    )
    sign = places.signer(settings)
    assert sign(b"an event") == {}  # not enrolled yet
    assert post(order).result == "sent"
    headers = sign(b"an event")
    keys = DeviceKeys(fleet.url)
    signature = headers[protocol.SIGNATURE].encode()
    assert headers[protocol.DEVICE] == order.device
    assert keys.has_signed(order.device, signature, b"an event")
    assert not keys.has_signed(order.device, signature, b"another")
    assert not keys.has_signed("nobody", signature, b"an event")
    keys.close()
    assert fleet.ask("POST", "/v1/fleet/revoke", {"device": order.device})[0] == 200
    after = DeviceKeys(fleet.url)
    assert not after.has_signed(order.device, signature, b"an event")
    after.close()
