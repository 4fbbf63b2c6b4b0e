"""A publisher of waves, and a time that a test turns on."""

from __future__ import annotations

import copy
import datetime as dt
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
sys.path.append(str(TESTS / "server"))

from publishing import PASSPHRASE, Publisher, model  # noqa: E402

from edgeline.repository import keys, roles  # noqa: E402


class Clock:
    """The publisher's and the watch's time; devices know what they are proven of it.

    Attributes:
        offset: how far it is ahead of this machine's.
    """

    def __init__(self) -> None:
        self.offset = dt.timedelta()

    def now(self) -> dt.datetime:
        return (dt.datetime.now(dt.timezone.utc) + self.offset).replace(microsecond=0)

    def turn(self, **by: float) -> None:
        """Let so much time pass."""
        self.offset += dt.timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()

    class Turned(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return dt.datetime.now(tz) + made.offset

    monkeypatch.setattr(roles, "datetime", Turned)
    return made


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    """A repository with version 1 of `m`, of which each test gets a copy."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(keys.PASSPHRASE, PASSPHRASE)
        made = Publisher(tmp_path_factory.mktemp("begun"))
        made.add(model(1))
    return made


@pytest.fixture
def publisher(begun: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Publisher:
    """A repository with version 1 of `m`."""
    monkeypatch.setenv(keys.PASSPHRASE, PASSPHRASE)
    made, there = copy.copy(begun), tmp_path / "publisher"
    shutil.copytree(begun.folder, there)
    made.folder, made.path = there, there / begun.path.name
    made.keys, made.root = there / begun.keys.name, there / begun.root.name
    return made
