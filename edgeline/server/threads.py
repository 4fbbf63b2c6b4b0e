"""Threads that never keep the process: what may hang is called in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

T = TypeVar("T")
NAME = "edgeline"  # begins the name of each
_PATIENCE = 1.0  # seconds for threads to end by themselves


def begin(function: Callable[..., object], *arguments: object) -> threading.Thread:
    """Start a function in a thread that does not outlive the process."""
    thread = threading.Thread(target=function, args=arguments, name=NAME, daemon=True)
    thread.start()
    return thread


async def apart(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a thread of its own, and wait for its answer.

    Where nobody waits any more the function goes on, and its answer is lost.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def give(value: Any, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)

    def call() -> None:
        value, fault = None, None
        try:
            value = function(*arguments)
        except BaseException as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(give, value, fault)

    begin(call)
    return await answer


def leave(code: int) -> int:
    """An exit code, once no thread of these is left; else the process ends here.

    An interpreter that hangs in native code would crash while the process is taken down.
    """
    end = monotonic() + _PATIENCE
    for thread in threading.enumerate():
        if thread.name == NAME:
            thread.join(max(0.0, end - monotonic()))
            if thread.is_alive():
                logging.shutdown()
                sys.stdout.flush()
                os._exit(code)
    return code
