"""From a method and a path to the route that answers; OpenAPI and `Allow` are told from the same.

A route owns its template, as `/v2/models/{model}/infer`, who may call it, what answers, and what
the OpenAPI document says of it. The routes of a protocol are a table, which knows how that
protocol reads paths. The first template that matches is the one, whatever the method.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from edgeline.server.access import CallKind
from edgeline.server.errors import Code, ServingError, not_found
from edgeline.server.http.messages import HttpRequest, HttpResponse
from edgeline.server.models.model import Instance
from edgeline.server.models.pool import Pool
from edgeline.server.rollouts.traffic import Traffic

JSON = "application/json"
_PARAMETER = re.compile(r"\{(\w+)\}")
_REMEMBERED, _LONGEST = 256, 200  # targets, and the bytes of one: what strangers may fill
Parameters = Mapping[str, str]  # what a path has in the places of its template, decoded


@dataclass(frozen=True)
class Body:
    """A request's body: the name of its schema (see `protocols.openapi`), whether there has to be
    one, and what else than JSON it may be."""

    schema: str
    required: bool = False
    media_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """What the OpenAPI document says of a route, beside what its path and kind say.

    Attributes:
        summary: a few words.
        refusals: the HTTP statuses of refusals, without 401, and without 403 where these follow
            from the route's kind, and without a POST's 400 and 404.
        body: what it takes.
        query: OpenAPI's parameter objects of what may stand behind the `?`.
        answer: the media type of what it gives.
    """

    summary: str
    refusals: tuple[int, ...] = ()
    body: Body | None = None
    query: tuple[dict[str, object], ...] = ()
    answer: str = JSON


@dataclass(frozen=True)
class Route:
    """One call. Exactly one of `answer`, `later` and `work` is set.

    Attributes:
        method: the HTTP method; HEAD is answered as GET.
        path: its template.
        kind: who may call it (see `edgeline.server.access`).
        operation: its entry in the OpenAPI document.
        answer: answers on the event loop, at once.
        later: answers on the event loop, with waiting.
        pool, work: answers in a worker of the pool that `pool` finds.
    """

    method: str
    path: str
    kind: CallKind
    operation: Operation
    answer: Callable[[HttpRequest, Parameters], HttpResponse] | None = None
    later: Callable[[HttpRequest, Parameters], Awaitable[HttpResponse]] | None = None
    pool: Callable[[Parameters], Pool | Traffic] | None = None
    work: Callable[[HttpRequest, Instance], HttpResponse] | None = None

    @property
    def parameters(self) -> list[str]:
        """The names in its template."""
        return _PARAMETER.findall(self.path)


@dataclass(frozen=True)
class Matched:
    """The routes of a path by their methods, and what stands in the template's places."""

    routes: Mapping[str, Route]
    parameters: Parameters


class RouteTable:
    """The routes of a protocol, and how it reads paths."""

    def __init__(
        self,
        routes: Iterable[Route],
        values: Mapping[str, str] | None = None,
        any_case: bool = False,
        tidied: Callable[[str], str] | None = None,
    ) -> None:
        """
        Args:
            routes: the first whose template matches has the path.
            values: regular expressions of parameters, by name; else all but "/".
            any_case: whether upper and lower case are alike.
            tidied: gives the path that is matched, as without a slash at its end.
        """
        self.routes = tuple(routes)
        self._tidied = tidied
        self._places: dict[int, tuple[dict[str, Route], list[str]]] = {}  # by number of the group
        patterns, group = [], 1
        by_path: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            by_path.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            literals = [re.escape(part) for part in _PARAMETER.split(path)[::2]]
            names = _PARAMETER.findall(path)
            groups = [f"({(values or {}).get(name, '[^/]+')})" for name in names]
            pattern = "".join(a + b for a, b in zip(literals, [*groups, ""], strict=True))
            patterns.append(f"({pattern})")
            self._places[group] = methods, names
            group += 1 + len(names)
        self._pattern = re.compile("|".join(patterns), re.IGNORECASE if any_case else 0)

    def match(self, path: str) -> Matched | None:
        """What a path names, if it is one of these."""
        found = self._pattern.fullmatch(self._tidied(path) if self._tidied else path)
        if found is None or found.lastindex is None:
            return None
        routes, names = self._places[found.lastindex]  # the group that is closed last
        given = found.groups()[found.lastindex :]
        return Matched(routes, {n: unquote(g) for n, g in zip(names, given, strict=False)})


class Router:
    """All routes of a server. Used on the event loop."""

    def __init__(self, tables: Iterable[RouteTable]) -> None:
        self._tables = tuple(tables)
        self._known: dict[bytes, Matched] = {}  # what was asked for lately, by target

    @property
    def routes(self) -> list[Route]:
        """Every route."""
        return [route for table in self._tables for route in table.routes]

    def find(self, method: str, target: bytes) -> tuple[Route, Parameters]:
        """The route that answers a method of a target (path and query), and its parameters.

        Raises:
            ServingError: 404, there is none; 405, it takes other methods.
        """
        matched = self._found(target)
        route = matched.routes.get(method)
        if route is None:
            route = matched.routes.get("GET") if method == "HEAD" else None
            if route is None:
                raise _wrong_method(matched.routes)
        return route, matched.parameters

    def methods(self, target: bytes) -> list[str]:
        """The methods that a target takes.

        Raises:
            ServingError: 404, there is none.
        """
        return list(self._found(target).routes)

    def _found(self, target: bytes) -> Matched:
        matched = self._known.get(target)
        if matched is None:
            matched = self._match(target)
            if len(target) <= _LONGEST:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[target] = matched
        return matched

    def _match(self, target: bytes) -> Matched:
        path = target.partition(b"?")[0].decode("latin-1")
        for table in self._tables:
            if (matched := table.match(path)) is not None:
                return matched
        raise not_found(f"There is nothing at {path[:200]!r}.")


def letters_decoded(path: str) -> str:
    """A path whose segments of letters alone are decoded: `inf%65r` is `infer`."""
    if "%" not in path:
        return path
    return "/".join(
        plain if (plain := unquote(part)).isalpha() else part for part in path.split("/")
    )


def _wrong_method(routes: Iterable[str]) -> ServingError:
    methods = list(routes)
    allow = [*methods, "HEAD"] if "GET" in methods else methods
    message = f"This path takes {' or '.join(methods)}."
    return ServingError(Code.UNIMPLEMENTED, message, 405, allow=", ".join(allow))
