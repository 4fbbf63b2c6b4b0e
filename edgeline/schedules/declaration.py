"""What a schedules file may say. Unknown and ill-typed fields are refused by their path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import msgspec

from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names, plain_file, plain_yaml
from edgeline.pipelines import parameters
from edgeline.schedules import cron as crons

LATEST = "latest"
CURRENT = "current"
SHORTEST = 60  # seconds
# the scheduled workflow's controller counts in Go's Duration: 64 bits of nanoseconds
LONGEST = (2**63 - 1) // 10**9
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One recurring run.

    Attributes:
        pipeline: the pipeline's name on the server.
        version: a version's name; `current`: the one that `versions.yaml` beside the file names,
            which `edgeline compile --current` writes; or `latest`: each run takes what was
            uploaded last. One of it and `from` has to be written.
        from_: in the file `from`: a local pipeline, as `edgeline.pipelines.catalogue.load` takes
            it, a file beside this one. Its content's name is the version.
        environment: what that is compiled for; empty: nothing is said about it.
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
    from_: str = msgspec.field(name="from", default="")
    environment: str = ""
    experiment: Text = "Default"
    description: str = ""
    cron: str = ""
    every: int | None = None
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
        shortest_interval: seconds; what would run more often is taken for a mistake.
    """

    schedules: list[Schedule]
    owner: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}\Z")] = "default"
    shortest_interval: Annotated[int, msgspec.Meta(ge=1)] = SHORTEST


@dataclass(frozen=True)
class Fault:
    """What a schedule says that the server refuses, answers with 500, or takes and never runs.

    Attributes:
        field: which says it.
        what: the sentence after the schedule's name.
        fix: what to do, in the imperative.
    """

    field: str
    what: str
    fix: str


def read(path: str | Path) -> Declaration:
    """The schedules of a file.

    Raises:
        UsageError: it is missing or malformed, a name is used twice, a schedule has a fault (see
            `faults`), or a parameter is null, not finite or not JSON.
    """
    path = Path(path)
    try:
        found = plain_yaml.load(plain_file.read(path), Declaration)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a schedules file: {error}.") from error
    seen = set()
    for schedule in found.schedules:
        where = f"Schedule {schedule.name!r} of {path}"
        for name, value in schedule.parameters.items():
            parameters.plain(value, name, f"{where}: parameter ")
        if schedule.name in seen:
            raise UsageError(f"{where} is there twice: rename one.")
        seen.add(schedule.name)
        for fault in faults(schedule, found.shortest_interval):
            raise UsageError(f"{where} {fault.what}: {fault.fix}.")
    return found


def faults(schedule: Schedule, shortest: int = SHORTEST) -> Iterator[Fault]:
    """What is wrong with a schedule, but for a version that is missing.

    Args:
        shortest: seconds between two runs, at least.
    """
    yield from _of_names(schedule)
    yield from _of_version(schedule)
    yield from _of_interval(schedule, shortest)
    yield from _of_times(schedule)


def _of_names(schedule: Schedule) -> Iterator[Fault]:
    if fault := names.unfit_title(schedule.name):
        yield Fault("name", f"has a name that {fault}", "rename it")
    if fault := names.unfit_experiment(schedule.experiment):
        yield Fault("experiment", f"has an experiment that {fault}", "name another one")
    root, account = schedule.pipeline_root, schedule.service_account
    if root and not names.ROOT.fullmatch(root):
        what = f"has pipeline_root {root!r}, which KFP's launcher cannot write to"
        yield Fault("pipeline_root", what, "give gs://, s3:// or minio:// with a bucket")
    if account and not names.SUBDOMAIN.fullmatch(account):
        what = f"has service_account {account!r}, which no service account can be called"
        yield Fault("service_account", what, "use a-z, 0-9, - and .")


def _of_version(schedule: Schedule) -> Iterator[Fault]:
    if schedule.version and schedule.from_:
        yield Fault("from", "has both version and from", "leave one out")
    if schedule.environment and not schedule.from_:
        what = "has an environment without from, for which nothing is compiled"
        yield Fault("environment", what, "add from, or leave it out")


def _of_interval(schedule: Schedule, shortest: int) -> Iterator[Fault]:
    if bool(schedule.cron) == (schedule.every is not None):
        yield Fault("cron", "needs either cron or every", "give one of the two")
        return
    field, gap = "every", float(schedule.every or 0)
    if schedule.cron:
        field = "cron"
        try:
            gap = crons.shortest_gap(schedule.cron)
        except ValueError as error:
            what = f"has a cron that the server refuses ({error})"
            yield Fault(field, what, "give six fields, for example 0 0 3 * * *")
            return
    said = f"has {field}: {getattr(schedule, field)}"
    if gap < shortest:
        what = f"{said}, which runs it after {gap:g} s"
        yield Fault(field, what, f"let {shortest} s pass, or set shortest_interval in the file")
    if gap > LONGEST:
        yield Fault(field, f"{said}, more seconds than KFP can count", "give a shorter interval")


def _of_times(schedule: Schedule) -> Iterator[Fault]:
    naive = False
    for field in ("start", "end"):
        if (time := getattr(schedule, field)) is not None and time.tzinfo is None:
            naive = True
            yield Fault(field, f"has a {field} without a time zone", "add Z")
    if naive or schedule.end is None:
        return
    if schedule.start and schedule.start >= schedule.end:
        yield Fault("end", "ends before it starts", "change start or end")
    elif schedule.end <= datetime.now(timezone.utc):
        what = f"has an end that is past ({schedule.end.isoformat()})"
        yield Fault("end", f"{what}, so it never runs", "move it, or take the schedule out")


def checked_parameters(schedule: Schedule, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a schedule by the names of the pipeline that it runs.

    Args:
        spec: KFP's IR of the pipeline.

    Raises:
        EdgelineError: the pipeline has no such parameter, takes no such value, or requires one
            that is left out.
    """
    known = parameters.from_spec(spec)
    given = parameters.check(schedule.parameters, known, f"Schedule {schedule.name!r}: parameter ")
    if absent := parameters.missing(known, given):
        raise EdgelineError(
            f"Schedule {schedule.name!r} leaves out {', '.join(absent)}, which pipeline "
            f"{schedule.pipeline!r} requires."
        )
    return given
