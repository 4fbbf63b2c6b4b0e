"""The public keys of a fleet's devices, as `edgeline triggers serve` verifies events by.

From a file, `{"devices": {"NAME": "<32 bytes in base64>"}}`, or from the fleet's server
(`GET /v1/fleet/keys`), which leaves out revoked devices. Both are read again from time to time;
while that fails, the keys of before count, also after a restart where they are kept.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
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

    def __init__(self, place: str, token: str = "", kept: Path | None = None) -> None:
        """
        Args:
            place: a file, or the address of a fleet's server.
            token: a bearer token of the scope `read` for it; empty: none.
            kept: where the keys of a server are kept for a start while it is away; None: nowhere.

        Raises:
            EdgelineError: they cannot be read.
        """
        self._place, self._token, self._kept = place, token, kept
        if is_address(place):
            check_url(place, "--fleet")
        self._keys: Mapping[str, bytes] = {}
        self._keys = self._first()
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

    def _first(self) -> Mapping[str, bytes]:
        """The keys at a start: those that were kept where the server is away."""
        try:
            return self._read()
        except UsageError:
            raise
        except EdgelineError as error:
            try:
                assert self._kept is not None
                found = json.loads(plain_file.read(self._kept, _LARGEST))
                keys = self._checked(found) if found["place"] == self._place else None
            except (AssertionError, OSError, ValueError, TypeError, KeyError, UsageError):
                keys = None
            if keys is None:
                raise error from None
            log.warning(
                "%s The devices' keys that were kept count, which may be old: one that was revoked "
                "since is still believed.",
                error,
            )
            return keys

    def _read(self) -> Mapping[str, bytes]:
        if not is_address(self._place):
            return self._checked(self._of_file())
        found = self._asked()
        keys = self._checked(found)
        if self._kept is not None and (keys != self._keys or not self._kept.is_file()):
            self._keep(self._kept, found["devices"])
        return keys

    def _keep(self, file: Path, devices: Mapping[str, str]) -> None:
        part = file.with_name(file.name + ".part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                json.dump({"place": self._place, "devices": devices}, stream)
            part.replace(file)
        except OSError as error:
            log.warning("The devices' keys cannot be kept in %s (%s).", file, error.strerror)

    def _checked(self, found: Any) -> Mapping[str, bytes]:
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
            kind = EdgelineError if error.code >= 500 or error.code == 429 else UsageError
            raise kind(f"{self._shown} tells no keys (status {error.code}).") from error
        except (OSError, ValueError, redirects.RedirectError) as error:
            why = getattr(error, "reason", error)
            raise EdgelineError(f"{self._shown} tells no keys ({why}).") from error

    @property
    def _shown(self) -> str:
        return shown(self._place) if is_address(self._place) else str(Path(self._place))


def is_address(place: str) -> bool:
    """Whether it is a server's, and not a file."""
    return place.startswith(("http://", "https://"))
