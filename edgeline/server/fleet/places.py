"""What a device's fleet needs: whether statuses can be sent at all; events by the device's key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from edgeline.errors import UsageError
from edgeline.extras import install_hint
from edgeline.monitoring.cloud_events import check_url
from edgeline.server import fresh_python
from edgeline.server.settings import ServerSettings
from edgeline.stores.object_put import bucket

SIGNING_TIME = 30.0  # seconds


def signer(settings: ServerSettings) -> Callable[[bytes], Mapping[str, str]]:
    """What signs an event by the device's key, in a process of its own; the headers."""
    folder = str(Path(settings.state or "") / "fleet")

    def sign(body: bytes) -> Mapping[str, str]:
        import subprocess

        done = subprocess.run(
            fresh_python.command("edgeline.server.fleet.sign", folder),
            input=body,
            capture_output=True,
            timeout=SIGNING_TIME,
            check=True,
        )
        headers: dict[str, str] = json.loads(done.stdout)
        return headers

    return sign


def check(settings: ServerSettings) -> None:
    """Refuse settings that no status could be sent with.

    A token file may be missing: an enrolled device does without, and it is said where one is not.

    Raises:
        UsageError: the place is not one, what signs is not installed, or the CA is missing.
        EdgelineError: the environment has no keys for the bucket.
    """
    place = settings.fleet or ""
    if place.startswith(("http://", "https://")):
        check_url(place, "--fleet")
    elif "://" in place:
        bucket(place)
    elif not Path(place).is_dir():
        raise UsageError(f"--fleet {place} is not a folder: make it, or give an address.")
    if find_spec("cryptography") is None:
        hint = install_hint(ModuleNotFoundError(name="cryptography"))
        raise UsageError(f"{hint}, which --fleet needs to sign statuses.")
    if settings.fleet_ca is not None and not Path(settings.fleet_ca).is_file():
        raise UsageError(f"--fleet-ca {settings.fleet_ca} is not a file: name a PEM file.")
