"""CloudEvents as HTTP brings them, read with care: who sends them is anybody on the network.

Structured and batched mode (JSON) and binary mode of the HTTP protocol binding 1.0.2
(https://github.com/cloudevents/spec). With keys, an event is taken only with the header
`X-Hub-Signature-256`, the HMAC-SHA256 of the body (RFC 2104), as `edgeline serve` signs. With the
keys of devices, an event of a device is taken only with that device's own signature, and the shared
key is good for schedules alone: who has it cannot speak for devices. In binary
mode the attributes are headers, which no signature of a body covers: who has seen one could send it
again with another `id` and `time`. So with keys binary mode is for clients with a token.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from edgeline.monitoring.cloud_events import signature as signature
from edgeline.server.errors import Code, ServingError, invalid, shown
from edgeline.server.fleet.protocol import DEVICE, SOON
from edgeline.server.fleet.protocol import SIGNATURE as DEVICE_SIGNATURE

if TYPE_CHECKING:
    from edgeline.server.fleet.device_keys import DeviceKeys

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
SIGNATURE = "x-hub-signature-256"
SCHEDULE = "io.edgeline.schedule."  # begins the types of events that are of no device
LARGEST = 64 * 1024  # bytes of one event: what each receiver has to take, as the specification says
MOST = 1000  # events of a batch
_LENGTHS = {"id": 200, "source": 500, "type": 200}
# what no text of CloudEvents has: control characters, and noncharacters
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d{1,9})?([Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


@dataclass(frozen=True)
class CloudEvent:
    """An event.

    Attributes:
        time, expires: seconds since 1970, UTC; `expires` is None where it never does.
        data: its object; empty where it has none.
        body: the whole event as JSON, in structured mode.
    """

    source: str
    id: str
    type: str
    time: float
    expires: float | None
    data: Mapping[str, Any]
    body: bytes


def read(
    headers: Mapping[bytes, bytes],
    body: bytes,
    keys: Sequence[bytes],
    known: bool,
    devices: DeviceKeys | None = None,
) -> list[CloudEvent]:
    """The events of a request.

    Args:
        headers: names in lower case.
        body: as it was sent, not compressed.
        keys: of which one has signed; none: nothing has to be signed.
        known: whether the client has shown a token.
        devices: the keys of devices, one of which has signed what is of a device; None: none has
            to.

    Raises:
        ServingError: 400, it is malformed; 401 or 403, its signature is missing or another; 413, it
            is too large; 415, it is not of these forms; 503, its device is not known yet.
    """
    kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    is_binary = b"ce-specversion" in headers and kind not in (STRUCTURED, BATCH)
    device = _device_of(headers, body, devices) if devices is not None else ""
    if keys or device:
        if not device:
            _verify(headers.get(SIGNATURE.encode(), b""), body, keys)
        if is_binary and not known:
            raise ServingError(
                Code.PERMISSION_DENIED,
                "A signature covers the body, and this event has its id and time in headers: send "
                f"it in structured mode ({STRUCTURED}), or with a token.",
            )
    found = _found(headers, kind, body, is_binary)
    for each in found if devices is not None else ():
        _check_device(each, device, known or bool(keys))
    return found


def _found(
    headers: Mapping[bytes, bytes], kind: str, body: bytes, is_binary: bool
) -> list[CloudEvent]:
    if is_binary:
        return [_of_headers(headers, kind, body)]
    if kind == STRUCTURED:
        return [_event(_json(body), body)]
    if kind == BATCH:
        return _batch(body)
    raise ServingError(
        Code.INVALID_ARGUMENT,
        f"This is not a CloudEvent: send {STRUCTURED}, {BATCH} or the headers of binary mode "
        "(ce-specversion, ce-id, ...).",
        415,
    )


def read_line(line: bytes) -> CloudEvent:
    """An event of a log, one on a line, in structured mode.

    Raises:
        ServingError: it is not one.
    """
    return _event(_json(line), line.strip())


def seconds(text: str) -> float:
    """A time of RFC 3339 in seconds since 1970, UTC.

    Raises:
        ValueError: it is not one.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    # a leap second is the one before it
    time = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=timezone.utc)
    value = time.timestamp() + float(found[7] or 0)
    if found[9]:
        hours, minutes = int(found[10]), int(found[11])
        if hours > 23 or minutes > 59:
            raise ValueError(text)
        value -= (3600 * hours + 60 * minutes) * (1 if found[9] == "+" else -1)
    return value


def _verify(given: bytes, body: bytes, keys: Sequence[bytes]) -> None:
    if not given:
        raise ServingError(
            Code.UNAUTHENTICATED, f"The event is not signed: send the header {SIGNATURE}."
        )
    # all of them, so that the time does not tell which key it was
    matches = [hmac.compare_digest(given, signature(key, body).encode()) for key in keys]
    if not any(matches):
        raise ServingError(Code.PERMISSION_DENIED, "The signature is not one of a key known here.")


def _device_of(headers: Mapping[bytes, bytes], body: bytes, devices: DeviceKeys) -> str:
    """The device that has signed a request; empty where none says so."""
    device = headers.get(DEVICE.lower().encode(), b"").decode("latin-1")
    signature = headers.get(DEVICE_SIGNATURE.lower().encode(), b"")
    if not device and not signature:
        return ""
    if not devices.knows(device):
        raise ServingError(
            Code.UNAVAILABLE,
            f"There is no key of {shown(device)} here, and the keys are read again within "
            f"{SOON:.0f} s: ask again where it has just been enrolled.",
        )
    if not devices.has_signed(device, signature, body):
        raise ServingError(
            Code.PERMISSION_DENIED, "The signature is not by the key of a device known here."
        )
    return device


def _check_device(event: CloudEvent, device: str, is_trusted: bool) -> None:
    """Refuse an event that speaks for another device than has signed it."""
    if not device and is_trusted and event.type.startswith(SCHEDULE):
        return
    if not device:
        raise ServingError(
            Code.UNAUTHENTICATED,
            f"An event of a device is signed by its key here: send {DEVICE} and "
            f"{DEVICE_SIGNATURE}, as edgeline serve --fleet does.",
        )
    if event.source.partition("/models/")[0] != f"/{device}":
        raise ServingError(
            Code.PERMISSION_DENIED, f"The event's source is not {device}, which has signed it."
        )


def _batch(body: bytes) -> list[CloudEvent]:
    found = _json(body)
    if not isinstance(found, list):
        raise invalid("A batch is a list of events.")
    if len(found) > MOST:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"A batch has at most {MOST} events: send several.", 413
        )
    return [
        _event(each, _dumped(each), f"Event {place} of the batch: ")
        for place, each in enumerate(found)
    ]


def _of_headers(headers: Mapping[bytes, bytes], kind: str, body: bytes) -> CloudEvent:
    """An event of binary mode, as one of structured mode."""
    found: dict[str, Any] = {
        name[3:].decode("latin-1"): _decoded(value)
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    if kind:
        found["datacontenttype"] = kind
    if body:
        if kind not in ("", "application/json") and not kind.endswith("+json"):
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Data of {kind[:100]!r} are not read here: send JSON.", 415
            )
        found["data"] = _json(body)
    return _event(found, _dumped(found))


def _decoded(value: bytes) -> str:
    """A header's value, whose characters beside printable ASCII are percent-encoded."""
    return unquote(value.decode("latin-1").strip(' \t"'))


def _event(found: Any, body: bytes, where: str = "") -> CloudEvent:
    if not isinstance(found, dict):
        raise invalid(f"{where}an event is an object.")
    if len(body) > LARGEST:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{where}the event has {len(body):,} bytes: {LARGEST:,} are taken.",
            413,
        )
    if found.get("specversion") != "1.0":
        raise invalid(f"{where}specversion is {shown(found.get('specversion'))}, not '1.0'.")
    texts = {name: _text(found, name, where) for name in _LENGTHS}
    data = {} if found.get("data") is None else found["data"]
    if "data_base64" in found:
        raise invalid(f"{where}data_base64 is not read here: send data as JSON.")
    if not isinstance(data, dict):
        raise invalid(f"{where}data is {shown(data)}, not an object.")
    time = _time(found, "time", where)
    if time is None:
        raise invalid(f"{where}time is missing, by which a replay is told: send it.")
    return CloudEvent(
        texts["source"],
        texts["id"],
        texts["type"],
        time,
        _time(found, "expirytime", where),
        data,
        body,
    )


def _text(found: Mapping[str, Any], name: str, where: str) -> str:
    value, most = found.get(name), _LENGTHS[name]
    if not isinstance(value, str) or not value:
        raise invalid(f"{where}{name} is {shown(value)}, not a text.")
    if len(value) > most or _CONTROL.search(value):
        raise invalid(f"{where}{name} has control characters, or more than {most} characters.")
    return value


def _time(found: Mapping[str, Any], name: str, where: str) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    try:
        return seconds(value)
    except (TypeError, ValueError):
        raise invalid(
            f"{where}{name} is {shown(value)}, not a time such as 2026-01-31T12:00:00Z."
        ) from None


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON ({error}).") from None


def _dumped(found: Any) -> bytes:
    """As JSON; what cannot be nested so deeply is refused."""
    try:
        return orjson.dumps(found)
    except (TypeError, ValueError):  # JSONEncodeError: nested deeper than it writes
        raise invalid("The event is nested too deeply.") from None
