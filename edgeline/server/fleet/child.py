"""A status to be posted: an order as JSON on stdin, what came of it as JSON on stdout.

`python -m edgeline.server.fleet.child`, a process of its own that ends: so the serving process
holds neither the private key nor the libraries of signatures, TLS and HTTP, and a fleet's server
that hangs is a child to be ended.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict


def main() -> int:
    """Read an order, carry it out, print what came of it; 0 whatever that is."""
    from edgeline.server.fleet.posting import PostOrder, post

    json.dump(asdict(post(PostOrder(**json.load(sys.stdin)))), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
