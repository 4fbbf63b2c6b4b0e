"""What is told of decay, as metrics for Prometheus: as it was at the last look (`--drift-judge`),
since to look takes longer than the event loop has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from edgeline.server.metrics import escaped
from edgeline.server.watching.watched_models import Watching

SIDES = ("estimated", "measured")


def lines_of(watching: Watching) -> Callable[[], Iterator[str]]:
    """What gives the lines, from the reports of the last look."""

    def lines() -> Iterator[str]:
        for report in watching.decay_told:
            yield from _lines(report)
        yield f"edgeline_answers_forgotten_total {watching.forgotten}"

    return lines


def _lines(report: dict[str, Any]) -> Iterator[str]:
    of = f'model="{report["model"]}",version="{report["version"]}"'
    for name, value in report["usual"].items():
        yield f'edgeline_decay_usual{{{of},metric="{name}"}} {value:.6g}'
    for side in SIDES:
        found = report[side]
        yield f'edgeline_decay_rows{{{of},kind="{side}"}} {found["rows"]}'
        for name, interval in found["metrics"].items():
            for bound, value in interval.items():
                labels = f'{of},metric="{name}",bound="{bound}"'
                yield f"edgeline_decay_{side}{{{labels}}} {value:.6g}"
            bad = int(name in found["decayed"])
            yield f'edgeline_decay_decayed{{{of},kind="{side}",metric="{name}"}} {bad}'
    for each in report["measured"]["slices"]:
        own = f'{of},column="{escaped(each["column"])}",slice="{escaped(each["value"])}"'
        for name, interval in each["metrics"].items():
            labels = f'{own},metric="{name}",bound="value"'
            yield f"edgeline_decay_measured{{{labels}}} {interval['value']:.6g}"
    yield f"edgeline_decay_concept_drift{{{of}}} {int(report['concept']['drifting'])}"
    answers = report["answers"]
    yield f"edgeline_answers_waiting{{{of}}} {answers['waiting']}"
    yield f"edgeline_answers_kept_share{{{of}}} {answers['kept_share']:.6g}"
    yield f"edgeline_answers_bytes{{{of}}} {answers['bytes']}"
    for reason, count in {**answers["lost"], "unnamed": answers["unnamed"]}.items():
        yield f'edgeline_answers_lost_total{{{of},reason="{reason}"}} {count}'
