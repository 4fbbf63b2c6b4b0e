"""What people say of a model and no step can find out: whose it is, what it is for, what not.

A parameter carries it as an object, and so does a file:

    intended_use: Estimates whether a trip ends with a large tip. Not for setting wages.
    owner: Mobility team, mobility@example.com
    data: Trips of Chicago's taxis in 2015, published by the city.
    limits: Trips outside Chicago. Fares after 2016 are higher than any seen.
    ethics: Neighbourhoods stand for people. The metrics by community area are in the report.
    licence: Apache-2.0

The fields are those of a model card (M. Mitchell et al.: Model Cards for Model Reporting, 2019)
that CycloneDX's ML-BOM has a place for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats import parameter_file

NAME = "card"  # of the parameter
CardField = Literal["intended_use", "owner", "data", "limits", "ethics", "licence"]
FIELDS: tuple[str, ...] = get_args(CardField)
LONGEST = 1200  # characters of all fields: on a cluster a run's workflow has them a hundred times


def check(card: Mapping[str, Any], where: str = NAME) -> dict[str, str]:
    """The fields that say something, in the order of `FIELDS`, each on one line.

    Args:
        where: begins the sentence of an error.

    Raises:
        EdgelineError: a field is unknown or no text, or all together are too long.
    """
    for name, value in card.items():
        if name not in FIELDS:
            raise EdgelineError(
                f"{where}.{name}: there is no such field. {did_you_mean(name, FIELDS)}"
            )
        if not isinstance(value, str):
            raise EdgelineError(f"{where}.{name} is {str(value)[:40]!r}, but must be a text.")
    if (size := sum(map(len, card.values()))) > LONGEST:
        raise EdgelineError(
            f"{where} has {size} characters, and a run's workflow has room for {LONGEST}: shorten "
            "it, and say where the rest is."
        )
    told = {name: " ".join(card.get(name, "").split()) for name in FIELDS}
    return {name: text for name, text in told.items() if text}


def missing(card: Mapping[str, str]) -> tuple[str, ...]:
    """The fields of which nothing is said, as people read them."""
    return tuple(words(name) for name in FIELDS if name not in card)


def words(name: str) -> str:
    """A field as people read it."""
    return name.replace("_", " ")


def read(path: str | Path) -> dict[str, str]:
    """The object in a YAML file, checked as `check` does.

    Raises:
        UsageError: it cannot be read, is not YAML, or is not as `check` takes it.
    """
    where = str(Path(path))
    value = parameter_file.read(
        path,
        dict[str, Any],
        lambda given: check(given, where),
        "a model card",
        f"write {', '.join(FIELDS)}",
    )
    return check(value, where)
