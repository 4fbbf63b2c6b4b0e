"""What a trial in a pod cannot be told: places that its pod does not have, and secrets, since a
manifest is read by everybody."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from edgeline.components.settings.objects import PREFIX
from edgeline.environments.environment import Resources
from edgeline.errors import shortened
from edgeline.local.redaction import redacted
from edgeline.preflight.places import INPUTS, LOCATIONS
from edgeline.stores import remote, tables
from edgeline.stores.remote import PIN
from edgeline.user_code import code

_BY_COLUMN = ("column_types", "rename", "lengths")  # fields whose keys are columns, not secrets


def fields(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial is told by the names that people set: the fields of objects, not the objects."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        found |= value if name.startswith(PREFIX) and isinstance(value, Mapping) else {name: value}
    return found


def faults(told: Mapping[str, Any], resources: Resources) -> Iterator[str]:
    """A sentence for each place that a trial's pod would not find, and each secret.

    Args:
        told: what a trial is told, as `DeclaredSearch.trial`.
        resources: of a trial's pod.

    Raises:
        UsageError: `data` is a table whose address is not valid.
    """
    given = fields(told)
    # the other kinds of volumes are empty when a pod begins
    folders = [each.path for each in resources.volumes if each.claim]
    folders += [each.path for each in resources.secret_files]
    for name, value in given.items():
        if name == "data" and _is_database(value):
            continue  # whose address has a user, commas and never a password
        columns = name in _BY_COLUMN and isinstance(value, Mapping)
        shown, label = (list(value.values()), "") if columns else (value, name)
        if redacted(shown, label) != shown:
            yield (
                f"{name} holds what may be a secret (a password, a token, the query of a URL), "
                "which everybody could read in the manifest: give secrets to tasks by a Secret "
                "that the environment names, or write it without."
            )
        elif name in (*LOCATIONS, *INPUTS):
            for place in _local(name, str(value or "")):
                if not any(PurePosixPath(place).is_relative_to(each) for each in folders):
                    mounted = f" ({', '.join(sorted(folders))})" if folders else ""
                    yield (
                        f"{name} is {shortened(place)}, which a trial's pod does not have: put it "
                        f"into a store or on a volume of the environment{mounted}, and give its "
                        "address or whole path."
                    )


def _is_database(data: str) -> bool:
    table = tables.find(data)
    return table is not None and table.kind == tables.DATABASE


def _local(name: str, value: str) -> Iterator[str]:
    """The paths in a parameter's value, whether anything is there or not."""
    if name == "module" and "/" not in value and code.kind(value) == code.NAME:
        return
    for each in value.split(",") if name == "data" else [value]:
        place = each.strip().partition(PIN)[0]
        if remote.scheme(place) == "file":
            yield posixpath.normpath(unquote(place.partition("://")[2]))
        elif place and not remote.scheme(place):
            yield posixpath.normpath(place)
