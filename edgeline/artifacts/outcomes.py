"""What became of each requirement: met or not, and by how much.

analyze and verify keep these in the metadata of their artifacts, under `requirements`, from where
publish, the model card, the page of a run and the terminal have them.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgeline.artifacts.requirements import NAME, MetricRequirement
from edgeline.formats.told_apart import told_apart

MET, FAILED, TOLD, NOT_MEASURED = "met", "not met", "told", "not measured"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?(e[+-]?[0-9]+)?")  # without leading zeros


@dataclass(frozen=True)
class RequirementOutcome:
    """One requirement, and what was found.

    Attributes:
        what: is asked, for example `gateway: size of the model`.
        limit: the bound, in `unit`.
        least: whether the value must not be below it; else not above.
        value: what was found, in `unit`; None where nothing was.
        unit: with a blank before it; empty for a plain number.
        note: where the value is from, or why there is none.
        binding: whether it keeps the model from being published where it is not met.
        needed: whether a value has to be there; else its absence is told and keeps nothing back.
    """

    what: str
    limit: float
    least: bool
    value: float | None
    unit: str = ""
    note: str = ""
    binding: bool = True
    needed: bool = True

    @property
    def held(self) -> bool | None:
        """Whether the value keeps the bound; None where there is none."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def state(self) -> str:
        """One of MET, FAILED, TOLD (not met, and not binding) and NOT_MEASURED."""
        if self.held is None and not self.needed:
            return NOT_MEASURED
        return MET if self.held else FAILED if self.binding else TOLD

    @property
    def fails(self) -> bool:
        """Whether it keeps the model from being published."""
        return self.state == FAILED

    @property
    def margin(self) -> str:
        """By how much it is met or not, for people; empty where nothing was found."""
        if self.value is None:
            return ""
        gap = abs(self.value - self.limit)
        return (
            f"{gap:.3g}{self.unit} {'to spare' if self.held else 'short' if self.least else 'over'}"
        )

    @property
    def wanted(self) -> str:
        """The bound, for people."""
        return self._bound(f"{self.limit:.4g}")

    def _bound(self, limit: str) -> str:
        return f"{'at least' if self.least else 'at most'} {limit}{self.unit}"

    @property
    def sentence(self) -> str:
        """One line for people."""
        behind = f" ({self.note})" if self.note else ""
        if self.value is None:
            return f"{self.what} is not known{behind}, {self.wanted} is required."
        value, limit = f"{self.value:.4g}", f"{self.limit:.4g}"
        if not self.held:
            value, limit = told_apart(self.value, self.limit)
        return (
            f"{self.what} is {value}{self.unit}{behind}, {self._bound(limit)} is required: "
            f"{self.margin}."
        )

    def to_json(self) -> dict[str, Any]:
        """As an artifact's metadata has it."""
        return {**asdict(self), "state": self.state}


def of(metadata: Mapping[str, Any]) -> list[RequirementOutcome]:
    """The outcomes in an artifact's metadata, or in a bundle's; none where nothing was asked."""
    found = metadata.get(NAME)
    known = RequirementOutcome.__dataclass_fields__
    return [
        RequirementOutcome(**{name: value for name, value in each.items() if name in known})
        for each in (found if isinstance(found, (list, tuple)) else ())
        if isinstance(each, Mapping)
    ]


def first_failure(outcomes: Sequence[RequirementOutcome]) -> str:
    """The sentence of the first one that keeps a model back, and how many more; "" for none."""
    failed = [each for each in outcomes if each.fails]
    if not failed:
        return ""
    more = f" ({len(failed) - 1} more are not met)" if failed[1:] else ""
    return f"{failed[0].sentence.rstrip('.')}{more}."


def of_metrics(
    wanted: Sequence[MetricRequirement], slices: Sequence[Mapping[str, Any]], owner: str = ""
) -> list[RequirementOutcome]:
    """An outcome for each requirement on a metric.

    Args:
        slices: each `{"slice": {column: value}, "name": ..., "examples": rows, "metrics": {name:
            {"value": number or None}}}`, all rows (no column) among them.
        owner: the device that asks; empty for the trained model.
    """
    found = [_of_metric(each, slices) for each in wanted]
    return [replace(each, what=f"{owner}: {each.what}") if owner else each for each in found]


def _of_metric(
    wanted: MetricRequirement, slices: Sequence[Mapping[str, Any]]
) -> RequirementOutcome:
    blank = RequirementOutcome(
        f"{wanted.metric} of {wanted.rows}", wanted.limit, wanted.least, None
    )
    mine = [each for each in slices if tuple(sorted(each["slice"])) == wanted.columns]
    mine = [each for each in mine if _is_at(each["slice"], wanted.where)]
    if not any(wanted.metric in each["metrics"] for each in slices):
        names = sorted({name for each in slices for name in each["metrics"]})
        return replace(blank, note=f"computed are {', '.join(names)}")
    if not mine:
        return replace(blank, note="no row is in it")
    large = [each for each in mine if (each.get("examples") or 0) >= wanted.min_rows]
    if wanted.by and not large:
        return replace(blank, note=f"no slice has {wanted.min_rows} rows")
    kept = large if wanted.by else mine
    values = [(_value(each, wanted.metric), each) for each in kept]
    known = [(value, each) for value, each in values if value is not None]
    if not known:
        return replace(blank, note="it is undefined there: the rows may have one class only")
    value, worst = (min if wanted.least else max)(known, key=lambda pair: pair[0])
    found = replace(blank, value=value, note=_about(wanted, worst, len(kept), len(known)))
    if len(known) < len(kept) and found.held:
        first = next(each["name"] for value, each in values if value is None)
        return replace(blank, note=_undefined(first, len(kept) - len(known), len(kept)))
    return found


def _undefined(first: str, count: int, slices: int) -> str:
    return (
        f"it is undefined in {count} of {slices} slices, as at {first}: the rows there may have "
        "one class only; min_rows leaves small slices out"
    )


def _about(wanted: MetricRequirement, worst: Mapping[str, Any], kept: int, known: int) -> str:
    if not wanted.by:
        return ""
    undefined = f", and undefined in {kept - known}" if kept > known else ""
    end = "lowest" if wanted.least else "highest"
    return f"{end} of {known} slice{'s' * (known != 1)}, at {worst['name']}{undefined}"


def _value(one: Mapping[str, Any], metric: str) -> float | None:
    value = one["metrics"].get(metric, {}).get("value")
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) else None


def _is_at(slice_: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    return all(is_value(slice_.get(name, ""), value) for name, value in where.items())


def is_value(found: Any, wanted: Any) -> bool:
    """Whether a slice's value is the one that a person wrote.

    Numbers are alike by value: 3, 3.0 and "3", and 0.1 in single and in double precision. A text is
    alike as it is: "01234" is not 1234.
    """
    if found is None or isinstance(found, bool) or wanted is None:
        return False
    if isinstance(found, str) and (isinstance(wanted, str) or not _NUMBER.fullmatch(found)):
        return found == str(wanted)
    try:
        one, other = _number(found), _number(wanted)
    except ValueError:
        return False
    return one == other or (isinstance(one, float) and one == _single(other))


def _number(value: Any) -> int | float:
    if isinstance(value, (int, float)):
        return value
    try:
        return int(value)
    except ValueError:
        return float(value)


def _single(value: float) -> float:
    """A number as float32 has it."""
    try:
        found: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return value
    return found
