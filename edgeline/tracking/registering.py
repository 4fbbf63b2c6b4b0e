"""Published versions registered with Kubeflow by a process of its own (`beside.py`).

python -m edgeline.tracking.registering < VERSIONS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from edgeline.errors import EdgelineError, UsageError
from edgeline.extras import install_hint
from edgeline.formats import typed
from edgeline.tracking import beside
from edgeline.tracking.entries import VersionToRegister
from edgeline.tracking.registry import address, register


def send(versions: Sequence[VersionToRegister]) -> str:
    """Register versions with the registry that the environment names; why not, or "" where it has
    them all."""
    return beside.run("edgeline.tracking.registering", [asdict(each) for each in versions])


def main() -> int:
    given = typed.parse(sys.stdin.read(), "the versions")
    versions: tuple[VersionToRegister, ...] = typed.convert(given, tuple[VersionToRegister, ...])
    try:
        place = address()
        if place is None:
            raise UsageError("no registry is named")
        register(place, versions)
    except EdgelineError as error:
        print(error)
        return 1
    except ModuleNotFoundError as error:
        print(install_hint(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
