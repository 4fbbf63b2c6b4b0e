"""What each raw feature may be: the range that the training saw, or the one that the schema allows.

`transform` makes it of the rows that it analyzes and of the schema, `verify` keeps what the edge
model takes, `publish` puts it into the bundle as `ranges.json`, and the server compares each row
with it (see `edgeline.monitoring.range_check`):

    {"edgeline_ranges": "ranges/v1",
     "features": {"fare": {"least": 0.0, "most": 912.5}, "company": {"values": ["Blue", "Red"]}}}

Needs the standard library alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.formats import typed

FILE = "ranges.json"
FORMAT = "ranges/v1"
KEY = "ranges"  # in the metadata of a transform graph and of the model that was trained with it
MOST_VALUES = 1024  # values a row of a feature that is compared, and texts that one may be

Number = int | float


@dataclass(frozen=True)
class FeatureRange:
    """What a feature may be.

    Attributes:
        least: the smallest value, of a float feature as float32 has it; None for no limit.
        most: the largest value.
        values: of a text feature, all that it may be; None for numbers.
    """

    least: Number | None = None
    most: Number | None = None
    values: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, object]:
        if self.values is not None:
            return {"values": list(self.values)}
        return {"least": self.least, "most": self.most}

    def __str__(self) -> str:
        if self.values is not None:
            return f"the {len(self.values)} values of its schema"
        least, most = words(self.least), words(self.most)
        if self.least is None:
            return f"at most {most}"
        return f"at least {least}" if self.most is None else f"{least} to {most}"


Ranges = Mapping[str, FeatureRange]


def words(value: object) -> str:
    """A value as a person reads it: a float with as many digits as float32 has."""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def dumps(ranges: Ranges) -> bytes:
    """Ranges as a file, the same bytes for the same ranges."""
    features = {name: ranges[name].to_json() for name in sorted(ranges)}
    document = {"edgeline_ranges": FORMAT, "features": features}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read(file: str | Path) -> dict[str, FeatureRange]:
    """Read a `ranges.json`.

    Raises:
        EdgelineError: it is missing or malformed.
    """
    try:
        found: _File = typed.convert(typed.read(file), _File)
        if found.edgeline_ranges != FORMAT:
            raise EdgelineError(f"it is of format {found.edgeline_ranges[:40]!r}, not {FORMAT}")
        return from_json(found.features)
    except EdgelineError as error:
        reason = str(error).removeprefix(f"{file} ").rstrip(".")
        raise EdgelineError(
            f"{file} does not hold the ranges of features ({reason}): publish the bundle again."
        ) from None


def from_json(features: Mapping[str, Any]) -> dict[str, FeatureRange]:
    """The ranges of `to_json`, by feature.

    Raises:
        EdgelineError: one is malformed.
    """
    return {name: _range(value, name) for name, value in features.items()}


@dataclass(frozen=True)
class _File:
    edgeline_ranges: str
    features: Mapping[str, Any]


@dataclass(frozen=True)
class _Range:
    least: Any = None
    most: Any = None
    values: tuple[str, ...] | None = None


def _range(value: object, name: str) -> FeatureRange:
    read: _Range = typed.convert(value, _Range, name)
    for bound in (read.least, read.most):
        if bound is not None and (
            isinstance(bound, bool)
            or not isinstance(bound, (int, float))
            or not (-(2**63) <= bound < 2**63 if isinstance(bound, int) else math.isfinite(bound))
        ):
            raise EdgelineError(f"a limit of feature {name[:100]!r} is not a number")
    if read.values is not None and (read.least, read.most) != (None, None):
        raise EdgelineError(f"feature {name[:100]!r} has limits and a list of values")
    if None not in (read.least, read.most) and read.least > read.most:
        raise EdgelineError(f"the least of feature {name[:100]!r} is above its most")
    return FeatureRange(read.least, read.most, read.values)
