"""Load a model, run it once and exit: `python -m edgeline.server.trial PATH`."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.server.loading import load


def main(path: str) -> int:
    """0 if the model works; else 1, and why as the last line of stderr."""
    try:
        load(Path(path), "trial", 1, instances=1, threads=1)
    except EdgelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
