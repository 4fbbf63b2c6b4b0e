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
from base64 import b64encode
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.server.access import ADMIN, HEALTH, PUBLIC, READ
from edgeline.server.errors import invalid, not_found
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.metrics import resident
from edgeline.server.rollouts import declaration as declared
from edgeline.server.rollouts.declaration import Action, RolloutVerdict
from edgeline.server.routing import Body, Operation, Parameters, Route, RouteTable, letters_decoded
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import dumps, loads
from edgeline.server.updates.updates import Updates
from edgeline.server.versions.served_models import VersionState
from edgeline.server.watching.recent import failures
from edgeline.version import __version__

_POLICY = (
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'sha256-{}'; connect-src 'self'; img-src data:; frame-ancestors 'none'"
)
_READY: VersionState = "READY"
_UNAVAILABLE: VersionState = "UNAVAILABLE"
_MANNERS = (b"X-Content-Type-Options: nosniff", b"Cache-Control: no-store")


def table(state: ServerState, updates: Updates | None) -> RouteTable:
    """The routes of the page and of the rollouts."""
    calls = _Calls(state, updates)
    page = Operation("The page, for a browser; else whether the server lives", (403,))
    shown = Operation("What the page shows")
    listed = Operation("Rollouts and the last decisions")
    declare = Operation("Declare a rollout", body=Body("Rollout"))
    promote = Operation("Promote the candidate", body=Body("Empty"))
    back = Operation("Return the candidate", body=Body("Empty"))
    one = "/rollouts/{model}"
    routes = [
        Route("GET", "/", HEALTH, page, answer=calls.root),
        Route("GET", "/overview", READ, shown, answer=calls.overview),
        Route("GET", "/rollouts", READ, listed, answer=calls.rollouts),
        Route("POST", one, ADMIN, declare, later=calls.declare),
        Route("DELETE", one, ADMIN, Operation("Forget a rollout"), later=calls.withdraw),
        Route("POST", one + "/promote", ADMIN, promote, later=partial(calls.decide, "promote")),
        Route("POST", one + "/return", ADMIN, back, later=partial(calls.decide, "return")),
    ]
    return RouteTable(routes, tidied=letters_decoded)


def _policy(page: bytes) -> bytes:
    """The header that lets a browser run the page's own script, and no other."""
    script = page.partition(b"<script>")[2].partition(b"</script>")[0]
    return _POLICY.format(b64encode(sha256(script).digest()).decode()).encode()


class _Calls:
    """What answers."""

    def __init__(self, state: ServerState, updates: Updates | None) -> None:
        self._state, self._updates = state, updates
        html = Path(__file__).with_name("page.html").read_bytes()
        headers = (_policy(html), *_MANNERS)
        self._page = HttpResponse(200, html, b"text/html; charset=utf-8", headers)
        self._alive = HttpResponse(200, dumps({"status": "alive"}))  # KServe's v1 liveness

    def root(self, request: HttpRequest, _: Parameters) -> HttpResponse:
        if b"text/html" not in request.headers.get(b"accept", b""):
            return self._alive
        self._state.access.check(PUBLIC, "", request.peer, request.headers)
        return self._page

    def overview(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        return _json(overview(self._state, self._updates))

    def rollouts(self, _: HttpRequest, __: Parameters) -> HttpResponse:
        return _json(_rollouts(self._state))

    async def declare(self, request: HttpRequest, given: Parameters) -> HttpResponse:
        await _declare(self._state, given["model"], self._state.small_body(request))
        return _json(_rollouts(self._state))

    async def withdraw(self, _: HttpRequest, given: Parameters) -> HttpResponse:
        self._state.rollouts.withdraw(given["model"])
        await _refreshed(self._state, given["model"])
        return _json(_rollouts(self._state))

    async def decide(self, action: Action, _: HttpRequest, given: Parameters) -> HttpResponse:
        verdict = RolloutVerdict(action, "it was asked for.")
        self._state.rollouts.apply(given["model"], verdict)
        await _refreshed(self._state, given["model"])
        return _json(_rollouts(self._state))


def _json(value: object) -> HttpResponse:
    return HttpResponse(200, dumps(value), headers=(b"Cache-Control: no-store",))


def overview(state: ServerState, updates: Updates | None) -> dict[str, object]:
    """Models, versions, traffic, latency, rollouts and updates; what the page shows."""
    served, metrics = state.served, state.metrics
    return {
        "server": {
            "version": __version__,
            "time": time.time(),
            "started": metrics.started,
            "ready": served.ready,
            "explains": state.settings.explain > 0,
            "memory_bytes": resident(),
            "connections": metrics.connections,
        },
        "models": [_model(state, name) for name in sorted(served.models)],
        **_rollouts(state),
        "updates": updates.status() if updates else None,
        "mqtt": state.mqtt.status() if state.mqtt else None,
    }


def _model(state: ServerState, name: str) -> dict[str, object]:
    served = state.served.models[name]
    on = state.rollouts.traffic.get(name)
    stable = state.rollouts.stable(name)
    front = stable if stable in served.pools else max(served.pools, default=None)
    versions: list[dict[str, object]] = []
    for version, pool in sorted(served.pools.items(), reverse=True):
        role, share = "", 0.0
        if version == front:
            role, share = "stable" if on else "serving", 1.0
        if on is not None and on.rollout.mode == "canary":
            weight = on.rollout.weight
            share = {on.stable: 1 - weight, on.candidate: weight}.get(version, 0.0)
        if on is not None and version == on.candidate:
            role = on.rollout.mode
        of = state.metrics.of(name, version)
        versions.append(
            {
                "version": version,
                "state": _READY,
                "role": role,
                "share": share,
                "runtime": pool.description.runtime,
                "device": pool.description.device,
                "note": pool.description.note,
                "evaluated": not pool.description.not_evaluated,
                "transformed": pool.description.transformed,
                "decision_threshold": pool.description.decision_threshold,
                "windows": pool.description.windows_told,
                "queue": pool.waiting,
                "requests": sum(of.codes.values()),
                "errors": failures(of),
                "out_of_range": state.ranges.counts(name, version),
                **state.recent.describe(name, version),
            }
        )
    for version, failure in sorted(served.failures.items(), reverse=True):
        versions.append({"version": version, "state": _UNAVAILABLE, "note": failure.reason})
    return {"name": name, "unloaded": served.unloaded, "versions": versions}


def _rollouts(state: ServerState) -> dict[str, object]:
    rollouts = state.rollouts
    return {
        "rollouts": rollouts.describe(),
        "decisions": [asdict(decision) for decision in reversed(rollouts.decisions)],
    }


async def _declare(state: ServerState, model: str, body: bytes) -> None:
    value = loads(body) if body.strip() else {}
    if not isinstance(value, dict) or value.get("model", model) != model:
        raise invalid(f"The body is not the rollout of model {model[:100]!r}.")
    served = state.served.models.get(model)
    if served is None:
        raise not_found(f"There is no model {model[:100]!r}.")
    try:
        rollout = declared.parse({**value, "model": model})
    except EdgelineError as error:
        raise invalid(str(error)) from None
    state.rollouts.declare(rollout, max(served.pools, default=None))
    await _refreshed(state, model)


async def _refreshed(state: ServerState, model: str) -> None:
    try:
        await state.repository.refresh(until=[model])
    except EdgelineError as error:
        raise invalid(str(error)) from error
