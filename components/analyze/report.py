"""The page of an evaluation: verdict and reasons first, then slices from the worst on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from edgeline.artifacts.decision_threshold import USUAL
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.components.analyze import (
    confusion,
    fairness,
    figures,
    results,
    scales,
    slices,
    threshold_table,
)
from edgeline.components.analyze.curves import Curves
from edgeline.components.analyze.decision import ThresholdOutcome
from edgeline.components.analyze.proposals import Proposal
from edgeline.components.analyze.thresholds import Verdict
from edgeline.reports import intervals
from edgeline.reports import report as html
from edgeline.reports.intervals import Axis
from edgeline.reports.report import Fact, Section
from edgeline.reports.requirements import section as required_section
from edgeline.runtimes.metric_names import ACCURACY, AUC, AUC_TFMA

RANKING = {  # what tells the worst slice, in this order, and whether higher is better
    AUC_TFMA: True,
    ACCURACY: True,
    "root_mean_squared_error": False,
    "mean_squared_error": False,
    "mean_absolute_error": False,
}
EXACT = (
    f"{AUC} is exact, as in train and verify; {AUC_TFMA} is TFMA's estimate of it from 10,000 "
    "thresholds, which slices, intervals and the thresholds of eval_config are about."
)
THRESHOLDS = (
    "A score above the threshold is a yes. Each threshold is the best for its goal on these rows, "
    "so on others precision and recall will be a little lower. The parameter decision_goal takes "
    "any such goal, and its threshold goes with the bundle."
)
PROPOSED = (
    "Proposals, from this evaluation alone: each is the worse end of the 95 % interval, so a model "
    "that is as good passes on another split of this size. Say what a model must reach for your "
    "purpose, and paste it as evaluation.eval_config."
)
BINNED = " There are so many rows that their scores were counted in 65,536 bins."
OTHER_METRICS = 2  # columns beside the ranking metric
UNCERTAIN = 0.1  # an interval wider than this share of the metric marks a small slice
MOST_SLICES_SHOWN = 200
MOST_REASONS_SHOWN = 30
FAIRNESS_RATES = (
    "positive_rate",
    "false_positive_rate",
    "false_negative_rate",
    "precision",
    "recall",
)

Slice = Mapping[str, Any]


def write(
    path: str,
    verdict: Verdict,
    by_slice: Sequence[Slice],
    curves: Curves,
    classes: Sequence[str],
    warnings: Sequence[str] = (),
    decisions: Sequence[ThresholdOutcome] = (),
    chosen: ThresholdOutcome | None = None,
    proposed: Sequence[Proposal] = (),
    proposed_config: str = "",
    met: Sequence[RequirementOutcome] = (),
    bounds: Mapping[str, Mapping[str, float]] | None = None,
    worst: Sequence[Section] = (),
    fair: Sequence[Section] = (),
    doubts: Sequence[Section] = (),
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        verdict: of the thresholds.
        by_slice: slices as of `results.to_json`, all rows first.
        curves: counts of all rows.
        classes: class names, empty for a regression.
        warnings: sentences of `cautions`.
        decisions: thresholds and what comes of them, of a binary task (see `decision.decisions`).
        chosen: the one among them that the declared goal asks for.
        proposed: thresholds, where none was set.
        proposed_config: an EvalConfig with them.
        met: what came of each requirement.
        bounds: of values of all rows, by metric (see `thresholds.bounds`).
        worst: sections on the rows that are most wrong.
        fair: sections on the groups that are compared.
        doubts: sections on the labels that are most doubtful.
    """
    sections = [_verdict(verdict, warnings), *required_section(met), _overall(by_slice[0])]
    if proposed:
        sections.append(_proposals(proposed, proposed_config))
    used = chosen.threshold if chosen else USUAL
    if decisions:
        sections.append(_decisions(decisions, chosen))
        sections.append(threshold_table.section(curves, used))
    if len(by_slice) > 1:
        sections.append(_slices(by_slice, bounds))
    sections += fair
    if classes:
        counts = chosen.confusion if chosen else curves.confusion()
        binary = curves.task == "binary_classification"
        decided = f"at threshold {html.number(used)}" if binary else "the class of the best score"
        sections += confusion.sections(counts, classes, decided)
    sections += worst
    sections += figures.plots(curves, classes, used)
    sections += _fairness(by_slice)
    sections += doubts
    facts = _facts(verdict, by_slice, curves)
    if chosen:
        facts.append(Fact("decision threshold", html.number(chosen.threshold)))
    html.write(path, "Evaluation", facts, sections)


def ranking_metric(by_slice: Sequence[Slice]) -> str | None:
    """The metric that tells the worst slice."""
    return next((name for name in RANKING if name in by_slice[0]["metrics"]), None)


def worst_first(by_slice: Sequence[Slice]) -> list[Slice]:
    """Slices sorted by the ranking metric, those where it is undefined last.

    TFMA's AUC is 0 where a slice holds one class only: that is undefined here.
    """
    name = ranking_metric(by_slice)
    if name is None:
        return list(by_slice)
    sign = 1 if RANKING[name] else -1

    def key(one: Slice) -> tuple[bool, float]:
        value = _defined(one, name)
        return value is None, 0.0 if value is None else sign * value

    return sorted(by_slice, key=key)


def _facts(verdict: Verdict, by_slice: Sequence[Slice], curves: Curves) -> list[Fact]:
    facts = [
        Fact("verdict", "blessed" if verdict.blessed else "not blessed", verdict.blessed),
        Fact("rows", html.number(curves.rows)),
        Fact("slices", html.number(len(by_slice) - 1)),
    ]
    overall = results.scalars(by_slice[0])
    shown = [name for name in overall if not name.startswith(fairness.PREFIX)]
    shown = [name for name in shown if name not in ("example_count", AUC_TFMA)]
    shown.sort(key=lambda name: name != AUC and name not in RANKING)
    return facts + [Fact(name, html.number(overall[name])) for name in shown[:3]]


def _verdict(verdict: Verdict, warnings: Sequence[str]) -> Section:
    lines = [html.badge("blessed", True) if verdict.blessed else html.badge("not blessed", False)]
    lines += [html.text(failure) for failure in verdict.failures[:MOST_REASONS_SHOWN]]
    if (more := len(verdict.failures) - MOST_REASONS_SHOWN) > 0:
        lines.append(html.text(f"{more} more reasons are in validation.json."))
    lines += [html.text(note) for note in verdict.notes]
    lines += [html.text(f"Beware: {warning}.") for warning in warnings]
    if verdict.blessed and not verdict.notes:
        lines.append(html.text("Every threshold of eval_config holds."))
    return Section("Verdict", Markup("\n").join(lines))


def _overall(overall: Slice) -> Section:
    compared = "baseline" in overall
    head = ["Metric", "Value", "95 % interval"]
    head += ["Baseline", "Change", "Change with its interval, beside none"] if compared else []
    rows = []
    for name, entry in overall["metrics"].items():
        if name.startswith(fairness.PREFIX) or not _is_number(entry["value"]):
            continue
        row = [name, entry["value"], _interval(entry)]
        if compared:
            change = overall.get("change", {}).get(name, {})
            row += [overall["baseline"].get(name, {}).get("value"), _signed(change)]
            row.append(_drawn_change(change, _change_axis([change]), name))
        rows.append(row)
    note = EXACT if AUC in overall["metrics"] else ""
    return Section("All rows", html.table(head, rows), note)


def _proposals(proposed: Sequence[Proposal], config: str) -> Section:
    """A line a metric, and what to paste."""
    rows = [
        (
            each.metric,
            each.value,
            "none: no better than that" if each.bound is None else each.bound,
            each.why,
        )
        for each in proposed
    ]
    table = html.table(["Metric", "Value", "Proposed bound", "For comparison"], rows)
    shown = Markup("<pre>{}</pre>").format(config) if config else Markup("")
    return Section("Proposed thresholds", table + shown, PROPOSED)


def _decisions(decisions: Sequence[ThresholdOutcome], chosen: ThresholdOutcome | None) -> Section:
    """A line a goal: what it costs and brings to decide by its threshold."""
    head = ["Goal", "Threshold", "Precision", "Recall", "F1", "Yes, and right", "Yes, but wrong"]
    rows: list[list[object]] = []
    for each in decisions:
        goal = each.goal or f"none: {USUAL:g}"
        if each is chosen or (chosen is None and not each.goal):
            goal = Markup("<b>{}</b>, used").format(goal)
        if not each.reached:
            rows.append([goal, "not reached", *[None] * 6])
            continue
        counts = [each.true_positives, each.false_positives, each.false_negatives]
        rows.append([goal, each.threshold, each.precision, each.recall, each.f1, *counts])
    note = THRESHOLDS + ("" if decisions[0].exact else BINNED)
    return Section("Decision threshold", html.table([*head, "Missed"], rows), note)


def _slices(by_slice: Sequence[Slice], bounds: Mapping[str, Mapping[str, float]] | None) -> Section:
    metric = ranking_metric(by_slice)
    overall = by_slice[0]
    names = [
        name
        for name, entry in overall["metrics"].items()
        if _is_number(entry["value"])
        and not name.startswith(fairness.PREFIX)
        and name not in ("example_count", AUC, metric)
    ][:OTHER_METRICS]
    compared = metric is not None and "change" in overall
    head = ["Slice", "Rows"]
    shown = worst_first(by_slice)[:MOST_SLICES_SHOWN]
    axis = _axis(shown, metric) if metric else None
    marks = _marks(overall, metric, bounds or {}) if metric else []
    if metric and axis:
        head += [metric, f"{html.number(axis.low)} to {html.number(axis.high)}", "95 % interval"]
    head += ["Change", "with its interval"] if compared else []
    changes = [one.get("change", {}).get(metric, {}) for one in shown]
    change_axis = _change_axis(changes)
    rows = []
    for one, change in zip(shown, changes, strict=True):
        row: list[object] = [_slice_name(one), one["examples"]]
        if metric and axis:
            value = _defined(one, metric)
            row += [value, "" if value is None else _drawn(axis, one, overall, metric, marks)]
            row.append(_marked_interval(one, metric))
        if compared:
            row += [_signed(change), _drawn_change(change, change_axis, str(metric))]
        row += [one["metrics"].get(name, {}).get("value") for name in names]
        rows.append(row)
    note = f"Worst {metric} first, each with its interval" if metric else ""
    note += "; the lines are all rows and the threshold. " if metric and bounds else ". "
    note += "A wide interval marks a slice too small to tell."
    if len(by_slice) > MOST_SLICES_SHOWN:
        note += f" {MOST_SLICES_SHOWN} of {len(by_slice)} are shown, all are in metrics.json."
    return Section("Slices", html.table([*head, *names], rows), note)


def _fairness(by_slice: Sequence[Slice]) -> list[Section]:
    """One table a threshold: rates by slice, with the distance from all rows."""
    names = [name for name in by_slice[0]["metrics"] if name.startswith(fairness.PREFIX)]
    levels = sorted({name.partition("@")[2] for name in names}, key=float)
    if not levels:
        return []
    level = min(levels, key=lambda text: abs(float(text) - 0.5))
    columns = [f"{fairness.PREFIX}/{rate}@{level}" for rate in FAIRNESS_RATES]
    overall = by_slice[0]["metrics"]
    rows = []
    for one in worst_first(by_slice)[:MOST_SLICES_SHOWN]:
        cells = [_rate(one["metrics"].get(name), overall.get(name)) for name in columns]
        rows.append([_slice_name(one), one["examples"], *cells])
    title = f"Fairness indicators at threshold {level}"
    note = (
        "In brackets the distance from all rows, coloured where the interval excludes it. "
        f"Thresholds {', '.join(levels)} are in metrics.json."
    )
    head = ["Slice", "Rows", *(rate.replace("_", " ") for rate in FAIRNESS_RATES)]
    return [Section(title, html.table(head, rows), note)]


def _rate(entry: Mapping[str, Any] | None, overall: Mapping[str, Any] | None) -> object:
    if not entry or not overall or entry["value"] is None or overall["value"] is None:
        return None
    distance = entry["value"] - overall["value"]
    lower, upper = entry.get("lower") or 0.0, entry.get("upper") or 0.0
    # an interval of no width comes of a rate of 0 or 1, and tells nothing
    outside = lower < upper and not lower <= overall["value"] <= upper
    colour = f"var(--{('red' if distance > 0 else 'blue') if outside else 'grey'})"
    shown = Markup('<span style="color:{}">({:+.3f})</span>').format(colour, distance)
    return _whole(Markup("{:.3f} {}").format(entry["value"], shown if distance else ""))


def _defined(one: Slice, name: str) -> float | None:
    value = one["metrics"].get(name, {}).get("value")
    if not _is_number(value) or (name == AUC_TFMA and value == 0):
        return None
    return float(value)


def _slice_name(one: Slice) -> object:
    name = one["name"]
    return _whole(Markup("<b>All rows</b>") if name == slices.OVERALL else name)


def _axis(shown: Sequence[Slice], metric: str) -> Axis:
    """It begins where the slices differ; of wide intervals the ends may lie beyond it."""
    values = [_defined(one, metric) for one in shown]
    entries = [one["metrics"].get(metric, {}) for one in shown if not _is_wide(one, metric)]
    ends = [entry.get(side) for entry in entries for side in ("lower", "upper")]
    axis, (low, high) = intervals.axis([*values, *ends]), scales.scale(metric)
    return Axis(max(axis.low, low), min(axis.high, high))


def _marks(
    overall: Slice, metric: str, bounds: Mapping[str, Mapping[str, float]]
) -> list[intervals.Mark]:
    """All rows, and what they must reach."""
    value = _defined(overall, metric)
    found = [] if value is None else [intervals.Mark(value, "all rows")]
    for side, words in (("lower", "at least"), ("upper", "at most")):
        if (bound := bounds.get(metric, {}).get(side)) is not None:
            found.append(intervals.Mark(bound, f"{words}, of all rows", "var(--orange)"))
    return found


def _drawn(
    axis: Axis, one: Slice, overall: Slice, metric: str, marks: Sequence[intervals.Mark]
) -> Markup:
    entry, all_rows = one["metrics"][metric], _defined(overall, metric)
    worse = all_rows is not None and (entry["value"] < all_rows) == RANKING[metric]
    colour = "var(--orange)" if worse and one is not overall else "var(--blue)"
    lower, upper = entry.get("lower"), entry.get("upper")
    return intervals.draw(axis, entry["value"], lower, upper, marks, colour)


def _change_axis(changes: Sequence[Mapping[str, Any]]) -> Axis:
    """One for changes to the baseline, with none of them, 0, upon it."""
    return intervals.axis(
        [0.0, *(each.get(side) for each in changes for side in ("value", "lower", "upper"))]
    )


def _drawn_change(change: Mapping[str, Any], axis: Axis, metric: str) -> str:
    """Green where it is better than the baseline, orange where worse, grey where that may be chance
    or nobody can say which way is better."""
    if not _is_number(change.get("value")):
        return ""
    lower, upper = change.get("lower"), change.get("upper")
    value, certain = change["value"], lower is None or upper is None or not lower <= 0 <= upper
    colour = "var(--grey)"
    higher_is_better = scales.higher_is_better(metric)
    if value and certain and higher_is_better is not None:
        colour = "var(--green)" if (value > 0) == higher_is_better else "var(--orange)"
    return intervals.draw(axis, value, lower, upper, [intervals.Mark(0.0, "no change")], colour)


def _is_wide(one: Slice, metric: str) -> bool:
    entry = one["metrics"].get(metric, {})
    if not _is_number(entry.get("lower")) or not entry.get("value"):
        return False
    return bool((entry["upper"] - entry["lower"]) / abs(entry["value"]) > UNCERTAIN)


def _interval(entry: Mapping[str, Any]) -> str:
    if not _is_number(entry.get("lower")) or not _is_number(entry.get("upper")):
        return "–"
    return f"{html.number(entry['lower'])} to {html.number(entry['upper'])}"


def _marked_interval(one: Slice, metric: str) -> object:
    entry = one["metrics"].get(metric, {})
    if _defined(one, metric) is None:
        return "undefined"
    shown = _interval(entry)
    if _is_wide(one, metric):
        mark = Markup('<span style="color:var(--orange)">wide</span>')
        return _whole(Markup("{} {}").format(shown, mark))
    return _whole(shown)


def _signed(entry: Mapping[str, object]) -> str:
    value = entry.get("value")
    return f"{value:+.4g}" if _is_number(value) else "–"


def _whole(cell: str) -> Markup:
    """A table cell that is not broken into lines."""
    return Markup('<span style="white-space:nowrap">{}</span>').format(cell)


def _is_number(value: object) -> bool:
    return isinstance(value, float)
