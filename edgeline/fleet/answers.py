"""What `edgeline fleet serve` answers about versions: GET URL/v1/fleet/versions?model=M."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated
from urllib.parse import urlencode

import msgspec

from edgeline.artifacts.waves import WavePlan
from edgeline.errors import EdgelineError
from edgeline.fleet import wave_counts
from edgeline.stores import redirects

LARGEST = 4 << 20  # bytes of an answer
TIMEOUT = 10.0  # seconds
DeviceCount = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class ReportedWave(msgspec.Struct, frozen=True):
    """Of the devices that the open wave adds, in numbers of devices.

    Attributes:
        devices: that are enrolled.
        serving, failed: of these, that told so lately.
        stale: that were silent for three intervals, or always.
    """

    devices: DeviceCount
    serving: DeviceCount
    failed: DeviceCount
    stale: DeviceCount


class ReportedVersion(msgspec.Struct, frozen=True):
    """What the devices report of a version, in numbers of devices.

    Attributes:
        devices: that run it or have tried it.
        serving: that serve it.
        failed: on which its update was refused, its trial failed, it crashed or was rolled back.
        drift, decay: that report it; None where nobody looks.
        latency_p95_ms: in milliseconds; None where it is not known.
        stale: that were silent for three intervals.
        drift_devices, decay_devices, latency_devices: that look at it, on enough rows, and tell.
        wave: of the open wave; None where the server does not tell.
    """

    model: str
    version: int
    devices: DeviceCount
    serving: DeviceCount
    failed: DeviceCount
    drift: DeviceCount | None = None
    decay: DeviceCount | None = None
    latency_p95_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    stale: DeviceCount = 0
    drift_devices: DeviceCount = 0
    decay_devices: DeviceCount = 0
    latency_devices: DeviceCount = 0
    wave: ReportedWave | None = None


class FleetAnswer(msgspec.Struct, frozen=True):
    """Of one model; `time` is the fleet's."""

    time: datetime
    models: list[ReportedVersion]

    @property
    def at(self) -> datetime:
        """`time` in UTC."""
        return self.time.astimezone(timezone.utc)

    def of(self, version: int) -> ReportedVersion | None:
        """What is reported of a version; None where nothing is."""
        return next((each for each in self.models if each.version == version), None)


def ask(
    url: str, model: str, token: str, plans: Mapping[int, tuple[WavePlan, int]] | None = None
) -> FleetAnswer:
    """What the devices report of a model.

    Args:
        url: of the fleet's server; the token is sent to it alone, whatever it leads on to.
        token: a bearer token that may read; "" for none.
        plans: by version, with how many of its waves are open.

    Raises:
        EdgelineError: it does not answer, or not so.
    """
    asked = {"model": model}
    if waves := wave_counts.asked(plans or {}):
        asked["waves"] = waves
    place = f"{url.rstrip('/')}/v1/fleet/versions?{urlencode(asked)}"
    try:
        request = urllib.request.Request(place, headers={"Accept": "application/json"})
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        with redirects.urlopen(request, timeout=TIMEOUT) as answer:
            body = answer.read(LARGEST + 1)
    except urllib.error.HTTPError as error:
        error.close()
        hint = ": check the token" if error.code in (401, 403) else ""
        raise EdgelineError(f"The fleet {url} answers {error.code}{hint}.") from error
    except (OSError, ValueError, redirects.RedirectError) as error:
        reason = getattr(error, "reason", error)
        raise EdgelineError(f"The fleet {url} cannot be asked ({reason}).") from error
    if len(body) > LARGEST:
        raise EdgelineError(f"The fleet {url} answers over {LARGEST} bytes: it is not used.")
    return parse(body, model, url)


def parse(body: bytes, model: str, url: str) -> FleetAnswer:
    """An answer about a model.

    Raises:
        EdgelineError: it is none, or cannot be.
    """
    try:
        found = msgspec.json.decode(body, type=FleetAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EdgelineError(f"The fleet {url} does not answer as expected ({error}).") from error
    if found.time.tzinfo is None:
        raise EdgelineError(f"The fleet {url} answers a time without a zone: it is not used.")
    mine = [each for each in found.models if each.model == model]
    if len({each.version for each in mine}) < len(mine):
        raise EdgelineError(f"The fleet {url} answers a version of {model} twice: it is not used.")
    for each in mine:
        if not _can_be(each):
            raise EdgelineError(
                f"The fleet {url} answers more devices of {model} {each.version} than there are: "
                "it is not used."
            )
    return FleetAnswer(found.time, mine)


def _can_be(found: ReportedVersion) -> bool:
    wave = found.wave
    return (
        max(found.serving, found.failed) <= found.devices
        and (wave is None or wave.serving + wave.failed + wave.stale <= wave.devices)
        and (found.drift or 0) <= found.drift_devices
        and (found.decay or 0) <= found.decay_devices
        and max(found.drift_devices, found.decay_devices, found.latency_devices) <= found.devices
    )
