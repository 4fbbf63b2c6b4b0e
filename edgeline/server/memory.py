"""glibc's heaps, kept small."""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_ARENA_MAX = -8


def limit_heaps() -> None:
    """Let all threads share two of glibc's heaps: each of its own keeps what it once held."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def return_freed() -> None:
    """Hand to the system what imports and loading have freed."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
