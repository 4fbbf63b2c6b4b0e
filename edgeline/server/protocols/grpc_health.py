"""gRPC's health checks, of the server and of each model by its name: `grpc.health.v1.Health`.

The empty name and those of the server's own services mean the server: whether it is ready. Any
other is a model's. `Watch` tells each change within a second.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from edgeline.server.access import HEALTH, MODEL_HEALTH, CallKind
from edgeline.server.app import GrpcMethod
from edgeline.server.errors import Code, ServingError, invalid, not_found
from edgeline.server.protocols.messages import read
from edgeline.server.protocols.wire import Enum, Field, Message, encode
from edgeline.server.versions.served_models import ServedModels

SERVICE = "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
_STATUS = Enum(
    "grpc.health.v1.HealthCheckResponse.ServingStatus",
    (
        *((0, "UNKNOWN"), (SERVING, "SERVING"), (NOT_SERVING, "NOT_SERVING")),
        (SERVICE_UNKNOWN, "SERVICE_UNKNOWN"),
    ),
)
REQUEST = Message("grpc.health.v1.HealthCheckRequest", {1: Field("service", "string")})
RESPONSE = Message("grpc.health.v1.HealthCheckResponse", {1: Field("status", "int64", of=_STATUS)})
LONGEST = 256  # characters of a name that is kept while it is watched
Send = Callable[[bytes], None]


class Health:
    """What is asked of a server's health, and who waits for a change. On the event loop alone."""

    def __init__(self, served: ServedModels, services: Iterable[str]) -> None:
        """`services` are the server's own, as gRPC names them."""
        self._served = served
        self._own = frozenset(("", SERVICE, *services))
        self._watched: dict[str, set[Send]] = {}
        self._told: dict[str, int] = {}  # the last that was said of each that is watched

    def methods(self) -> dict[str, GrpcMethod]:
        """Each method by its path."""
        kinds = (HEALTH, REQUEST, RESPONSE)
        return {
            f"/{SERVICE}/Check": GrpcMethod(*kinds, answer=self._check, kind_of=self._kind),
            f"/{SERVICE}/Watch": GrpcMethod(*kinds, watch=self._watch, kind_of=self._kind),
        }

    def tell(self) -> None:
        """Tell those who wait what has changed."""
        for service in list(self._watched):
            self._tell(service)

    def _tell(self, service: str) -> None:
        status = self._status(service)
        if status != self._told[service]:
            self._told[service] = status
            answer = encode({"status": status}, RESPONSE)
            for send in list(self._watched[service]):
                send(answer)

    def _kind(self, message: memoryview) -> CallKind:
        return HEALTH if read(message, REQUEST).get("service", "") in self._own else MODEL_HEALTH

    def _check(self, message: memoryview) -> bytes:
        service = read(message, REQUEST).get("service", "")
        status = self._status(service)
        if status == SERVICE_UNKNOWN:
            raise not_found(f"There is no service and no model {service[:100]!r}.")
        return encode({"status": status}, RESPONSE)

    def _watch(self, message: memoryview, send: Send) -> Callable[[], None]:
        service = read(message, REQUEST).get("service", "")
        if len(service) > LONGEST:
            raise invalid(f"A service's name has at most {LONGEST} characters.")
        waiting = self._watched.setdefault(service, set())
        self._told.setdefault(service, self._status(service))
        self._tell(service)  # so that what was told last is what is
        waiting.add(send)
        send(encode({"status": self._told[service]}, RESPONSE))

        def end() -> None:
            waiting.discard(send)
            if not waiting and self._watched.get(service) is waiting:
                del self._watched[service], self._told[service]

        return end

    def _status(self, service: str) -> int:
        if service in self._own:
            return SERVING if self._served.ready else NOT_SERVING
        if self._served.leaving:
            return NOT_SERVING
        try:
            self._served.pool(service)
        except ServingError as error:
            return SERVICE_UNKNOWN if error.code == Code.NOT_FOUND else NOT_SERVING
        return SERVING
