"""A project for a data file of one's own: its columns as features, its label, proposed thresholds.

What is proposed is little more than an answer that is always the same gives, so that a model that
learnt nothing is not published; the report of the first run proposes what the model holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pyarrow as pa

from edgeline.errors import EdgelineError, did_you_mean
from edgeline.starter import features, label
from edgeline.starter.facts import ColumnFacts, ReadTable
from edgeline.starter.features import Features
from edgeline.starter.label import BINARY, MULTICLASS, REGRESSION, Label
from edgeline.stores import remote

MANY = 100  # features from which on those of a kind are packed into one
MODULES = ("module.py.txt", "wide_module.py.txt")  # templates: of few features, and of many
FEWEST = 20  # rows of which nothing can be learnt and evaluated
SMALL = 300  # rows of whose third metrics are rough
BATCH = 100
LEAST_STEPS, MOST_STEPS = 1000, 2000
PASSES = 40
EVALUATIONS = 10  # while it is trained
ROUNDING = 1e-6  # of float32, after some steps
USUAL_DIFFERENCE = 1e-5  # that verify lets pass
TRAINED = 2 / 3  # share of the rows
WIDTH = 100


class Verbatim(str):
    """Python that stands as it is."""


@dataclass(frozen=True)
class ProposedProject:
    """What is proposed for a table: the label with its task, features and how rows are split."""

    table: ReadTable
    label: Label
    features: Features
    splits: Mapping[str, Any]

    def told(self) -> Iterator[str]:
        """What people should know of it, a sentence each."""
        found, rows = self.label, self.table.rows
        yield f"{found.name} is {found.told}."
        yield from self.table.told
        if found.rare:
            shown = ", ".join(f"{value!r}" for value in found.rare[:5])
            more = f" and {len(found.rare) - 5} more" if found.rare[5:] else ""
            yield (
                f"Fewer than {label.FEW} rows have the class {shown}{more}: how well it is told "
                "stays unknown."
            )
        if rows < SMALL:
            yield (
                f"The data have {rows} rows, of which about {rows // 3} evaluate: take each metric "
                "with the interval that the report gives."
            )
        for name, why in self.features.left_out.items():
            yield f"{name} is left out: {why}."
        if "time" in self.splits.get("split_by", {}):
            yield f"Rows are in the order of {self.features.series}: the latest third evaluates."
        elif self.features.group:
            yield f"Rows with an equal {self.features.group} are in one split."
        else:
            for name in filter(features.may_say_whose, self.features.words):
                yield (
                    f"{name} is a feature, though its values repeat: if it says whose a row is, "
                    f'leave it out, and set "split_key": {name!r} in pipeline.py\'s splits.'
                )
        for each in label.proposals(found):
            yield f"Proposed: {each.metric}, {each.why}."
        if goal := label.decision_goal(found):
            yield (
                f"A yes is rare, so {goal.upper()} decides above which score it is one; consider "
                "class_weights, too."
            )


def propose(
    table: ReadTable, name: str, task: str = "", without: frozenset[str] = frozenset()
) -> ProposedProject:
    """What fits a table.

    Args:
        name: of the label's column.
        task: "" for what the label's values tell.
        without: further columns to leave out.

    Raises:
        EdgelineError: there is no such column, it is not a label, or there is no feature beside it.
    """
    if name not in table.columns:
        known = list(table.columns)
        raise EdgelineError(
            f"{table.data} has no column {name!r}. {did_you_mean(name, known, 'There are')}"
        )
    for column in without - table.columns.keys():
        raise EdgelineError(
            f"{table.data} has no column {column!r} to leave out. "
            f"{did_you_mean(column, list(table.columns), 'There are')}"
        )
    found = label.label_of(name, table.columns[name], table.rows, task)
    taken = features.of_table(table, found, without)
    for column in taken.times:
        if taker := sorted(table.columns.keys() & made_of_time(column) - taken.left_out.keys()):
            raise EdgelineError(
                f"{table.data} has a column {taker[0]!r}, as a feature made of {column!r} would be "
                f"called: rename it, or leave one of them out."
            )
    if not taken.count:
        why = "".join(f"; {column}: {reason}" for column, reason in taken.left_out.items())
        raise EdgelineError(f"{table.data} has no column that is a feature beside {name!r}{why}.")
    _check_rows(table)
    return ProposedProject(table, found, taken, _splits(found, taken))


def _check_rows(table: ReadTable) -> None:
    if table.rows < FEWEST:
        raise EdgelineError(
            f"{table.data} has {table.rows} rows, too few to train and to evaluate a model: give "
            f"at least {FEWEST}."
        )


def no_label_is_named(table: ReadTable) -> EdgelineError:
    """Which columns could be a label, or why none can."""
    possible = label.possible_labels(table.columns, table.rows)
    for name, seen in table.columns.items():
        if label.is_called_so(name) and name not in possible:
            label.label_of(name, seen, table.rows)  # says why it is none
    if not possible:
        raise EdgelineError(_none_possible(table))
    shown = [f"{name} ({_kind(found)})" for name, found in [*possible.items()][:8]]
    more = f" and {len(possible) - 8} more" if len(possible) > 8 else ""
    return EdgelineError(
        f"Name the column to predict with --label; of {table.data} it could be "
        f"{', '.join(shown)}{more}."
    )


def likely_label(table: ReadTable) -> str:
    """The column that is likeliest to be the label.

    Raises:
        EdgelineError: none can be.
    """
    possible = label.possible_labels(table.columns, table.rows)
    if not possible:
        raise EdgelineError(_none_possible(table))
    return next(iter(possible))


def askable_label(table: ReadTable) -> str:
    """The likeliest label with which a table makes a project, before anybody is asked for one.

    Raises:
        EdgelineError: none does; it is what the likeliest lacks.
    """
    _check_rows(table)
    lacking: list[EdgelineError] = []
    for name in dict.fromkeys([likely_label(table), *table.columns]):
        try:
            propose(table, name)
            return name
        except EdgelineError as error:
            lacking.append(error)
    raise lacking[0]


def write(folder: Path, proposal: ProposedProject, templates: Mapping[str, str]) -> None:
    """Write the files of a project.

    Args:
        folder: where to; its name is the project's.
        templates: text with `$` names, by file; of `MODULES` one is written, as `module.py`.
    """
    filled = _filled(folder.name, proposal)
    few, many = MODULES
    texts = {name: text for name, text in templates.items() if name not in MODULES}
    texts[few] = templates[many if proposal.features.count > MANY else few]
    for name, text in texts.items():
        (folder / name.removesuffix(".txt")).write_text(Template(text).substitute(filled), "utf-8")


def _none_possible(table: ReadTable) -> str:
    why = []
    for name, seen in table.columns.items():
        if len(seen.values) >= table.rows and not pa.types.is_floating(seen.type):
            reason = "another value in each row"
        elif seen.is_time:
            reason = "dates or times"
        else:
            try:
                label.label_of(name, seen, table.rows)
                continue
            except EdgelineError as error:
                reason = str(error).partition(repr(name))[2].partition(":")[0].strip()
        why.append(f"{name} has {reason.removeprefix('has ')}")
    return (
        f"No column of {table.data} can be predicted: {'; '.join(why[:8])}. Add a column with what "
        "is to be predicted, or name one with --label."
    )


def _kind(found: Label) -> str:
    return {
        BINARY: "two values",
        MULTICLASS: f"{found.classes} classes",
        REGRESSION: "a number",
    }[found.task]


def _splits(found: Label, taken: Features) -> dict[str, Any]:
    if taken.series:
        return {"split_by": {"time": taken.series}}
    if taken.group:
        return {"split_key": taken.group}
    return {} if found.task == REGRESSION else {"split_by": {"stratify": found.name}}


def _filled(name: str, proposal: ProposedProject) -> dict[str, str]:
    """The templates' fields."""
    table, found, taken = proposal.table, proposal.label, proposal.features
    columns = table.columns
    numbers = {column: _usual(columns[column]) for column in taken.numbers}
    proposed = label.proposals(found)
    goal = label.decision_goal(found)
    asked = {"eval_config": Verbatim("EVALUATION"), **({"decision_goal": goal} if goal else {})}
    objects = {
        "splits": proposal.splits,
        "schema": table.settings,
        "training": _training(found, table.rows),
        "evaluation": asked,
    }
    trained = table.rows * TRAINED
    # as scikit-learn's logistic regression has by default, in a loss that is a mean over rows
    penalties = 0.5 / trained, _hidden_penalty(found, trained)
    return {
        "name": name,
        "file": _shown(Path(table.data).name)[1:-1],  # as a docstring may hold it
        "label": _shown(found.name),
        "shown_label": f"`{_escaped(found.name)}`",
        "summary": _shown(f"{found.name} of {Path(table.data).name}"),
        "data": _shown(",".join(map(_absolute, table.data.split(",")))),
        "of_label": _of_label(found),
        "numbers": _shown(numbers),
        "decimals": _shown({n: usual for n, usual in numbers.items() if type(usual) is float}),
        "whole_numbers": _shown({n: usual for n, usual in numbers.items() if type(usual) is int}),
        "words": _shown(list(taken.words)),
        "packed": ", ".join(_shown(_free(each, columns)) for each in ("numbers", "words")),
        "times": f"# columns of points in time\nTIMES = {_shown(list(taken.times))}\n"
        if taken.times
        else "",
        "made_times": MADE_TIMES if taken.times else "",
        "imported": "day_of_week, fill_missing, hour_of_day" if taken.times else "fill_missing",
        "penalties": ", ".join(f"{_short(each)!r}" for each in penalties),
        "hidden_units": "[16]" if table.rows < 5000 else "[32, 16]",
        "left_out": "".join(
            f"# left out: {n!r}, {_escaped(why)}\n" for n, why in taken.left_out.items()
        ),
        "label_told": _escaped(found.told),
        "proposed": "\n".join(f"# {each.metric}: {_escaped(each.why)}" for each in proposed),
        "evaluation": _shown(label.eval_config(proposed)),
        "difference": _edge(found),
        "objects": "".join(_object(key, values) for key, values in objects.items() if values),
        **_code(found),
    }


def _free(name: str, columns: Iterable[str]) -> str:
    """A name that no column has."""
    while name in columns:
        name += "_"
    return name


def _hidden_penalty(found: Label, trained: float) -> float:
    """What keeps the small network's weights small, the more the fewer rows it could learn from.

    Of two classes these are as many as the rarer one has, twice: of 6 % in 4,000 rows it learns
    chance by heart, as benchmarks/init_tables.py found with `caravan`.
    """
    if found.task == REGRESSION:
        return 10 / trained
    rows = trained * 2 * (1 - found.largest) if found.task == BINARY else trained
    return 3 / rows


def made_of_time(name: str) -> frozenset[str]:
    """What `MADE_TIMES` calls the features that are made of a column."""
    return frozenset(f"{name}_{part}_{of}" for part in ("hour", "day") for of in ("sin", "cos"))


MADE_TIMES = """\
    for name in TIMES:
        parts = {"hour": (hour_of_day(inputs[name]), 24), "day": (day_of_week(inputs[name]), 7)}
        for part, (value, of) in parts.items():
            # an angle, so that 23 is beside 0
            angle = tf.cast(fill_missing(value, 0), tf.float32) * (6.2831853 / of)
            outputs[f"{name}_{part}_sin"] = tf.sin(angle)
            outputs[f"{name}_{part}_cos"] = tf.cos(angle)
"""


def _edge(found: Label) -> str:
    """What is asked of the edge model. A large number near 0 is a small difference of large ones,
    whose rounding in float32 is more than verify lets pass of small numbers."""
    size = abs(found.mean) + found.deviation if found.task == REGRESSION else 0.0
    rounding = size * ROUNDING
    asked = '"requirements": HERE / "requirements.yaml"'
    if rounding <= USUAL_DIFFERENCE:
        return f"    edge={{{asked}}},"
    return (
        "    # a millionth of the label's size, which float32 may round to\n"
        f'    edge={{"max_difference": {_short(rounding)!r}, {asked}}},'
    )


def _of_label(found: Label) -> str:
    if found.task == BINARY:
        return f"POSITIVE = {_shown(found.positive)}\n"
    if found.task == REGRESSION:
        mean, deviation = _short(found.mean), _short(found.deviation)
        return (
            "# of the label: the network learns how far it is from its mean\n"
            f"MEAN, DEVIATION = {mean!r}, {deviation!r}\n"
        )
    return ""


def _training(found: Label, rows: int) -> dict[str, Any]:
    trained = int(rows * TRAINED)
    size = max(1, min(BATCH, trained // 4))
    steps = int(min(MOST_STEPS, max(LEAST_STEPS, PASSES * trained // size)))
    settings: dict[str, Any] = {"task": found.task, "steps": steps, "batch_size": size}
    settings["steps_per_epoch"] = steps // EVALUATIONS
    return settings | ({"label_vocabulary": "label"} if found.vocabulary else {})


def _code(found: Label) -> dict[str, str]:
    """The parts of the module that depend on the task."""
    if found.task == BINARY:
        return {
            "made_label": "tf.cast(inputs[LABEL] == POSITIVE, tf.int64)",
            "units": "1",
            "output": 'keras.layers.Activation("sigmoid")(line + beside)',
            "loss": "binary_crossentropy",
            "loss_weights": "",
            "metric": "accuracy",
        }
    if found.task == REGRESSION:
        return {
            "made_label": "tf.cast(inputs[LABEL], tf.float32)",
            "units": "1",
            "output": "keras.layers.Rescaling(DEVIATION, MEAN)(line + beside)",
            "loss": "mean_squared_error",
            "loss_weights": "        loss_weights=[1 / DEVIATION**2],\n",
            "metric": "mean_absolute_error",
        }
    vocabulary = 'tft.compute_and_apply_vocabulary(inputs[LABEL], vocab_filename="label")'
    return {
        "made_label": vocabulary if found.vocabulary else "inputs[LABEL]",
        "units": f"{found.classes}",
        "output": 'keras.layers.Activation("softmax")(line + beside)',
        "loss": "sparse_categorical_crossentropy",
        "loss_weights": "",
        "metric": "accuracy",
    }


def _object(name: str, values: Mapping[str, Any]) -> str:
    """An argument that is a dict, on one line where it fits."""
    entries = [f"{_python(key)}: {_python(value)}" for key, value in values.items()]
    line = f"    {name}={{{', '.join(entries)}}},\n"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"        {entry},\n" for entry in entries)
    return f"    {name}={{\n{lines}    }},\n"


def _python(value: object) -> str:
    """A value as Python, with texts in double quotes."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_python(n)}: {_python(v)}' for n, v in value.items())}}}"
    if isinstance(value, (Verbatim, bool)):
        return str(value)
    return _shown(value, None)


def _absolute(place: str) -> str:
    return place if remote.scheme(place.strip()) else str(Path(place.strip()).absolute())


def _usual(seen: ColumnFacts) -> float:
    """What stands for a missing number: the mean, in the column's type."""
    return round(seen.mean) if pa.types.is_integer(seen.type) else _short(seen.mean)


def _short(number: float) -> float:
    return float(f"{number:.4g}")


def _shown(value: object, indent: int | None = 4) -> str:
    """Texts, numbers and lists or dicts of them as Python that the data cannot end: of what the
    data hold, a written file has this, or `_escaped` in a comment, and nothing else."""
    lines = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False).split(
        "\n"
    )  # none is in a text
    return "\n".join(map(_escaped, lines))


def _escaped(text: str) -> str:
    """A text on one line, as a comment may hold it: what ends a line, hides or turns what follows
    it stands as an escape."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )
