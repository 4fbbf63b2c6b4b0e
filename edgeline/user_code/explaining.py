"""An exception out of user code in one sentence."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from pathlib import Path

# user code may lie below sys.prefix, or in a folder called edgeline: these are exact
_LIBRARIES = tuple(
    f"{folder}{os.sep}" for folder in (sysconfig.get_path("stdlib"), Path(__file__).parents[1])
)


def describe(error: BaseException, action: str) -> str:
    """One sentence for an exception out of user code, with the user's line or the graph's node."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)]
    node = re.search(r"Detected at node (\S+)", str(error))
    where = f" in {node[1]}" if node else ""
    if own:
        where = f" at {own[-1].filename}:{own[-1].lineno} ({own[-1].line})"
    return f"{action} failed{where}: {type(error).__name__}: {reason(error)}"


def reason(error: BaseException) -> str:
    """The message of an exception in one line, without the traces of TensorFlow, Keras and Beam."""
    noise = (
        *("Graph execution error", "Detected at node", "<stack traces", 'File "', "[["),
        *("Arguments received by", "•"),
    )
    message = re.sub(r"\x1b\[[0-9;]*m", "", str(error).partition(" [while running")[0])
    lines = [line.strip() for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(noise))


def _is_library(filename: str) -> bool:
    inside = ("site-packages", "__autograph_generated_file")
    return filename.startswith(("<", *_LIBRARIES)) or any(part in filename for part in inside)
