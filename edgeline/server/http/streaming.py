"""A gRPC call whose messages come one by one: how they are taken, answered in turn and bounded.

What a client sends ahead stays bytes until its turn: a few messages are worked on at once, and no
more is taken while answers wait for a client that does not read. A stream's window is given back
only for messages that are answered, so one stream holds at most that window, and what it holds is
counted with all that the server holds. Nothing here has a thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.http.frames import U32
from edgeline.server.http.grpc_call import Call, Reply, message_of
from edgeline.server.settings import ServerSettings

AT_ONCE = 16  # messages of one stream that are worked on
IN_A_ROW = 16  # messages that are taken before others have their turn
QUANTUM = 1 << 16  # bytes of answered messages after which a client may send as many more
OWN = 4096  # bytes that a stream costs while nothing happens on it: 4,600 were measured
SETTLED = 1.0  # seconds after which a client may give up a stream that rests, at no cost
FOREVER = float("inf")


@dataclass(frozen=True)
class Streaming:
    """How a method answers a stream.

    Attributes:
        each: answers every message with one; what gives a `ServingError` ends the stream.
        watch: takes the only message and a function that sends any number of answers, and gives
            how to end that. It raises a `ServingError` where it refuses the message.
    """

    each: Callable[[Call, Reply], None] | None = None
    watch: Callable[[Call, Callable[[bytes], None]], Callable[[], None]] | None = None


@dataclass(frozen=True)
class StreamWriter:
    """What a call does to its stream.

    Attributes:
        send: writes a message, or as much of it as the client takes.
        finish: ends the stream behind what is sent, with an error or without.
        hold: counts bytes that are held, or with a negative number are no more.
        grow: lets the client send as many bytes more.
        is_stuck: whether something that was sent still waits for the client.
        is_alone: whether nothing else is asked on the connection.
    """

    send: Callable[[bytes], None]
    finish: Callable[[ServingError | None], None]
    hold: Callable[[int], None]
    grow: Callable[[int], None]
    is_stuck: Callable[[], bool]
    is_alone: Callable[[], bool]


@dataclass(slots=True)
class _Turn:
    """A message that is worked on, and its answer."""

    call: Call
    size: int
    answer: bytes | ServingError | None = None


class StreamingCall:
    """One stream. `call` is what all its messages have in common; its deadline is the client's."""

    def __init__(
        self, call: Call, streaming: Streaming, writer: StreamWriter, settings: ServerSettings
    ) -> None:
        self._call, self._streaming, self._writer = call, streaming, writer
        self._settings = settings
        self._received = bytearray()
        self._turns: deque[_Turn] = deque()
        self._answered = 0  # bytes of answered messages that the client may not yet send again
        self._opened = self._began = monotonic()  # `_began`: when a message began to come
        self._is_whole = self._is_over = self._is_leaving = self._is_going = False
        self._end_watch: Callable[[], None] | None = None
        self._latest: bytes | None = None  # what a watch says next to a client that reads

    @property
    def is_resting(self) -> bool:
        """Whether nothing is asked and nothing answered."""
        return not (self._turns or self._received or self._writer.is_stuck())

    @property
    def is_settled(self) -> bool:
        """Whether it rests, and has for a while: to give it up is how a client ends it."""
        return self.is_resting and monotonic() - self._opened > SETTLED

    @property
    def deadline(self) -> float:
        """Of `time.monotonic`: when the call, a message's answer or the rest of one is too late."""
        deadline = self._call.deadline
        if self._turns:
            deadline = min(deadline, self._turns[0].call.deadline)
        elif self._received or (self._streaming.watch and self._end_watch is None):
            deadline = min(deadline, self._began + self._settings.read_time)
        return deadline

    def receive(self, data: bytes, padding: int) -> None:
        """The next bytes that came."""
        if not self._received:
            self._began = monotonic()
        self._received += data
        self._give_back(padding)
        self.go_on()

    def half_close(self) -> None:
        """The client sends no more."""
        self._is_whole = True
        self.go_on()

    def leave(self) -> None:
        """End the stream as soon as nothing of it is worked on."""
        self._is_leaving = True
        self.go_on()

    def cancel(self) -> None:
        """Nobody waits for answers any more."""
        self._is_over = True
        for turn in self._turns:
            if turn.call.cancel is not None:
                turn.call.cancel()
                turn.call.cancel = None
        self._turns.clear()
        self._received.clear()
        if self._end_watch is not None:
            self._end_watch()
            self._end_watch = None

    def go_on(self) -> None:
        """Take what can be taken, and end the stream where nothing more is to come.

        An answer that comes at once comes back here: it returns, and the loop that it came from
        goes on, so that any number of messages need no stack.
        """
        if self._is_going or self._is_over:
            return
        self._is_going, taken = True, 0
        try:
            while self._may_take():
                if taken == IN_A_ROW:
                    asyncio.get_running_loop().call_soon(self.go_on)
                    return
                if (message := self._next()) is None:
                    break
                taken += 1
                self._take(message)
        except ServingError as error:
            self._finish(error)
        finally:
            self._is_going = False
        if not self._is_over:
            self._end_if_done()

    def _may_take(self) -> bool:
        if self._is_over or self._writer.is_stuck():
            return False
        if self._end_watch is not None:
            if self._received:
                raise invalid("This call has exactly one message.")
            latest, self._latest = self._latest, None
            if latest is not None:
                self._writer.send(latest)
            return False
        return len(self._turns) < AT_ONCE

    def _next(self) -> bytes | None:
        """The next message with its head, or None where it has not come whole.

        Raises:
            ServingError: it is larger than a request may be.
        """
        if len(self._received) < 5:
            return None
        limit = self._settings.max_body
        size = U32.unpack_from(self._received, 1)[0] + 5
        if size - 5 > limit:
            why = f"The message is larger than {limit} bytes."
            raise ServingError(Code.RESOURCE_EXHAUSTED, why)
        if len(self._received) < size:
            return None
        with memoryview(self._received) as view:
            message = bytes(view[:size])
        del self._received[:size]
        self._began = monotonic()
        return message

    def _take(self, message: bytes) -> None:
        shared = self._call
        content, coding = message_of(message, shared.headers)
        call = Call(
            *(shared.method, shared.headers, content, shared.peer),
            min(shared.deadline, monotonic() + self._settings.request_time),
            shared.connection,
            not (self._turns or self._received) and self._writer.is_alone(),
            *(coding, self._settings.max_body),
        )
        if self._streaming.watch is not None:
            self._end_watch = self._streaming.watch(call, self._tell)
            self._writer.hold(-len(message))
            self._give_back(len(message))
        elif self._streaming.each is not None:
            turn = _Turn(call, len(message))
            self._turns.append(turn)
            self._streaming.each(call, lambda answer: self._reply(turn, answer))

    def _reply(self, turn: _Turn, answer: bytes | ServingError) -> None:
        turn.call.cancel = None  # a cycle: it would keep the message until the next collection
        if self._is_over or turn.answer is not None:
            return
        turn.answer = answer
        while self._turns and (first := self._turns[0].answer) is not None:
            size = self._turns.popleft().size
            if isinstance(first, ServingError):
                self._finish(first)
                return
            self._writer.hold(-size)
            self._writer.send(first)
            self._give_back(size)
        self.go_on()

    def _tell(self, answer: bytes) -> None:
        """Send what a watch says; to a client that does not read, the last of it alone."""
        if self._is_over:
            return
        if self._writer.is_stuck():
            self._latest = answer
        else:
            self._writer.send(answer)

    def _give_back(self, size: int) -> None:
        self._answered += size
        if self._answered >= QUANTUM and not (self._is_whole or self._is_over):
            self._writer.grow(self._answered)
            self._answered = 0

    def _end_if_done(self) -> None:
        if self._turns or self._writer.is_stuck():
            return
        if self._is_whole and self._end_watch is None:
            cut = self._received or self._streaming.watch
            self._finish(invalid("The stream ends before its message does.") if cut else None)
        elif self._is_leaving:
            self._finish(ServingError(Code.UNAVAILABLE, "The server is stopping: ask another."))

    def _finish(self, error: ServingError | None) -> None:
        if not self._is_over:
            self.cancel()
            self._writer.finish(error)
