"""GET /drift: how far live traffic is from what the models met in training."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from edgeline.server.app import App, Endpoint
from edgeline.server.errors import not_found
from edgeline.server.http1 import Request, Response
from edgeline.server.tensors_json import dumps
from edgeline.server.watching import Watching


def resolver(app: App, watching: Watching) -> Any:
    """The endpoints of /drift and /drift/MODEL."""

    def answer(name: str) -> Response:
        reports = watching.reports()
        if name:
            app.repository.pool(name)
            reports = [report for report in reports if report["model"] == name]
            if not reports:
                raise not_found(
                    f"Model {name!r} is not watched: its bundle has no reference, or drift_rate "
                    "is 0."
                )
        drifting = any(report["drifting"] for report in reports)
        return Response(200, dumps({"drifting": drifting, "models": reports}))

    def resolve(path: str) -> list[Endpoint] | None:
        base, _, name = path.strip("/").partition("/")
        if base != "drift" or "/" in name:
            return None

        def get(_: Request) -> Response:
            return answer(unquote(name))

        return [Endpoint("GET", "predict", answer=get)]

    return resolve
