"""The process that explains: orders and requests through the socket that is its stdin.

`python -m edgeline.server.explain_child MEMORY STOPS`, which may allocate so many bytes besides
those of its model's files, and reads the file descriptor `STOPS` for orders that nobody waits for.
It holds the model that was last explained, and ends with the server, and not by signals that the
server gets too, which finishes what it has begun.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import sampling, vectors
from edgeline.artifacts.bundle import Bundle
from edgeline.artifacts.folder import is_of
from edgeline.artifacts.transformed import RAW
from edgeline.errors import EdgelineError
from edgeline.monitoring.range_check import RangeCheck
from edgeline.server.errors import Code, ServingError
from edgeline.server.explaining import BODY, ExplainOrder, manifest_digest
from edgeline.server.explaining_messages import NUMBER, receive, send
from edgeline.server.http.compression import decompress
from edgeline.server.models import loading
from edgeline.server.models.model import Arrays, Instance, check
from edgeline.server.protocols.explanations import ExplainBudget, explain
from edgeline.server.settings import IGNORE, REFUSE
from edgeline.server.threads import begin
from edgeline.server.versions.forkserver import allocated
from edgeline.server.versions.trial import FILES

BACKGROUND = 100  # recorded rows at most, evenly spread


@dataclass(frozen=True)
class _Loaded:
    """A model, what it is of, and its recorded rows."""

    key: tuple[object, ...]
    instance: Instance
    background: Arrays


class _Stops:
    """Whether the server has said of the order at work that nobody waits for it, or has ended."""

    def __init__(self, file: int) -> None:
        os.set_blocking(file, False)
        self.number = 0  # of the order at work
        self._file, self._told, self._ended = file, 0, False

    def __call__(self) -> bool:
        with contextlib.suppress(BlockingIOError):  # nothing is said
            said = os.read(self._file, 1024 * NUMBER.size)
            self._ended |= not said
            for (number,) in NUMBER.iter_unpack(said):
                self._told = number
        return self._ended or self._told == self.number


def main(memory: int, stops_file: int) -> int:
    """Work on what comes, until the server ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # these are for the server
        signal.signal(number, signal.SIG_IGN)
    begin(_end_with_the_server, stops_file)
    with contextlib.suppress(OSError):  # where memory ends, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    _limit(resource.RLIMIT_CORE, 0)
    stops, loaded = _Stops(stops_file), None
    line = socket.socket(fileno=os.dup(0))
    while True:
        try:
            given, body = receive(line)
        except OSError:
            return 0
        told: dict[str, Any] = {}
        answer = b""
        try:
            order = ExplainOrder(**given)
            stops.number = order.number
            if loaded is None or loaded.key != _key(order):
                loaded = None  # its memory goes first
                _limit(resource.RLIMIT_DATA, allocated() + memory + FILES * _size(order))
                loaded = _load(order)
            if order.coding:
                body = decompress(body, order.coding, BODY)
            budget = ExplainBudget(order.seconds, order.rows)
            answer, told["asked"] = explain(body, loaded.instance, loaded.background, budget, stops)
        except Exception as error:
            told = _fault(error, str(given.get("name")))
        with contextlib.suppress(OSError):
            send(line, told, answer)


def _end_with_the_server(stops_file: int) -> None:
    """End this process with the server, which has the pipe's other end, whatever runs here."""
    poll = select.poll()
    poll.register(stops_file, 0)  # that nobody has the other end is always told
    poll.poll()
    os._exit(0)


def _fault(error: Exception, name: str) -> dict[str, Any]:
    if isinstance(error, ServingError):
        return {"code": int(error.code), "message": str(error), "http": error.http}
    if isinstance(error, EdgelineError):
        return {"code": int(Code.INVALID_ARGUMENT), "message": str(error)}
    if isinstance(error, MemoryError):
        message = f"To explain model {name!r} takes more than --load-memory: ask for fewer rows."
        return {"code": int(Code.UNAVAILABLE), "message": message}
    message = f"Model {name!r} failed: see the server's log."
    return {"code": int(Code.INTERNAL), "message": message, "log": traceback.format_exc()}


def _key(order: ExplainOrder) -> tuple[object, ...]:
    return order.path, order.name, order.version, order.manifest, order.out_of_range


def _load(order: ExplainOrder) -> _Loaded:
    """The model of an order.

    Raises:
        ServingError: its files are not those of the model that answers, or are gone.
    """
    path = Path(order.path)
    try:
        _check_same(bundles.read_manifest(path), order)  # else it may never have been tried
        # the accelerator is the server's, if there is one
        (instance,) = loading.load(path, order.name, order.version, 1, 1, held=True)
        bundle = instance.description.bundle
        _check_same(bundle, order)
        recorded = vectors.read(path / vectors.FILE, instance.description.signature).inputs
        assert bundle is not None  # it was compared
        if not is_of(path / vectors.FILE, bundle.files[vectors.FILE]["sha256"]):
            raise _replaced(order)
    except (OSError, EdgelineError) as error:
        raise ServingError(Code.UNAVAILABLE, f"It cannot be explained now: {error}") from error
    background = check(recorded, instance.description)
    some = sampling.spread(len(next(iter(background.values()))), BACKGROUND)
    instance.ranges = _ranges(instance, order.out_of_range)
    return _Loaded(_key(order), instance, {n: array[some] for n, array in background.items()})


def _check_same(bundle: Bundle | None, order: ExplainOrder) -> None:
    if bundle is None or manifest_digest(bundle) != order.manifest:
        raise _replaced(order)


def _replaced(order: ExplainOrder) -> ServingError:
    return ServingError(
        Code.UNAVAILABLE,
        f"Model {order.name!r} {order.version} is being replaced: its files are not those of the "
        "model that answers here. Ask again once the server has loaded them.",
    )


def _ranges(instance: Instance, out_of_range: str) -> RangeCheck | None:
    """As the server compares; nothing is counted, for it is not traffic."""
    description = instance.description
    if out_of_range == IGNORE or description.ranges is None:
        return None
    raw = [each for each in description.asked.inputs if description.takes_of(each.name) == RAW]
    return RangeCheck(description.ranges, raw, out_of_range == REFUSE, lambda *_: None)


def _size(order: ExplainOrder) -> int:
    files = Path(order.path).rglob("*")
    with contextlib.suppress(OSError):  # which loading will say
        return sum(file.stat().st_size for file in files if file.is_file())
    return 0


def _limit(limit: int, value: int) -> None:
    """Set the soft limit: the next model may need another."""
    hard = resource.getrlimit(limit)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
