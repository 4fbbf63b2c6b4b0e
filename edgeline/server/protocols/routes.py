"""All that a server answers: the routes of HTTP and the methods of gRPC."""

from __future__ import annotations

from edgeline.server.app import GrpcMethod
from edgeline.server.protocols import (
    grpc_examples,
    grpc_reflection,
    grpc_tfserving,
    grpc_v2,
    openapi,
    routes_admin,
    routes_tfserving,
    routes_updates,
    routes_v2,
    routes_watching,
)
from edgeline.server.protocols.grpc_health import Health
from edgeline.server.routing import RouteTable
from edgeline.server.state import ServerState
from edgeline.server.updates.updates import Updates
from edgeline.server.watching.labelling import Labelling
from edgeline.server.watching.watched_models import Watching


def tables(
    state: ServerState, watching: Watching, labelling: Labelling, updates: Updates | None
) -> list[RouteTable]:
    """The routes of each protocol, in the order in which a path is looked for."""
    found = [
        routes_v2.table(state),
        routes_tfserving.table(state),
        routes_watching.table(state, watching, labelling),
        routes_admin.table(state, updates),
        routes_updates.table(state, updates),
    ]
    return [*found, openapi.table(state, found)]


def methods(state: ServerState) -> tuple[dict[str, GrpcMethod], Health]:
    """Every gRPC method by its path, and what tells those who watch the server's health."""
    found = {
        **grpc_v2.methods(state),
        **grpc_tfserving.methods(state),
        **grpc_examples.methods(state),
    }
    own = {path.split("/")[1] for path in found}
    health = Health(state.served, own.union(grpc_reflection.SERVICES))
    found |= health.methods()
    return found | grpc_reflection.methods(found), health


def missing() -> dict[str, str]:
    """Why there is none of a gRPC method that clients may ask for, by its path."""
    return grpc_v2.missing()
