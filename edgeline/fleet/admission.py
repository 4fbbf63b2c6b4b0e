"""Whether a request is what it claims: by the signature over its exact body, then by what it says.

Nothing of a body is read before its signature is known to be the device's, but for enrolments,
whose key is in the body.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from edgeline.fleet import statuses
from edgeline.fleet.devices import FleetDevice, FleetState
from edgeline.fleet.enrolment import EnrolmentToken, FleetRegister
from edgeline.fleet.statuses import DeviceStatus
from edgeline.formats.names import LABEL
from edgeline.server.errors import Code, ServingError, invalid, shown
from edgeline.server.fleet import protocol, signatures
from edgeline.server.settings import DEVICE_NAME

MOST_TOKENS = 1000  # that are made at once
LONGEST = 366 * 86400.0  # seconds that a token may be good for
_DAY = 86400.0
_DEVICE, _SIGNATURE, _TOKEN_SIGNATURE = (
    name.lower().encode()
    for name in (protocol.DEVICE, protocol.SIGNATURE, protocol.TOKEN_SIGNATURE)
)
RESULTS = (
    *("taken", "failed", "full", "too_many"),
    *("unsigned", "unknown", "revoked", "forged", "malformed", "replayed"),
)


class UntakenStatusError(ServingError):
    """A status that is not taken. `result` is one of `RESULTS`."""

    def __init__(self, result: str, code: Code, message: str, http: int | None = None) -> None:
        super().__init__(code, message, http)
        self.result = result


class RepeatedStatusError(UntakenStatusError):
    """The one that was taken last, once more: as a bucket holds it when it is read again."""


def claimed(state: FleetState, headers: Mapping[bytes, bytes]) -> FleetDevice:
    """The device that a status claims to be of; its signature has still to be looked at.

    Raises:
        UntakenStatusError: 401, it is not signed; 403, the device is not known.
    """
    name = headers.get(_DEVICE, b"")
    if not name or not headers.get(_SIGNATURE):
        raise UntakenStatusError(
            "unsigned",
            Code.UNAUTHENTICATED,
            f"The status is not signed: send {protocol.DEVICE} and {protocol.SIGNATURE}.",
        )
    if (device := state.get(name.decode("latin-1"))) is None:
        raise UntakenStatusError(
            "unknown", Code.PERMISSION_DENIED, "The device is not enrolled here: enrol it."
        )
    return device


def status(
    state: FleetState, headers: Mapping[bytes, bytes], body: bytes
) -> tuple[FleetDevice, DeviceStatus]:
    """The status of a request, and whose it is.

    Raises:
        UntakenStatusError: as `claimed`; 403, the device is revoked, or has not signed it; 400, it
            is malformed; 409, its counter is not above the last one.
    """
    device = claimed(state, headers)
    name = device.name
    if not signatures.is_signed(device.key, headers[_SIGNATURE], body):
        raise UntakenStatusError(
            "forged", Code.PERMISSION_DENIED, f"The signature is not by the key of {name}."
        )
    if device.revoked is not None:
        raise UntakenStatusError(
            "revoked",
            Code.PERMISSION_DENIED,
            f"{name} is revoked: enrol it again with a token that is made for it.",
        )
    try:
        found = statuses.read(body)
    except ServingError as error:
        raise UntakenStatusError("malformed", error.code, str(error)) from None
    if found.device != name:
        what = f"device is {found.device!r}, and {name} has signed."
        raise UntakenStatusError("malformed", Code.INVALID_ARGUMENT, what)
    if found.counter <= device.counter:
        kind = RepeatedStatusError if found.counter == device.counter else UntakenStatusError
        raise kind(
            "replayed",
            Code.ABORTED,
            f"counter is {found.counter}, and {device.counter} was there: it is a replay, or the "
            "device has lost its state and is to be enrolled again.",
        )
    return device, found


class SignedEnrolment(NamedTuple):
    """An enrolment that its own key has signed; the token's signature has still to be looked at."""

    device: str
    key: bytes
    token: str
    token_signature: bytes
    body: bytes


def enrolment(headers: Mapping[bytes, bytes], body: bytes) -> SignedEnrolment:
    """The enrolment of a request, as far as no database is needed.

    Raises:
        ServingError: 400, it is malformed; 403, it is not signed by its own key.
    """
    if len(body) > protocol.LARGEST:
        raise ServingError(Code.INVALID_ARGUMENT, "The body is too large.", 413)
    try:
        found = orjson.loads(body)
        device, token = found["device"], found["token"]
        key = base64.b64decode(found["public_key"], validate=True)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, binascii.Error):
        raise invalid(
            "An enrolment is a JSON object with device, public_key in base64 and token."
        ) from None
    if not isinstance(device, str) or not DEVICE_NAME.fullmatch(device):
        raise invalid(f"device is {shown(device)}, not a name of letters, digits, '.', '_', '-'.")
    if not isinstance(token, str) or len(token) > 100 or len(key) != signatures.KEY:
        raise invalid("public_key does not have 32 bytes, or token is not a token's name.")
    if not signatures.is_signed(key, headers.get(_SIGNATURE, b""), body):
        raise ServingError(Code.PERMISSION_DENIED, "It is not signed by its own key.")
    return SignedEnrolment(device, key, token, headers.get(_TOKEN_SIGNATURE, b""), body)


def enrol(register: FleetRegister, found: SignedEnrolment, now: float) -> FleetDevice:
    """Take a device in.

    Raises:
        ServingError: 403, the token or its signature is another; 409, the key was used before.
    """
    by = register.token_key(found.token)
    if by is None or not signatures.is_signed(by, found.token_signature, found.body):
        raise ServingError(Code.PERMISSION_DENIED, "It is not signed by a token known here.")
    return register.enrol(found.device, found.key, found.token, now)


def tokens(asked: Mapping[str, Any], now: float) -> tuple[Sequence[EnrolmentToken], Sequence[str]]:
    """Make tokens, as was asked for: what is kept of them, and what they are.

    Args:
        asked: `device` or `groups`, `seconds` that they are good for, and `number` of them.

    Raises:
        ServingError: 400, a value is wrong.
    """
    device, groups = asked.get("device") or "", asked.get("groups") or []
    number, seconds = asked.get("number", 1), asked.get("seconds", _DAY)
    if not isinstance(device, str) or (device and not DEVICE_NAME.fullmatch(device)):
        raise invalid(f"device is {shown(device)}, not a name of letters, digits, '.', '_', '-'.")
    if not isinstance(groups, list) or len(groups) > 20:
        raise invalid("groups is not a list of at most 20 names.")
    if not all(isinstance(group, str) and LABEL.fullmatch(group) for group in groups):
        raise invalid("groups has what is not a name of up to 63 lower-case letters, digits, '-'.")
    if type(number) is not int or not 1 <= number <= MOST_TOKENS or (device and number > 1):
        raise invalid(f"number is not from 1 to {MOST_TOKENS}, or not 1 for a named device.")
    if type(seconds) not in (int, float) or not 1 <= seconds <= LONGEST:
        raise invalid(f"seconds is {shown(seconds)}, not from 1 to {LONGEST:g}.")
    if unknown := sorted(asked.keys() - {"device", "groups", "number", "seconds"}):
        raise invalid(f"{unknown[0][:100]!r} is not a field of this.")
    found = [signatures.new_token() for _ in range(number)]
    keys = [signatures.public_bytes(signatures.token_key(token)) for token in found]
    made = [
        EnrolmentToken(signatures.token_name(key), key, device, tuple(groups), now + seconds)
        for key in keys
    ]
    return made, found
