"""The command of a process of the server's own: a module of this package, in a fresh Python.

`python -m` would look for every module in the working folder first, and run what lies there under
the name of one. Here the folder is off the path before anything is imported. (`-P` does that, too,
from Python 3.11 on.)
"""

from __future__ import annotations

import sys

_RUN = (
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command(module: str, *arguments: str) -> list[str]:
    """What runs a module with arguments, as `python -m` would."""
    return [sys.executable, "-c", _RUN, module, *arguments]
