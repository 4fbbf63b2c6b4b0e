"""What requirements.yaml asks of the trained model: metrics by slice, and no fall over versions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline.artifacts import outcomes
from edgeline.artifacts.outcomes import RequirementOutcome
from edgeline.artifacts.requirements import MetricRequirement, Requirements, TrendRequirement
from edgeline.components.analyze import results
from edgeline.components.analyze.published import fetched
from edgeline.repository.versions import published_versions
from edgeline.runtimes.metric_names import AUC, AUC_TFMA

if TYPE_CHECKING:
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import metrics_for_slice_pb2

Compare = Callable[[str], Mapping[str, Any]]  # a baseline's folder to all rows of both models


def add_slices(config: tfma.EvalConfig, wanted: Requirements) -> None:
    """Let an EvalConfig proto have the slices that requirements are about, beside its own."""
    for each in wanted.metrics:
        values = {name: str(value) for name, value in each.where.items()}
        spec = type(config.slicing_specs[0])(feature_keys=sorted(each.by), feature_values=values)
        if spec not in config.slicing_specs:
            config.slicing_specs.append(spec)


def of_specs(
    found: Sequence[metrics_for_slice_pb2.MetricsForSlice], specs: Sequence[Any]
) -> list[metrics_for_slice_pb2.MetricsForSlice]:
    """The slices that some SlicingSpec protos ask for: thresholds are about no others."""
    return [each for each in found if any(_is_of(results.key_of(each), spec) for spec in specs)]


def _is_of(key: Any, spec: Any) -> bool:
    values = dict(key)
    columns = {*spec.feature_keys, *spec.feature_values}
    fixed = spec.feature_values.items()
    return values.keys() == columns and all(
        outcomes.is_value(values[name], value) for name, value in fixed
    )


def metrics(
    wanted: Requirements, by_slice: Sequence[Mapping[str, Any]]
) -> list[RequirementOutcome]:
    """An outcome for each metric that is asked for; the AUC of a slice is TFMA's estimate.

    Args:
        by_slice: slices as of `results.to_json`, all rows first.
    """
    return outcomes.of_metrics(wanted.metrics, [_with_auc(each) for each in by_slice])


def _with_auc(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found = one["metrics"]
    if AUC in found or AUC_TFMA not in found:
        return one
    estimate = found[AUC_TFMA]
    # TFMA says 0 where there is one class only
    value = estimate if estimate["value"] != 0 else {"value": None}
    return {**one, "metrics": {**found, AUC: value}}


def trend(
    wanted: TrendRequirement,
    asked: Sequence[MetricRequirement],
    compare: Compare,
    folder: Path,
) -> tuple[list[RequirementOutcome], str]:
    """Whether a metric fell from each of the last published versions to the next, up to this model.

    All are evaluated on the same rows. A fall counts where it happened at each step and where the
    whole of it, from the oldest of these versions to this model, is beyond the 95 % interval of
    the difference (a paired bootstrap), so that what the choice of rows may do is not a fall.

    Args:
        asked: the metrics, of which those over all rows count.
        compare: all rows of both models, as of `results.to_json`, for the folder of a version.
        folder: an empty one, for the versions.

    Returns:
        An outcome for each metric, whose value is the change from the oldest version on; and what
        the versions were, for people.

    Raises:
        EdgelineError: a version is damaged or of another task.
    """
    destination, _, name = wanted.versions_of.rstrip("/").rpartition("/")
    versions = published_versions(destination or ".", name)
    numbers = versions.numbers[-wanted.versions :]
    if len(numbers) < wanted.versions:
        return [], (
            f"trend: {len(numbers)} of {wanted.versions} versions of {name} are published at "
            f"{versions.destination}, too few to tell a trend"
        )
    compared = []
    for number in numbers:
        place = folder / str(number)
        fetched(versions, number, place)
        compared.append(compare(str(place)))
    overall = [each for each in asked if not each.columns]
    found = [_trend(each, numbers, compared, wanted.refuse) for each in overall]
    return found, f"trend: beside {name} {', '.join(map(str, numbers))} on the same rows"


def _trend(
    asked: MetricRequirement,
    numbers: Sequence[int],
    compared: Sequence[Mapping[str, Any]],
    refuse: bool,
) -> RequirementOutcome:
    name = asked.metric if asked.metric in compared[0]["change"] else AUC_TFMA
    if asked.metric == AUC and AUC_TFMA in compared[0]["change"]:
        name = AUC_TFMA  # which has an interval
    what = f"trend of {asked.metric} from {numbers[0]} on"
    values = [each.get("baseline", {}).get(name, {}).get("value") for each in compared]
    values.append(compared[-1]["metrics"].get(name, {}).get("value"))
    change = compared[0]["change"].get(name, {})
    if not all(isinstance(each, (int, float)) for each in (*values, change.get("value"))):
        note = "not every version has this metric"
        return RequirementOutcome(
            what, 0.0, asked.least, None, note=note, binding=refuse, needed=False
        )
    steps = [after - before for before, after in itertools.pairwise(values)]
    worse = [step < 0 if asked.least else step > 0 for step in steps]
    lower, upper = change.get("lower"), change.get("upper")
    surely = (upper is not None and upper < 0) if asked.least else bool(lower and lower > 0)
    shown = ", ".join(f"{value:.4g}" for value in values)
    if all(worse) and surely:
        bound = upper if asked.least else lower
        note = f"{shown}: worse at each version, and by more than chance ({bound:+.2g} at best)"
        return RequirementOutcome(
            what, 0.0, asked.least, change["value"], note=note, binding=refuse
        )
    note = f"{shown}: not worse at each version" if not all(worse) else f"{shown}: within chance"
    # what does not count as a fall is met, whatever its sign
    value = max(change["value"], 0.0) if asked.least else min(change["value"], 0.0)
    return RequirementOutcome(what, 0.0, asked.least, value, note=note, binding=refuse)
