"""Servers that are stopped after the test, models for them, and a publisher of updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import certificates as made_certificates
import pytest
from publishing import PASSPHRASE, Publisher, Web, model
from receiving import Receiver
from running import MIXED, MOBILENET, Running

from edgeline.repository import keys
from edgeline.server.updates.order import UpdateOrder, UpdateResult
from edgeline.server.updates.synchronise import synchronise

Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server; it is stopped after the test, and must have logged no traceback."""
    running: list[Running] = []

    def begin(path: Path, *options: str) -> Running:
        running.append(Running(path, *options))
        return running[-1]

    yield begin
    for server in running:
        _, log = server.stop()
        assert "Traceback" not in log, log


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with `mobilenet` 1 and 2 and `mixed` 1, as TensorFlow Serving lays it out."""
    root = tmp_path_factory.mktemp("store")
    for name, version, file in (
        ("mobilenet", 1, MOBILENET),
        ("mobilenet", 2, MOBILENET),
        ("mixed", 1, MIXED),
    ):
        folder = root / name / str(version)
        folder.mkdir(parents=True)
        (folder / "model.tflite").write_bytes(file.read_bytes())
    (root / "mobilenet" / "labels.json").write_text('{"stable": 1, "canary": 2}')
    return root


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Running]:
    """One server for the tests of a module that do not change it."""
    running = Running(store, "--versions", "0", "--poll", "0")
    yield running
    code, log = running.stop()
    assert code == 0
    assert "Traceback" not in log, log


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `certificates.make`; skips without OpenSSL."""
    return made_certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the publisher's keys."""
    monkeypatch.setenv(keys.PASSPHRASE, PASSPHRASE)


@pytest.fixture
def publisher(passphrase: None, tmp_path: Path) -> Publisher:  # noqa: ARG001
    """A repository with version 1 of `m`, whose score of ROW is 4."""
    made = Publisher(tmp_path / "publisher")
    made.add(model(1))
    return made


@pytest.fixture
def web(publisher: Publisher) -> Iterator[Web]:
    web = Web(publisher.path)
    yield web
    web.close()


@pytest.fixture
def look(publisher: Publisher, web: Web, tmp_path: Path) -> Callable[..., UpdateResult]:
    """A look of one device; `location` for another place than the web server."""

    def look(location: str = "", **options) -> UpdateResult:
        order = {"root": str(publisher.root), "state": str(tmp_path / "state"), **options}
        return synchronise(UpdateOrder(location or web.url, **order))

    return look


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver(refusals=1)
    yield made
    made.close()
