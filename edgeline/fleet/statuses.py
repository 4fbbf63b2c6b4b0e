"""A status as a device has sent it, read with care: a device may be broken, or somebody else's by
now.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from edgeline.formats.names import LABEL_PATTERN
from edgeline.server.errors import ServingError, invalid
from edgeline.server.fleet.protocol import (
    LARGEST_COUNTER,
    LONGEST_TEXT,
    LONGEST_WHY,
    MOST_GROUPS,
    MOST_MODELS,
    DeviceOutcome,
)

DEFAULT_INTERVAL = 60.0  # seconds
_Text: TypeAlias = Annotated[str, Meta(max_length=LONGEST_TEXT)]
_Why: TypeAlias = Annotated[str, Meta(max_length=LONGEST_WHY)]
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST_COUNTER)]
_Milliseconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
_Bytes: TypeAlias = Annotated[int, Meta(ge=0, le=2**60)]
_Group: TypeAlias = Annotated[str, Meta(pattern=rf"^{LABEL_PATTERN}\Z")]
# no white space, control characters or slashes
_Model: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x20\x7f-\xa0/]+\Z")
]


class ModelStatus(msgspec.Struct, frozen=True, gc=False):
    """A version of a model on a device.

    Attributes:
        why: of a failure or of waiting; else empty.
        drift: columns that drift; true where it is not told which; None where nobody looks, or on
            too few rows.
        decay: whether it answers worse than usual; None as for `drift`.
        p50, p95: of its answers, in milliseconds; None where there were none.
        requests, errors: since the device's server started.
    """

    model: _Model
    version: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    outcome: DeviceOutcome
    why: _Why = ""
    drift: Annotated[tuple[_Text, ...], Meta(max_length=100)] | bool | None = None
    decay: bool | None = None
    p50: _Milliseconds | None = msgspec.field(default=None, name="latency_p50_ms")
    p95: _Milliseconds | None = msgspec.field(default=None, name="latency_p95_ms")
    requests: _Count = 0
    errors: _Count = 0


class UpdateStatus(msgspec.Struct, frozen=True, gc=False):
    """What came of a device's last look for updates; empty where it does not look."""

    outcome: _Text = ""
    why: _Why = ""


class DeviceStatus(msgspec.Struct, frozen=True, gc=False):
    """What a device has told.

    Attributes:
        counter: greater than that of each status before.
        time: of the device's clock, in seconds since 1970.
        interval: seconds after which the next one is to come.
        groups: by which it knows its waves; None where it does not tell.
        memory, disk_free: in bytes; None where it does not know.
    """

    device: _Text
    counter: _Count
    time: Annotated[float, Meta(ge=0, le=1e11)]
    models: Annotated[tuple[ModelStatus, ...], Meta(max_length=MOST_MODELS)] = ()
    interval: Annotated[float, Meta(ge=0.1, le=86400)] = DEFAULT_INTERVAL
    edgeline: _Text = ""
    interpreter: _Text = ""
    update: UpdateStatus = UpdateStatus()
    groups: Annotated[tuple[_Group, ...], Meta(max_length=MOST_GROUPS)] | None = None
    memory: _Bytes | None = msgspec.field(default=None, name="memory_bytes")
    disk_free: _Bytes | None = msgspec.field(default=None, name="disk_free_bytes")


_DECODER = msgspec.json.Decoder(DeviceStatus)


def read(body: bytes) -> DeviceStatus:
    """A status. Fields that are not known here are left out: the device may be newer.

    Raises:
        ServingError: 400, it is malformed.
    """
    try:
        found = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise invalid(f"The status is malformed: {error}.") from None
    if len({(each.model, each.version) for each in found.models}) < len(found.models):
        raise invalid("The status has a version twice in models.")
    return found


def received(body: bytes) -> DeviceStatus | None:
    """A status that was kept; None where another edgeline kept it, and it cannot be read."""
    try:
        return read(body)
    except ServingError:
        return None
