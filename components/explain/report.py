"""The page of an explanation: what counts, whether both models agree on it, and single rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from edgeline.components.explain import drawings, gradients
from edgeline.components.explain.agreement import QUANTILES, Agreement
from edgeline.components.explain.counterfactuals import Counterfactual
from edgeline.components.explain.findings import ExplanationFindings
from edgeline.reports import intervals, report
from edgeline.reports.report import Fact, Section, number
from edgeline.runtimes import shapley

MOST_FEATURES = 60  # in the table of importances
ROWS = 8  # that are shown with what they rest on
PARTS = 4  # of a row


def write(path: str | Path, found: ExplanationFindings) -> None:
    """Write the page of an explanation."""
    facts = [Fact(f"rows of split {found.split}", number(found.explained))]
    if found.agreement is not None:
        judged = found.agrees if found.least > -1 else None
        facts.append(Fact("cloud and edge alike", f"{found.agreement.median:.3f}", judged))
    if found.importances:
        first = found.importances[0]
        facts.append(Fact("counts most", f"{first.feature} ({first.share:.0%})"))
    if found.integrated is not None:
        error = float(found.integrated.error.max())
        told = number(error, 2)
        facts.append(Fact("completeness error", told, error <= gradients.COMPLETE))
    if found.edge is not None:
        some = ", ".join(each.feature for each in found.shortcuts)
        facts.append(Fact("shortcuts", some or "none found", not some))
    sections = [Section("In short", _sentences([*found.warnings(), *found.notes()]))]
    if found.importances:
        sections.append(_importance(found))
    if found.maps:
        sections += map(drawings.maps, found.maps)
    if found.agreement is not None:
        sections.append(_agreement(found, found.agreement))
    if found.slices:
        sections.append(_slices(found))
    if found.skill is not None:
        sections.append(_skill(found))
    if found.dependences:
        sections.append(_dependence(found))
    if found.edge is not None:
        sections.append(_rows(found))
        sections.append(_counterfactuals(found))
    sections.append(_gradients(found))
    report.write(path, f"Explain: {found.sides.edge.words}", facts, sections)


def _sentences(sentences: Sequence[str]) -> Markup:
    return Markup("").join(report.text(each) for each in sentences)


def _importance(found: ExplanationFindings) -> Section:
    shown = found.importances[:MOST_FEATURES]
    axis = intervals.axis([0.0, *(each.upper for each in shown)])
    clouds = _shares(found.cloud.values if found.cloud else None, found)
    slopes = _shares(found.integrated.raw if found.integrated else None, found)
    rows = [
        [
            each.feature,
            intervals.draw(axis, each.value, each.lower, each.upper),
            f"{each.share:.1%}",
            clouds.get(each.feature, "–"),
            slopes.get(each.feature, "–"),
        ]
        for each in shown
    ]
    left = len(found.importances) - len(shown)
    more = f" {left:,} more features count less." if left else ""
    return Section(
        "What the predictions rest on",
        report.table(["feature", "adds to the score", "share", "cloud", "gradients"], rows),
        f"Mean of what a feature adds to a row's score in either direction, with its 95 % interval "
        f"over rows; permutation SHAP of {found.sides.edge.words}, against "
        f"{number(found.background)} rows of training data. cloud: the share by the same method of "
        "the cloud model; gradients: by integrated gradients of it." + more,
    )


def _shares(values: object, found: ExplanationFindings) -> dict[str, str]:
    if not isinstance(values, np.ndarray):
        return {}
    sizes = np.abs(values).mean(axis=0)
    whole = float(sizes.sum()) or 1.0
    return {name: f"{size / whole:.1%}" for name, size in zip(found.names, sizes, strict=True)}


def _agreement(found: ExplanationFindings, agreed: Agreement) -> Section:
    head = ["compared", "rows", *(_quantile(each) for each in QUANTILES)]
    rows = [
        [each.between, number(each.rows), *(f"{value:.3f}" for value in each.quantiles)]
        for each in (agreed, found.methods)
        if each is not None
    ]
    parts = "patches of a picture" if found.edge is None else "features of a row"
    asked = "covers" if found.edge is None else "orders and background"
    note = (
        f"Spearman's rank correlation of what the {parts} add, row by row: 1 where both put them "
        f"in the same order. Both models are asked with the same {asked}. What differs by less "
        "than a thousandth of the row's largest counts as equal."
    )
    if found.methods is not None:
        note += " The second line compares two methods as well as two models."
    body = drawings.histogram(found.correlations, found.least) + report.table(head, rows)
    return Section("Do cloud and edge explain alike?", body, note)


def _quantile(share: float) -> str:
    names = {0.0: "least", 0.5: "median", 1.0: "most"}
    return names.get(share, f"{share:.0%}")


def _slices(found: ExplanationFindings) -> Section:
    rows = [
        [
            f"{each.column} = {each.value}",
            number(each.rows),
            Markup(", ").join(
                f"{part.feature} {part.share:.0%} ({number(part.value, 2)}: "
                f"{number(part.lower, 2)} to {number(part.upper, 2)})"
                for part in each.features[:3]
            ),
        ]
        for each in found.slices
    ]
    return Section(
        "By slice",
        report.table(["slice", "rows", "what counts most"], rows),
        "The three features that add most, their share, and what they add with its 95 % interval.",
    )


def _skill(found: ExplanationFindings) -> Section:
    skill = found.skill
    assert skill is not None
    rows = [
        [each.feature, f"{each.value:.4g}", f"{round(each.lost, 2) + 0:.0%}", report.bar(each.lost)]
        for each in skill.permuted
    ]
    told = (
        f"{skill.metric} of the explained rows is {skill.value:.4g} on the edge; without any "
        f"feature it would be {skill.guess:.4g}."
    )
    if not rows:
        body = report.text("It does not differ from guessing, so no feature can lose anything.")
        return Section("What the metric rests on", body, told)
    return Section(
        "What the metric rests on",
        report.table(["feature", f"{skill.metric} if permuted", "lost", ""], rows),
        told + " Each feature is permuted over the rows, alone.",
    )


def _dependence(found: ExplanationFindings) -> Section:
    of = f"the score of {found.dependence_of}" if found.dependence_of else "the prediction"
    return Section(
        "Partial dependence",
        drawings.dependences(found.dependences),
        f"The mean of {of} if all rows had this value; the cloud model in grey, the edge model in "
        "blue. Where features depend on each other, it says what the model does with rows that do "
        "not occur.",
    )


def _rows(found: ExplanationFindings) -> Section:
    edge = found.edge
    assert edge is not None
    shown = np.unique(np.linspace(0, len(edge.rows) - 1, min(ROWS, len(edge.rows))).astype(int))
    lines = []
    for at in shown.tolist():
        order = np.argsort(-np.abs(edge.values[at]), kind="stable")[:PARTS]
        parts = [
            Markup("{} {}<br>").format(found.names[place], f"{edge.values[at, place]:+.3g}")
            for place in order.tolist()
        ]
        lines.append(
            [
                f"{int(found.numbers[edge.rows[at]]):,}",
                f"{edge.base[at]:.4g}",
                Markup("").join(parts),
                f"{edge.score[at]:.4g}",
            ]
        )
    return Section(
        "Single rows",
        report.table(["row", "base", "adds most", "score"], lines),
        f"The base and what all features add make the score of {found.sides.edge.words}. Rows "
        "count from 0, in the order of the split; edge.parquet of the artifact has all.",
    )


def _counterfactuals(found: ExplanationFindings) -> Section:
    title = "What would change the decision"
    if found.sides.task == "regression":
        return Section(title, report.text("A regression decides nothing."))
    if not found.counterfactuals:
        body = report.text("No recorded row is decided otherwise than those that were looked at.")
        return Section(title, body)
    rows = [_counterfactual(each) for each in found.counterfactuals]
    return Section(
        title,
        report.table(["row", "decision", "with", "score", "features"], rows),
        "Of each row the nearest recorded row that is decided otherwise, and the fewest of its "
        "values found that change the decision: each value was recorded, though not together with "
        "the others, and a smaller change may exist. It says what the model does, and not what "
        "would happen in the world.",
    )


def _counterfactual(each: Counterfactual) -> list[object]:
    changes = [
        Markup("{}: {} → {}<br>").format(part.feature, part.before, part.after)
        for part in each.changes
    ]
    return [
        f"{each.row:,}",
        f"{each.before} → {each.after}",
        Markup("").join(changes),
        f"{each.score:.3f} → {each.score_after:.3f}",
        f"{len(each.changes)} of {each.differing} that differ",
    ]


def _gradients(found: ExplanationFindings) -> Section:
    title = "Integrated gradients"
    made = found.integrated
    if made is None:
        return Section(title, report.text(found.without_gradients))
    sizes = np.abs(made.transformed).mean(axis=0)
    order = np.argsort(-sizes, kind="stable")[:MOST_FEATURES]
    rows = [
        [
            made.names[at],
            ", ".join(made.made_of[made.names[at]]) or "nothing",
            made.at[made.names[at]],
            float(sizes[at]),
            f"{sizes[at] / (float(sizes.sum()) or 1.0):.1%}",
        ]
        for at in order.tolist()
    ]
    start = (
        "the mean of the training rows"
        if found.baseline == gradients.MEAN
        else "a row of missing values"
    )
    # five columns, which a phone shows one below the other
    head = ["transformed feature", "made of", "gradients of", "adds to the score", "share"]
    asked = f" Permutation SHAP asks up to {shapley.EVALUATIONS:,} times for a row."
    asked = asked if found.edge is not None else ""
    return Section(
        title,
        report.table(head, rows),
        f"From {start} to each row, in up to {int(made.steps.max()):,} steps. The parts of a row "
        f"miss its score's difference from the baseline's by at most {float(made.error.max()):.2g} "
        "of the score's scale. What a feature adds goes to the raw features that it is made of, in "
        "equal parts." + asked,
    )
