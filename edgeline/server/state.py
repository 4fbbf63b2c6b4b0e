"""What every protocol answers from: the models, what is counted, who may call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeline.server.access import Access
from edgeline.server.errors import Code, ServingError
from edgeline.server.explaining import Explainer
from edgeline.server.http.compression import decompress
from edgeline.server.http.messages import HttpRequest
from edgeline.server.metrics import Metrics
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.settings import LARGEST_SIZE, ServerSettings
from edgeline.server.versions.repository import Repository
from edgeline.server.versions.served_models import ServedModels
from edgeline.server.watching.range_watch import RangeWatch
from edgeline.server.watching.recent import Recent
from edgeline.server.work_memory import take

if TYPE_CHECKING:
    from edgeline.server.watching.mqtt_publisher import MqttPublisher

SMALL = 1 << 14  # bytes of a body that holds no tensors: a rollout, say


@dataclass(frozen=True)
class ServerState:
    """Of one server. Used on the event loop.

    Attributes:
        served: the models that answer; `repository` changes them.
        reporters: give the lines of metrics that `metrics` does not count.
    """

    settings: ServerSettings
    served: ServedModels
    repository: Repository
    rollouts: Rollouts
    metrics: Metrics
    reporters: tuple[Callable[[], Iterable[str]], ...]
    access: Access
    recent: Recent
    ranges: RangeWatch
    explainer: Explainer
    mqtt: MqttPublisher | None = None

    def body(self, request: HttpRequest, most: int = LARGEST_SIZE) -> bytes:
        """A request's body, decompressed: work for a worker, where the bytes are counted.

        Args:
            most: bytes that it may have, where these are fewer than `--max-body`.

        Raises:
            ServingError: it is damaged or too large.
        """
        return _plain(request, min(most, self.settings.max_body))

    def small_body(self, request: HttpRequest) -> bytes:
        """The body of a request that is answered on the event loop, decompressed.

        Raises:
            ServingError: it is damaged, or larger than `SMALL` bytes.
        """
        limit = min(SMALL, self.settings.max_body)
        if len(request.body) > limit:
            what = f"The body is larger than {limit} bytes, as this path takes."
            raise ServingError(Code.INVALID_ARGUMENT, what, 413)
        return _plain(request, limit)


def _plain(request: HttpRequest, limit: int) -> bytes:
    coding = request.headers.get(b"content-encoding")
    if coding is None:
        return request.body
    plain = decompress(request.body, coding.decode("latin-1"), limit)
    take(len(plain))
    return plain
