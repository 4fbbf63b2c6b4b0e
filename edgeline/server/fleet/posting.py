"""Enrol a device and post a status: what the child does, and what it keeps.

In the folder `fleet` of the state: `identity.json`, the device's key, and as whom and with which
token it was enrolled; `counter`, the number of the last status. The counter is on the disk before a
status leaves, so that no number is given twice, however the server ends. A key that waits to be
enrolled by a token is `identity.new`: where the answer was lost, the same key is enrolled again by
it, which changes nothing, and another token has another key. A key counts wherever its fleet is: a
server that has moved still knows it. Only their owner can read these files.
"""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeline.errors import EdgelineError
from edgeline.formats import plain_file
from edgeline.server.fleet import fitting, protocol, signatures
from edgeline.stores import redirects
from edgeline.stores.object_put import bucket
from edgeline.version import __version__

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

IDENTITY = "identity.json"
TIMEOUT = 20.0  # seconds without a byte
PostResult = Literal["sent", "refused", "failed"]
_URLS = ("http://", "https://")
_LARGEST = 1 << 16  # bytes of an answer, or of a file


@dataclass(frozen=True)
class PostOrder:
    """What to do.

    Attributes:
        place: the fleet's server, or a folder or bucket that it reads.
        folder: where key and counter are kept.
        device: its name.
        token_file: a file with the enrolment token; empty: it is enrolled.
        status: what is to be told; `device`, `counter` and `time` are put in here.
    """

    place: str
    folder: str
    device: str
    token_file: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PostOutcome:
    """What came of it: sent; refused, which another try will not change; failed. And why."""

    result: PostResult
    sentence: str = ""


class _RefusedError(EdgelineError):
    """The fleet's server does not take it; `status` is that of HTTP, 0 where it was not asked."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


def post(order: PostOrder) -> PostOutcome:
    """Enrol the device where that is due, then post its status."""
    try:
        folder = Path(order.folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = _enrolled(order, folder)
        counter = _next(folder / "counter")
        told = {"device": order.device, "counter": counter, "time": round(time.time(), 3)}
        body = fitting.fitted({**told, **order.status})
        _hand_over(order, protocol.STATUS, {protocol.SIGNATURE: signatures.sign(key, body)}, body)
    except _RefusedError as error:
        return PostOutcome("refused", str(error))
    except EdgelineError as error:
        return PostOutcome("failed", str(error))
    except OSError as error:
        return PostOutcome("failed", f"{order.folder} cannot be used ({error.strerror}).")
    return PostOutcome("sent")


def signed(folder: Path, body: bytes) -> dict[str, str]:
    """The headers that say which device a body is of; none where it is not enrolled."""
    known = _known(folder / IDENTITY)
    if not known:
        return {}
    key = signatures.read_key(str(known.get("key")), str(folder / IDENTITY))
    headers = {protocol.DEVICE: str(known.get("device"))}
    return {**headers, protocol.SIGNATURE: signatures.sign(key, body)}


def _enrolled(order: PostOrder, folder: Path) -> Ed25519PrivateKey:
    """The device's key, which is enrolled now if it was not, or if there is a new token."""
    kept, new = folder / IDENTITY, folder / "identity.new"
    known, token = _known(kept), _token(order.token_file)
    if known.get("device") == order.device and (not token or known.get("token") == _name(token)):
        return signatures.read_key(str(known.get("key")), str(kept))
    if not token:
        raise _RefusedError(
            f"{order.device} is not enrolled at {_shown(order.place)}: make a token with `edgeline "
            f"fleet token --for {order.device}`, and give its file with --enroll-token-file."
        )
    if _known(new).get("token") != _name(token):
        made = signatures.written(signatures.new_key()).decode()
        _write(new, json.dumps({"key": made, "token": _name(token)}).encode())
    pem = str(_known(new).get("key"))
    key, by = signatures.read_key(pem, str(new)), signatures.token_key(token)
    body = json.dumps(
        {
            "device": order.device,
            "public_key": base64.b64encode(signatures.public_bytes(key)).decode(),
            "token": _name(token),
        }
    ).encode()
    signed = {
        protocol.SIGNATURE: signatures.sign(key, body),
        protocol.TOKEN_SIGNATURE: signatures.sign(by, body),
    }
    try:
        _hand_over(order, protocol.ENROLL, signed, body)
    except _RefusedError as error:
        if error.status == 409:  # the key is spent: the next try makes another
            new.unlink()
        raise
    found = {"device": order.device, "token": _name(token), "key": pem}
    _write(kept, json.dumps(found).encode())
    new.unlink()
    return key


def _hand_over(order: PostOrder, path: str, signed: dict[str, str], body: bytes) -> None:
    """Post a body, or drop it into a folder or bucket.

    Raises:
        _RefusedError: it is not taken.
        EdgelineError: it may be later.
    """
    headers = {protocol.DEVICE: order.device, **signed}
    if not order.place.startswith(_URLS):
        _drop(order, path, headers, body)
        return
    headers |= {"Content-Type": "application/json", "User-Agent": f"edgeline/{__version__}"}
    url = order.place.rstrip("/") + path
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with redirects.urlopen(request, timeout=TIMEOUT) as answer:
            # a redirect is asked by GET, and whatever answers that has taken nothing
            if answer.geturl() != url or b"taken" not in answer.read(_LARGEST):
                raise EdgelineError(f"{_shown(order.place)} is not a fleet's server.")
    except urllib.error.HTTPError as error:
        with error:
            said = _said(error.read(_LARGEST)) or f"status {error.code}"
        if error.code in (408, 425, 429) or error.code >= 500:
            raise EdgelineError(said) from error
        raise _RefusedError(said, error.code) from error
    except (OSError, ValueError, redirects.RedirectError) as error:
        why = getattr(error, "reason", error)
        raise EdgelineError(f"{_shown(order.place)} cannot be asked ({why}).") from error


def _drop(order: PostOrder, path: str, headers: dict[str, str], body: bytes) -> None:
    """Write an object that takes the place of the last one."""
    is_status = path == protocol.STATUS
    name = order.device + (protocol.STATUS_SUFFIX if is_status else protocol.ENROLL_SUFFIX)
    content = protocol.dropped(headers, body)
    try:
        if "://" in order.place:
            bucket(order.place).put(name, content)
        else:
            _write(Path(order.place) / name, content, 0o644)
    except OSError as error:
        why = error.strerror or error
        raise EdgelineError(f"{_shown(order.place)} takes no status ({why}).") from error


def _next(file: Path) -> int:
    """The next number, once it is on the disk."""
    try:
        counter = int(plain_file.read(file, _LARGEST)) + 1
    except FileNotFoundError:
        counter = 1
    except ValueError as error:
        raise _RefusedError(
            f"{file} is damaged: remove the folder it is in, and enrol the device with a new token."
        ) from error
    _write(file, str(counter).encode())
    return counter


def _write(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file, whole or not at all."""
    part = file.with_name(file.name + ".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def _known(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(plain_file.read(file, _LARGEST))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _token(file: str) -> str:
    """The token of a file; empty where there is none, which an enrolled device does without."""
    if not file:
        return ""
    try:
        return plain_file.read(Path(file), _LARGEST).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""


def _name(token: str) -> str:
    return signatures.token_name(signatures.public_bytes(signatures.token_key(token)))


def _said(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""


def _shown(place: str) -> str:
    return place.partition("?")[0]
