"""What runs on a schedule, made what the file says.

Only recurring runs that were made here are touched: their description says so. The server
cannot change one, so a changed schedule is a new one: made but disabled, then the old one
deleted, then enabled. Where that is cut short, the next time ends it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats.doubles import whole
from edgeline.kubeflow import versions
from edgeline.kubeflow.api import (
    UNAVAILABLE,
    ServerPipeline,
    experiment_id,
    find_version,
    pipeline_version,
)
from edgeline.kubeflow.refusals import grpc_code
from edgeline.schedules.declaration import (
    LATEST,
    Declaration,
    Schedule,
    checked_parameters,
)

if TYPE_CHECKING:
    from kfp import Client as KfpClient

PAGE = 100
NOT_FOUND = 404
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before each further try of a change
CREATE, CHANGE, SWITCH, DELETE = "create", "change", "switch", "delete"
Facts = dict[str, Any]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Change:
    """One difference between the file and the server.

    Attributes:
        action: CREATE, CHANGE (anew), SWITCH (on or off), or DELETE (the file has it no more, or
            the server has it twice).
        was, shall: the fields that differ, there and here.
        ids: of the recurring runs on the server.
    """

    action: str
    name: str
    was: Facts
    shall: Facts
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Known:
    """What the server has, by name or identifier; each is asked for once."""

    version: Callable[[str, str], tuple[ServerPipeline | None, Any]]
    experiment: Callable[[str], str]


class NotDeployedError(EdgelineError):
    """A schedule's pipeline, or the version that it names, is not on the server."""


def differences(
    client: KfpClient, declared: Declaration, waiting: list[NotDeployedError] | None = None
) -> list[Change]:
    """What would have to change on the server, in the order of the file; asks and changes nothing.

    Args:
        client: a `kfp.Client`.
        declared: what `from` names has been made a version's name.
        waiting: gets what is said of schedules whose pipeline or version is not there, which are
            then left as they are on the server.

    Raises:
        UsageError: a schedule names no version, or `latest` of a pipeline that all teams share.
        NotDeployedError: without `waiting`, a pipeline or version is not there.
        EdgelineError: a parameter is not known to the server, or a version has other content than
            its name says.
    """
    known = _known(client)
    there: dict[str, list[Any]] = {}
    mark = _mark(declared)
    for run in _recurring_runs(client, mark):
        there.setdefault(run.display_name, []).append(run)
    changes = []
    for schedule in declared.schedules:
        found = there.pop(schedule.name, [])
        try:
            shall = _declared(known, schedule, mark)
        except NotDeployedError as error:
            if waiting is None:
                raise
            waiting.append(error)
            continue
        facts = [(run.recurring_run_id, _actual(known, run)) for run in found]
        changes += _compare(schedule.name, shall, facts)
    gone = [(name, run) for name, runs in there.items() for run in runs]
    return changes + [
        Change(DELETE, name, _actual(known, run), {}, (run.recurring_run_id,)) for name, run in gone
    ]


def unpinned(client: KfpClient, declared: Declaration) -> list[str]:
    """A sentence for each schedule on the server that runs whatever is uploaded next; asks only.

    Args:
        client: a `kfp.Client`.
    """
    return [
        f"Schedule {run.display_name!r} on the server names no version: each run takes what was "
        "uploaded last."
        for run in _recurring_runs(client, _mark(declared))
        if run.pipeline_version_reference and not run.pipeline_version_reference.pipeline_version_id
    ]


def newer(client: KfpClient, declared: Declaration) -> list[str]:
    """A sentence for each schedule whose pipeline has a newer version than it names; asks only.

    Args:
        client: a `kfp.Client`.
    """
    known = _known(client)
    found = []
    for schedule in declared.schedules:
        if schedule.version in ("", LATEST):
            continue
        place, version = known.version(schedule.pipeline, schedule.version)
        if not (place and version):
            continue
        newest = pipeline_version(client, place.id)
        if newest and newest.pipeline_version_id != version.pipeline_version_id:
            found.append(
                f"Schedule {schedule.name!r} runs {version.display_name}; a newer version waits: "
                f"{newest.display_name}."
            )
    return found


def apply(client: KfpClient, changes: Sequence[Change]) -> None:
    """Make changes on the server, one after the other.

    Raises:
        EdgelineError: the server refuses one; those before it are made.
    """
    for change in changes:
        if change.action == SWITCH:
            (only,) = change.ids
            enable = change.shall["enabled"]
            switch = client.enable_recurring_run if enable else client.disable_recurring_run
            _patiently(partial(switch, only))
        elif change.action in (CREATE, CHANGE):
            made = _patiently(partial(_create, client, change.name, change.shall))
            for old in change.ids:
                client.delete_recurring_run(old)
            if change.shall["enabled"]:
                _patiently(partial(client.enable_recurring_run, made))
        else:
            for old in change.ids:
                client.delete_recurring_run(old)


def _mark(declared: Declaration) -> str:
    return f"[edgeline schedules of {declared.owner}]"


def _known(client: KfpClient) -> _Known:
    return _Known(
        cache(lambda pipeline, name: find_version(client, pipeline, name)),
        cache(lambda key: _experiment(client, key)),
    )


def _patiently(change: Callable[[], Made]) -> Made:
    """Make a change, again where the server is not ready for it and says that it did nothing.

    From 2.18 on it answers so while it is rolled out: docs/operator-guides/upgrade-2.18.md of
    kubeflow/pipelines. Had it made one after all, the next look takes it away as one too many.
    """
    from kfp_server_api import ApiException

    for pause in PAUSES:
        try:
            return change()
        except ApiException as error:
            if error.status != 503 or grpc_code(error) != UNAVAILABLE:
                raise
        time.sleep(pause)
    return change()


def _compare(name: str, shall: Facts, found: list[tuple[str, Facts]]) -> list[Change]:
    same = [entry for entry in found if _unlike(entry[1], shall) <= {"enabled"}]
    if not same:
        if not found:
            return [Change(CREATE, name, {}, shall)]
        differing = _unlike(found[0][1], shall)
        was = {field: found[0][1].get(field) for field in differing}
        return [Change(CHANGE, name, was, shall, tuple(key for key, _ in found))]
    kept = next((entry for entry in same if not _unlike(entry[1], shall)), same[0])
    extra = tuple(key for key, _ in found if key != kept[0])
    changes = [Change(DELETE, name, kept[1], {}, extra)] if extra else []
    if kept[1]["enabled"] != shall["enabled"]:
        was, to = ({"enabled": facts["enabled"]} for facts in (kept[1], shall))
        changes.append(Change(SWITCH, name, was, to, (kept[0],)))
    return changes


def _unlike(actual: Facts, shall: Facts) -> set[str]:
    return {field for field in shall if actual.get(field) != shall[field]}


def _declared(known: _Known, schedule: Schedule, mark: str) -> Facts:
    """A schedule in the server's terms: names made identifiers, and checked."""
    pinned = schedule.version not in ("", LATEST)
    place, version = known.version(schedule.pipeline, schedule.version if pinned else "")
    if place is None:
        raise NotDeployedError(
            f"Schedule {schedule.name!r} names pipeline {schedule.pipeline!r}, which the server "
            "does not have: deploy it first."
        )
    if version is None:
        raise NotDeployedError(
            f"Schedule {schedule.name!r} names version {schedule.version!r}, which pipeline "
            f"{schedule.pipeline!r} does not have: deploy it first."
            if pinned
            else f"Pipeline {schedule.pipeline!r} has no version yet: deploy one first."
        )
    if not schedule.version:
        other = "" if place.shared else f", or `version: {LATEST}`"
        raise UsageError(
            f"Schedule {schedule.name!r} names no version, so each run would take what was "
            f"uploaded last: add the line `version: {version.display_name}`, which is the newest "
            f"now, or `from:` with a local pipeline{other}."
        )
    if not pinned and place.shared:
        raise UsageError(
            f"Schedule {schedule.name!r} runs the newest version of the shared pipeline "
            f"{schedule.pipeline!r}, and anybody can upload one: write "
            f"`version: {version.display_name}`."
        )
    spec = versions.pipeline_of(version.pipeline_spec or {})
    given = checked_parameters(schedule, spec) if spec else schedule.parameters
    shall = {
        "pipeline": place.id,
        "version": version.pipeline_version_id if pinned else "",
        "experiment": schedule.experiment,
        "description": f"{schedule.description} {mark}".strip(),
        "cron": schedule.cron,
        "every": schedule.every,
        "start": _instant(schedule.start),
        "end": _instant(schedule.end),
        "max_concurrency": schedule.max_concurrency,
        "catchup": schedule.catchup,
        "parameters": _plain(given),
        "pipeline_root": schedule.pipeline_root,
        "enabled": schedule.enabled,
    }
    if schedule.service_account:  # else the server puts in its own, whose name is not known here
        shall["service_account"] = schedule.service_account
    return shall


def _actual(known: _Known, run: Any) -> Facts:
    reference, config = run.pipeline_version_reference, run.runtime_config
    cron, period = run.trigger.cron_schedule, run.trigger.periodic_schedule
    trigger = cron or period
    return {
        "pipeline": reference.pipeline_id if reference else None,
        "version": (reference.pipeline_version_id if reference else None) or "",
        "experiment": known.experiment(run.experiment_id),
        "description": run.description or "",
        "cron": cron.cron if cron else "",
        "every": int(period.interval_second) if period else None,
        "start": _instant(trigger.start_time if trigger else None),
        "end": _instant(trigger.end_time if trigger else None),
        "max_concurrency": int(run.max_concurrency or 1),
        "catchup": not run.no_catchup,
        "parameters": _plain((config.parameters if config else None) or {}),
        "pipeline_root": (config.pipeline_root if config else None) or "",
        "service_account": run.service_account or "",
        "enabled": str(run.status or run.mode or "").upper() in ("ENABLED", "ENABLE"),
    }


def _create(client: KfpClient, name: str, shall: Facts) -> str:
    made = client.create_recurring_run(
        experiment_id=experiment_id(client, shall["experiment"]),
        job_name=name,
        description=shall["description"],
        start_time=shall["start"],
        end_time=shall["end"],
        interval_second=shall["every"],
        cron_expression=shall["cron"] or None,
        max_concurrency=shall["max_concurrency"],
        no_catchup=not shall["catchup"],
        params=shall["parameters"],
        pipeline_id=shall["pipeline"],
        version_id=shall["version"],  # "" takes the newest at each run
        enabled=False,
        pipeline_root=shall["pipeline_root"] or None,
        service_account=shall.get("service_account"),
    )
    return str(made.recurring_run_id)


def _recurring_runs(client: KfpClient, mark: str) -> list[Any]:
    """Those with a mark in their description, from all pages."""
    found: list[Any] = []
    token, namespace = "", client.get_user_namespace() or None
    while True:
        page = client.list_recurring_runs(page_token=token, page_size=PAGE, namespace=namespace)
        found += [run for run in page.recurring_runs or [] if mark in (run.description or "")]
        token = page.next_page_token or ""
        if not token:
            return found


def _experiment(client: KfpClient, key: str) -> str:
    """An experiment's name; "" where there is none: it goes before its recurring runs do."""
    from kfp_server_api import ApiException

    try:
        return str(client.get_experiment(experiment_id=key).display_name) if key else ""
    except ApiException as error:
        if error.status == NOT_FOUND:
            return ""
        raise


def _instant(time: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC; the server's zero time is none."""
    if time is None or time.year <= 1970:
        return None
    return time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _plain(value: Any) -> Any:
    """Parameters as JSON has them, where 3 and 3.0 are one number."""
    return whole(json.loads(json.dumps(value, default=str)))
