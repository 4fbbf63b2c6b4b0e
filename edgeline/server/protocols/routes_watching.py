"""GET /drift: how far live traffic is from what the models met in training; GET /example/MODEL: a
row to try it with; GET /decay: how good they still are; POST /labels/MODEL: what was true.

`unwatched` are models whose bundle has no reference, or all where drift_rate is 0.
"""

from __future__ import annotations

import io
from typing import Any

from edgeline.monitoring.labels import LabelResults
from edgeline.server.access import LABELS, READ
from edgeline.server.errors import Code, ServingError, invalid, not_found
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.routing import Body, Operation, Parameters, Route, RouteTable
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import dumps
from edgeline.server.threads import apart
from edgeline.server.watching.labelling import Labelling
from edgeline.server.watching.watched_models import Watching

MOST_LABELS = 4 << 20  # bytes of a body of labels, also once it is decompressed
MOST_AT_ONCE = 4  # bodies of labels that are read at the same time


def table(state: ServerState, watching: Watching, labelling: Labelling) -> RouteTable:
    """The routes of /drift, /decay, /labels and /example; slashes around do not count."""
    reading: set[object] = set()

    def of_models(reports: list[dict[str, Any]], given: Parameters) -> dict[str, Any]:
        known = sorted({serving for serving, _, _ in state.served.serving()})
        if name := given.get("model", ""):
            state.served.pool(name)
            known = [name]
        reports = [report for report in reports if report["model"] in known]
        watched = {report["model"] for report in reports}
        unwatched = [model for model in known if model not in watched]
        return {"models": reports, "unwatched": unwatched}

    def answer(_: HttpRequest, given: Parameters) -> HttpResponse:
        found = of_models(watching.reports(), given)
        drifting = any(report["drifting"] for report in found["models"])
        return HttpResponse(200, dumps({"drifting": drifting, **found}))

    async def decay(_: HttpRequest, given: Parameters) -> HttpResponse:
        found = of_models(await apart(watching.decay_reports), given)
        failing = [
            {"model": name, "version": version, "why": why}
            for (name, version), why in sorted(watching.failing.items())
            if given.get("model", "") in ("", name)
        ]
        return HttpResponse(200, dumps({**found, "failing": failing, "labels": labelling.totals}))

    async def label(request: HttpRequest, given: Parameters) -> HttpResponse:
        name = state.served.pool(given["model"]).description.name
        if len(request.body) > MOST_LABELS:
            what = (
                f"The body has more than {MOST_LABELS:,} bytes: send it in parts, or use --labels."
            )
            raise ServingError(Code.INVALID_ARGUMENT, what, 413)
        if len(reading) >= MOST_AT_ONCE:
            raise ServingError(
                Code.UNAVAILABLE, f"{MOST_AT_ONCE} bodies of labels are being read: try again."
            )
        reading.add(place := object())
        try:
            found = await apart(join, request, name)
        finally:
            reading.discard(place)
        told = found.to_json()
        if found.problems and not any(told[each] for each in ("joined", "unknown", "repeated")):
            raise invalid(f"{found.problems[0]}.")
        return HttpResponse(200, dumps(told))

    def join(request: HttpRequest, name: str) -> LabelResults:
        data = state.body(request, MOST_LABELS)
        return labelling.join(io.BytesIO(data), name)

    def example(_: HttpRequest, given: Parameters) -> HttpResponse:
        name = given["model"]
        row = state.served.pool(name).description.example
        if row is None:
            raise not_found(
                f"Model {name[:100]!r} has no recorded row that is small enough to show."
            )
        return HttpResponse(200, dumps({"instances": [row]}))

    said = Operation(
        "Say what was true of answers by their requests' ids",
        (413, 503),
        body=Body("Labels", required=True, media_types=("application/x-ndjson",)),
    )
    all_of_it = Operation("How far live traffic is from training")
    routes = [
        Route("GET", "/drift", READ, all_of_it, answer=answer),
        Route("GET", "/drift/{model}", READ, Operation("The same of one model", (404, 503)),
              answer=answer),
        Route("GET", "/decay", READ,
              Operation("How good models still are: estimated, and measured by late labels"),
              later=decay),
        Route("GET", "/decay/{model}", READ, Operation("The same of one model", (404, 503)),
              later=decay),
        Route("POST", "/labels/{model}", LABELS, said, later=label),
        Route("GET", "/example/{model}", READ,
              Operation("A recorded row, as v1's predict takes it", (404, 503)), answer=example),
    ]  # fmt: skip
    return RouteTable(routes, tidied=lambda path: "/" + path.strip("/"))
