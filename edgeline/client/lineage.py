"""Where a run's artifacts are: as Kubeflow's metadata store tells it, which its pages ask, too.

KFP 2's API tells of no artifact. Its pages read them, over gRPC-Web, from the metadata store
that the driver and the launcher write to, at `/ml_metadata.MetadataStoreService` of the same
address. Of a task that was taken from the cache it has the artifacts of the run that made them.
The messages are those of google/ml-metadata (metadata_store.proto); a few of their fields are
read here, by number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgeline.kubeflow.api import TIMEOUT

if TYPE_CHECKING:
    from kfp import Client as KfpClient

SERVICE = "ml_metadata.MetadataStoreService"
RUN = "system.PipelineRun"  # the type of the context that is named after a run
OUTPUT = 4  # the type of an event
PAGE = 100
HEAD = 5  # bytes before each frame of gRPC-Web: its kind, and its length
OK = 200


@dataclass(frozen=True)
class TaskArtifact:
    """An output of a task: its name there, and where it lies.

    Attributes:
        execution: of the task; in a loop a task has several.
    """

    task: str
    execution: int
    name: str
    uri: str


def artifacts_of(server: KfpClient, run: str) -> list[TaskArtifact] | None:
    """The artifacts of a run, in the order of its tasks; None where the store is not to be had.

    Args:
        server: a `kfp.Client`, of the address that has Kubeflow's pages.
    """
    from urllib3.exceptions import HTTPError

    try:
        return _artifacts_of(server, run)
    except (HTTPError, LookupError, TypeError, ValueError):
        return None  # nobody answers, or in no such messages


def _artifacts_of(server: KfpClient, run: str) -> list[TaskArtifact] | None:
    answer = _ask(server, "GetContextByTypeAndName", _text(1, RUN) + _text(2, run))
    if answer is None:
        return None
    context = _first(_first(answer, 1, b""), 1, 0)
    if not context:
        return None
    tasks: dict[int, str] = {}
    token = b""
    while True:
        options = _number(1, PAGE) + (_bytes(3, token) if token else b"")
        request = _number(1, context) + _bytes(2, options)
        answer = _ask(server, "GetExecutionsByContext", request)
        if answer is None:
            return None
        known = len(tasks)
        for execution in _all(answer, 1):
            properties = {
                _first(entry, 1, b""): _first(_first(entry, 2, b""), 3, b"")
                for entry in _all(execution, 5)
            }
            tasks[_first(execution, 1, 0)] = properties.get(b"task_name", b"").decode()
        token = _first(answer, 2, b"")
        if not token:
            break
        if len(tasks) == known:  # a page without news would be followed by others for ever
            return None
    numbers = sorted(tasks)
    answer = _ask(server, "GetEventsByExecutionIDs", b"".join(_number(1, each) for each in numbers))
    if answer is None:
        return None
    made = [
        (_first(event, 2, 0), _first(event, 1, 0), _first(_first(_first(event, 3), 1), 2).decode())
        for event in _all(answer, 1)
        if _first(event, 4, 0) == OUTPUT
    ]
    if not made:
        return []
    wanted = sorted({artifact for _, artifact, _ in made})
    answer = _ask(server, "GetArtifactsByID", b"".join(_number(1, each) for each in wanted))
    if answer is None:
        return None
    places = {_first(found, 1, 0): _first(found, 3).decode() for found in _all(answer, 1)}
    return [
        TaskArtifact(tasks[execution], execution, name, places[artifact])
        for execution, artifact, name in sorted(made)
        if places.get(artifact)
    ]


def _ask(server: KfpClient, method: str, message: bytes) -> bytes | None:
    """The message that answers one; None where nobody speaks gRPC-Web there, or it refuses."""
    from urllib3 import Timeout

    api = server._healthz_api.api_client
    address = urlsplit(api.configuration.host)
    headers = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
    if token := api.configuration.get_api_key_with_prefix("authorization"):
        headers["Authorization"] = token
    answer = api.rest_client.pool_manager.request(
        "POST",
        f"{address.scheme}://{address.netloc}/{SERVICE}/{method}",
        body=b"\0" + len(message).to_bytes(HEAD - 1, "big") + message,
        headers=headers,
        timeout=Timeout(*TIMEOUT),
        redirect=False,
    )
    kind = answer.headers.get("Content-Type", "")
    if answer.status != OK or not kind.startswith("application/grpc-web"):
        return None
    content, found = answer.data, None
    while len(content) >= HEAD:
        end = HEAD + int.from_bytes(content[1:HEAD], "big")
        if len(content) < end:
            return None
        if content[0] == 0:
            found = content[HEAD:end]
        content = content[end:]
    return found


# The wire format of protobuf


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """A message's fields by number: whole numbers, and bytes."""
    at = 0
    while at < len(message):
        key, at = _read(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _read(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _read(message, at)
        else:
            size = {1: 8, 5: 4}[kind]
        yield key >> 3, message[at : at + size]
        at += size


def _read(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _all(message: bytes, field: int) -> list[bytes]:
    """The messages or texts in a field."""
    return [_of(bytes, value) for number, value in _fields(message) if number == field]


def _first(message: bytes, field: int, default: Any = b"") -> Any:
    """The first value of a field, which is of the kind of the default."""
    found = next((value for number, value in _fields(message) if number == field), default)
    return _of(type(default), found)


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is of another message")
    return value
