"""The page at `/` with its data, and the calls that steer rollouts.

| call | scope | what |
|---|---|---|
| GET / | | the page, for a browser; `{"status": "alive"}`, which is health, for everything else |
| GET /overview | read | what the page shows, as JSON |
| GET /rollouts | read | rollouts with what they have shown, and the last decisions |
| POST /rollouts/M | admin | declare the rollout of a model |
| DELETE /rollouts/M | admin | forget it: the newest version serves |
| POST /rollouts/M/promote, /rollouts/M/return | admin | decide now |
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from edgeline.errors import EdgelineError
from edgeline.server.access import ADMIN, HEALTH, PUBLIC, READ
from edgeline.server.app import App, Endpoint
from edgeline.server.errors import invalid, not_found
from edgeline.server.http.http1 import Request, Response
from edgeline.server.metrics import resident
from edgeline.server.rollouts import declaration as declared
from edgeline.server.rollouts.declaration import Verdict
from edgeline.server.tensors.json import dumps, loads
from edgeline.server.updates.updates import Updates
from edgeline.server.watching.recent import failures
from edgeline.version import __version__

_POLICY = (
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    b"script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
)
_MANNERS = (_POLICY, b"X-Content-Type-Options: nosniff", b"Cache-Control: no-store")


def resolver(app: App, updates: Updates | None) -> Any:
    """The endpoints of the page and of the rollouts."""
    html = Path(__file__).with_name("page.html").read_bytes()
    page = Response(200, html, b"text/html; charset=utf-8", _MANNERS)
    alive = Response(200, dumps({"status": "alive"}))  # KServe's v1 liveness

    def root(request: Request) -> Response:
        if b"text/html" not in request.headers.get(b"accept", b""):
            return alive
        app.access.check(PUBLIC, "", request.peer, request.headers)
        return page

    def json(value: Any) -> Response:
        return Response(200, dumps(value), headers=(b"Cache-Control: no-store",))

    fixed = {
        "/": [Endpoint("GET", HEALTH, answer=root)],
        "/overview": [Endpoint("GET", READ, answer=lambda _: json(overview(app, updates)))],
        "/rollouts": [Endpoint("GET", READ, answer=lambda _: json(_rollouts(app)))],
    }

    def of_rollout(model: str) -> list[Endpoint]:
        async def declare(request: Request) -> Response:
            await _declare(app, model, app.body(request))
            return json(_rollouts(app))

        async def withdraw(_: Request) -> Response:
            app.repository.rollouts.withdraw(model)
            await _refreshed(app, model)
            return json(_rollouts(app))

        return [
            Endpoint("POST", ADMIN, later=declare),
            Endpoint("DELETE", ADMIN, later=withdraw),
        ]

    def of_decision(model: str, action: str) -> list[Endpoint]:
        async def decide(_: Request) -> Response:
            app.repository.rollouts.apply(model, Verdict(action, "it was asked for."))
            await _refreshed(app, model)
            return json(_rollouts(app))

        return [Endpoint("POST", ADMIN, later=decide)]

    def resolve(path: str) -> list[Endpoint] | None:
        if path in fixed:
            return fixed[path]
        match [unquote(part) for part in path.split("/")]:
            case ["", "rollouts", model] if model:
                return of_rollout(model)
            case ["", "rollouts", model, ("promote" | "return") as action] if model:
                return of_decision(model, action)
        return None

    return resolve


def overview(app: App, updates: Updates | None) -> dict[str, Any]:
    """Models, versions, traffic, latency, rollouts and updates; what the page shows."""
    repository, metrics = app.repository, app.metrics
    return {
        "server": {
            "version": __version__,
            "time": time.time(),
            "started": metrics.started,
            "ready": repository.ready,
            "memory_bytes": resident(),
            "connections": metrics.connections,
        },
        "models": [_model(app, name) for name in sorted(repository.models)],
        **_rollouts(app),
        "updates": updates.status() if updates else None,
    }


def _model(app: App, name: str) -> dict[str, Any]:
    repository = app.repository
    served = repository.models[name]
    on = repository.rollouts.traffic.get(name)
    stable = repository.rollouts.stable(name)
    front = stable if stable in served.pools else max(served.pools, default=None)
    versions: list[dict[str, Any]] = []
    for version, pool in sorted(served.pools.items(), reverse=True):
        role, share = "", 0.0
        if version == front:
            role, share = "stable" if on else "serving", 1.0
        if on is not None and on.rollout.mode == "canary":
            weight = on.rollout.weight
            share = {on.stable: 1 - weight, on.candidate: weight}.get(version, 0.0)
        if on is not None and version == on.candidate:
            role = on.rollout.mode
        of = app.metrics.of(name, version)
        versions.append(
            {
                "version": version,
                "state": "READY",
                "role": role,
                "share": share,
                "device": pool.description.device,
                "note": pool.description.note,
                "evaluated": not pool.description.not_evaluated,
                "transformed": pool.description.transformed,
                "queue": pool.waiting,
                "requests": sum(of.codes.values()),
                "errors": failures(of),
                **app.recent.describe(name, version),
            }
        )
    for version, failure in sorted(served.failures.items(), reverse=True):
        versions.append({"version": version, "state": "UNAVAILABLE", "note": failure.reason})
    return {"name": name, "unloaded": served.unloaded, "versions": versions}


def _rollouts(app: App) -> dict[str, Any]:
    rollouts = app.repository.rollouts
    return {
        "rollouts": rollouts.describe(),
        "decisions": [asdict(decision) for decision in reversed(rollouts.decisions)],
    }


async def _declare(app: App, model: str, body: bytes) -> None:
    value = loads(body) if body.strip() else {}
    if not isinstance(value, dict) or value.get("model", model) != model:
        raise invalid(f"The body is not the rollout of model {model[:100]!r}.")
    served = app.repository.models.get(model)
    if served is None:
        raise not_found(f"There is no model {model[:100]!r}.")
    try:
        rollout = declared.parse({**value, "model": model})
    except EdgelineError as error:
        raise invalid(str(error)) from None
    app.repository.rollouts.declare(rollout, max(served.pools, default=None))
    await _refreshed(app, model)


async def _refreshed(app: App, model: str) -> None:
    try:
        await app.repository.refresh(until=[model])
    except EdgelineError as error:
        raise invalid(str(error)) from error
