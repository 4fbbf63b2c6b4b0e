"""GET /drift: how far live traffic is from what the models met in training.

`unwatched` are models whose bundle has no reference, or all where drift_rate is 0.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from edgeline.server.access import READ
from edgeline.server.app import App, Endpoint
from edgeline.server.http.http1 import Request, Response
from edgeline.server.tensors.json import dumps
from edgeline.server.watching.drift_watch import Watching


def resolver(app: App, watching: Watching) -> Any:
    """The endpoints of /drift and /drift/MODEL."""

    def answer(name: str) -> Response:
        reports = watching.reports()
        known = sorted({serving for serving, _, _ in app.repository.serving()})
        if name:
            app.repository.pool(name)
            known = [name]
        reports = [report for report in reports if report["model"] in known]
        watched = {report["model"] for report in reports}
        document = {
            "drifting": any(report["drifting"] for report in reports),
            "models": reports,
            "unwatched": [model for model in known if model not in watched],
        }
        return Response(200, dumps(document))

    def resolve(path: str) -> list[Endpoint] | None:
        base, _, name = path.strip("/").partition("/")
        if base != "drift" or "/" in name:
            return None

        def get(_: Request) -> Response:
            return answer(unquote(name))

        return [Endpoint("GET", READ, answer=get)]

    return resolve
