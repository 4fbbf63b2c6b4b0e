"""The published model that is monitored, with what its bundle tells of training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts import calibration, ranges, reference
from edgeline.artifacts.bundle import MANIFEST, Bundle
from edgeline.artifacts.calibration import Calibration
from edgeline.artifacts.ranges import Ranges
from edgeline.artifacts.reference import Reference
from edgeline.errors import UsageError
from edgeline.repository.versions import published_versions

LATEST = "latest"
_PLACE = re.compile(rf"(?P<of>.+?)/(?P<name>[^/]+)(?:/(?P<version>{LATEST}|[1-9][0-9]*))?/?")


@dataclass(frozen=True)
class MonitoredBundle:
    """A version of a model.

    Attributes:
        uri: where it is published.
        reference: what it met in training.
        ranges: what its features may be; None where its bundle does not tell.
        calibration: how often its scores are right; None likewise.
    """

    uri: str
    bundle: Bundle
    reference: Reference
    ranges: Ranges | None
    calibration: Calibration | None


def fetch(uri: str, folder: Path) -> MonitoredBundle:
    """A published version, checked against its digests and what was signed.

    Args:
        uri: a bundle's folder, or `DESTINATION/NAME/VERSION`; without a version, or with `latest`,
            the newest one.
        folder: an empty one, for what has to be fetched.

    Raises:
        UsageError: there is no such version, or its bundle has no reference.
        EdgelineError: it is damaged, or is not what was signed.
    """
    if "://" not in uri and (Path(uri) / MANIFEST).is_file():
        place = Path(uri)
        found = bundles.read(place)
    else:
        match = _PLACE.fullmatch(uri)
        if match is None:
            raise UsageError(f"bundle_uri is {uri!r}: give DESTINATION/NAME or DESTINATION/NAME/7.")
        versions = published_versions(match["of"], match["name"])
        if not versions.numbers:
            raise UsageError(
                f"No version of {match['name']} is published at {match['of']}: check bundle_uri."
            )
        asked = match["version"] or LATEST
        number = versions.numbers[-1] if asked == LATEST else int(asked)
        place = folder / "bundle"
        found = versions.fetch(number, place)
        uri = versions.uri(number)
    if reference.FILE not in found.files:
        raise UsageError(
            f"{uri} has no {reference.FILE} to compare with: verify and publish the model again."
        )
    return MonitoredBundle(
        uri,
        found,
        reference.read(place / reference.FILE),
        ranges.read(place / ranges.FILE) if ranges.FILE in found.files else None,
        calibration.read(place / calibration.FILE) if calibration.FILE in found.files else None,
    )
