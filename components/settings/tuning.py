"""The search of a run: what is wrong with it is told before anything else begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeline.components.tune import database_journal, objectives, space
from edgeline.components.tune.objectives import Objective
from edgeline.components.tune.search import SearchPlan
from edgeline.stores import tables

OF_RULE = ("choose_by", "direction", "tie", "tie_within")
WHERE = "Parameter training."


def check(values: Mapping[str, Any]) -> list[Objective]:
    """The objectives of a run's search, whose fields are all in order.

    Args:
        values: of the run's fields, by name.

    Raises:
        EdgelineError: the search space, an objective, the plan or the rule cannot be, or the
            address of the search's database has a password.
    """
    task = str(values["task"])
    asked = values["objectives"] or objectives.usual(task)
    found = objectives.parse(asked, task, f"{WHERE}{objectives.PARAMETER}")
    space.parse(values["search_space"], f"{WHERE}search_space")
    SearchPlan(tuple(found), pruning=str(values["pruning"]))
    objectives.rule_of(found, task, **{name: values[name] for name in OF_RULE})
    place = str(values["study_folder"])
    if database_journal.is_database(place):
        tables.refuse_password(place, f"{WHERE}study_folder")
    return found
