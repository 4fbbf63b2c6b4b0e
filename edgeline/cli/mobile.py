"""`edgeline mobile`: a bundle for an app on a phone."""

from __future__ import annotations

from pathlib import Path

import click

from edgeline.cli.arguments import existing, new_folder
from edgeline.cli.told import Told, telling
from edgeline.mobile.tasks import CLASSIFIER, DETECTOR, INTERPRETER


@click.command()
@click.argument("bundle", callback=existing)
@click.option(
    "-o",
    "--output",
    default="mobile",
    show_default=True,
    callback=new_folder,
    help="The folder to write to.",
)
@click.option(
    "--for",
    "task",
    default="",
    metavar="TASK",
    help=f"What runs it: MediaPipe's {CLASSIFIER} or {DETECTOR}, by default the one that the model "
    f"is for, or LiteRT's own {INTERPRETER}, for any other model.",
)
@click.option(
    "--model-scores",
    is_flag=True,
    help="Leave scores as the model gives them, also where the bundle has a calibration.",
)
@telling
def mobile(told: Told, bundle: str, output: str, task: str, model_scores: bool) -> None:
    """Write BUNDLE's model for an app: a .tflite file with labels, normalisation and calibration.

    BUNDLE is a folder, or an address as publish takes it. The file has TFLite Metadata, which
    MediaPipe's tasks on Android, iOS and the web read.
    """
    from edgeline.mobile.model_file import write
    from edgeline.mobile.tasks import WORDS
    from edgeline.stores.store import local_copy

    with local_copy(bundle) as folder:
        made = write(Path(folder), Path(output), task, model_scores)
    told(
        f"{made.path} is {made.bundle.name} {made.bundle.version} for {WORDS[made.task]}, with "
        f"{made.labels or 'no'} labels.",
        file=str(made.path),
        name=made.bundle.name,
        version=made.bundle.version,
        task=made.task,
        labels=made.labels,
        calibrated=made.sigmoid is not None,
    )
    if made.sigmoid is not None:
        told(
            f"Scores are calibrated: their mean distance from how often they are right is "
            f"{made.sigmoid.after:.3f} on {made.sigmoid.rows:,} held-out rows, before "
            f"{made.sigmoid.before:.3f}.",
            distance=made.sigmoid.after,
            distance_before=made.sigmoid.before,
        )
    for note in made.notes:
        told(f"Note: {note}", notes=list(made.notes))
