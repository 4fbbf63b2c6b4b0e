"""A check of a signed repository: an order as JSON on stdin, what came of it as JSON on stdout.

`python -m edgeline.server.updates.child`, a process of its own: so the server holds none of the
libraries of signatures, and a stuck or crashed download is a child to be ended.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

_UNUSED = ("google.cloud.kms", "boto3", "azure.identity", "hvac", "sigstore")


def main() -> int:
    """Read an order, carry it out, print the result; 0 whatever came of it."""
    # securesystemslib imports each cloud's key service that it finds, which takes a second where
    # they are; nothing is signed here
    for name in _UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
    from edgeline.server.updates.order import UpdateOrder
    from edgeline.server.updates.synchronise import synchronise

    order = json.load(sys.stdin)
    tuples = {name: tuple(order.get(name, ())) for name in ("bad", "groups")}
    result = synchronise(UpdateOrder(**{**order, **tuples}))
    json.dump(asdict(result), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
