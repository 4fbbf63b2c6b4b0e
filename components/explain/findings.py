"""All that was found of a model and its edge model: for the artifact, the page and the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.components.explain import gradients
from edgeline.components.explain.agreement import Agreement
from edgeline.components.explain.counterfactuals import Counterfactual
from edgeline.components.explain.dependence import Dependence
from edgeline.components.explain.gradients import Integrated
from edgeline.components.explain.heat_maps import HeatMaps
from edgeline.components.explain.importance import FeatureImportance, SliceImportance
from edgeline.components.explain.shortcuts import Shortcut, Skill
from edgeline.components.explain.sides import ExplainedSides
from edgeline.formats.dtypes import Array

Floats = npt.NDArray[np.float64]
TOP = 10  # features whose importance is a metric


@dataclass(frozen=True)
class Explained:
    """Attributions of some of the rows that were taken.

    Attributes:
        rows: their places among these, int64 [explained], rising.
        values: float64 [explained, features].
        base, score: float64 [explained].
    """

    rows: npt.NDArray[np.int64]
    values: Floats
    base: Floats
    score: Floats


@dataclass(frozen=True)
class ExplanationFindings:
    """What was found.

    Attributes:
        numbers: of the rows in the split, int64 [rows].
        least: the agreement that is asked for; -1: any.
        baseline: of the gradients.
        background: how many rows stand for unknown values.
        names: the raw features, in the order of attributions; empty where all are pictures.
        edge, cloud: attributions; None where all features are pictures.
        correlations: of the rows that were compared, float64 [compared].
        agreement: of both models; `methods`: of gradients and attributions.
        without_gradients: why there are none; "" where there are.
        dependence_of: the class whose score the curves show; "" of a regression.
        values: raw features of the rows, by name.
        limits: what was asked for and cannot be, in sentences.
    """

    sides: ExplainedSides
    split: str
    numbers: npt.NDArray[np.int64]
    least: float
    baseline: str
    background: int
    names: tuple[str, ...] = ()
    edge: Explained | None = None
    cloud: Explained | None = None
    correlations: Floats = field(default_factory=lambda: np.zeros(0))
    agreement: Agreement | None = None
    methods: Agreement | None = None
    integrated: Integrated | None = None
    without_gradients: str = ""
    importances: tuple[FeatureImportance, ...] = ()
    slices: tuple[SliceImportance, ...] = ()
    skill: Skill | None = None
    shortcuts: tuple[Shortcut, ...] = ()
    dependence_of: str = ""
    dependences: tuple[Dependence, ...] = ()
    counterfactuals: tuple[Counterfactual, ...] = ()
    maps: tuple[HeatMaps, ...] = ()
    values: Mapping[str, Array] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    @property
    def explained(self) -> int:
        """How many rows."""
        return len(self.numbers) if self.edge is None else len(self.edge.rows)

    @property
    def agrees(self) -> bool:
        """Whether both models agree as is asked."""
        return self.agreement is None or self.agreement.median >= self.least

    @property
    def incomplete(self) -> int:
        """How many rows' gradients do not add up to `gradients.COMPLETE`."""
        if self.integrated is None:
            return 0
        return int((~(self.integrated.error <= gradients.COMPLETE)).sum())

    def warnings(self) -> list[str]:
        """What a person has to look at."""
        told = [each.sentence for each in self.shortcuts]
        if not self.agrees:
            assert self.agreement is not None
            told.insert(
                0,
                f"Cloud and edge explain a row alike to {self.agreement.median:.3f}, which is "
                f"below min_agreement ({self.least:g}): look at the rows, or convert with less "
                "quantisation.",
            )
        if self.explained < len(self.numbers):
            told.append(
                f"There was time for {self.explained:,} of {len(self.numbers):,} rows: raise "
                "max_seconds, or ask for fewer."
            )
        made = self.integrated
        if made is not None and len(made.rows) < made.asked:
            told.append(
                f"There was time for the integrated gradients of {len(made.rows):,} of "
                f"{made.asked:,} rows: raise max_seconds, or ask for fewer."
            )
        if self.incomplete:
            assert self.integrated is not None
            told.append(
                f"Of {self.incomplete:,} of {len(self.integrated.error):,} rows the integrated "
                f"gradients miss the score by more than {gradients.COMPLETE:g} (at most by "
                f"{float(self.integrated.error.max()):.2g}), so the network rounds or jumps there: "
                "do not rely on these."
            )
        return told

    def notes(self) -> list[str]:
        """What is to be known beside them."""
        told = list(self.limits)
        if self.agreement is not None:
            told.append(
                f"Cloud and edge explain a row alike to {self.agreement.median:.3f} (median rank "
                f"correlation, {self.agreement.rows:,} rows)."
            )
        if self.without_gradients:
            told.append(f"There are no integrated gradients: {self.without_gradients}")
        return told

    def summary(self) -> dict[str, Any]:
        """The metadata of the artifact."""
        told: dict[str, Any] = {
            "agrees": self.agrees,
            "rows": self.explained,
            "agreement": self.agreement and round(self.agreement.median, 6),
            "completeness_error": _largest(self.integrated),
            "shortcuts": [each.feature for each in self.shortcuts],
            "warnings": self.warnings(),
            "notes": self.notes(),
        }
        return told

    def metrics(self) -> dict[str, float]:
        """Numbers for the pipeline's pages."""
        told = {"explained_rows": float(self.explained)}
        if self.agreement is not None:
            told["agreement_median"] = self.agreement.median
            told["agreement_lowest_5_percent"] = self.agreement.quantiles[1]
        if self.methods is not None:
            told["gradients_and_shap_median"] = self.methods.median
        if (error := _largest(self.integrated)) is not None:
            told["completeness_error"] = error
        told |= {f"share of {each.feature}": each.share for each in self.importances[:TOP]}
        return told

    def to_json(self) -> dict[str, Any]:
        """All but single rows' attributions and pictures."""
        return {
            **self.summary(),
            "split": self.split,
            "edge": self.sides.edge.words,
            "cloud": self.sides.cloud.words,
            "background_rows": self.background,
            "features": list(self.names),
            "compared": self.agreement and self.agreement.to_json(),
            "methods": self.methods and self.methods.to_json(),
            "integrated_gradients": self._gradients(),
            "importance": [each.to_json() for each in self.importances],
            "slices": [each.to_json() for each in self.slices],
            "skill": self.skill and self.skill.to_json(),
            "partial_dependence": {
                "of": self.dependence_of,
                "features": [each.to_json() for each in self.dependences],
            },
            "counterfactuals": [each.to_json() for each in self.counterfactuals],
            "pictures": {each.feature: each.numbers.tolist() for each in self.maps},
        }

    def _gradients(self) -> dict[str, Any]:
        made = self.integrated
        if made is None:
            return {"because": self.without_gradients}
        return {
            "baseline": self.baseline,
            "completeness_error": _largest(made),
            "incomplete_rows": self.incomplete,
            "most_steps": int(made.steps.max()),
            "features": [
                {
                    "feature": name,
                    "made_of": list(made.made_of[name]),
                    "at": made.at[name],
                    "importance": float(np.abs(made.transformed[:, place]).mean()),
                }
                for place, name in enumerate(made.names)
            ],
        }


def _largest(made: Integrated | None) -> float | None:
    return None if made is None else float(made.error.max())
