"""The pipeline `tuned` up to its search: what runs a trial that another system asks for.

It has the form of `tuned`, so a trial is told everything as that pipeline is. It is none of those
that people run: the search is of one trial, and nothing follows.
"""

from edgeline.components.settings.objects import TUNED
from edgeline.pipelines.learning import prepare, search
from edgeline.pipelines.reading import read
from edgeline.pipelines.specialise import Channels, Generic, specialise


def graph(form: Channels) -> None:
    """From raw rows to what was measured of a trial."""
    settings = form.settings()
    examples = read(form, settings, "rename").outputs["examples"]
    _, made = prepare(form, settings, examples)
    search(form, settings, examples, made)


pipeline = specialise(Generic(TUNED, graph), "one-trial", "One trial of a search.")
