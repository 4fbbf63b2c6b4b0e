"""The page of a window: what drifts, has decayed or is out of range, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from edgeline.components.monitor import telling
from edgeline.reports import report
from edgeline.reports.report import Fact, Section, badge, number, table

WIDTH, HEIGHT = 168, 44  # of a histogram
_LEFT_OUT = {
    "unfit": "rows whose values do not fit the model",
    "without_time": "rows without a usable time",
    "damaged_lines": "lines that are not JSON objects",
    "before": "rows of before the window",
    "after": "rows of after the window",
    "of_other_versions": "rows of other versions",
    "of_other_models": "rows of other models",
    "files_before": "files that were last written before the window, and not opened",
    "files_gone": "files that were removed while they were read",
    "files_damaged": "files that could not be read to their end",
    "without_id": "rows that no label can name",
    "repeated": "rows that came again under the same id: they count, and the last gets the label",
}
_BAD = ("unfit", "without_time", "damaged_lines", "files_damaged")
_LABELS = {
    "joined": "gave an answer its label",
    "unknown": "have no answer in the window",
    "repeated": "came again; the first counts",
    "thinned": "are of answers that were left out for want of memory",
    "refused": "could not be read",
    "other_models": "name another model",
    "files_damaged": "lie in files that could not be read to their end",
}


def decayed(document: Mapping[str, Any]) -> list[str]:
    """What has decayed, in words."""
    decay = document["decay"]
    if "not_told" in decay:
        return []
    found = [
        f"{side} {name}" for side in ("estimated", "measured") for name in decay[side]["decayed"]
    ]
    return [*found, *(["concept drift"] if decay["concept"]["drifting"] else [])]


def sentences(document: Mapping[str, Any]) -> list[str]:
    """What a person has to know, the most important first."""
    drift, decay, read = document["drift"], document["decay"], document["read"]
    window = document["window"]
    found = [
        f"{document['model']} {document['version']}: {read['rows']:,} rows from {window['from']} "
        f"to {window['to']}."
    ]
    needed = drift["rows_needed"]
    if drift["rows"] < needed:
        found.append(f"Nothing is judged, as that takes {needed:,} rows.")
    elif drift["drifting"]:
        found.append(f"Drift in {', '.join(drift['drifting'])}.")
    else:
        found.append("No column that is compared drifts.")
    found += _of_decay(decay, document["labels"])
    outside = document["ranges"]["outside"]
    if outside:
        features = ", ".join(f"{x['feature']} (in {x['rows']:,})" for x in outside)
        found.append(f"Rows have values out of range: {features}.")
    if document["ranges"]["not_told"]:
        found.append(f"Values out of range are not told: {document['ranges']['not_told']}.")
    if drift["not_compared"]:
        found.append(f"Not compared: {', '.join(drift['not_compared'])}.")
    if not drift["drifting"] and drift["rows"] >= needed and not telling.all_compared(drift):
        found.append("Drift told before is not taken back, as not every column is compared.")
    bad = [f"{read[name]:,} {_LEFT_OUT[name]}" for name in _BAD if read[name]]
    if bad:
        found.append(f"Left out: {'; '.join(bad)}.")
    if read["before"] or read["after"]:
        found.append(
            f"Rows of before the window ({read['before']:,}) and after it ({read['after']:,}) are "
            "not judged here: window_hours has to be longer than devices are away."
        )
    if read["of_other_versions"]:
        versions = ", ".join(f"{name} ({n:,})" for name, n in read["other_versions"].items())
        found.append(f"Rows of other versions, which are not looked at: {versions}.")
    events = document["events"]
    where = f"for {events['receiver']}" if events["receiver"] else "kept in events.jsonl alone"
    found.append(f"{events['made']} events, {where}.")
    return found


def _of_decay(decay: Mapping[str, Any], labels: Mapping[str, Any] | None) -> Iterator[str]:
    if "not_told" in decay:
        yield f"Decay is not told: {decay['not_told']}."
        return
    estimated, measured, needed = decay["estimated"], decay["measured"], decay["rows_needed"]
    if "not_estimated" in estimated:
        yield f"Not estimated: {estimated['not_estimated']}"
    elif estimated["rows"] >= needed:
        yield _against("Estimated without labels", estimated, decay["usual"])
    else:
        rows = estimated["rows"]
        yield f"Not estimated: {rows:,} rows have a prediction, and it takes {needed:,}."
    if labels is None:
        yield "Not measured: no labels_uri is given."
    elif measured["rows"] < needed:
        yield f"Not judged by labels: {measured['rows']:,} rows have one, and it takes {needed:,}."
    else:
        yield _against(f"Measured on {measured['rows']:,} labelled rows", measured, decay["usual"])
    if decay["concept"]["drifting"]:
        yield "Labels come about otherwise than in training: train on new labels."
    share = decay["answers"]["least_share"]
    if share < 1:
        yield f"One answer in {round(1 / share):,} was kept for its label, for want of memory."


def _against(what: str, side: Mapping[str, Any], usual: Mapping[str, float]) -> str:
    told = [
        f"{name} {value['value']:.4g}"
        + (f" ({usual[name]:.4g} on held-out rows)" if name in usual else "")
        + (", which is worse" if name in side["decayed"] else "")
        for name, value in side["metrics"].items()
    ]
    return f"{what}: {'; '.join(told) or 'nothing'}."


def write(path: str | Path, document: Mapping[str, Any]) -> None:
    """Write the page."""
    drift, decay, read = document["drift"], document["decay"], document["read"]
    judged = drift["rows"] >= drift["rows_needed"]
    columns, outside = drift["drifting"], document["ranges"]["outside"]
    compares = not document["ranges"]["not_told"]
    facts = [
        Fact("rows", number(read["rows"]), judged or None),
        Fact(
            "columns that drift",
            str(len(columns)) if judged else "not judged",
            not columns if judged else None,
        ),
        Fact(
            "features out of range",
            str(len(outside)) if compares else "not compared",
            not outside if compares else None,
        ),
    ]
    if "not_told" not in decay:
        facts += _metric_facts(decay)
    left = sum(read[name] for name in _BAD)
    facts.append(Fact("left out", number(left), False if left else None))
    sections = [
        Section("In short", Markup("").join(map(report.text, sentences(document)))),
        _drift(drift),
    ]
    if "not_told" not in decay:
        sections += _decay(decay)
    if outside:
        rows = [[x["feature"], x["rows"], str(x["value"]), x["range"]] for x in outside]
        head = ["feature", "rows outside", "first value", "range"]
        sections.append(Section("Out of range", table(head, rows)))
    sections.append(_left_out(document))
    report.write(path, f"Monitor: {document['model']} {document['version']}", facts, sections)


def _metric_facts(decay: Mapping[str, Any]) -> Iterator[Fact]:
    for side in ("estimated", "measured"):
        found = decay[side]
        for name, value in list(found["metrics"].items())[:1]:
            good = name not in found["decayed"] if found["rows"] >= decay["rows_needed"] else None
            yield Fact(f"{side} {name}", f"{value['value']:.4g}", good)
    concept = decay["concept"]
    if concept.get("labelled_rows"):
        yield Fact(
            "concept drift",
            "alarm" if concept["drifting"] else "no alarm",
            not concept["drifting"],
        )


def _drift(drift: Mapping[str, Any]) -> Section:
    rows = []
    for side in ("inputs", "outputs"):
        for name, found in sorted(drift[side].items(), key=lambda each: not each[1]["drifting"]):
            missing = found["missing"]
            rows.append(
                [
                    name if side == "inputs" else f"{name} (output)",
                    badge(", ".join(found["drifting"]), False) if found["drifting"] else "",
                    found.get("psi"),
                    found.get("ks"),
                    found.get("unseen"),
                    f"{missing['reference']:.1%} → {missing['live']:.1%}",
                    _histogram(found.get("histogram", {})),
                    ", ".join(found.get("unseen_values", [])),
                ]
            )
    head = ["column", "drifts in", "psi", "ks", "unseen", "missing", "reference and live"]
    told = [table([*head, "new values"], rows)] if rows else []
    for name, why in drift["not_compared"].items():
        told.append(report.text(f"{name} is not compared: {why}."))
    for name, count in drift["partly"].items():
        told.append(report.text(f"{name} is of {count:,} of {drift['rows']:,} rows alone."))
    note = "Beside the rows on which verify compared the models (bars; the line is the window)."
    return Section("Drift", Markup("").join(told), note)


def _histogram(found: Mapping[str, Any]) -> Markup | str:
    """Shares over the groups of the index: of the reference as bars, of the window as a line."""
    if "live" not in found:
        return ""
    before, now = found["reference"], found["live"]
    top = max(*before, *now) or 1.0
    step = WIDTH / len(before)
    bars: list[str] = []
    line: list[str] = []
    labels = _labels(found, len(before))
    for place, (label, was, share) in enumerate(zip(labels, before, now, strict=True)):
        left, tall = place * step, HEIGHT * was / top
        path = f"M{left + 0.5:.1f} {HEIGHT}v-{tall:.1f}h{step - 1:.1f}V{HEIGHT}"
        title = escape(f"{label}: {was:.1%}, live {share:.1%}")
        bars.append(f'<path d="{path}"><title>{title}</title></path>')
        line.append(f"{'L' if line else 'M'}{left:.1f} {HEIGHT - (HEIGHT - 1) * share / top:.1f}")
        line.append(f"h{step:.1f}")
    drawn = f'<g class=a3>{"".join(bars)}</g><path class=l1 d="{"".join(line)}"/>'
    box = f"0 -1 {WIDTH} {HEIGHT + 1}"
    return Markup(f'<svg class=h role=img viewBox="{box}">{drawn}</svg>')


def _labels(found: Mapping[str, Any], count: int) -> list[str]:
    """What each group of a histogram stands for."""
    if "values" in found:
        return [*found["values"], "others"][:count]
    ends = [f"{end:.4g}" for end in found["up_to"]]
    return [*(f"up to {end}" for end in ends), f"above {ends[-1]}" if ends else "all"]


def _decay(decay: Mapping[str, Any]) -> list[Section]:
    rows = []
    for side in ("estimated", "measured"):
        for name, value in decay[side]["metrics"].items():
            rows.append(
                [
                    f"{side} {name}",
                    f"{value['value']:.4f}",
                    f"{value['low']:.4f} to {value['high']:.4f}",
                    decay["usual"].get(name),
                    decay[side]["rows"],
                    badge("worse", False) if name in decay[side]["decayed"] else "",
                ]
            )
    head = ["metric", "value", "95 %", "held-out rows", "rows", ""]
    note = (
        "Estimated from the calibrated scores, without labels; measured on rows whose labels came. "
        "See docs/decay.md."
    )
    found = [Section("How good it still is", table(head, rows), note)] if rows else []
    slices = decay["measured"]["slices"]
    if slices:
        head = ["column", "value", "rows", "metrics"]
        told = [[x["column"], x["value"], x["rows"], _values(x["metrics"])] for x in slices]
        left = decay["measured"]["slices_left_out"]
        more = f"{left:,} smaller slices are left out." if left else ""
        found.append(Section("By slice", table(head, told), more))
    return found


def _values(metrics: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value['value']:.4f}" for name, value in metrics.items())


def _left_out(document: Mapping[str, Any]) -> Section:
    read, labels = document["read"], document["labels"]
    rows: list[Sequence[object]] = [
        [about, read[name]] for name, about in _LEFT_OUT.items() if read[name]
    ]
    rows.insert(0, ["files that were read", read["files"]])
    if labels is not None:
        rows += [
            [f"labels that {about}", labels[name]]
            for name, about in _LABELS.items()
            if labels[name] or name == "joined"
        ]
    told = [table(["what", "how many"], rows)]
    problems = [*read["problems"], *read["damaged"]]
    if labels is not None:
        problems += [*labels["problems"], *labels["damaged"]]
    told += [report.text(each) for each in problems]
    if read["unknown_columns"]:
        told.append(
            report.text(f"Fields that the model lacks: {', '.join(read['unknown_columns'])}.")
        )
    return Section("What was read, and what was left out", Markup("").join(told))
