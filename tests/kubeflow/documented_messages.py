"""How KFP's API speaks: refusals, messages with or without what is empty, lists by pages.

Written after what `documented_server` names.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
from answering import AnsweringHandler

if TYPE_CHECKING:
    from documented_server import DocumentedServer

Object = dict[str, Any]
API = "/apis/v2beta1"
NO_SUCH_PATH = {"code": 5, "message": "Not Found"}
ENVOY = b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
STATUS = {
    3: 400,
    5: 404,
    6: 409,
    7: 403,
    13: 500,
    14: 503,
    16: 401,
}  # of gRPC's codes, as grpc-gateway's


class RefusedError(Exception):
    """What the server does not do: gRPC's code, all that it says, and its last part."""

    def __init__(self, code: int, said: str, context: str = "", after: str = "") -> None:
        self.code, self.said = code, said
        self.message = ": ".join(filter(None, (context, said, after)))
        super().__init__(self.message)


class UploadRefusedError(Exception):
    """The uploads, which are not gRPC, refuse in another form."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said
        super().__init__(said)


class Transport(AnsweringHandler):
    """Reads requests and writes answers; a class below it has the calls, `routes` says which.

    A route is a method, a pattern of the path below `API`, the call and the message that it
    answers with; empty where that is not a message.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms
    server: DocumentedServer
    routes: Sequence[tuple[str, str, Any, str]] = ()

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with self.server.lock:
            self.server.asked.append(f"{self.command} {url.path}")
            trouble = self.server.troubles.pop(0) if self.server.troubles else None
        if isinstance(trouble, float):
            time.sleep(trouble)
        elif isinstance(trouble, str):
            return self.send(200, trouble.encode(), "text/html; charset=utf-8")
        elif trouble:
            return self.send(trouble, ENVOY, "text/plain")
        for method, pattern, function, model in self.routes:
            match = re.fullmatch(API + pattern, url.path)
            if match and method == self.command:
                try:
                    with self.server.lock:
                        self._check_token(url.path)
                        answer = self._shown(function(self, content, query, *match.groups()), model)
                except RefusedError as refusal:
                    return self._refuse(refusal)
                except UploadRefusedError as refusal:
                    said = {"error_message": refusal.said, "error_details": refusal.said}
                    return self._answer(refusal.status, said)
                return self._answer(200, answer)
        return self._answer(404, NO_SUCH_PATH)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815

    def _check_token(self, path: str) -> None:
        token, given = self.server.token, self.headers.get("Authorization")
        if token is not None and given != f"Bearer {token}" and not path.endswith("/healthz"):
            said = "Failed to check authorization. User identity is empty in the request header"
            absent = "Request header error: there is no user identity header."
            cause = f"Unauthenticated: {absent}: {absent}"
            if given:
                cause = (
                    f"[{cause}, Authentication failure: Unauthenticated: "
                    "Review.Status.Authenticated is false. Error [invalid bearer token, service "
                    "account token has expired]: "
                    "Failed to authenticate token review]"
                )
            context = "Failed to list pipelines due to authorization error: Unauthenticated"
            raise RefusedError(16, said, context, cause)

    def _refuse(self, refusal: RefusedError) -> None:
        detail = {
            "@type": "type.googleapis.com/google.rpc.Status",
            "code": refusal.code,
            "message": "Internal Server Error" if refusal.code == 13 else refusal.said,
        }
        said = {"code": refusal.code, "message": refusal.message, "details": [detail]}
        if not self.server.full:  # grpc-gateway's first version
            said = {"error": refusal.message, **said}
        self._answer(STATUS[refusal.code], said)

    def _answer(self, status: int, value: Object) -> None:
        self.send(status, json.dumps(value).encode(), "application/json")

    def _shown(self, value: Any, model: str) -> Any:
        """A message with its empty fields, or without them; it has none that is not documented."""
        if not model:
            return value
        wire = _fields(model)
        assert value.keys() <= wire.keys(), f"{model} has no {value.keys() - wire.keys()}"
        if self.server.full:
            value = {**{name: _empty(kind) for name, kind in wire.items()}, **value}
            one_of = ("pipeline_version_id", "pipeline_spec", "pipeline_version_reference")
            value = {key: entry for key, entry in value.items() if key not in one_of or entry}
        else:
            value = {key: entry for key, entry in value.items() if entry not in _EMPTY}
        return {key: self._below(entry, wire[key]) for key, entry in value.items()}

    def _below(self, value: Any, kind: str) -> Any:
        if kind in _JSON and value is not None:
            assert type(value) is _JSON[kind], f"{value!r} is no {kind}"
        inner = kind.removeprefix("list[").removesuffix("]")
        if isinstance(value, str) and hasattr(kfp_server_api, kind):
            assert value in getattr(kfp_server_api, kind).allowable_values
        if not hasattr(kfp_server_api, inner) or isinstance(value, str) or value is None:
            return value
        if isinstance(value, list):
            return [self._shown(entry, inner) for entry in value]
        return self._shown(value, inner)

    def _listed(self, name: str, entries: list[Object], query: dict[str, str]) -> Object:
        criteria = [query.get("filter", ""), query.get("sort_by", "")]
        if token := query.get("page_token", ""):
            try:
                asked, first = json.loads(base64.b64decode(token, validate=True))
            except ValueError as error:
                raise RefusedError(3, "Invalid package token") from error
            if any(criteria) and criteria != asked:
                raise RefusedError(
                    3, "page token does not match the supplied sort by and/or filtering"
                )
        else:
            asked, first = criteria, 0
        if asked[0]:
            (predicate,) = json.loads(asked[0])["predicates"]
            key = predicate["key"]
            if predicate["operation"] not in (1, "EQUALS") or key not in ("display_name", "name"):
                raise RefusedError(3, f"failed to parse valid filter from {asked[0]!r}")
            entries = [entry for entry in entries if entry.get(key) == predicate["stringValue"]]
        field, _, order = (asked[1] or "created_at").partition(" ")
        entries = sorted(entries, key=lambda entry: entry[field], reverse=order == "desc")
        last = first + min(int(query.get("page_size") or 20), 200, self.server.page)
        after = base64.b64encode(json.dumps([asked, last]).encode()).decode()
        return {
            name: entries[first:last],
            "next_page_token": after if last < len(entries) else "",
            "total_size": len(entries),
        }


def given(content: bytes, model: str) -> Object:
    """A request's message; the server refuses a field that it does not know."""
    found: Object = json.loads(content)
    if unknown := found.keys() - _fields(model).keys():
        raise RefusedError(3, f'proto: unknown field "{min(unknown)}"')
    return found


def _fields(model: str) -> dict[str, str]:
    """The documented fields of a message, by their names in JSON, and their types."""
    found = getattr(kfp_server_api, model)
    return {found.attribute_map[name]: kind for name, kind in found.openapi_types.items()}


def _empty(kind: str) -> Any:
    if kind.startswith("list["):
        return []
    if kind.startswith("dict("):
        return {}
    return {"str": "", "int": 0, "bool": False}.get(kind)  # of a message: null


_JSON = {"str": str, "int": int, "bool": bool, "datetime": str}
_EMPTY: tuple[Any, ...] = (None, "", [], {}, 0, False)
