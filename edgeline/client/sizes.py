"""Which runs will be too large for the server to tell how their tasks end, before they start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeline.kubeflow import versions
from edgeline.kubeflow.api import find_version
from edgeline.lint.fitting import too_large
from edgeline.schedules.declaration import LATEST, Declaration, checked_parameters

if TYPE_CHECKING:
    from kfp import Client as KfpClient


def of_schedules(server: KfpClient, declared: Declaration) -> list[str]:
    """A sentence for each schedule whose runs will be too large; asks only.

    Args:
        server: a `kfp.Client`.
        declared: what `from` names has been made a version's name.

    Raises:
        EdgelineError: a parameter is not known to the server.
    """
    found = []
    for schedule in declared.schedules:
        name = "" if schedule.version == LATEST else schedule.version
        _, version = find_version(server, schedule.pipeline, name)
        documents = versions.documents_of(version.pipeline_spec) if version else []
        if not documents:
            continue
        if said := too_large(documents, checked_parameters(schedule, documents[0])):
            found.append(f"Schedule {schedule.name!r}: {said}")
    return found
