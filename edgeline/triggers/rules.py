"""What a triggers file may say. Whatever is wrong is one sentence with the file and the line.

    rules:
      - name: taxi-drift
        model: taxi
        signals: [drift]
        same: feature
        quorum: 5
        of: 200
        within: 3600
        cool_down: 86400
        budget: 1
        run: {pipeline: taxi, parameters: {steps: 2000}}
        then: candidate

All times are in seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgeline.errors import UsageError
from edgeline.formats import names, plain_file, plain_yaml
from edgeline.pipelines import parameters

HERE = "here"
CANDIDATE = "candidate"
SUCCEEDED = "succeeded"  # of `RunData.since`
DAY = 86_400.0
MIB = 1 << 20
_PATH = re.compile(r" - at `\$([^`]*)`$")
_KEY = re.compile(r"field `([^`]*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")
_PLACE = re.compile(r"\{([a-z_]*)\}")
KINDS = {  # and what the types of their events begin with
    "drift": "io.edgeline.drift.",
    "range": "io.edgeline.range.",
    "decay": "io.edgeline.decay.",
    "schedule": "io.edgeline.schedule.",
}
PLACES = ("rule", "mark", "model", "since", "until")
RuleName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")]
RuleText = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
RuleSeconds = Annotated[float, msgspec.Meta(ge=1, le=366 * DAY)]
RulePause = Annotated[float, msgspec.Meta(ge=0, le=366 * DAY)]
RuleCount = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class RunData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows that a run is given as `data`: the base, and what devices have met since.

    Attributes:
        base: a CSV file of this machine, whose columns are those of the rows.
        payloads: the folder in which `edgeline serve --payloads` keeps rows.
        labels: a file or folder of JSON lines (`.jsonl`, `.jsonl.gz`): `id`, a request's, perhaps
            `row`, its row there, and the columns of the base that were not known then. Rows without
            one are left out.
        since: `base`: all such rows; `succeeded`: those that have come, or whose label has, since
            the rule's last run that succeeded.
        least: so many of these rows have to be younger than `max_age`; with fewer the run is
            refused.
        max_age: what is older, by the time at which a device has met it, tells nothing of now, and
            is left out.
    """

    base: RuleText
    payloads: RuleText
    labels: RuleText
    since: Literal["base", "succeeded"] = "base"
    least: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1
    max_age: RuleSeconds = 30 * DAY


class RunOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is run, and where.

    Attributes:
        pipeline: a name of edgeline's, a Python file or a compiled one; a relative path is one from
            the triggers file.
        parameters: of the pipeline, where they differ from its defaults. In texts, {rule}, {mark},
            {model}, {since} and {until} stand for the rule, this run, the model, and the times (ISO
            8601, UTC) of the rule's last run that succeeded and of this one.
        data: rows for the pipeline's parameter `data`; only here.
        where: `here`, or the address of a KFP server.
        namespace, environment, experiment: as `edgeline submit` takes them; on a server.
        limit: seconds after which a run here is ended.
    """

    pipeline: RuleText
    parameters: dict[str, Any] = {}
    data: RunData | None = None
    where: RuleText = HERE
    namespace: str = ""
    environment: str = ""
    experiment: str = "Default"
    limit: RuleSeconds = DAY

    @property
    def is_here(self) -> bool:
        return self.where == HERE


class TriggerRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a pipeline is run.

    Attributes:
        model: the model that an event has to be of; empty: any, or none.
        signals: kinds of events: drift, range, decay, schedule, or a whole type such as
            io.edgeline.decay.measured.
        features: those that an event has to name one of, of decay metrics; empty: any.
        same: `feature`: the quorum has to agree on a feature.
        quorum: how many devices, each counted once.
        of: how many devices there are; for people.
        within: the events of a quorum are no older than this.
        cool_down: time between the beginnings of two runs.
        budget: runs in 24 hours.
        then: `candidate`: the model waits in the signed repository under the rule's name until it
            is promoted; `publish`: devices take it.
    """

    name: RuleName
    signals: Annotated[list[RuleText], msgspec.Meta(min_length=1, max_length=20)]
    run: RunOrder
    model: Annotated[str, msgspec.Meta(max_length=200)] = ""
    features: list[RuleText] = []
    same: Literal["", "feature"] = ""
    quorum: RuleCount = 1
    of: RuleCount | None = None
    within: RuleSeconds = 3600.0
    cool_down: RulePause = 3600.0
    budget: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    then: Literal["candidate", "publish"] = "publish"


class TriggerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A triggers file.

    Attributes:
        max_age: an event whose `time` is further back is refused: it may be a replay.
        max_ahead: so far an event's `time` may be ahead of this machine's clock.
        max_events: events that are remembered, at most; more are refused until some are too old.
        keep_runs: folders of ended runs here that are kept of each rule.
    """

    rules: Annotated[list[TriggerRule], msgspec.Meta(min_length=1, max_length=100)]
    max_age: RuleSeconds = 3600.0
    max_ahead: RulePause = 300.0
    max_events: RuleCount = 100_000
    keep_runs: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10


def read(path: str | Path) -> TriggerFile:
    """The rules of a file.

    Raises:
        UsageError: it is missing or malformed, or a rule cannot be: the file, the line and why.
    """
    path = Path(path)
    try:
        text = plain_file.read_text(path, MIB)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8: save it as that.") from error
    try:
        found = plain_yaml.load(text.encode(), TriggerFile)
    except plain_yaml.YamlError as error:
        raise _malformed(path, text, error) from error
    for where, fault in _faults(found):
        raise UsageError(f"{path}, line {_line(text, where)}: {fault}.")
    return found


def filled(value: Any, places: dict[str, str]) -> Any:
    """A parameter with the texts of `PLACES` filled in; other braces stay."""
    if isinstance(value, str):
        return _PLACE.sub(lambda found: places.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [filled(each, places) for each in value]
    if isinstance(value, dict):
        return {name: filled(each, places) for name, each in value.items()}
    return value


def _faults(found: TriggerFile) -> Iterator[tuple[str, str]]:
    """What a schema cannot tell: the path of the field, and a sentence without its end."""
    seen: set[str] = set()
    for place, rule in enumerate(found.rules):
        where, said = f".rules[{place}]", f"rule {rule.name!r}"
        if rule.name in seen:
            yield f"{where}.name", f"{said} is there twice: rename one"
        seen.add(rule.name)
        if rule.of is not None and rule.of < rule.quorum:
            what = f"{said} asks for {rule.quorum} devices of {rule.of}"
            yield f"{where}.quorum", f"{what}: lower quorum, or raise of"
        for kind in rule.signals:
            if "." not in kind and kind not in KINDS:
                known = ", ".join(KINDS)
                what = f"{said} has the signal {kind}, which is not one of {known}"
                yield f"{where}.signals", f"{what}, or a whole type of events"
        yield from _of_run(rule, f"{where}.run", said)


def _of_run(rule: TriggerRule, where: str, said: str) -> Iterator[tuple[str, str]]:
    run = rule.run
    if not run.is_here and not run.where.startswith(("http://", "https://")):
        what = f"{said} runs in {run.where!r}"
        yield f"{where}.where", f"{what}: give here, or the http(s):// address of a KFP server"
    for field in ("namespace", "environment"):
        if run.is_here and getattr(run, field):
            what = f"{said} has {field}, which a run here does not use"
            yield f"{where}.{field}", f"{what}: leave it out, or give where"
    if not run.is_here and run.data is not None:
        what = f"{said} has run.data, whose rows are joined on this machine"
        yield f"{where}.data", f"{what}: give parameters.data with places that the server reads"
    if run.data is not None and "data" in run.parameters:
        yield f"{where}.data", f"{said} has data twice: leave out run.data or parameters.data"
    if run.data is not None and not run.data.base.lower().endswith(".csv"):
        what = f"{said} has a base that is not a .csv file, the only form that rows are added to"
        yield f"{where}.data.base", f"{what}: save it as CSV, or give parameters.data"
    if run.data is not None and "," in run.data.base:
        what = f"{said} has a comma in its base, which parts places of data"
        yield f"{where}.data.base", f"{what}: rename it"
    if fault := names.unfit_experiment(run.experiment):
        yield f"{where}.experiment", f"{said} has an experiment that {fault}"
    for name, value in run.parameters.items():
        try:
            parameters.plain(value, name, f"{said}: parameter ")
        except UsageError as error:
            yield f"{where}.parameters", str(error).rstrip(".")


def _malformed(path: Path, text: str, error: plain_yaml.YamlError) -> UsageError:
    """The sentence for what the schema refuses, with the line of the field."""
    said, line = str(error), error.line
    if found := _PATH.search(said):
        place, said = found[1], said[: found.start()]
        if (key := _KEY.search(said)) and "unknown" in said:
            place = f"{place}.{key[1]}"
        line = _line(text, place)
        said = f"{said} ({place.lstrip('.')})" if place else said
    return UsageError(f"{path}, line {line}: this is not a triggers file: {said}.")


def _line(text: str, place: str) -> int:
    """The line of a field, from 1, by its path such as `.rules[0].run`; of what is missing, that of
    what should have it."""
    node = next((node for node, _ in plain_yaml.nodes(text)), None)
    line = node.start_mark.line + 1 if node is not None else 1
    for name, number in _STEP.findall(place):
        below: Any = None
        if name and isinstance(node, plain_yaml.MappingNode):
            pairs = {getattr(key, "value", ""): (key, value) for key, value in node.value}
            if name in pairs:
                key, below = pairs[name]
                line = key.start_mark.line + 1
        elif number and isinstance(node, plain_yaml.SequenceNode):
            below = node.value[int(number)] if int(number) < len(node.value) else None
            line = below.start_mark.line + 1 if below is not None else line
        if below is None:
            return line
        node = below
    return line
