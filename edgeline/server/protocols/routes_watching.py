"""GET /drift: how far live traffic is from what the models met in training; GET /example/MODEL: a
row to try it with.

`unwatched` are models whose bundle has no reference, or all where drift_rate is 0.
"""

from __future__ import annotations

from edgeline.server.access import READ
from edgeline.server.errors import not_found
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.routing import Operation, Parameters, Route, RouteTable
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import dumps
from edgeline.server.watching.drift_watch import Watching


def table(state: ServerState, watching: Watching) -> RouteTable:
    """The routes of /drift, /drift/MODEL and /example/MODEL; slashes around do not count."""

    def answer(_: HttpRequest, given: Parameters) -> HttpResponse:
        reports = watching.reports()
        known = sorted({serving for serving, _, _ in state.served.serving()})
        if name := given.get("model", ""):
            state.served.pool(name)
            known = [name]
        reports = [report for report in reports if report["model"] in known]
        watched = {report["model"] for report in reports}
        document = {
            "drifting": any(report["drifting"] for report in reports),
            "models": reports,
            "unwatched": [model for model in known if model not in watched],
        }
        return HttpResponse(200, dumps(document))

    def example(_: HttpRequest, given: Parameters) -> HttpResponse:
        name = given["model"]
        row = state.served.pool(name).description.example
        if row is None:
            raise not_found(
                f"Model {name[:100]!r} has no recorded row that is small enough to show."
            )
        return HttpResponse(200, dumps({"instances": [row]}))

    all_of_it = Operation("How far live traffic is from training")
    routes = [
        Route("GET", "/drift", READ, all_of_it, answer=answer),
        Route("GET", "/drift/{model}", READ, Operation("The same of one model", (404, 503)),
              answer=answer),
        Route("GET", "/example/{model}", READ,
              Operation("A recorded row, as v1's predict takes it", (404, 503)), answer=example),
    ]  # fmt: skip
    return RouteTable(routes, tidied=lambda path: "/" + path.strip("/"))
