"""From where something is told: as the options of `edgeline serve` of these names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from edgeline.errors import UsageError, did_you_mean
from edgeline.monitoring.decay import DecayLimits
from edgeline.monitoring.drift import Thresholds

LABEL_MEMORY = 64 << 20  # bytes for answers that wait for labels: 2,097,152 rows without slices
_FOR_EVER = 1e9  # seconds
_COUNTS = ("drift_rows",)
_ABOVE_1 = ("drift_psi", *_COUNTS)


@dataclass(frozen=True)
class MonitorThresholds:
    """The defaults are the server's.

    Attributes:
        drift_psi, drift_ks, drift_unseen, drift_missing: those of
            `edgeline.monitoring.drift.Thresholds`.
        drift_rows: rows below which neither drift nor decay is judged.
        decay_drop, decay_margin: those of `edgeline.monitoring.decay.DecayLimits`.
    """

    drift_psi: float = 0.2
    drift_ks: float = 0.15
    drift_unseen: float = 0.05
    drift_missing: float = 0.1
    drift_rows: int = 500
    decay_drop: float = 0.05
    decay_margin: float = 0.02

    @property
    def drift(self) -> Thresholds:
        return Thresholds(
            self.drift_psi, self.drift_ks, self.drift_unseen, self.drift_missing, self.drift_rows
        )

    @property
    def decay(self) -> DecayLimits:
        """All labelled rows of the window are measured, whenever their labels came."""
        return DecayLimits(
            drop=self.decay_drop,
            margin=self.decay_margin,
            window=_FOR_EVER,
            rows=self.drift_rows,
            memory=LABEL_MEMORY,
            wait=_FOR_EVER,
            most_measured=LABEL_MEMORY,
        )


def given(thresholds: Mapping[str, Any]) -> MonitorThresholds:
    """Those that are given, and the defaults of the others.

    Raises:
        UsageError: there is no such one, or it cannot have the value.
    """
    known = [each.name for each in fields(MonitorThresholds)]
    found: dict[str, Any] = {}
    for name, value in thresholds.items():
        if name not in known:
            hint = did_you_mean(name, known, "thresholds has")
            raise UsageError(f"thresholds.{name}: there is no such field. {hint}")
        most = 1e9 if name in _ABOVE_1 else 1.0
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= most or (name in _COUNTS and value % 1):
            wanted = "a whole number" if name in _COUNTS else "a number"
            raise UsageError(
                f"thresholds.{name} is {str(value)[:40]}: give {wanted} from 0 to {most:g}."
            )
        found[name] = int(value) if name in _COUNTS else float(value)
    return MonitorThresholds(**found)
