"""The parts of a server, each made from those that it uses."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.errors import EdgelineError, UsageError
from edgeline.monitoring.cloud_events import check_url, read_key
from edgeline.monitoring.slice_columns import unknown_slices
from edgeline.runtimes.interpreter import runtime_version
from edgeline.server import access
from edgeline.server.app import App
from edgeline.server.explaining import Explainer
from edgeline.server.http.server import HttpServer
from edgeline.server.metrics import Metrics
from edgeline.server.models.model import Description, Observer
from edgeline.server.protocols import routes
from edgeline.server.protocols.grpc_health import Health
from edgeline.server.rollouts import declaration
from edgeline.server.rollouts.rollouts import Rollouts
from edgeline.server.routing import Router
from edgeline.server.settings import ServerSettings
from edgeline.server.state import ServerState
from edgeline.server.threads import apart
from edgeline.server.updates.signed import SignedCatalogue
from edgeline.server.updates.updates import Updates, checked_state
from edgeline.server.versions.forkserver import ForkServer
from edgeline.server.versions.preparing import Preparer
from edgeline.server.versions.repository import Repository
from edgeline.server.versions.served_models import ServedModels
from edgeline.server.versions.sources import FolderCatalogue
from edgeline.server.versions.verdicts import Verdicts, limits_of
from edgeline.server.watching import decay_metrics, decays
from edgeline.server.watching.alerts import Alerts, DecayAlerts
from edgeline.server.watching.delivery import Delivery
from edgeline.server.watching.labelling import Labelling
from edgeline.server.watching.outbox import EventReceiver, EventReceivers
from edgeline.server.watching.range_watch import RangeWatch
from edgeline.server.watching.recent import Recent
from edgeline.server.watching.spans import Spans
from edgeline.server.watching.watched_models import Watching

if TYPE_CHECKING:
    from edgeline.server.fleet.reporter import FleetReporter
    from edgeline.server.watching.mqtt_answers import MqttAnswers
    from edgeline.server.watching.mqtt_publisher import MqttPublisher
    from edgeline.server.watching.payloads import Payloads

log = logging.getLogger("edgeline.server")
_FLUSH_TIME = 5.0  # seconds for events that wait when the server stops


@dataclass(frozen=True)
class ServerParts:
    """What is started and ended. `updates`, `fleet`, `webhook`, `mqtt`, `payloads` and `spans` are
    there if asked for."""

    state: ServerState
    server: HttpServer
    health: Health
    updates: Updates | None
    fleet: FleetReporter | None
    watching: Watching
    labelling: Labelling
    webhook: Delivery | None
    mqtt: MqttPublisher | None
    payloads: Payloads | None
    spans: Spans | None

    async def close(self) -> None:
        """Take no more work, and send and write what waits."""
        self.state.repository.close()
        self.state.explainer.close()
        self.labelling.close()
        self.watching.close()
        for kept in (self.webhook, self.mqtt, self.payloads, self.spans):
            if kept is not None:
                await apart(kept.close, _FLUSH_TIME)


def put_together(path: str, settings: ServerSettings, forks: ForkServer) -> ServerParts:
    """Make the parts of a server of the models of a path, without loading any.

    Raises:
        EdgelineError: this is not Linux, whose processes and sockets a trial of a model needs.
        UsageError: a file of the settings is missing or malformed.
    """
    if platform.system() != "Linux":
        raise EdgelineError(
            f"Models are served on Linux (x86-64 or arm64), and this is {platform.system()}: "
            "docs/installing.md has a table."
        )
    metrics = Metrics()
    folder = _signed_folder(path, settings)
    kept = Path(settings.state) if settings.state else None
    verdicts = Verdicts(kept, runtime_version(), limits_of(settings))
    declared = declaration.read(settings.rollouts) if settings.rollouts else {}
    rollouts = Rollouts(declared, kept)
    served = ServedModels(rollouts, settings.model_name)
    signed = SignedCatalogue(folder, rollouts, verdicts) if folder else None
    webhook = _webhook(settings)
    mqtt = _mqtt(settings)
    answers = _answers(mqtt, settings)
    receiver = _receiver(webhook, mqtt, settings)
    ranges = RangeWatch(settings, receiver)
    watching = Watching(
        settings, served.serving, Alerts(receiver).compare, DecayAlerts(receiver).compare
    )
    on_labels = answers.labels if answers else None
    labelling = Labelling(settings, watching, lambda: served.models, on_labels)
    payloads = _payloads(settings)
    explainer = Explainer(settings)
    spans = Spans(check_url(settings.traces, "traces")) if settings.traces else None
    repository = Repository(
        signed or FolderCatalogue(Path(path)),
        served,
        rollouts,
        verdicts,
        Preparer(settings, verdicts, forks),
        _observers(watching, payloads, answers, settings),
        ranges.check,
        settings,
        metrics,
    )
    updates = (
        Updates(path, settings, signed, served, repository, rollouts, verdicts) if signed else None
    )
    fleet = None
    if settings.fleet is not None:
        from edgeline.server.fleet import places  # which most servers do without
        from edgeline.server.fleet.reporter import FleetReporter
        from edgeline.server.fleet.status import DeviceReport

        places.check(settings)
        device = DeviceReport(settings, served, rollouts, verdicts, updates, metrics, watching)
        fleet = FleetReporter(settings, device.outcomes, device.status)
    measured = (
        *(rollouts, served, repository.windows, watching, labelling, ranges, explainer),
        *(webhook, mqtt, payloads, spans, updates, fleet),
    )
    state = ServerState(
        settings,
        served,
        repository,
        rollouts,
        metrics,
        (
            *(part.lines for part in measured if part is not None),
            decay_metrics.lines_of(watching),
        ),
        access.read(
            settings.token_file, settings.own_names, "https" if settings.certificate else "http"
        ),
        Recent(metrics),
        ranges,
        explainer,
        mqtt,
    )
    router = Router(routes.tables(state, watching, labelling, updates))
    methods, health = routes.methods(state)
    app = App(state, router, methods, routes.missing(), spans)
    server = HttpServer(settings, metrics, app.http, app.grpc, app.stream, app.streamed)
    return ServerParts(
        *(state, server, health, updates, fleet, watching, labelling),
        *(webhook, mqtt, payloads, spans),
    )


def _signed_folder(path: str, settings: ServerSettings) -> Path | None:
    """Where the versions of a signed repository are kept; None where the path is none."""
    if settings.root is not None:
        return checked_state(settings) / "models"
    if "://" in path or (Path(path) / "metadata").is_dir():
        raise UsageError(
            f"{path} is a repository: give the root that is trusted with --root, and --state."
        )
    return None


def _webhook(settings: ServerSettings) -> Delivery | None:
    key = read_key(settings.webhook_key)
    if settings.webhook is None:
        return None
    url = check_url(settings.webhook, "webhook")
    sign = None
    if settings.fleet is not None:
        from edgeline.server.fleet import places

        sign = places.signer(settings)
    return Delivery("webhook", url, key, device=settings.device, sign=sign)


def _mqtt(settings: ServerSettings) -> MqttPublisher | None:
    if settings.mqtt is None:
        return None
    from edgeline.server.watching import mqtt_broker
    from edgeline.server.watching.mqtt_publisher import MqttPublisher

    login = mqtt_broker.MqttLogin(
        settings.mqtt_login, settings.mqtt_certificate, settings.mqtt_key, settings.mqtt_ca
    )
    broker = mqtt_broker.broker(settings.mqtt, login)
    return MqttPublisher(broker, settings.device, read_key(settings.webhook_key))


def _answers(mqtt: MqttPublisher | None, settings: ServerSettings) -> MqttAnswers | None:
    if mqtt is None:
        return None
    from edgeline.server.watching.mqtt_answers import MqttAnswers

    return MqttAnswers(mqtt, settings.mqtt_answers)


def _receiver(
    webhook: Delivery | None, mqtt: MqttPublisher | None, settings: ServerSettings
) -> EventReceiver | None:
    """Where events go."""
    alerts = mqtt.alerts if mqtt is not None else None
    if webhook is None or alerts is None:
        return webhook or alerts
    return EventReceivers(settings.device, (webhook, alerts))


def _payloads(settings: ServerSettings) -> Payloads | None:
    if not settings.payloads:
        return None
    from edgeline.server.watching.payloads import Payloads  # 1 MB that most servers do without

    return Payloads(settings)


def _observers(
    watching: Watching,
    payloads: Payloads | None,
    answers: MqttAnswers | None,
    settings: ServerSettings,
) -> Callable[[Description], tuple[Observer, ...]]:
    def observers(description: Description) -> tuple[Observer, ...]:
        key = description.name, description.version
        if unknown := unknown_slices(description.reference, settings.decay_slices):
            log.warning("%s %d has no input %r: it is not a slice.", *key, unknown[0])
        found = [
            watching.observer(*key, description.reference, decays.watched(description, settings)),
            payloads.observer(description) if payloads else None,
            answers.observer(description) if answers else None,
        ]
        return tuple(observer for observer in found if observer is not None)

    return observers
