"""What a publisher takes back, and what goes on while a new root waits for signatures."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner
from tuf.api.metadata import Metadata

from edgeline.cli.main import cli
from edgeline.components.publish.publish import publish
from edgeline.errors import EdgelineError
from edgeline.repository import actions, keys
from edgeline.repository.place import open_place
from edgeline.repository.status import show, status
from edgeline.server.updates.disk import WantedFile
from edgeline.server.updates.order import UpdateOrder
from edgeline.server.updates.selection import ListedVersion, VersionSelection
from edgeline.server.updates.synchronise import synchronise


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv(keys.PASSPHRASE, "a passphrase of the tests")


class Fleet:
    """A signed repository and one device that follows it."""

    def __init__(self, place: str, folder: Path, inputs) -> None:
        self.place, self.folder, self._inputs = place, folder, inputs
        self.keys = str(folder / "keys")
        actions.init(place, {}, folder / "keys")
        (folder / "root.json").write_bytes(open_place(place).read("metadata/1.root.json"))

    def send(self, content: bytes, signing: str = "", **more) -> int:
        return publish(
            **self._inputs(content),
            bundle_path=self.folder / "outputs" / os.urandom(6).hex(),
            name="taxi",
            destination=self.place,
            signing_keys=signing or self.keys,
            **more,
        ).version

    def label(self, version: int, label: str) -> None:
        """As `edgeline repository add --version --label` of what is published."""
        from edgeline.stores.store import fetch

        folder = self.folder / "outputs" / os.urandom(6).hex()
        fetch(f"{self.place}/targets/taxi/{version}", folder)
        actions.add(self.place, folder, [self.keys], [label], version)

    def withdraw(self, version: int, *signing: str):
        return actions.withdraw(self.place, "taxi", version, list(signing) or [self.keys])

    def key(self, name: str) -> str:
        keys.generate(self.folder / f"{name}.pem")
        return str(self.folder / f"{name}.pem")

    def held(self, role: str) -> str:
        return str(self.folder / "keys" / f"{role}.pem")

    def live(self, role: str) -> int:
        return status(self.place)["roles"][role]["live_version"]

    def device(self, **options):
        order = (self.place, str(self.folder / "root.json"), str(self.folder / "state"))
        return synchronise(UpdateOrder(*order, **options))


@pytest.fixture
def fleet(tmp_path, inputs) -> Fleet:
    return Fleet(str(tmp_path / "store"), tmp_path, inputs)


def versions(result) -> list[int]:
    return sorted(result.models.get("taxi", {}))


def test_what_is_withdrawn_leaves_the_devices(destination, tmp_path, inputs):
    """In a folder and in a bucket; every number goes up, so no device takes it for a rollback."""
    fleet = Fleet(destination, tmp_path, inputs)
    for content in (b"one", b"two"):
        fleet.send(content)
        assert fleet.device().outcome == "ok"
    before = {role: fleet.live(role) for role in ("root", "targets", "snapshot", "timestamp")}
    moved, outcome = fleet.withdraw(2)
    assert (moved, outcome.live) == ({}, True)
    after = {role: fleet.live(role) - number for role, number in before.items()}
    assert after == {"root": 0, "targets": 1, "snapshot": 1, "timestamp": 1}
    result = fleet.device()
    assert (result.outcome, versions(result)) == ("ok", [1])
    assert not (tmp_path / "state" / "models" / "taxi" / "2").exists()
    found = status(destination)["versions"]
    assert [v["version"] for v in found if v.get("withdrawn")] == [2]
    targets = json.loads(
        open_place(destination).read(f"metadata/{fleet.live('targets')}.targets.json")
    )["signed"]["targets"]
    assert [path for path in targets if path.startswith("taxi/2/")] == ["taxi/2/manifest.json"]
    assert fleet.send(b"three") == 3  # the number is not given again
    assert versions(fleet.device()) == [1, 3]


def test_what_cannot_be_withdrawn_is_said_in_a_sentence(fleet):
    fleet.send(b"one")
    with pytest.raises(EdgelineError, match="the only version of taxi, and devices"):
        fleet.withdraw(1)
    with pytest.raises(EdgelineError, match="There is no taxi 7: the versions of taxi are 1"):
        fleet.withdraw(7)
    with pytest.raises(EdgelineError, match="the versions of bus are none"):
        actions.withdraw(fleet.place, "bus", 1, [fleet.keys])
    fleet.send(b"two")
    fleet.withdraw(2)
    with pytest.raises(EdgelineError, match="taxi 2 is withdrawn already"):
        fleet.withdraw(2)
    with pytest.raises(EdgelineError, match="taxi 1 is the only version"):
        fleet.withdraw(1)  # what is withdrawn does not count
    assert versions(fleet.device()) == [1]


def test_withdrawn_content_comes_back_by_its_number_only(fleet):
    """A scheduled pipeline that trains the same model again must not undo a withdrawal."""
    for content in (b"one", b"two", b"three"):
        fleet.send(content)
    for version in (3, 2):
        fleet.withdraw(version)
        with pytest.raises(EdgelineError, match=f"taxi {version}, which was withdrawn"):
            fleet.send(b"two" if version == 2 else b"three")
    assert versions(fleet.device()) == [1]
    assert fleet.send(b"three", version=3) == 3
    assert versions(fleet.device()) == [1, 3]
    assert fleet.send(b"four") == 4


def test_labels_move_to_a_version_that_remains(fleet, capsys):
    for content in (b"one", b"two", b"three"):
        fleet.send(content)
    fleet.label(2, "stable")
    fleet.label(3, "canary")
    assert fleet.withdraw(2)[0] == {"stable": 1}  # what was trusted before, not what is on trial
    assert fleet.withdraw(1)[0] == {"stable": 3}
    result = fleet.device()
    assert {v: m["labels"] for v, m in result.models["taxi"].items()} == {3: ["canary", "stable"]}
    show(fleet.place, as_json=False)
    assert "1 (withdrawn), 2 (withdrawn), 3 (canary, stable)" in capsys.readouterr().out


def test_a_withdrawal_waits_for_its_signatures(fleet):
    """Of two holders one withdraws; devices see it when the other has signed."""
    for content in (b"one", b"two"):
        fleet.send(content)
    ann, bob = fleet.held("targets"), fleet.key("bob")
    online = [fleet.held("snapshot"), fleet.held("timestamp")]
    actions.rotate_keys(
        fleet.place, "targets", [fleet.keys, bob], adding=[f"{bob}.pub"], threshold=2
    )
    _, outcome = fleet.withdraw(2, ann)
    assert (outcome.live, outcome.missing) == (False, {"targets": 1})
    assert versions(fleet.device()) == [2]
    actions.sign(fleet.place, [bob])
    actions.sign(fleet.place, online)
    found = fleet.device().models["taxi"]  # 2 may serve until 1 does
    assert {v: m["withdrawn"] for v, m in found.items()} == {1: False, 2: True}
    assert versions(fleet.device()) == [1]


def test_a_rotation_that_waits_lets_nothing_expire(fleet):
    """cron holds the online keys alone, and renews while the new root waits for a second key."""
    fleet.send(b"one")
    ann, bob = fleet.held("targets"), fleet.key("bob")
    online = [fleet.held("snapshot"), fleet.held("timestamp")]
    outcome = actions.rotate_keys(
        fleet.place, "targets", [fleet.held("root"), ann], adding=[f"{bob}.pub"], threshold=2
    )
    assert (outcome.live, outcome.missing) == (False, {"targets": 1})
    before = fleet.live("timestamp")
    for number in (1, 2):
        signed, outcome = actions.sign(fleet.place, online)
        assert (signed, outcome.live) == (["timestamp"], False)
        assert fleet.live("timestamp") == before + number
    assert (fleet.live("root"), fleet.live("targets")) == (1, 2)
    assert fleet.device().outcome == "ok"
    actions.sign(fleet.place, [bob])  # the signature of the first is still there
    _, outcome = actions.sign(fleet.place, online)
    assert outcome.live
    assert fleet.live("root") == 2
    assert (fleet.device().outcome, versions(fleet.device())) == ("ok", [1])


def test_a_root_that_waits_lets_nothing_expire(fleet):
    """The same where the root itself lacks a signature."""
    fleet.send(b"one")
    bob = fleet.key("bob")
    root = fleet.held("root")
    outcome = actions.rotate_keys(fleet.place, "root", [root], adding=[f"{bob}.pub"], threshold=2)
    assert outcome.missing == {"root": 1}
    before = fleet.live("timestamp")
    actions.sign(fleet.place, [fleet.held("timestamp")])
    assert (fleet.live("timestamp"), fleet.live("root")) == (before + 1, 1)
    _, outcome = actions.sign(fleet.place, [bob])
    assert outcome.live
    assert fleet.device().outcome == "ok"


def test_a_rotation_that_waits_holds_back_no_bundle_and_no_withdrawal(fleet):
    for content in (b"one", b"two"):
        fleet.send(content)
    bob = fleet.key("bob")
    actions.rotate_keys(fleet.place, "targets", [fleet.keys], adding=[f"{bob}.pub"], threshold=2)
    assert fleet.live("root") == 1
    _, outcome = fleet.withdraw(2)
    assert outcome.live
    assert fleet.send(b"three") == 3
    assert versions(fleet.device()) == [3]
    # what changed meanwhile needs the second signature as well
    actions.sign(fleet.place, [fleet.keys])
    assert fleet.live("root") == 1
    _, outcome = actions.sign(fleet.place, [bob])
    _, outcome = actions.sign(fleet.place, [fleet.keys])
    assert outcome.live
    assert fleet.live("root") == 2
    assert versions(fleet.device()) == [3]


def test_new_keys_of_the_timestamp_can_be_awaited(fleet):
    """Two holders of a new timestamp sign hours apart; cron, with the old key, goes on between."""
    fleet.send(b"one")
    ann, bob = fleet.key("ann"), fleet.key("bob")
    old = status(fleet.place)["roles"]["timestamp"]["keys"][0]
    actions.rotate_keys(
        fleet.place,
        "timestamp",
        [fleet.held("root")],
        adding=[f"{ann}.pub", f"{bob}.pub"],
        removing=[old],
        threshold=2,
    )
    cron = [fleet.held("snapshot"), fleet.held("timestamp")]
    actions.sign(fleet.place, cron)
    assert fleet.device().outcome == "ok"
    actions.sign(fleet.place, [ann])
    actions.sign(fleet.place, cron)
    _, outcome = actions.sign(fleet.place, [bob])
    assert outcome.live
    assert fleet.live("root") == 2
    assert fleet.device().outcome == "ok"


def test_what_waited_too_long_is_signed_anew(fleet):
    """A timestamp that expired while it was staged would go live as an expired one."""
    fleet.send(b"one")
    ann = fleet.key("ann")
    actions.rotate_keys(
        fleet.place, "timestamp", [fleet.held("root")], adding=[f"{ann}.pub"], threshold=2
    )
    actions.sign(fleet.place, [fleet.held("timestamp")])
    place = open_place(fleet.place)
    staged = Metadata.from_bytes(place.read("metadata/staged/timestamp.json"))
    staged.signed.expires = datetime(2020, 1, 1, tzinfo=timezone.utc)
    place.write("metadata/staged/timestamp.json", staged.to_bytes())
    _, outcome = actions.sign(fleet.place, [fleet.held("timestamp"), ann])
    assert outcome.live
    assert not status(fleet.place)["roles"]["timestamp"]["expired"]
    assert fleet.device().outcome == "ok"


def test_old_versions_leave_the_list_that_every_device_fetches(fleet):
    for content in (b"one", b"two", b"three"):
        fleet.send(content)
    assert versions(fleet.device()) == [3]
    for content in (b"four", b"five", b"six"):
        fleet.send(content)
    fleet.label(1, "golden")
    for version in (2, 5):
        fleet.withdraw(version)
    size = len(_targets(fleet))
    taken, outcome = actions.prune(fleet.place, 2, [fleet.keys])
    assert (taken, outcome.live) == ({"taxi": [2, 3]}, True)
    assert len(_targets(fleet)) < size
    assert [v["version"] for v in status(fleet.place)["versions"]] == [1, 4, 5, 6]
    assert versions(fleet.device()) == [1, 6]  # 3, which served until now, is left
    before = fleet.live("targets")
    assert actions.prune(fleet.place, 2, [fleet.keys])[0] == {"taxi": []}
    assert fleet.live("targets") == before
    assert fleet.send(b"seven") == 7


def _targets(fleet: Fleet) -> bytes:
    return open_place(fleet.place).read(f"metadata/{fleet.live('targets')}.targets.json")


def test_what_left_the_list_serves_until_another_has_come():
    version = ListedVersion(WantedFile("targets/m/5/manifest.json", "a", 1), [], False)
    selection = VersionSelection({("m", 5): version})
    old = ("m", 3)
    assert list(selection.gone([old], [old])) == []
    assert list(selection.gone([old, ("m", 5)], [old])) == [old]
    assert list(selection.gone([("n", 1), old], [old])) == [("n", 1)]  # all of that model


def test_a_list_that_devices_would_not_take_is_refused(fleet, monkeypatch):
    fleet.send(b"one")
    monkeypatch.setattr(actions, "LIMIT", 800)
    with pytest.raises(EdgelineError, match=r"devices take 800: .* `edgeline repository prune`"):
        fleet.send(b"two")
    assert versions(fleet.device()) == [1]


def test_a_cache_before_a_bucket_shows_no_old_news(s3_destination, s3, tmp_path, inputs):
    fleet = Fleet(s3_destination, tmp_path, inputs)
    _, _, bucket, prefix = fleet.place.split("/")

    def cached(name: str) -> str:
        found = s3.client.stat_object(bucket, f"{prefix}/metadata/{name}.json")
        return found.metadata["Cache-Control"]

    assert cached("timestamp") == "no-cache"
    assert cached("1.root") == cached("1.targets") == "max-age=31536000, immutable"


def test_the_commands(fleet):
    def run(*arguments: str, code: int = 0) -> str:
        command, *rest = arguments
        options = ["repository", command, fleet.place, *rest, "--key", fleet.keys]
        result = CliRunner().invoke(cli, options)
        assert (1 if result.exception else 0) == code, result.output
        return result.output if not code else str(result.exception)

    for content in (b"one", b"two"):
        fleet.send(content)
    fleet.label(2, "stable")
    assert run("withdraw", "taxi", "2") == (
        "The label stable moves to taxi 1.\ntaxi 2 is withdrawn: devices will see it.\n"
    )
    assert "only version" in run("withdraw", "taxi", "1", code=1)
    assert "0 versions taken off the list" in run("prune", "--keep", "3")
