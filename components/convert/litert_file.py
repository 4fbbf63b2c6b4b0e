"""Quantise a floating LiteRT file that came without the model that it was made of.

TensorFlow's converter starts from a SavedModel, ai-edge-quantizer from the file, so here every
quantisation is a recipe. The result is compared with the file as it was imported. `convert` runs
in a child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgeline.artifacts import Artifact, models
from edgeline.components.convert import layer_errors, recipes, running
from edgeline.components.convert.built import Built
from edgeline.components.convert.conversion import Conversion
from edgeline.components.convert.running import Arrays
from edgeline.components.convert.settings import Settings
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import FLOAT, TABLE
from edgeline.runtimes import original


def read(folder: str) -> Artifact:
    """Check the folder of an imported LiteRT model that can be quantised, and return it.

    Raises:
        EdgelineError: it is damaged, was converted here, or is quantised already.
    """
    found = original.read(folder)
    if (quantisation := found.metadata["quantisation"]) != FLOAT.name:
        raise EdgelineError(
            f"{found.path} is a LiteRT model that is {quantisation} already: take it as it is, or "
            "import the float file, SavedModel or Keras file that it was made of."
        )
    return found


def fitted(settings: Settings, model: Artifact) -> Settings:
    """The settings with a recipe for what TensorFlow's converter makes of a SavedModel.

    Raises:
        EdgelineError: a LiteRT file cannot be converted so.
    """
    row = settings.quantisation
    if row != FLOAT and not row.recipe and not settings.recipe:
        possible = ", ".join(each.name for each in TABLE if each == FLOAT or each.recipe)
        raise EdgelineError(
            f"quantisation is {row.name!r}, which needs a SavedModel, but {model.path} is a LiteRT "
            f"file: set it to one of {possible}, or a recipe's path or URI."
        )
    if settings.io == "uint8":
        raise EdgelineError(
            f"io is 'uint8', which ai-edge-quantizer lacks, and {model.path} is a LiteRT file: "
            "set io to int8."
        )
    if settings.batch:
        raise EdgelineError(
            f"batch is {settings.batch}, but {model.path} is a LiteRT file, which keeps its own: "
            "set batch to 0."
        )
    if not settings.per_channel:
        raise EdgelineError(
            f"per_channel is off, but {model.path} is a LiteRT file, which is quantised by a "
            "recipe: give a recipe's file in which the granularity is TENSORWISE."
        )
    if row.recipe and not settings.recipe:
        return replace(settings, recipe=recipes.named(row.recipe))
    return settings


def convert(
    tell: Callable[[str], None], model: Artifact, rows: Arrays, settings: Settings
) -> Conversion:
    """Quantise a network by a recipe; without one it stays as it is.

    Args:
        tell: is told what comes next.
        model: of `read`.
        rows: representative raw features, [rows, ...] each.
        settings: of `fitted`.

    Raises:
        EdgelineError: a recipe is none, or the rows do not fit the file's inputs.
    """
    network = models.edge_model_path(model).read_bytes()
    fed = original.prepare(rows, models.edge_signature(model).inputs)
    tell("running the file as it came")
    before = running.answers(running.load(network), fed)
    built = Built(network, {}, settings.quantisation)
    if settings.recipe:
        integer = settings.io != "float"
        recipe = recipes.with_io(settings.recipe, integer, integer)
        tell("calibrating")
        calibration = recipes.calibrate(network, recipe, fed)
        tell("quantising by a recipe")
        quantised = recipes.quantise(network, recipe, calibration)
        layers = layer_errors.measure(network, quantised, fed)
        built = Built(quantised, {}, settings.quantisation, layers)
    tell("running the converted model")
    edge = running.load(built.model)
    takes, features = model.metadata["takes"], models.raw_features(model)
    after = running.answers(edge, fed)
    return Conversion(built, takes, features, edge.signature, before, after)
