"""What a client of HTTP/2 takes: its windows (RFC 9113, section 5.2), and answers cut to fit them.

A stream's window may be below zero, after a client made all windows smaller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic

from edgeline.server.http import frames as h2
from edgeline.server.http.streams import Stream

LARGEST = (1 << 31) - 1  # of a window
_PACE = 4096  # bytes that a client takes at least in the time for an answer


class Flow:
    """The windows of one connection, and what waits for them."""

    def __init__(self, write: Callable[[bytes], None], write_time: float) -> None:
        self.window = self.initial = 65535
        self.frame = 16384  # the largest that the client takes
        self.is_held = False  # nothing is written: the client does not read
        self._write, self._write_time = write, write_time

    def takes(self, stream: Stream, size: int) -> bool:
        """Whether as many bytes may be sent at once, in one frame; they are counted as sent."""
        if self.is_held or size > self.frame or size > self.window or size > stream.window:
            return False
        self.window -= size
        stream.window -= size
        return True

    def pump(self, stream: Stream) -> bool:
        """Send as much of an answer as may be; whether that was all that waits."""
        place, left = 0, len(stream.outgoing)
        while left and not self.is_held:
            size = min(left, self.frame, stream.window, self.window)
            if size <= 0:
                break
            left -= size
            is_end = not (left or stream.trailers or stream.goes_on)
            ends = h2.END_STREAM if is_end else 0
            piece = stream.outgoing[place : place + size]
            self._write(h2.frame(size, h2.DATA, ends, stream.number) + piece)
            place += size
            stream.window -= size
            self.window -= size
        if place:
            more = min(1, place / _PACE) * self._write_time
            stream.deadline = min(monotonic() + self._write_time, stream.deadline + more)
            del stream.outgoing[:place]  # in place: what is left is not copied each time
        if left:
            return False
        if stream.trailers:
            flags = h2.END_HEADERS | h2.END_STREAM
            head = h2.frame(len(stream.trailers), h2.HEADERS, flags, stream.number)
            self._write(head + stream.trailers)
        return True

    def resize(self, streams: Iterable[Stream], initial: int) -> None:
        """The client says how large a stream's window is at first; open ones grow as much.

        Raises:
            BrokenError: one becomes too large.
        """
        for stream in streams:
            stream.window += initial - self.initial
            if stream.window > LARGEST:
                raise h2.BrokenError(h2.FLOW, "a window is too large")
        self.initial = initial
