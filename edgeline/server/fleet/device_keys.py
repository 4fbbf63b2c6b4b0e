"""The public keys of a fleet's devices, as `edgeline triggers serve` verifies events by.

From a file, `{"devices": {"NAME": "<32 bytes in base64>"}}`, or from the fleet's server
(`GET /v1/fleet/keys`), which leaves out revoked devices. Both are read again from time to time;
while that fails, the keys of before count.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import plain_file
from edgeline.monitoring.cloud_events import check_url, shown
from edgeline.server.fleet import signatures
from edgeline.server.fleet.protocol import SOON
from edgeline.stores import redirects

PATH = "/v1/fleet/keys"
AGAIN = 30.0  # seconds between two looks
TIMEOUT = 30.0  # seconds without a byte
_LARGEST = 64 << 20  # bytes
log = logging.getLogger("edgeline.triggers")


class DeviceKeys:
    """Keys that are kept fresh by a thread."""

    def __init__(self, place: str, token: str = "") -> None:
        """
        Args:
            place: a file, or the address of a fleet's server.
            token: a bearer token of the scope `read` for it; empty: none.

        Raises:
            EdgelineError: they cannot be read.
        """
        self._place, self._token = place, token
        if is_address(place):
            check_url(place, "--fleet")
        self._keys = self._read()
        self._stop, self._asked_for = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="edgeline", daemon=True).start()

    def __len__(self) -> int:
        return len(self._keys)

    def has_signed(self, device: str, signature: bytes, body: bytes) -> bool:
        """Whether a device that is known has signed a body."""
        key = self._keys.get(device)
        return key is not None and signatures.is_signed(key, signature, body)

    def knows(self, device: str) -> bool:
        """Whether it has a key; if not, they are read again within `SOON`: it may be new."""
        if device not in self._keys:
            self._asked_for.set()
        return device in self._keys

    def close(self) -> None:
        self._stop.set()
        self._asked_for.set()

    def _run(self) -> None:
        fault = ""
        while not self._stop.wait(SOON):
            self._asked_for.wait(AGAIN - SOON)
            self._asked_for.clear()
            if self._stop.is_set():
                return
            try:
                self._keys, fault = self._read(), ""
            except EdgelineError as error:
                if str(error) != fault:
                    log.warning("%s The devices' keys of before count.", error)
                fault = str(error)

    def _read(self) -> Mapping[str, bytes]:
        found = self._asked() if is_address(self._place) else self._of_file()
        devices = found.get("devices") if isinstance(found, dict) else None
        if not isinstance(devices, dict):
            raise UsageError(f"{self._shown} does not hold the keys of devices.")
        try:
            keys = {name: base64.b64decode(key, validate=True) for name, key in devices.items()}
        except (TypeError, ValueError, binascii.Error):
            keys = {"": b""}
        if wrong := next((name for name, key in keys.items() if len(key) != signatures.KEY), None):
            raise UsageError(f"{self._shown}: the key of {wrong[:100]} does not have 32 bytes.")
        if "" in keys:
            raise UsageError(f"{self._shown} has a key that is not in base64.")
        return keys

    def _of_file(self) -> Any:
        try:
            return json.loads(plain_file.read(self._place, _LARGEST))
        except OSError as error:
            raise UsageError(f"{self._shown} cannot be read ({error.strerror}).") from error
        except ValueError as error:
            raise UsageError(f"{self._shown} is not JSON.") from error

    def _asked(self) -> Any:
        request = urllib.request.Request(self._place.rstrip("/") + PATH)
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with redirects.urlopen(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read(_LARGEST))
        except urllib.error.HTTPError as error:
            error.close()
            raise EdgelineError(f"{self._shown} tells no keys (status {error.code}).") from error
        except (OSError, ValueError, redirects.RedirectError) as error:
            why = getattr(error, "reason", error)
            raise EdgelineError(f"{self._shown} tells no keys ({why}).") from error

    @property
    def _shown(self) -> str:
        return shown(self._place) if is_address(self._place) else str(Path(self._place))


def is_address(place: str) -> bool:
    """Whether it is a server's, and not a file."""
    return place.startswith(("http://", "https://"))
