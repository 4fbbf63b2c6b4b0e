"""A fleet without processes: each device looks through its own code, and tries what has come.

So an attack or a fault takes a test five lines, as in python-tuf's simulator of repositories:

    fleet = Fleet(publisher, folder, 100, clock)
    fleet.add(2, waves("0.1", "1"))
    fleet.bad = {2}
    fleet.look()
    assert fleet.serving == {1: 100}
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from publishing import Publisher, bundle, model

from edgeline.artifacts.waves import WHOLE, Wave, WavePlan
from edgeline.fleet import answers, showing, wave_counts
from edgeline.fleet.answers import FleetAnswer
from edgeline.fleet.devices import FleetDevice
from edgeline.fleet.statuses import DeviceStatus, ModelStatus
from edgeline.fleet.watch_rules import WatchFile, WatchLimits, WatchRule
from edgeline.fleet.watching import FleetWatch
from edgeline.repository import actions, listing, roles, wave_actions
from edgeline.repository.place import open_place
from edgeline.server.updates.order import UpdateOrder, UpdateResult
from edgeline.server.updates.synchronise import synchronise


def waves(*shares: float, after: int = 0) -> WavePlan:
    """Waves of shares of all devices."""
    return WavePlan(tuple(Wave(round(share * WHOLE), after=after) for share in shares))


class Device:
    """One device of a fleet.

    Attributes:
        offline: whether it reaches nobody.
        serving: the version that it serves; 0 before its first look.
        failed: versions that it tried and that are bad there.
        taken: all versions that it ever had, in their order.
        told: what the fleet's server knows of it.
    """

    def __init__(self, fleet: Fleet, name: str, groups: tuple[str, ...]) -> None:
        self._fleet, self.name, self.groups = fleet, name, groups
        self.offline, self.serving = False, 0
        self.failed: set[int] = set()
        self.taken: list[int] = []
        self.result = UpdateResult()
        self._bad: set[str] = set()
        self.told = FleetDevice(name, b"", groups, "", 0.0)

    def tell(self) -> None:
        """Post a status, where it reaches anybody."""
        if self.offline:
            return
        now, counter = self._fleet.clock.now().timestamp(), self.told.counter + 1
        models = [ModelStatus("m", version, "failed") for version in sorted(self.failed)]
        if self.serving:
            models.append(ModelStatus("m", self.serving, "serving"))
        status = DeviceStatus(self.name, counter, now, tuple(models), groups=self.groups)
        self.told = msgspec.structs.replace(self.told, counter=counter, received=now, status=status)

    def look(self, **options: Any) -> UpdateResult:
        """What `Updates` does with a look: bring, try, and look again where one was bad."""
        while True:
            order = {
                "location": self._fleet.location,
                "root": str(self._fleet.publisher.root),
                "state": str(self._fleet.folder / self.name),
                "device": self.name,
                "groups": self.groups,
                "online": not self.offline,
                "bad": tuple(self._bad),
            }
            self.result = synchronise(UpdateOrder(**{**order, **options}))
            before = len(self._bad)
            self._try(self.result.models.get("m", {}))
            if self.result.outcome != "ok" or len(self._bad) == before:
                return self.result

    def _try(self, known: dict[int, dict[str, Any]]) -> None:
        for withdrawn in (False, True):  # these only where no other works
            for version in sorted(known, reverse=True):
                about = known[version]
                if about["withdrawn"] != withdrawn or about["manifest"] in self._bad:
                    continue
                if version not in self.taken:
                    self.taken.append(version)
                if version in self._fleet.bad:
                    self._bad.add(about["manifest"])
                    self.failed.add(version)
                    continue
                self.serving = version
                return


class Fleet:
    """Devices of a signed repository, which serve from their first look on.

    Attributes:
        bad: versions that fail on each device.
        location: where devices look for the repository.
    """

    def __init__(
        self,
        publisher: Publisher,
        folder: Path,
        count: int,
        clock: Any,
        groups: Collection[str] = (),
    ) -> None:
        self.publisher, self.folder, self.clock = publisher, folder, clock
        self.bad: set[int] = set()
        self.location = str(publisher.path)
        names = (f"device-{number}" for number in range(count))
        # every tenth is in the groups
        self.devices = [
            Device(self, name, tuple(groups) if number % 10 == 0 else ())
            for number, name in enumerate(names)
        ]
        self.told: list[dict[str, Any]] = []
        self._begin()

    def _begin(self) -> None:
        """All from one card: the first device has looked, the others have a copy of its state."""
        first, *others = self.devices
        self.look([first])
        for device in others:
            shutil.copytree(self.folder / first.name, self.folder / device.name)
            device.serving, device.taken = first.serving, list(first.taken)
            device.tell()

    def look(self, devices: Iterable[Device] | None = None) -> None:
        """Let devices look, all by default; none is ever without a model."""
        for device in self.devices if devices is None else devices:
            device.look()
            device.tell()
            assert device.serving, (device.name, device.result)

    @property
    def serving(self) -> dict[int, int]:
        """How many devices serve each version."""
        return dict(Counter(device.serving for device in self.devices))

    def having(self, version: int) -> set[str]:
        """The devices that have ever had a version."""
        return {device.name for device in self.devices if version in device.taken}

    def add(self, weight: float, plan: WavePlan | None = None) -> int:
        """Publish a version; its number."""
        place = self.publisher.folder / "bundle"
        made, outcome = actions.add(
            str(self.publisher.path),
            bundle(place, model(weight)),
            [str(self.publisher.keys)],
            waves=plan,
        )
        assert outcome.live
        return made.version

    def open(self, version: int, opening: Any = "next") -> WavePlan:
        """Open waves by hand."""
        signing = [str(self.publisher.keys)]
        plan, outcome = wave_actions.wave(str(self.publisher.path), "m", version, opening, signing)
        assert outcome.live
        return plan

    def plan(self, version: int) -> WavePlan | None:
        """The plan of a version; None where it has none (any more)."""
        live = roles.read(open_place(str(self.publisher.path))).live["targets"].signed
        found = listing.rollouts(live).get("m", {}).get(version)
        return found[0] if found else None

    def answer(self, model: str, plans: Mapping[int, tuple[WavePlan, int]]) -> FleetAnswer:
        """What `edgeline fleet serve` answers of what the devices told, as the watch reads it."""
        devices = [device.told for device in self.devices]
        found = showing.FleetCount(self.clock.now().timestamp())
        for device in devices:
            found.add(device)
        told = showing.versions(found, devices, model, wave_counts.asked(plans))
        return answers.parse(msgspec.json.encode(told), model, "fleet")

    def watch(self, **limits: Any) -> FleetWatch:
        """A watch of this fleet, which tells to `told`."""
        given = {"failed": 0.02, "min_devices": 5, "soak": "30m", **limits}
        rules = WatchFile([WatchRule("m", WatchLimits(**given))], "10m")
        return FleetWatch(
            rules,
            str(self.publisher.path),
            self.answer,
            self.told.append,
            [str(self.publisher.keys)],
        )

    def rounds(self, watch: FleetWatch, count: int, minutes: float = 10) -> None:
        """So often: devices look, the watch looks, and minutes pass."""
        for _ in range(count):
            self.look()
            watch.look(self.clock.now())
            self.clock.turn(minutes=minutes)

    @property
    def actions(self) -> list[tuple[str, int]]:
        """What the watch did, as action and version."""
        return [
            (told["action"], told["version"])
            for told in self.told
            if told["action"] in ("raise", "withdraw", "finish")
        ]

    def copy_of_repository(self) -> Path:
        """The repository as it is now: what a stale cache or an attacker would show."""
        place = self.folder / f"copy-{len(list(self.folder.glob('copy-*')))}"
        shutil.copytree(self.publisher.path, place)
        return place
