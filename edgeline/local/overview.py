"""The first screen of a run's page: is the model good, what came out, what ran, what to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from edgeline.artifacts import outcomes
from edgeline.artifacts.folder import digest_of, facts_of
from edgeline.local import concerns, made, quality
from edgeline.local.concerns import Concern
from edgeline.local.links import link
from edgeline.local.parameters import SHOWN, flat, shown
from edgeline.local.quality import Quality
from edgeline.local.summary import requirements
from edgeline.local.tasks import DONE, RunResult
from edgeline.reports import intervals, report
from edgeline.reports.document import fill
from edgeline.reports.intervals import Mark

FIRST_CONCERNS = 6
MOST_GIVEN = 8  # parameters that are named in the first screen
GB = 1e9


def draw(result: RunResult, head: Mapping[str, Any]) -> Markup:
    """The four answers.

    Args:
        head: the first part of the run's record; see `edgeline.local.heads`.
    """
    found = concerns.of(result)
    return fill(
        "edgeline.local",
        "overview.html",
        qualities=[_quality(each) for each in quality.of(result.tasks)],
        checks=_checks(result),
        bundles=[
            (each, link(result.folder, each.uri)) for each in made.bundles(result.tasks)
        ],
        models=_models(result),
        ran=_ran(result, head),
        given=_given(head),
        concerns=[_concern(each) for each in found[:FIRST_CONCERNS]],
        more=[_concern(each) for each in found[FIRST_CONCERNS:]],
        counts=_counts(found),
        running=result.state == "running",
    )  # fmt: skip


def _quality(each: Quality) -> dict[str, Any]:
    marks = [
        Mark(value, name, colour)
        for value, name, colour in (
            (each.least, "at least", "var(--orange)"),
            (each.most, "at most", "var(--orange)"),
            (each.baseline, "baseline", "var(--grey)"),
        )
        if value is not None
    ]
    drawing = Markup("")
    if each.value is not None:
        axis = intervals.axis(
            [each.value, each.lower, each.upper, *(mark.value for mark in marks)]
        )  # fmt: skip
        drawing = intervals.draw(axis, each.value, each.lower, each.upper, marks)
    return {"found": each, "drawing": drawing, "lines": _compared(each)}


def _compared(each: Quality) -> list[tuple[str, str, bool | None]]:
    """The interval, and what the value is compared with: name, sentence, whether that is well."""
    lines: list[tuple[str, str, bool | None]] = []
    if each.lower is not None and each.upper is not None:
        ends = f"{report.number(each.lower)} to {report.number(each.upper)}"
        lines.append(("95 % interval", ends, None))
    for bound, least in ((each.least, True), (each.most, False)):
        if bound is not None and each.value is not None:
            kept = each.value >= bound if least else each.value <= bound
            said = f"at {'least' if least else 'most'} {report.number(bound)}, "
            lines.append(("threshold", said + ("kept" if kept else "not kept"), kept))
    if each.least is None and each.most is None and each.metric and each.bounded:
        lines.append(("threshold", "none is set for it", None))
    if each.baseline is not None and each.value is not None:
        change = f"{each.value - each.baseline:+.4g}".replace("-", "−")
        lines.append(("baseline", f"{report.number(each.baseline)} ({change})", None))
    lines.append(("evaluated on", f"{each.rows:,} rows of split {each.split}", None))
    return lines


def _checks(result: RunResult) -> list[tuple[str, str, bool | None]]:
    """Name, sentence, and whether that is well, of what else was judged."""
    lines: list[tuple[str, str, bool | None]] = []
    if met := requirements(result.tasks):
        good = sum(each.state == outcomes.MET for each in met)
        lines.append(("requirements", f"{good} of {len(met)} met", good == len(met)))
    elif quality.of(result.tasks):
        lines.append(("requirements", "none are given", None))
    found = made.verified(result.tasks)
    if found:
        good = sum(each.approved for each in found)
        said = f"{good} of {len(found)} approved" if found[1:] else ""
        said = said or ("approved" if good else "not approved")
        lines.append(("edge model verified", said, good == len(found)))
    return lines


def _models(result: RunResult) -> list[dict[str, Any]]:
    """A row for each verified model, or else for each that was made."""
    verified = made.verified(result.tasks)
    if not verified:
        return [
            {"task": task, "name": name, "size": report.size(size), "latency": "", "approved": None}
            for task, name, size in made.sizes(result.tasks)
        ]
    return [
        {
            "task": each.task,
            "name": each.name,
            "runtime": each.runtime + ("" if each.runs_here else ", in its place"),
            "size": "–" if each.size is None else report.size(each.size),
            "latency": "–"
            if each.p50_ms is None
            else f"{report.number(each.p50_ms, 3)} / {report.number(each.p99_ms, 3)} ms",
            "approved": each.approved,
        }
        for each in verified
    ]


def _ran(result: RunResult, head: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was run, as pairs."""
    host, packages = head["host"], head["packages"]
    values = {name: shown(value) for name, value in flat(head["parameters"]).items()}
    tensorflow = packages.get("tensorflow")
    memory = f", {host['memory'] / GB:.0f} GB" if host["memory"] else ""
    attempts = len(head["attempts"])
    module = values.get("module", "")
    if (pin := head["pins"].get("module")) and "sha256" not in module:
        module += f" (sha256 {pin[:SHOWN]})"
    rows = [
        ("data", values.get("data", "")),
        *_examples(result),
        ("module", module),
        (
            "pipeline",
            f"{head['source'] or head['pipeline']} (sha256 {head['pipeline_digest'][:SHOWN]})",
        ),
        (
            "code",
            f"edgeline {head['edgeline']} (sha256 {head['code'][:SHOWN]}), Python {host['python']}"
            + (f", TensorFlow {tensorflow}" if tensorflow else ""),
        ),
        (
            "when",
            _time(head["started"]) + (f", in {attempts} attempts" if attempts > 1 else ""),
        ),
        (
            "where",
            f"{host['name']}, {host['system']}, {host['machine']}, {host['cpus']} CPUs{memory}"
            + (", in containers" if head["docker"] else ""),
        ),
    ]
    return [row for row in rows if row[1]]


def _examples(result: RunResult) -> Iterator[tuple[str, str]]:
    """How many rows each split has and the digest of them all, by the first artifact that tells."""
    for task in result.tasks.values():
        for output in task.artifacts.values() if task.state in DONE else ():
            splits = facts_of(output["uri"]).get("splits")
            if isinstance(splits, dict) and splits:
                told = (f"{name} {int(each['rows']):,}" for name, each in splits.items())
                yield "rows", ", ".join(told)
                # as in the provenance of a bundle
                digest = digest_of(output["uri"])
                yield "data digest", f"sha256 {digest[:SHOWN]}" if digest else ""
                return


def _given(head: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The parameters that were set, the first of them."""
    found = [(name, shown(value)) for name, value in flat(head["given"]).items()]
    if (more := len(found) - MOST_GIVEN) > 0:
        found = [*found[:MOST_GIVEN], (f"and {more} more", "")]
    return found


def _concern(each: Concern) -> dict[str, Any]:
    kind = {"error": "bad", "warning": "warn", "note": "info"}[each.weight]
    return {"weight": each.weight, "kind": kind, "task": each.task, "sentence": each.sentence}


def _counts(found: list[Concern]) -> str:
    """How many of each weight there are: `1 error, 5 warnings`."""
    told = []
    for weight in concerns.WEIGHTS:
        if count := sum(each.weight == weight for each in found):
            told.append(f"{count} {weight}{'s' * (count > 1)}")
    return ", ".join(told)


def _time(stamp: str) -> str:
    """A record's time for people: 2026-01-31 12:00 UTC."""
    return f"{stamp[:10]} {stamp[11:16]} UTC"
