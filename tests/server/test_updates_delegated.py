"""Roles that a repository's targets delegate to: per team a key, paths, and what it publishes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
from publishing import Publisher, Web, bundle, model
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from edgeline.artifacts.bundle import Bundle, write_manifest
from edgeline.artifacts.waves import ROLLOUT, WHOLE, Wave, WavePlan, opened, position
from edgeline.repository import actions, keys
from edgeline.server.updates import delegations
from edgeline.server.updates.fetching import FolderOrigin
from edgeline.server.updates.order import UpdateResult
from edgeline.server.updates.synchronise import Fetcher

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("passphrase")]

SOON = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
Look = Callable[..., UpdateResult]


class Teams:
    """Delegated roles of a publisher's repository, whose teams' keys are `keys/TEAM.pem`."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.signers = {s.public_key.keyid: s for s in keys.signers([str(publisher.keys)])}
        self.top: Targets = self.live("targets")
        self.roles: dict[str, Targets] = {"targets": self.top}
        self.numbers: dict[str, int] = {}

    def live(self, role: str):
        newest = max(
            self.publisher.path.glob(f"metadata/*{role}.json"),
            key=lambda file: int(file.name.split(".")[0]) if file.name[0].isdigit() else 0,
        )
        return Metadata.from_file(str(newest)).signed

    def key(self, name: str):
        (signer,) = keys.signers([self.publisher.key(name)])
        self.signers[signer.public_key.keyid] = signer
        return signer.public_key

    def delegate(self, parent: str, name: str, *paths: str, **more) -> None:
        """Name a role with a key of its own; `prefixes` of hashes are in place of paths."""
        key = self.key(f"{len(self.signers)}")
        self.roles.setdefault(name, Targets(expires=SOON))
        delegations = self.roles[parent].delegations or Delegations({}, {})
        prefixes = more.pop("prefixes", None)
        delegations.keys[key.keyid] = key
        delegations.roles[name] = DelegatedRole(
            name, [key.keyid], 1, more.pop("terminating", False), list(paths) or None, prefixes
        )
        self.roles[parent].delegations = delegations

    def add(self, role: str, version: int, name: str = "m", at: str = "", weight: float = 2) -> str:
        """Publish a version of a model; the path of its manifest."""
        at = at or f"{name}/{version}"
        folder = self.publisher.path / "targets" / at
        folder.parent.mkdir(parents=True, exist_ok=True)
        bundle(folder, model(weight))
        content = json.loads((folder / "manifest.json").read_text())
        made = Bundle.from_json({**content, "name": name, "version": version})
        write_manifest(folder, made)
        path = f"{at}/manifest.json"
        target = TargetFile.from_file(path, str(folder / "manifest.json"), ["sha256"])
        target.unrecognized_fields["custom"] = {"name": name, "version": version}
        self.roles[role].targets[path] = target
        return path

    def publish(self, without: tuple[str, ...] = (), signed_by: Mapping[str, str] = {}) -> None:
        """Sign and write all roles; those `without` are named in the snapshot and not there."""
        meta = {}
        for name, role in self.roles.items():
            role.version += 1
            meta[f"{name}.json"] = MetaFile(role.version)
            if name not in without:
                owner = self.owner(signed_by.get(name, name))
                self.write(f"{role.version}.{name}", role, owner)
        snapshot: Snapshot = self.live("snapshot")
        snapshot.meta, snapshot.version = meta, snapshot.version + 1
        self.write(f"{snapshot.version}.snapshot", snapshot, self.top_keys("snapshot"))
        timestamp: Timestamp = self.live("timestamp")
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        timestamp.version += 1
        self.write("timestamp", timestamp, self.top_keys("timestamp"))

    def top_keys(self, role: str) -> list[str]:
        return self.live("root").roles[role].keyids

    def owner(self, name: str) -> list[str]:
        if name == "targets":
            return self.top_keys("targets")
        for role in self.roles.values():
            if role.delegations is None:
                continue
            if role.delegations.succinct_roles is not None:
                return role.delegations.succinct_roles.keyids
            if name in role.delegations.roles:
                return role.delegations.roles[name].keyids
        raise KeyError(name)

    def write(self, name: str, signed, owners: list[str]) -> None:
        metadata = Metadata(signed)
        for keyid in owners:
            metadata.sign(self.signers[keyid], append=True)
        self.publisher.metadata(f"{name}.json").write_bytes(metadata.to_bytes())


@pytest.fixture
def teams(publisher: Publisher) -> Teams:
    return Teams(publisher)


def names(result: UpdateResult) -> dict[str, list[int]]:
    return {name: sorted(found) for name, found in sorted(result.models.items())}


def test_a_team_s_version_may_have_waves(teams: Teams, look: Look) -> None:
    teams.delegate("targets", "team a", "a/*/*")
    teams.add("team a", 1, "a")
    target = teams.roles["team a"].targets[teams.add("team a", 2, "a")]
    plan = opened(WavePlan((Wave(WHOLE // 2), Wave(WHOLE))), 1, SOON - timedelta(days=2))
    target.unrecognized_fields["custom"] = {"of": "a", "number": 2, ROLLOUT: plan.to_json()}
    teams.publish()
    names_of = (f"edge-{number}" for number in range(99))
    devices = {position(name, "a", 2) < 2**63: name for name in names_of}
    result = look(device=devices[False])
    assert (result.outcome, names(result)["a"]) == ("ok", [1])
    assert result.waits["a"][2]["wave"] == 2
    assert names(look(device=devices[True]))["a"] == [1, 2]


def test_a_team_s_models_come_and_nobody_else_s(teams: Teams, look: Look) -> None:
    """A role's name has a blank, and its file is asked for by that name, quoted once."""
    teams.delegate("targets", "team a", "a/*/*")
    teams.add("team a", 1, "a")
    teams.add("team a", 9, "m")  # not its path
    teams.add("team a", 8, "m", at="a/8")  # its path, and another model's name
    teams.publish()
    result = look()
    assert (result.outcome, result.sentence) == ("ok", "")
    assert names(result) == {"a": [1], "m": [1]}
    offline = look(online=False)
    assert names(offline) == {"a": [1], "m": [1]}
    teams.add("team a", 2, "a", weight=5)
    teams.publish()
    assert names(look()) == {"a": [1, 2], "m": [1]}


def test_nested_roles_are_asked_in_order(teams: Teams, look: Look) -> None:
    teams.delegate("targets", "all", "*/*/*")
    teams.delegate("targets", "b", "b/*/*")
    teams.delegate("all", "inner", "b/*/*")
    teams.delegate("inner", "all", "b/*/*")  # a circle
    path = teams.add("inner", 1, "b")
    teams.add("b", 2, "b")
    first = teams.roles["inner"].targets[path]
    teams.roles["b"].targets[path] = TargetFile(
        first.length, {"sha256": "0" * 64}, path, {"custom": {"name": "b", "version": 1}}
    )
    teams.publish()
    result = look(versions=0)
    assert (result.outcome, result.sentence) == ("ok", "")
    assert names(result) == {"b": [1, 2], "m": [1]}  # 1 by `inner`, which stands before `b`


def test_a_team_that_names_another_s_role_with_its_own_key_stops_nobody(
    teams: Teams, look: Look
) -> None:
    teams.delegate("targets", "b", "b/*/*")
    teams.delegate("targets", "a", "a/*/*")
    teams.delegate("a", "b", "a/*/*")
    teams.add("b", 1, "b")
    teams.publish()
    assert (look().outcome, names(look())) == ("ok", {"b": [1], "m": [1]})
    teams.add("b", 2, "b", weight=3)
    teams.publish()
    assert (look().outcome, names(look())) == ("ok", {"b": [1, 2], "m": [1]})


def test_more_roles_than_anybody_has_are_refused(
    teams: Teams, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegations, "MOST_ROLES", 2)
    for name in ("a", "b", "c"):
        teams.delegate("targets", name, f"{name}/*/*")
    teams.add("b", 1, "b")
    teams.publish()
    assert (look().outcome, names(look())) == ("refused", {"b": [1], "m": [1]})
    assert "roles name over 2 others" in look().sentence


def test_behind_a_terminating_role_nobody_is_asked(teams: Teams, look: Look) -> None:
    teams.delegate("targets", "first", "b/*/*", terminating=True)
    teams.delegate("targets", "second", "b/*/*", "c/*/*")
    teams.add("first", 1, "b")
    teams.add("second", 2, "b")
    teams.add("second", 1, "c")
    teams.publish()
    assert names(look(versions=0)) == {"b": [1], "c": [1], "m": [1]}


def test_roles_by_the_hash_of_a_path(teams: Teams, look: Look) -> None:
    path = "b/1/manifest.json"
    role = DelegatedRole("x", [], 1, False, None, ["0"])
    digits = "0123456789abcdef"
    own = [d for d in digits if DelegatedRole("x", [], 1, False, None, [d]).is_delegated_path(path)]
    teams.delegate("targets", "its", prefixes=own)
    teams.delegate("targets", "not its", prefixes=[d for d in digits if d not in own])
    assert role.is_delegated_path(path) == (own == ["0"])
    teams.add("its", 1, "b")
    teams.add("not its", 1, "b")
    teams.publish()
    assert names(look()) == {"b": [1], "m": [1]}
    del teams.roles["its"].targets[path]
    teams.publish()
    assert names(look()) == {"m": [1]}  # "not its" may not


def test_bins_by_hash(teams: Teams, look: Look) -> None:
    key = teams.key("bins")
    bins = SuccinctRoles([key.keyid], 1, 8, "bin")
    teams.top.delegations = Delegations({key.keyid: key}, None, bins)
    for version in (1, 2):
        name = bins.get_role_for_target(f"b/{version}/manifest.json")
        teams.roles[name] = Targets(expires=SOON)
        teams.add(name, version, "b", weight=version)
    teams.publish()
    assert names(look(versions=0)) == {"b": [1, 2], "m": [1]}
    assert names(look(versions=0, online=False)) == {"b": [1, 2], "m": [1]}


@pytest.mark.parametrize(
    ("fault", "outcome", "said"),
    [
        ("another's key", "refused", "'a' is not taken"),
        ("expired", "expired", "'a' is not taken (it expired"),
        ("missing", "unreachable", "1.a.json answers 404"),
        ("not JSON", "refused", "'a' is not taken"),
    ],
)
def test_a_team_s_fault_is_its_own(
    teams: Teams, look: Look, fault: str, outcome: str, said: str
) -> None:
    for name in ("a", "b"):
        teams.delegate("targets", name, f"{name}/*/*")
        teams.add(name, 1, name)
    if fault == "expired":
        teams.roles["a"].expires = SOON - timedelta(days=2)
    teams.publish(
        without=("a",) if fault == "missing" else (),
        signed_by={"a": "b"} if fault == "another's key" else {},
    )
    if fault == "not JSON":
        number = teams.roles["a"].version
        teams.publisher.metadata(f"{number}.a.json").write_bytes(b"{}")
    result = look()
    assert names(result) == {"b": [1], "m": [1]}
    assert result.outcome == outcome
    assert said.replace("1.a", f"{teams.roles['a'].version}.a") in result.sentence


def test_what_a_team_had_stays_while_its_newest_is_not_to_be_had(teams: Teams, look: Look) -> None:
    teams.delegate("targets", "a", "a/*/*")
    teams.add("a", 1, "a")
    teams.publish()
    assert names(look()) == {"a": [1], "m": [1]}
    teams.add("a", 2, "a", weight=3)
    teams.publish(without=("a",))
    result = look()
    assert (result.outcome, names(result)) == ("unreachable", {"a": [1], "m": [1]})
    # and where another key is trusted from now on, nothing is thrown away for it
    key = teams.key("new")
    teams.top.delegations.keys[key.keyid] = key
    teams.top.delegations.roles["a"].keyids = [key.keyid]
    teams.publish(without=("a",))
    assert look().outcome == "unreachable"
    assert (Path(teams.publisher.folder).parent / "state" / "models" / "a" / "1").is_dir()
    teams.publish()
    assert names(look()) == {"a": [1, 2], "m": [1]}


def test_an_older_role_is_not_taken(teams: Teams, look: Look) -> None:
    teams.delegate("targets", "a", "a/*/*")
    teams.add("a", 1, "a")
    teams.publish()
    older = teams.publisher.metadata("2.a.json").read_bytes()
    assert look().outcome == "ok"
    teams.publish()
    teams.publisher.metadata("3.a.json").write_bytes(older)
    result = look()
    assert result.outcome == "refused"
    assert "it is version 2, not 3" in result.sentence


def test_a_role_s_name_leads_nowhere(teams: Teams, look: Look, web: Web) -> None:
    for name in ("../../out", "team/a", "größe", "a" * 300):
        teams.roles[name] = Targets(expires=SOON)
        teams.delegate("targets", name, "a/*/*")
    teams.publish(without=("../../out", "team/a", "a" * 300))
    for location in (web.url, str(teams.publisher.path)):
        result = look(location)
        assert result.outcome == "unreachable"
        assert names(result) == {"m": [1]}
    assert quote("größe") not in str(list(teams.publisher.path.rglob("*")))


def test_a_role_s_name_with_a_slash_is_asked_for_as_one_name(
    teams: Teams, look: Look, web: Web
) -> None:
    teams.delegate("targets", "team/a", "a/*/*")
    teams.add("team/a", 1, "a")
    teams.publisher.metadata("2.team").mkdir()  # where this web server looks for what it is asked
    teams.publish()
    result = look()
    assert (result.outcome, names(result)) == ("ok", {"a": [1], "m": [1]})
    assert [path for path in web.sent if "team" in path] == ["/metadata/2.team%2Fa.json"]


def test_a_version_that_was_signed_by_sha512_alone(
    teams: Teams, look: Look, web: Web, tmp_path: Path
) -> None:
    teams.delegate("targets", "a", "a/*/*")
    path = teams.add("a", 1, "a")
    file = teams.publisher.path / "targets" / path
    made = TargetFile.from_file(path, str(file), ["sha512"])
    made.unrecognized_fields["custom"] = {"name": "a", "version": 1}
    teams.roles["a"].targets[path] = made
    teams.publish()
    assert names(look()) == {"a": [1], "m": [1]}
    web.sent.clear()
    assert names(look()) == {"a": [1], "m": [1]}
    assert not [asked for asked in web.sent if "/targets/" in asked]  # what is there is kept
    (manifest,) = tmp_path.rglob("models/a/1/manifest.json")
    content = manifest.read_bytes()
    manifest.unlink()
    manifest.write_bytes(content.replace(b'"version": 1', b'"version":  1'))
    assert "a" not in names(look(online=False))


class Recording(Fetcher):
    """Remembers which roles were asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(FolderOrigin(folder))
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.asked.append(url.rpartition("/")[2].split(".")[1])
        return super()._fetch(url)


@pytest.mark.parametrize(
    ("delegated", "asked"),
    [
        # of theupdateframework's conformance suite: who names whom, for which paths
        ([("targets", "a"), ("targets", "b"), ("b", "c")], "abc"),
        ([("targets", "a"), ("targets", "b"), ("a", "c"), ("a", "d")], "acdb"),
        ([("targets", "a"), ("targets", "b"), ("a", "c"), ("c", "d")], "acdb"),
        ([("targets", "a"), ("targets", "b"), ("a", "c", True), ("a", "d")], "ac"),
        ([("targets", "a"), ("targets", "b"), ("a", "c", True), ("c", "d")], "acd"),
        ([("targets", "a", False, "x/*"), ("targets", "b"), ("a", "c")], "b"),
        ([("targets", "a"), ("targets", "b"), ("a", "c", False, "x/*"), ("c", "d")], "ab"),
        ([("targets", "a"), ("targets", "b"), ("b", "c"), ("c", "d"), ("d", "b")], "abcd"),
        ([("targets", "a"), ("targets", "b"), ("a", "c", False, "x/*"), ("b", "c")], "abc"),
    ],
)
def test_a_path_is_looked_for_in_the_order_of_the_specification(
    teams: Teams, tmp_path: Path, delegated: list[tuple], asked: str
) -> None:
    """Depth first, in the order of naming; only roles that may speak for the path are had."""
    for parent, name, *more in delegated:
        terminating, paths = (*more, *(False, "m/*/*")[len(more) :])
        teams.delegate(parent, name, paths, terminating=terminating)
    teams.publish()
    fetcher = Recording(teams.publisher.path)
    now = datetime.now(timezone.utc)
    source = delegations.RoleSource(tmp_path / "roles", fetcher, teams.live("snapshot"), now)
    roles = delegations.DelegatedRoles(teams.top, source)
    assert roles.find("m/99/manifest.json") is None
    assert "".join(fetcher.asked) == asked


def test_the_publisher_keeps_what_others_are_delegated(teams: Teams, look: Look) -> None:
    teams.delegate("targets", "a", "a/*/*")
    teams.add("a", 1, "a")
    teams.publish()
    teams.publisher.add(model(7))
    result = look()
    assert (result.outcome, names(result)) == ("ok", {"a": [1], "m": [2]})
    assert actions.sign(str(teams.publisher.path), [str(teams.publisher.keys)])
