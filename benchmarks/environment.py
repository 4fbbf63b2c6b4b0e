"""The environment that benchmarks run in: none of what makes Python itself slower."""

from __future__ import annotations

import os
import sys

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
        "TF_CPP_MAX_VLOG_LEVEL",
        "TF_CPP_VMODULE",
    }
)


def undistorted() -> None:
    """Start this program again without `DISTORTING` variables, if any is set.

    Each benchmark calls it first, so that it and every process it starts, ours or a peer's, are
    without them. To unset them is not enough: Python has read them when it runs this, and hands
    on what they said to processes that `multiprocessing` starts.
    """
    found = sorted(DISTORTING & os.environ.keys())
    if found or sys.flags.dont_write_bytecode:
        print(f"Starting again without {', '.join(found) or '-B'}.", file=sys.stderr, flush=True)
        for name in found:
            del os.environ[name]
        os.execv(sys.executable, [sys.executable, *sys.argv])
