"""What a run's record says before the first task: what is run, with what, and where."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeline.artifacts import write_text
from edgeline.errors import UsageError, did_you_mean
from edgeline.local import record as records
from edgeline.local import surroundings
from edgeline.local.cache import Reuse
from edgeline.local.parameters import changes, flat
from edgeline.local.redaction import redacted
from edgeline.local.tasks import DONE, TaskResult
from edgeline.stores.remote import PIN
from edgeline.user_code import code as sources
from edgeline.user_code import used
from edgeline.version import __version__


def head(
    definition: Any,
    source: str,
    given: Mapping[str, Any],
    arguments: Mapping[str, Any],
    reuse: Reuse,
    docker: bool,
) -> dict[str, Any]:
    """The first part of a record, without anything that is not to be kept.

    Args:
        source: what the pipeline was loaded by; "" where it was given as an object.
        given: the parameters that were set.
        arguments: all of them, as the tasks get them.
    """
    shown = redacted(arguments)
    started = records.now()
    values = {name: str(value) for name, value in flat(shown).items()}
    pins = {name: text.partition(PIN)[2] for name, text in values.items() if PIN in text}
    if digest := _named_module(values.get("module", "")):
        pins["module"] = digest
    return {
        "schema": records.SCHEMA,
        "pipeline": definition.pipeline_spec.pipeline_info.name,
        "source": source,
        "folder": str(Path.cwd()),
        "started": started,
        "cache": reuse.cache,
        "docker": docker,
        "given": redacted(given),
        "left_out": _left_out(given),
        "parameters": shown,
        "pins": pins,
        "pipeline_digest": _digest(definition),
        "edgeline": __version__,
        "code": reuse.code,
        "packages": dict(reuse.packages),
        "host": surroundings.host(),
        "attempts": [{"started": started}],
    }


def go_on(own: dict[str, Any], earlier: Mapping[str, Any], start: str) -> list[str]:
    """Make the head of a new run that of one that goes on with an earlier one; the lines to say.

    Args:
        own: is changed: it keeps when the run first started, and its earlier attempts.
        earlier: the record of the run.
        start: see `following`.
    """
    said = changes(earlier, own)
    own["attempts"] = [
        *earlier["attempts"],
        {**own["attempts"][0], "changed": said, **({"from": start} if start else {})},
    ]
    own["started"] = earlier["started"]
    own["cache"] = own["cache"] or earlier["cache"]
    last = own["attempts"][-2]
    if "ended" not in last:
        last["state"] = "interrupted"
    if not said:
        return ["Nothing has changed since: what has ended well is taken as it is."]
    return ["Changed since, and what it touches runs again:", *(f"  {each}" for each in said)]


def keep(definition: Any, folder: Path) -> None:
    """Keep the pipeline itself, compiled, beside the record; JSON is YAML, too."""
    text = json.dumps(_spec(definition), indent=1, sort_keys=True)
    write_text(folder / records.PIPELINE, text + "\n")


def following(tasks: Mapping[str, TaskResult], start: str) -> frozenset[str]:
    """A component and all that take its results or were decided by it, and exit handlers, which
    tell how a run ended whenever it ends.

    Args:
        tasks: of the pipeline, in an order in which they can run.
        start: a component; "" for exit handlers alone.

    Raises:
        UsageError: no task is called so.
    """
    found = {name for name, result in tasks.items() if result.task.exit_handler}
    if not start:
        return frozenset(found)
    name = start.partition("[")[0]  # of a loop's round, the loop's
    if name not in tasks:
        raise UsageError(
            f"--from: the pipeline has no task {start!r}. {did_you_mean(start, tasks)}"
        )
    found.add(name)
    for name, result in tasks.items():
        if found & {*result.task.needs, *result.task.gates}:
            found.add(name)
    return frozenset(found)


def still_to_do(tasks: Mapping[str, TaskResult], earlier: Mapping[str, Any]) -> frozenset[str]:
    """What attempts were to do again (see `following`) and have not: their results are older ones.

    Attempts before one that succeeded count no more.

    Args:
        tasks: of the pipeline, in an order in which they can run.
        earlier: the record of the run.
    """
    asked: set[str] = set()
    for attempt in reversed(earlier["attempts"]):
        if attempt.get("state") == "succeeded":
            break
        start = str(attempt.get("from", ""))
        if start.partition("[")[0] in tasks:  # else the pipeline has it no more
            asked |= following(tasks, start)
    return frozenset(name for name in tasks if name in asked and not _is_done(earlier, name))


def _is_done(earlier: Mapping[str, Any], name: str) -> bool:
    """Whether a component ended well in the last attempt, in all rounds where it is in a loop."""
    states = [
        task.get("state")
        for own, task in earlier["tasks"].items()
        if own == name or own.startswith(f"{name}[")
    ]
    return bool(states) and all(state in DONE for state in states)


def _named_module(module: str) -> str:
    """The digest of the code of a module that is given by its import name, which no pin holds; ""
    of edgeline's own, and of others."""
    return used.digest([module]) if module and sources.kind(module) == sources.NAME else ""


def _left_out(given: Mapping[str, Any]) -> list[str]:
    """Parameters whose value the record does not have, as people call them."""
    full, shown = flat(given), flat(redacted(given))
    return [name for name in full if full[name] != shown[name]]


def _spec(definition: Any) -> dict[str, Any]:
    from google.protobuf import json_format

    found: dict[str, Any] = json_format.MessageToDict(definition.pipeline_spec)
    return found


def _digest(definition: Any) -> str:
    text = json.dumps(_spec(definition), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
