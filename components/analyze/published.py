"""What the candidate is compared with: a model of an earlier run, or what is published.

A location is that of a `model/v1` folder, here or in a store, or of a published bundle:
`DESTINATION/NAME/7`, `DESTINATION/NAME/latest`, or `DESTINATION/NAME/approved`, the newest that was
evaluated and approved. A destination that is a signed repository counts by what it has signed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import LISTING, Artifact
from edgeline.artifacts.bundle import Bundle, content_digest
from edgeline.errors import EdgelineError
from edgeline.repository.versions import PublishedVersions, published_versions
from edgeline.runtimes import original
from edgeline.runtimes.original import Original
from edgeline.stores import copies, remote

LATEST, APPROVED = "latest", "approved"
KEY = "published_baseline"  # in an evaluation's metadata
_PLACE = re.compile(rf"(?P<of>.+)/(?P<name>[^/]+)/(?P<version>{LATEST}|{APPROVED}|[1-9][0-9]*)/?")


@dataclass(frozen=True)
class Baseline:
    """What change thresholds compare with.

    Attributes:
        path: the folder of the model, or "" where nothing is published yet.
        words: what it is, for people; or why there is none.
        told: what the evaluation's metadata says of it; None where it is not a published model.
    """

    path: str
    words: str = ""
    told: Mapping[str, Any] | None = None


def baseline(location: str, folder: Path) -> Baseline:
    """The model at a location, brought to this machine.

    Args:
        location: as the module says; "" for none.
        folder: an empty one, for what has to be fetched.

    Raises:
        EdgelineError: there is no such model, it is damaged, or is not what was signed. Only where
            nothing is published under a name yet, there is none.
    """
    if not location:
        return Baseline("")
    if not (Path(location) / LISTING).is_file() and (match := _PLACE.fullmatch(location)):
        versions = published_versions(match["of"], match["name"])
        number = _number(versions, match["version"])
        told = {"of": versions.destination, "name": versions.name, "asked": match["version"]}
        if number is None:
            return Baseline("", _none(versions, match["version"]), {**told, "version": None})
        found = fetched(versions, number, folder / "baseline")
        digest = content_digest(found)
        words = f"{found.name} {found.version} ({versions.uri(number)})"
        return Baseline(
            str(folder / "baseline"), words, {**told, "version": number, "digest": digest}
        )
    if remote.scheme(location):
        place, _ = copies.bring(location, folder)
        return Baseline(str(place), location)
    return Baseline(location, location)


def fetched(versions: PublishedVersions, number: int, folder: Path) -> Bundle:
    """A version in a new folder, whose digests are checked.

    Raises:
        EdgelineError: it is damaged, or is not what was signed.
    """
    found = versions.fetch(number, folder)
    original.read(folder)
    return found


def in_classes_of(model: Artifact, published: Original) -> Original:
    """A published classifier with its probabilities in the order of another model's classes.

    Raises:
        EdgelineError: the two do not have the same classes.
    """
    import dataclasses

    wanted, have = model.metadata.get("labels"), published.artifact.metadata.get("labels")
    wanted, have = [list(map(str, each)) if each else None for each in (wanted, have)]
    if not wanted or not have or wanted == have:
        return published
    if sorted(wanted) != sorted(have):
        lacks = ", ".join(sorted({*wanted} ^ {*have}))
        raise EdgelineError(
            f"{published.words} has other classes than {model.path} ({lacks}), so their metrics "
            "cannot be compared: leave the baseline out, or name a model of these classes."
        )
    order = np.array([have.index(name) for name in wanted])

    def evaluate(raw: Any) -> Any:
        answer = dict(published.evaluate(raw))
        if answer["prediction"].shape[-1] == len(order):
            answer["prediction"] = answer["prediction"][..., order]
        return answer

    return dataclasses.replace(published, evaluate=evaluate)


def _number(versions: PublishedVersions, asked: str) -> int | None:
    """The version that a word or number stands for; None where nothing is published."""
    if asked == LATEST:
        return versions.numbers[-1] if versions.numbers else None
    if asked == APPROVED:
        return next((each.version for each in versions.manifests() if _approved(each)), None)
    return int(asked)


def _approved(bundle: Bundle) -> bool:
    evaluated = bundle.evaluation.get("blessed") is True
    return evaluated and bundle.verification.get("approved") is True


def _none(versions: PublishedVersions, asked: str) -> str:
    kind = "approved version" if asked == APPROVED and versions.numbers else "version"
    return f"no {kind} of {versions.name} is published at {versions.destination} yet"
