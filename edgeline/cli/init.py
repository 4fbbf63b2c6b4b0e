"""`edgeline init`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeline.cli.told import Told, telling
from edgeline.errors import EdgelineError, UsageError, harmless

if TYPE_CHECKING:
    from edgeline.starter.facts import ReadTable
    from edgeline.starter.own_data import ProposedProject

TASKS = {  # as people type them
    "binary": "binary_classification",
    "multiclass": "multiclass_classification",
    "regression": "regression",
}


@click.command()
@click.argument("name")
@click.option("--example", metavar="EXAMPLE", help="Make this example instead of the starter.")
@click.option("--data", metavar="DATA", help="Make a project for these data.")
@click.option("--label", metavar="COLUMN", help="Which column of --data to predict.")
@click.option(
    "--task",
    type=click.Choice([*TASKS]),
    help="What --label is, where its values would tell another thing.",
)
@click.option(
    "--leave-out",
    multiple=True,
    metavar="COLUMN",
    help="A column of --data that is not a feature. Repeatable.",
)
@click.option("--yes", is_flag=True, help="Take what is proposed, and ask nothing.")
@telling
def init(
    told: Told,
    name: str,
    example: str | None,
    data: str | None,
    label: str | None,
    task: str | None,
    leave_out: tuple[str, ...],
    yes: bool,
) -> None:
    """Create a project in the new folder NAME: a pipeline, a module and data.

    With --data, the module takes the columns of these data, and the pipeline has proposals of
    thresholds that fit the label. Without --label a column that is called label, target, class,
    outcome or y is it; of others, --yes takes the likeliest. In a terminal, where neither --data,
    --example nor --yes is given, it asks, with what it would take as the answers.

    Examples: wine (a table and a module), pictures (a .tflite model, a Keras model and images),
    schedules (a file of recurring runs). With a pipeline that runs as it is: pumps (sensors over
    time), reviews (text), fraud (a rare class), diabetes (a number), symbols (transfer learning).
    """
    from edgeline.starter import check_new, make_example, make_project, make_project_of

    folder = Path(os.path.normpath(name))  # "a/../b" makes no folder "a"
    if example and data:
        raise UsageError("Give --data or --example, not both.")
    if not data and (label or task or leave_out):
        raise UsageError("--label, --task and --leave-out are about --data: give it, too.")
    if example:
        make_example(folder, example)
        then = f" Next: {_next(folder)}" if (folder / "pipeline.py").is_file() else ""
        told(f"Created {folder}.{then}", folder=str(folder))
        return
    check_new(folder)
    asks = not (data or yes or told.as_json) and sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        typed = click.prompt(
            "Your data: a file, folder or address (nothing: made-up readings to begin with)",
            default="",
            show_default=False,
        )
        places = (each.strip() for each in typed.split(","))  # no shell has expanded them
        data = ",".join(map(os.path.expanduser, places))
    if not data:
        make_project(folder)
    else:
        table = _read(data)
        proposal = _asked(table) if asks else _proposed(table, label, task, leave_out, yes)
        for sentence in proposal.told():
            told(sentence)
        told("", label=proposal.label.name, task=proposal.label.task)
        make_project_of(folder, proposal)
    told(f"Created {folder}. Next: {_next(folder)}", folder=str(folder))


def _next(folder: Path) -> str:
    return f"cd {shlex.quote(str(folder))} && edgeline run pipeline.py"


def _read(data: str) -> ReadTable:
    from edgeline.starter.facts import read_table

    return read_table(data)


def _proposed(
    table: ReadTable, label: str | None, task: str | None, without: tuple[str, ...], yes: bool
) -> ProposedProject:
    """What fits a table, as the command's options say.

    Raises:
        EdgelineError: no label is named, and none says itself that it is one.
    """
    from edgeline.starter.label import is_called_so
    from edgeline.starter.own_data import likely_label, no_label_is_named, propose

    if label is None:
        label = likely_label(table)
        if not yes and not is_called_so(label):
            raise no_label_is_named(table)
    return propose(table, label, TASKS[task] if task else "", frozenset(without))


def _asked(table: ReadTable) -> ProposedProject:
    """The same, as a person answers; a wrong answer is said, and asked for again.

    Raises:
        EdgelineError: no answer would make a project.
    """
    from edgeline.starter.own_data import askable_label, propose

    usual = askable_label(table)
    click.echo(harmless(f"{table.rows:,} rows with the columns {', '.join(table.columns)}."))
    shown = {task: word for word, task in TASKS.items()}
    while True:
        name = click.prompt("Which column is to be predicted?", default=usual).strip()
        try:
            proposal = propose(table, name)
            told = harmless(f"{name} is {proposal.label.told}; its task?")
            word = click.prompt(
                told, default=shown[proposal.label.task], type=click.Choice([*TASKS])
            )
            proposal = propose(table, name, TASKS[word])
            for column, why in proposal.features.left_out.items():
                click.echo(harmless(f"{column} is left out: {why}."))
            further = click.prompt(
                "Further columns to leave out, with commas between them",
                default="",
                show_default=False,
            )
            without = frozenset(each.strip() for each in further.split(",") if each.strip())
            return propose(table, name, TASKS[word], without)
        except EdgelineError as error:
            click.echo(harmless(str(error)))
