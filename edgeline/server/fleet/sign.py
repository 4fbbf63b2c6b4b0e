"""Sign a body by the device's key: the body on stdin, the headers as JSON on stdout.

`python -m edgeline.server.fleet.sign FOLDER`, a process of its own for each event, which are few:
so the serving process holds neither the key nor a library of signatures. A device that is not
enrolled yet signs nothing: `{}`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    """Read a body, print its headers."""
    from edgeline.server.fleet import posting

    json.dump(posting.signed(Path(sys.argv[1]), sys.stdin.buffer.read()), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
