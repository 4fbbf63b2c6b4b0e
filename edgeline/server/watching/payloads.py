"""Sampled requests with their answers, for retraining. Off unless the settings name a place.

| `payloads`                         | what is written                                            |
|------------------------------------|------------------------------------------------------------|
| a folder, s3://, gs:// or minio:// | JSON lines, one a row, which `ingest` reads                |
| http:// or https://                | CloudEvents of KServe's types: a request and its response  |
|                                    | with the same id                                           |

A worker hands over the arrays of a sampled prediction, or drops them where too many wait; a
thread does the rest. Columns in `payload_redact` are left out, and so are tensors of more than
`VALUES` values a row.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from time import monotonic
from typing import Any, Protocol

import numpy as np

from edgeline.artifacts.features import MISSING_INT
from edgeline.errors import UsageError
from edgeline.formats.dtypes import BY_NAME, Array
from edgeline.monitoring.cloud_events import check_url, event, read_key, source_of
from edgeline.monitoring.events import REQUEST, RESPONSE
from edgeline.server.models.model import Description, Observer
from edgeline.server.settings import ServerSettings
from edgeline.server.watching import tracing
from edgeline.server.watching.delivery import Delivery
from edgeline.server.watching.payload_files import PayloadFiles

log = logging.getLogger("edgeline.server")
VALUES = 1024
LIMIT, LIMIT_BYTES = 1000, 32 << 20  # what may wait
_TICK = 1.0  # seconds

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Payload:
    """One sampled prediction."""

    description: Description
    id: str
    time: datetime
    inputs: Arrays
    outputs: Arrays

    @property
    def size(self) -> int:
        return sum(array.nbytes for array in (*self.inputs.values(), *self.outputs.values()))


class Sink(Protocol):
    """Where payloads go; called by one thread."""

    def write(self, payload: Payload) -> None:
        """Take one, or raise OSError."""

    def tick(self) -> None:
        """Called about once a second."""

    def close(self, limit: float) -> None:
        """Bring out what is held, for at most `limit` seconds."""


class Payloads:
    """Samples what workers hand over. `results`: written, failed, dropped."""

    def __init__(self, settings: ServerSettings) -> None:
        self.results: Counter[str] = Counter()
        self._rate = settings.payload_rate
        if not 0 < self._rate <= 1:
            raise UsageError(f"payload_rate is {self._rate:g}: give a share from 0 to 1.")
        self._sink = _sink(settings)
        self._waiting: deque[Payload] = deque()
        self._held = 0
        self._changed = threading.Condition()
        self._closing = False
        self._until = float("inf")
        self._thread = threading.Thread(target=self._run, name="payloads", daemon=True)
        self._thread.start()

    def observer(self, description: Description) -> Observer:
        """What the workers of a version call after each prediction."""

        def observe(inputs: Arrays, outputs: Arrays) -> None:
            if random.random() < self._rate:
                now = datetime.now(timezone.utc)
                self._put(Payload(description, tracing.identity(), now, inputs, outputs))

        return observe

    def close(self, limit: float) -> None:
        """Write what waits, for at most `limit` seconds."""
        with self._changed:
            self._closing, self._until = True, monotonic() + limit
            self._changed.notify()
        self._thread.join(limit)
        try:
            self._sink.close(max(0.1, self._until - monotonic()))
        except OSError as error:
            log.warning("Payloads that waited are not all written (%s).", error)

    def lines(self) -> Iterator[str]:
        """The results as metrics for Prometheus."""
        for result in ("written", "failed", "dropped"):
            yield f'edgeline_payloads_total{{result="{result}"}} {self.results[result]}'

    def _put(self, payload: Payload) -> None:
        size = payload.size
        with self._changed:
            if len(self._waiting) >= LIMIT or self._held + size > LIMIT_BYTES:
                self.results["dropped"] += 1
                return
            self._held += size
            self._waiting.append(payload)
            self._changed.notify()

    def _run(self) -> None:
        warned = 0.0
        while True:
            with self._changed:
                if not self._waiting and not self._closing:
                    self._changed.wait(_TICK)
                if self._closing and (not self._waiting or monotonic() > self._until):
                    self.results["dropped"] += len(self._waiting)
                    return
                payload = self._waiting.popleft() if self._waiting else None
                self._held -= payload.size if payload else 0
            try:
                if payload is not None:
                    self._sink.write(payload)
                    self.results["written"] += 1
                self._sink.tick()
            except Exception as error:
                self.results["failed"] += payload is not None
                if monotonic() - warned > 60:
                    warned = monotonic()
                    log.warning("A payload cannot be written (%s).", error)


@dataclass
class Events:
    """Payloads as CloudEvents."""

    delivery: Delivery
    redacted: frozenset[str]

    def write(self, payload: Payload) -> None:
        description = payload.description
        source = source_of(description.name, description.version)
        more = {"inferenceservicename": description.name, "component": "predictor"}
        sides = ((REQUEST, "inputs", payload.inputs), (RESPONSE, "outputs", payload.outputs))
        for kind, side, arrays in sides:
            data = {
                "id": payload.id,
                "model_name": description.name,
                "model_version": str(description.version),
                side: list(_tensors(visible(arrays, self.redacted))),
            }
            made = event(kind, source, data, self.delivery.device, **more)
            made |= {"id": payload.id, "time": payload.time.isoformat(timespec="milliseconds")}
            if not self.delivery.put(made):
                raise OSError("the receiver is too slow")

    def tick(self) -> None:
        """Nothing is held here."""

    def close(self, limit: float) -> None:
        self.delivery.close(limit)


@dataclass
class RowSink:
    """Payloads as rows of JSON lines."""

    files: PayloadFiles
    redacted: frozenset[str]

    def write(self, payload: Payload) -> None:
        description = payload.description
        self.files.write(description.name, description.version, rows(payload, self.redacted))

    def tick(self) -> None:
        self.files.turn()

    def close(self, limit: float) -> None:
        self.files.close(limit)


def rows(payload: Payload, redacted: frozenset[str]) -> list[dict[str, object]]:
    """A prediction as rows: the features under their names, `predicted_NAME`, and whence.

    A missing value is None; more than one value per row is a list.
    """
    columns: dict[str, list[object]] = {}
    for prefix, arrays in (("", payload.inputs), ("predicted_", payload.outputs)):
        for name, array in visible(arrays, redacted).items():
            columns[prefix + name] = _plain(array)
    count = min(map(len, columns.values()), default=0)
    whence = {
        "edgeline_id": payload.id,
        "edgeline_time": payload.time.isoformat(timespec="milliseconds"),
        "edgeline_model": payload.description.name,
        "edgeline_version": payload.description.version,
    }
    return [
        {**{name: values[row] for name, values in columns.items()}, **whence, "edgeline_row": row}
        for row in range(count)
    ]


def visible(arrays: Arrays, redacted: frozenset[str]) -> Arrays:
    """The arrays that may be logged and are not too large."""
    return {
        name: array
        for name, array in arrays.items()
        if name not in redacted and array.ndim and array.size <= VALUES * len(array)
    }


def _plain(array: Array) -> list[Any]:
    flat = array.reshape(len(array), -1)
    values: list[list[Any]] = flat.tolist()
    if array.dtype.kind in "OSU":
        values = [[_text(value) for value in row] for row in values]
    elif array.dtype.kind == "f":
        values = [[value if math.isfinite(value) else None for value in row] for row in values]
    elif array.dtype == np.int64:
        values = [[None if value == MISSING_INT else value for value in row] for row in values]
    return [row[0] for row in values] if flat.shape[1] == 1 else values


def _text(value: Any) -> str | None:
    text = value if isinstance(value, str) else bytes(value).decode(errors="backslashreplace")
    return text or None


def _tensors(arrays: Arrays) -> Iterator[dict[str, object]]:
    for name, array in arrays.items():
        strings = array.dtype.kind in "OSU"
        yield {
            "name": name,
            "shape": list(array.shape),
            "datatype": "BYTES" if strings else BY_NAME[array.dtype.name].v2,
            "data": np.array(array.reshape(-1), object).tolist() if strings else array.reshape(-1),
        }


def _sink(settings: ServerSettings) -> Sink:
    place = settings.payloads or ""
    redacted = frozenset(filter(None, map(str.strip, settings.payload_redact.split(","))))
    if place.startswith(("http://", "https://")):
        key = read_key(settings.webhook_key)
        url = check_url(place, "payloads")
        return Events(Delivery("payloads", url, key, device=settings.device), redacted)
    files = PayloadFiles(
        place, settings.payload_size, settings.payload_keep, settings.payload_every
    )
    return RowSink(files, redacted)
