"""What a schedules file may say. Unknown and ill-typed fields are refused by their path."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeline.errors import UsageError
from edgeline.formats import plain_yaml
from edgeline.pipelines.parameters import plain

# six fields, the first of them seconds: pkg.go.dev/github.com/robfig/cron
_FIELD = r"[0-9A-Za-z*?/,L#-]+"
Cron = Annotated[str, msgspec.Meta(pattern=rf"^({_FIELD}( +{_FIELD}){{5}}|@[a-z]+( [0-9hms]+)?|)$")]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recurring run.

    Attributes:
        pipeline: the pipeline's name on the server.
        version: a version's name; empty: each run takes the newest.
        cron: six fields, seconds first; or `every`.
        every: seconds between runs.
        start, end: when it begins and ends, with a time zone.
        max_concurrency: runs of it at the same time.
        catchup: whether times that were missed are made up for.
        parameters: of the pipeline, where they differ from its defaults.
        pipeline_root: where its artifacts go; empty: the server's default.
        service_account: what its tasks run as; empty: the server's choice, which stays as it is.
            From KFP 2.18 on another one has to be allowed (manifests/README.md).
    """

    name: Text
    pipeline: Text
    version: str = ""
    experiment: Text = "Default"
    description: str = ""
    cron: Cron = ""
    every: Annotated[int, msgspec.Meta(ge=1)] | None = None
    start: datetime | None = None
    end: datetime | None = None
    max_concurrency: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    catchup: bool = False
    enabled: bool = True
    parameters: dict[str, Any] = {}
    pipeline_root: str = ""
    service_account: str = ""


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A schedules file.

    Attributes:
        owner: whose schedules these are; others' on the same server are left alone.
    """

    schedules: list[Schedule]
    owner: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "default"


def read(path: str | Path) -> Declaration:
    """The schedules of a file.

    Raises:
        UsageError: it is missing or malformed, a name is used twice, a schedule has not
            exactly one of `cron` and `every`, a time has no zone, or a parameter is null, not
            finite or not JSON.
    """
    path = Path(path)
    try:
        found = plain_yaml.load(path.read_bytes(), Declaration)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a schedules file: {error}.") from error
    seen = set()
    for schedule in found.schedules:
        where = f"Schedule {schedule.name!r} of {path}"
        for name, value in schedule.parameters.items():
            plain(value, name, f"{where}: parameter ")
        if schedule.name in seen:
            raise UsageError(f"{where} is there twice: rename one.")
        seen.add(schedule.name)
        if bool(schedule.cron) == bool(schedule.every):
            raise UsageError(f"{where} needs either cron or every.")
        for field in ("start", "end"):
            if (time := getattr(schedule, field)) is not None and time.tzinfo is None:
                raise UsageError(f"{where} has a {field} without a time zone: add Z.")
        if schedule.start and schedule.end and schedule.start >= schedule.end:
            raise UsageError(f"{where} ends before it starts.")
    return found
