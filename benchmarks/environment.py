"""The environment that benchmarks run in: none of what makes Python itself slower."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

DISTORTING = frozenset(
    {
        # imports: compiled again each time, timed, or traced
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPYCACHEPREFIX",
        "PYTHONOPTIMIZE",
        "PYTHONPROFILEIMPORTTIME",
        "PYTHONVERBOSE",
        # everything: other allocators, checks, tracing
        "PYTHONASYNCIODEBUG",
        "PYTHONDEVMODE",
        "PYTHONDUMPREFS",
        "PYTHONMALLOC",
        "PYTHONMALLOCSTATS",
        "PYTHONPERFSUPPORT",
        "PYTHONTRACEMALLOC",
        "COVERAGE_PROCESS_CONFIG",
        "COVERAGE_PROCESS_START",
        "PIP_NO_COMPILE",  # a peer's environment, in which each start compiles again
        "TF_CPP_MAX_VLOG_LEVEL",
        "TF_CPP_VMODULE",
    }
)
# options of Python that say the same, and are handed on as those are
OPTIONS: dict[str, Callable[[Any], object]] = {
    "-B": lambda flags: flags.dont_write_bytecode,
    "-O": lambda flags: flags.optimize,
    "-v": lambda flags: flags.verbose,
}


def undistorted() -> None:
    """Start this program again without `DISTORTING` variables, if any is set.

    Each benchmark calls it first, so that it and every process it starts, ours or a peer's, are
    without them. To unset them is not enough: Python has read them when it runs this, and hands
    on what they said to processes that `multiprocessing` starts.
    """
    found = sorted(DISTORTING & os.environ.keys())
    options = [option for option, given in OPTIONS.items() if given(sys.flags)]
    if sys._xoptions:
        options.append("-X")
    if found or options:
        names = ", ".join(found or options)
        print(f"Starting again without {names}.", file=sys.stderr, flush=True)
        for name in found:
            del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.argv])


def without_onednn() -> None:
    """Have TensorFlow, once it is imported here, answer as edgeline has it on every processor."""
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
