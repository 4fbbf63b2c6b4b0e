"""Explanations of predictions: by a process of lower priority, within a budget, one at a time.

    server -- an order and the request's body, a socket --> child `edgeline.server.explain_child`
           -- the number of an order that nobody waits for, a pipe -->

The child reads the body, loads the model from the same files, if they still are those of the model
that answers predictions (`ExplainOrder.manifest`), and asks it: what a request takes of
time and memory, or makes crash, is the child's. It begins with the first explanation, and ends
`IDLE` seconds after the last. A client that is gone is told to the child, which then stops; by the
number of its order, since that may end, or not have begun, at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any, TypeVar

from edgeline.artifacts import vectors
from edgeline.artifacts.bundle import Bundle, manifest_text
from edgeline.server import fresh_python
from edgeline.server.errors import Code, ServingError
from edgeline.server.explaining_messages import NUMBER, receive, send
from edgeline.server.models.model import Description
from edgeline.server.settings import ServerSettings
from edgeline.server.threads import apart, begin
from edgeline.server.versions.sources import VersionSource
from edgeline.server.versions.trial import CLOCK

MODULE = "edgeline.server.explain_child"
BODY = 1 << 20  # bytes of a request, as sent and decompressed
IDLE = 60.0  # seconds
NICENESS = 10  # more than the server's
_PATIENCE = 0.2  # seconds
_SAID = 4096  # bytes of a child's stderr that are kept
_GRACE = 10.0  # seconds after which a child that does not stop is ended
log = logging.getLogger("edgeline.server")
T = TypeVar("T")


@dataclass(frozen=True)
class ExplainOrder:
    """What a child is to do.

    Attributes:
        path, name, version: of the version, as of `VersionSource`.
        manifest: of the bundle that answers predictions, as of `manifest_digest`.
        coding: the body's `Content-Encoding`; "" for none.
        seconds: that the explanation may take, once the model is loaded.
        rows: that the model may be asked.
        out_of_range: as of `ServerSettings`.
        number: by which it is stopped.
    """

    path: str
    name: str
    version: int
    manifest: str
    coding: str
    seconds: float
    rows: int
    out_of_range: str
    number: int = 0


class Explainer:
    """Used on the event loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()
        self._held = 0
        self._child: _Child | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._codes: Counter[tuple[str, int, str]] = Counter()
        self._asked: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[tuple[str, int], float] = {}

    async def explain(
        self,
        source: VersionSource,
        description: Description,
        body: bytes,
        coding: str,
        gone: asyncio.Event,
    ) -> bytes:
        """The answer to a request, as JSON.

        Args:
            source: the version that explains; `description` is of it.
            body: of the request, as sent.
            gone: set when nobody waits for the answer any more.

        Raises:
            ServingError: the server or this version gives none, too many wait, the time was over,
                or the request is wrong.
        """
        key = description.name, description.version
        code = Code.OK
        try:
            self._check(description, body)
            self._held += 1
            try:
                assert description.bundle is not None  # it was checked
                manifest = await apart(manifest_digest, description.bundle)
                order = ExplainOrder(
                    *(str(source.path), *key, manifest, coding),
                    *(self._settings.explain, self._settings.explain_rows),
                    self._settings.out_of_range,
                )
                return await self._in_turn(order, body, gone)
            finally:
                self._held -= 1
        except ServingError as error:
            code = error.code
            raise
        finally:
            self._codes[(*key, code.name)] += 1

    def lines(self) -> Iterator[str]:
        """What was explained, as metrics for Prometheus."""
        if not self._settings.explain:
            return
        for (name, version, code), count in sorted(self._codes.items()):
            labels = f'model="{name}",version="{version}"'
            yield f'edgeline_explanations_total{{{labels},code="{code}"}} {count}'
        for (name, version), rows in sorted(self._asked.items()):
            labels = f'model="{name}",version="{version}"'
            yield f"edgeline_explanation_rows_total{{{labels}}} {rows}"
        for (name, version), seconds in sorted(self._seconds.items()):
            labels = f'model="{name}",version="{version}"'
            yield f"edgeline_explanation_seconds_total{{{labels}}} {seconds:.6f}"
        yield f"edgeline_explanations_waiting {self._held}"

    def close(self) -> None:
        """End the child, and explain no more."""
        if self._ending is not None:
            self._ending.cancel()
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _check(self, description: Description, body: bytes) -> None:
        """Refuse what needs no child to be refused."""
        if not self._settings.explain:
            raise _impossible("This server explains nothing: serve with --explain SECONDS.")
        name = description.name
        if description.bundle is None or vectors.FILE not in description.bundle.files:
            raise _impossible(
                f"Model {name!r} brings no recorded rows ({vectors.FILE}), whose values stand for "
                "unknown ones: publish it with what verify wrote."
            )
        if len(description.signature.inputs) < 2:
            raise _impossible(
                f"Model {name!r} has one input, so that there is nothing to divide its score among."
            )
        if len(body) > BODY:
            what = f"A request for explanations has at most {BODY:,} bytes: send fewer instances."
            raise ServingError(Code.INVALID_ARGUMENT, what, 413)
        if self._held >= self._settings.explain_queue:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"{self._held} requests for explanations run or wait already: ask again later.",
            )

    async def _in_turn(self, order: ExplainOrder, body: bytes, gone: asyncio.Event) -> bytes:
        turn = asyncio.ensure_future(self._turn.acquire())
        try:
            await _first(turn, gone, self._settings.queue_time)
        finally:
            if not turn.done():
                turn.cancel()
        if not turn.done():
            if gone.is_set():
                raise _nobody()
            raise ServingError(
                Code.UNAVAILABLE,
                f"The request waited {self._settings.queue_time:g} s for others to be explained.",
            )
        try:
            return await self._ask(order, body, gone)
        finally:
            self._turn.release()
            if self._ending is not None:
                self._ending.cancel()
            self._ending = asyncio.get_running_loop().call_later(IDLE, self._rest)

    def _rest(self) -> None:
        if not self._held:
            self.close()

    async def _ask(self, order: ExplainOrder, body: bytes, gone: asyncio.Event) -> bytes:
        """What the child says; it is ended where it does not answer, or does not stop."""
        if gone.is_set():
            raise _nobody()
        child = await apart(self._running)
        key, began = (order.name, order.version), monotonic()
        limit = CLOCK * max(1.0, self._settings.load_time) + order.seconds + _GRACE
        child.begin()
        asking = asyncio.ensure_future(apart(child.exchange, asdict(order), body, limit))
        asking.add_done_callback(_looked_at)
        try:
            await _first(asking, gone)
            if not asking.done():
                child.stop()
                await asyncio.wait([asking], timeout=_GRACE)
                if not asking.done() or asking.exception():
                    await apart(self._end, child)
                raise _nobody()
            told, answer = asking.result()
        except OSError as error:  # it has ended, or the time was over
            status = await apart(self._end, child)
            if isinstance(error, TimeoutError):
                message = f"Model {order.name!r} did not answer the explaining process in time."
                raise ServingError(Code.DEADLINE_EXCEEDED, message) from None
            raise _ended(order, status, await apart(child.last_words)) from None
        finally:
            self._seconds[key] = self._seconds.get(key, 0.0) + monotonic() - began
        self._asked[key] += int(told.get("asked", 0))
        if fault := told.get("log"):
            log.error("Model %r failed on a request for explanations.\n%s", order.name, fault)
        if code := int(told.get("code", 0)):
            raise ServingError(Code(code), str(told.get("message")), told.get("http"))
        return answer

    def _running(self) -> _Child:
        """The child, which begins here where there is none."""
        if self._child is None or self._child.process.poll() is not None:
            try:
                self._child = _Child(self._settings.load_memory)
            except OSError as error:
                raise ServingError(
                    Code.UNAVAILABLE, f"No process can be started to explain ({error.strerror})."
                ) from error
        return self._child

    def _end(self, child: _Child) -> int:
        """End a child; how it had ended: see `_Child.kill`."""
        status = child.kill(_PATIENCE)
        if self._child is child:
            self._child = None
        return status


class _Child:
    """The process, and the socket to it. `exchange` is for one thread at a time."""

    def __init__(self, memory: int) -> None:
        self._socket, theirs = socket.socketpair()
        read, write = os.pipe()
        said, errors = os.pipe()
        self._said = b""
        self._stops = open(write, "wb", buffering=0)  # noqa: SIM115  # for as long as this lives
        self._number = 0
        try:
            with theirs:
                self.process = subprocess.Popen(
                    fresh_python.command(MODULE, str(memory), str(read)),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=[read],
                    start_new_session=True,  # what signals the server's group lets it finish
                )
        except BaseException:
            os.close(said)
            raise
        finally:
            os.close(read)
            os.close(errors)
        self._reading = begin(self._read, said)
        nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        with contextlib.suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, self.process.pid, nice)

    def begin(self) -> None:
        """Give the next `exchange` its number."""
        self._number += 1

    def exchange(
        self, order: Mapping[str, object], body: bytes, seconds: float
    ) -> tuple[dict[str, Any], bytes]:
        """Send an order and its body; what comes back.

        Raises:
            OSError: the child has ended, or the time is over (TimeoutError).
        """
        end = monotonic() + seconds
        self._socket.settimeout(seconds)
        send(self._socket, {**order, "number": self._number}, body)
        told, answer = receive(self._socket, end)
        return told, answer

    def stop(self) -> None:
        """Tell that nobody waits any more for what is at work."""
        with contextlib.suppress(OSError):  # it has ended
            self._stops.write(NUMBER.pack(self._number))

    def kill(self, patience: float = 0.0) -> int:
        """End it; its exit status, negative for a signal.

        Args:
            patience: seconds in which what ends by itself may say how.
        """
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(patience)
        self.process.kill()  # after which `exchange` comes to its end
        return self.process.wait()

    def last_words(self) -> str:
        """The end of what it wrote to stderr, once it has ended."""
        self._reading.join(_PATIENCE)
        return self._said.decode(errors="replace").strip()

    def _read(self, said: int) -> None:
        """Keep the end of what it writes, until it ends."""
        with open(said, "rb", buffering=0) as stream:
            while piece := stream.read(_SAID):
                self._said = (self._said + piece)[-_SAID:]


def _ended(order: ExplainOrder, status: int, said: str) -> ServingError:
    """What is told of a child that ended at work, and logged with the last that it wrote."""
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    log.error(
        "The process that explains %s %d ended (%s).%s",
        *(order.name, order.version, how, f"\n{said}" if said else ""),
    )
    message = f"The process that explains model {order.name!r} ended ({how})"
    if status == -signal.SIGKILL or "MemoryError" in said or "bad_alloc" in said:
        message += ", perhaps for want of memory: ask for fewer instances, or later."
    else:
        message += ": see the server's log."
    return ServingError(Code.UNAVAILABLE, message)


def manifest_digest(bundle: Bundle) -> str:
    """sha256 of what a bundle's manifest means: with the digests of its files, the whole bundle."""
    return hashlib.sha256(manifest_text(bundle).encode()).hexdigest()


async def _first(
    task: asyncio.Future[T], gone: asyncio.Event, seconds: float | None = None
) -> None:
    """Wait until a task is done, somebody is gone, or the time is over."""
    leaving = asyncio.ensure_future(gone.wait())
    try:
        both: list[asyncio.Future[Any]] = [task, leaving]
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()


def _looked_at(task: asyncio.Future[Any]) -> None:
    """What went wrong where nobody waits any more is nobody's."""
    if not task.cancelled():
        task.exception()


def _impossible(message: str) -> ServingError:
    return ServingError(Code.UNIMPLEMENTED, message)


def _nobody() -> ServingError:
    return ServingError(Code.CANCELLED, "Nobody waits for the answer any more.")
