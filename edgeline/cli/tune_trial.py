"""`edgeline tune-trial`: one trial of a search that a cluster's own system carries out."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from edgeline.errors import EdgelineError, UsageError

REASON = Path("/dev/termination-log")  # where Kubernetes looks for it, by default
MOST = 4096  # bytes of it that Kubernetes keeps


@click.command("tune-trial")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--parameters",
    envvar="EDGELINE_TRIAL",
    metavar="JSON",
    help="What the pipeline `tuned` is given; by default the variable EDGELINE_TRIAL.",
)
def tune_trial(values: tuple[str, ...], parameters: str | None) -> None:
    """Run one trial, and print what was measured of its edge model.

    The pods of a search run it that `edgeline tune --as` has written. Each VALUE is a text for a
    hyperparameter; those that are not given come from the variables KUBEFLOW_TRAINER_OPT_NAME. A
    line `edgeline-trial NAME=VALUE` is printed for each number when all is done. In a TrainJob,
    Kubeflow Trainer is told them, too.

    A trial that fails, or whose edge model could not be published, ends with code 1 and its reason.
    """
    from edgeline.client import asked_trial, katib
    from edgeline.kubeflow import trainer_status
    from edgeline.local.warm.sets import SECONDS as WARM_SECONDS
    from edgeline.reports import terminal
    from edgeline.stores.destinations import LOCAL_RUN

    if parameters is None:
        raise UsageError(
            "What the trial is told is missing: `edgeline tune --as` writes it into a manifest, as "
            "the variable EDGELINE_TRIAL."
        )
    chosen = {}
    for each in values:
        name, equals, text = each.partition("=")
        if not equals or name in chosen:
            raise UsageError(f"{each!r} is not NAME=VALUE, or its name is there twice: correct it.")
        chosen[name] = text
    try:
        arguments = asked_trial.asked(parameters, chosen)
        # nothing of it is to outlive its pod, and no process waits for another run there
        os.environ |= {LOCAL_RUN: "1", WARM_SECONDS: "0"}
        found = asked_trial.measured(arguments, terminal.console())
        if trainer_status.is_there():
            trainer_status.tell(found)
    except EdgelineError as error:
        with contextlib.suppress(OSError):
            if REASON.exists():
                REASON.write_bytes(str(error).encode()[:MOST])
        raise
    for name, value in sorted(found.items()):
        click.echo(katib.PRINTED.format(name=name, value=f"{value!r}"))
