"""Bring the first models up, and keep them fresh and judged."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from edgeline.artifacts.bundle import bundles_below
from edgeline.errors import EdgelineError, UsageError
from edgeline.server import periodic
from edgeline.server.parts import ServerParts
from edgeline.server.versions.sources import is_empty

log = logging.getLogger("edgeline.server")


def doings(parts: ServerParts) -> Iterator[Coroutine[Any, Any, None]]:
    """What goes on while the server takes requests."""
    state, updates = parts.state, parts.updates
    yield periodic.decide(state)
    if parts.fleet is not None:
        yield parts.fleet.run()
    look: Callable[[], Awaitable[Any]] = partial(state.repository.refresh, wait=0)
    if updates is not None:
        look = updates.check_for_update
    if every := state.settings.every:
        due = updates is not None and not updates.checked_at
        yield periodic.poll(look, periodic.pauses(every, due))


async def begin(path: str, parts: ServerParts) -> bool:
    """Bring the first models up; true. Where none has come yet they are waited for, unless nothing
    would look for them.

    Raises:
        UsageError: the path is not a model at all.
        EdgelineError: there is none that works.
    """
    served, updates = parts.state.served, parts.updates
    if updates is not None:
        await updates.restore()
    await parts.state.repository.begin()
    if updates is not None and not any(served.serving()):
        found = await updates.check_for_update()
        if not served.models:
            why = found["sentence"] or "it has none."
            if not parts.state.settings.every or found["outcome"] not in ("ok", "unreachable"):
                raise EdgelineError(f"{path} has brought no model, and none is on the disk: {why}")
            log.warning("%s has brought no model yet, and is asked again: %s", path, why)
            return True
    if not served.models:
        if parts.state.settings.every and is_empty(Path(path)):
            log.warning("%s is empty: the server is not ready until a model is there.", path)
            return True
        inside = bundles_below(Path(path))
        hint = f" Did you mean {inside[-1].parent.parent}?" if inside else ""
        raise UsageError(f"{path} holds no model: give a bundle, a store or a .tflite file.{hint}")
    if not any(served.serving()):
        reason = " ".join(entry.reason for entry in served.index() if entry.reason)
        raise (UsageError if _is_other_file(Path(path)) else EdgelineError)(reason)
    named = parts.state.settings.model_name
    if named and len(served.models) > 1:
        log.warning(
            "No model is called %r: --model-name is for one, and %s holds %d.",
            named,
            path,
            len(served.models),
        )
    return True


def _is_other_file(path: Path) -> bool:
    """Whether it is a file, and not a damaged model but another kind of file."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(8)[4:] != b"TFL3"
