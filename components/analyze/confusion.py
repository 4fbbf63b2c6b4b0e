"""The confusion matrix as a table whose colours show small classes, and the pairs confused most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from edgeline.formats.dtypes import Array
from edgeline.reports import report
from edgeline.reports.report import Section

MOST_DRAWN = 30  # classes
MOST_NARROW = 12  # that stand beside each other on a small screen; more are written upwards
PAIRS = 20
STRONGEST = 75  # per cent of the colour, so that the text on it can be read in light and dark


def sections(counts: Array, classes: Sequence[str], title: str) -> list[Section]:
    """The matrix, where it fits, and for more than two classes who is taken for whom.

    Args:
        counts: rows (or their weights) by label and predicted class, [classes, classes].
        title: what decided.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(totals > 0, totals, 1)
    found = []
    if len(classes) <= MOST_DRAWN:
        note = (
            f"By label down and prediction across, {title}. A colour is by the share of the "
            "label's rows, its root, so that few errors of a small class are seen, too."
        )
        found.append(Section("Confusion matrix", _matrix(counts, shares, classes), note))
    if len(classes) > 2:
        found.append(_pairs(counts, shares, classes))
    return found


def _matrix(counts: Array, shares: Array, classes: Sequence[str]) -> Markup:
    head = Markup("").join(Markup("<th><span>{}</span></th>").format(name) for name in classes)
    rows = []
    for row, name in enumerate(classes):
        cells = Markup("").join(
            _cell(counts[row, column], float(shares[row, column]), row == column)
            for column in range(len(classes))
        )
        recall = f"{shares[row, row]:.1%}"
        rows.append(
            Markup('<tr><th scope="row">{}</th>{}<td class="n">{}</td></tr>').format(
                name, cells, recall
            )
        )
    tall = " tall" if len(classes) > 5 and max(map(len, classes)) > 3 else ""
    tall += " many" if len(classes) > MOST_NARROW else ""
    return Markup(
        '<div class="scroll"><table class="matrix{}"><thead><tr><th></th>{}<th>recall</th></tr>'
        "</thead><tbody>{}</tbody></table></div>"
    ).format(tall, head, Markup("").join(rows))


def _cell(count: float, share: float, right: bool) -> Markup:
    strength = STRONGEST * np.sqrt(share)
    colour = "var(--blue)" if right else "var(--orange)"
    shown = report.number(int(count) if float(count).is_integer() else float(count))
    return Markup(
        '<td class="n" title="{}, {:.2%}" style="background:color-mix(in srgb, {} {:.0f}%, '
        'transparent)"><span>{}</span></td>'
    ).format(shown, share, colour, strength, shown if count else "")


def _pairs(counts: Array, shares: Array, classes: Sequence[str]) -> Section:
    """The pairs that are confused most, by rows."""
    wrong = np.array(counts, float)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:PAIRS]
    rows = []
    for place in order:
        label, predicted = divmod(int(place), len(classes))
        if wrong[label, predicted] > 0:
            count = counts[label, predicted]
            rows.append(
                (
                    classes[label],
                    classes[predicted],
                    int(count) if float(count).is_integer() else float(count),
                    f"{shares[label, predicted]:.1%}",
                )
            )
    head = ["label", "taken for", "rows", "share of the label"]
    body = report.table(head, rows) if rows else report.text("None: every row is right.")
    return Section("Confused most", body)
