"""Updates by call: `POST /updates` checks the repository now, or takes an archive of it.

The archive is the repository as it is (`zip -r update.zip metadata targets`), for a device that
reaches no repository: it is trusted no more than one that was fetched. `GET /updates` tells what
the last check found. Both need the scope `admin`.
"""

from __future__ import annotations

from edgeline.server.access import ADMIN
from edgeline.server.errors import Code, ServingError
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.routing import Body, Operation, Parameters, Route, RouteTable
from edgeline.server.state import ServerState
from edgeline.server.tensors.json import dumps
from edgeline.server.threads import apart
from edgeline.server.updates.order import CheckOutcome
from edgeline.server.updates.updates import Updates

_CODES: dict[CheckOutcome, Code] = {
    "unreachable": Code.UNAVAILABLE,
    "expired": Code.FAILED_PRECONDITION,
    "refused": Code.FAILED_PRECONDITION,
    "full": Code.RESOURCE_EXHAUSTED,
    "failed": Code.UNAVAILABLE,
}
_HTTP: dict[CheckOutcome, int] = {"expired": 409, "refused": 409, "full": 507}


def table(state: ServerState, updates: Updates | None) -> RouteTable:
    """The routes of `/updates`."""

    async def check(request: HttpRequest, _: Parameters) -> HttpResponse:
        if updates is None:  # a folder: read it now
            await state.repository.refresh()
            return HttpResponse(200, dumps({"outcome": "ok"}))
        found = await updates.check_for_update(await apart(state.body, request))
        if found["outcome"] != "ok":
            code = _CODES[found["outcome"]]
            raise ServingError(code, found["sentence"], _HTTP.get(found["outcome"]))
        return HttpResponse(200, dumps(found))

    def status(_: HttpRequest, __: Parameters) -> HttpResponse:
        if updates is None:
            raise ServingError(Code.NOT_FOUND, "No signed repository is served: see --root.")
        return HttpResponse(200, dumps(updates.status()))

    found = Operation("What the last check for updates found", (404,))
    bring = Operation("Check for updates now, or take some", (409, 503, 507), Body("Empty"))
    return RouteTable(
        [
            Route("GET", "/updates", ADMIN, found, answer=status),
            Route("POST", "/updates", ADMIN, bring, later=check),
        ]
    )
