"""requirements.yaml: what it may say, what is refused, and the line that each requirement gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeline.artifacts import outcomes
from edgeline.artifacts.outcomes import FAILED, MET, NOT_MEASURED, TOLD, RequirementOutcome
from edgeline.artifacts.requirements import parse, read
from edgeline.components.settings.settings import names, settings
from edgeline.errors import EdgelineError, UsageError
from edgeline.pipelines.parameter import of_form
from edgeline.pipelines.parameters import check
from edgeline.pipelines.parameters import parse as parse_set
from edgeline.preflight import before_a_run_there
from edgeline.reports.requirements import line

AUC = {"metric": "auc", "at_least": 0.9}


def rows(metrics: dict[str, float | None], count: int = 100, **slice_: Any) -> dict[str, Any]:
    return {
        "slice": slice_,
        "name": ", ".join(f"{name}: {value}" for name, value in slice_.items()) or "Overall",
        "examples": count,
        "metrics": {name: {"value": value} for name, value in metrics.items()},
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": [AUC]}, "Object contains unknown field `metric`"),
        (
            {"metrics": [{"metric": "auc"}]},
            r"metrics\[0\] \(auc\) needs either at_least or at_most",
        ),
        ({"metrics": [{**AUC, "at_most": 1}]}, "needs either at_least or at_most"),
        ({"metrics": [{**AUC, "by": ["a"], "where": {"b": 1}}]}, "has both by and where"),
        ({"metrics": [{"metric": "auc", "at_least": "high"}]}, "got `str`"),
        ({"devices": {"hub": {}}}, "devices.hub asks for nothing: add p99_ms"),
        ({"devices": {"hub": {"p99_ms": -1}}}, "devices.hub: Expected `float` > 0.0"),
        ({"devices": {"hub": {"speed": 1}}}, "devices.hub: Object contains unknown field `speed`"),
        (
            {"trend": {"versions": 3}},
            "trend looks at the metrics of all rows, but metrics has none",
        ),
        ({"metrics": [AUC], "trend": {"versions": 1}}, "Expected `int` >= 2"),
    ],
)
def test_what_no_requirement_can_be_is_told_in_one_sentence(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(EdgelineError, match=said) as raised:
        parse(given)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: [", "is not a requirements file"),
        ("- a list", "is not a requirements file"),
        ("devices: {a: {p99_ms: 1}}\ndevices: {}", "has .devices. again"),
        ("devices: {a: {}}", "devices.a asks for nothing"),
    ],
)
def test_a_file_that_is_none_is_refused_by_its_path(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "requirements.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=said) as raised:
        read(file)
    assert str(file) in str(raised.value)
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "none.yaml")


def test_a_parameter_takes_the_file_or_its_object(tmp_path: Path) -> None:
    file = tmp_path / "requirements.yaml"
    file.write_text("metrics: [{metric: auc, at_least: 0.9}]")
    form = of_form("tabular")
    wanted = {"with_edge": {"requirements": {"metrics": [AUC]}}}
    assert parse_set([f"requirements={file}"], form) == wanted
    assert parse_set(['requirements={"metrics": [{"metric": "auc", "at_least": 0.9}]}'], form) == (
        wanted
    )
    assert check({"edge": {"requirements": file}}, form) == wanted
    assert check({"edge.requirements": str(file)}, form) == wanted
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read"):
        parse_set(["requirements=none.yaml"], form)


def test_each_requirement_is_one_line_with_how_much_it_is_met_or_not() -> None:
    wanted = parse(
        {
            "metrics": [
                AUC,
                {"metric": "mse", "at_most": 2},
                {"metric": "auc", "at_least": 0.8, "by": ["hour"], "min_rows": 30},
                {"metric": "auc", "at_least": 0.8, "where": {"hour": 3}},
                {"metric": "auc", "at_least": 0.8, "where": {"hour": 9}},
                {"metric": "recall", "at_least": 0.8},
            ]
        }
    )
    slices = [
        rows({"auc": 0.95, "mse": 2.5}),
        rows({"auc": 0.7}, 40, hour=3),
        rows({"auc": 0.75}, 50, hour=4),
        rows({"auc": 0.1}, 5, hour=5),
        rows({"auc": None}, 60, hour=6),
    ]
    found = outcomes.of_metrics(wanted.metrics, slices)
    assert [line(each) for each in found] == [
        "✔ met: auc of all rows is 0.95, at least 0.9 is required: 0.05 to spare.",
        "✘ not met: mse of all rows is 2.5, at most 2 is required: 0.5 over.",
        "✘ not met: auc of each hour is 0.7 (lowest of 2 slices, at hour: 3, and undefined in 1), "
        "at least 0.8 is required: 0.1 short.",
        "✘ not met: auc of hour: 3 is 0.7, at least 0.8 is required: 0.1 short.",
        "✘ not met: auc of hour: 9 is not known (no row is in it), at least 0.8 is required.",
        "✘ not met: recall of all rows is not known (computed are auc, mse), at least 0.8 is "
        "required.",
    ]
    assert outcomes.first_failure(found).endswith("0.5 over (4 more are not met).")
    kept = {"requirements": [each.to_json() for each in found]}
    assert outcomes.of(kept) == found


def test_a_slice_whose_value_is_undefined_does_not_meet_what_each_slice_has_to() -> None:
    wanted = parse({"metrics": [{"metric": "auc", "at_least": 0.6, "by": ["hour"]}]})
    slices = [rows({"auc": 0.9}), rows({"auc": 0.7}, hour=3), rows({"auc": None}, hour=6)]
    [found] = outcomes.of_metrics(wanted.metrics, slices)
    assert found.fails
    assert "is not known (it is undefined in 1 of 2 slices, as at hour: 6: " in found.sentence
    [found] = outcomes.of_metrics(wanted.metrics, slices[:2])
    assert found.state == MET


@pytest.mark.parametrize(
    ("found", "wanted", "alike"),
    [
        (0.10000000149011612, 0.1, True),  # a float32, as analyze has it
        ("0.1", 0.1, True),  # as verify has it
        (0.10000000149011612, "0.1", True),
        (0.11, 0.1, False),
        (3, 3.0, True),
        (3, "3", True),
        ("3", 3, True),
        ("01234", "01234", True),
        ("01234", 1234, False),
        ("01234", "1234", False),
        (16777216, 16777217, False),  # one float32
        ("(missing)", 0, False),
        (1e300, 1e300, True),
        ("Cash", "Cash", True),
        (5, "Cash", False),
    ],
)
def test_a_slice_is_found_by_the_value_that_was_written(
    found: Any, wanted: Any, alike: bool
) -> None:
    assert outcomes.is_value(found, wanted) is alike


def test_what_is_not_measured_keeps_nothing_back_and_what_is_only_told_neither() -> None:
    energy = RequirementOutcome(
        "hub: energy", 2.0, False, None, " mJ", "nothing measures it", needed=False
    )
    fall = RequirementOutcome("trend of auc", 0.0, True, -0.1, binding=False)
    assert (energy.state, energy.fails) == (NOT_MEASURED, False)
    assert (fall.state, fall.fails) == (TOLD, False)
    assert RequirementOutcome("auc", 0.5, True, 0.5).state == MET
    assert RequirementOutcome("auc", 0.5, True, float("nan")).state == FAILED


def worked_out(kind: str = "tabular", **given: Any) -> dict[str, Any]:
    form = {"splits": {}, "schema": {}, "edge": {}, "delivery": {}}
    form |= {"model": {}} if kind == "pretrained" else {"training": {}, "evaluation": {}}
    return dict(zip(names(), settings(kind, {}, **{**form, **given}), strict=True))


def test_settings_say_where_the_baseline_and_the_versions_of_the_trend_are() -> None:
    place = {"destination": "s3://bucket/models/", "model_name": "taxi"}
    asked = {"metrics": [AUC], "trend": {"versions": 3.0}}  # as KFP hands a 3
    found = worked_out(evaluation={"baseline": "latest"}, edge={"requirements": asked}, **place)
    assert found["baseline_model_uri"] == "s3://bucket/models/taxi/latest"
    assert found["requirements"]["trend"]["versions_of"] == "s3://bucket/models/taxi"
    both = {"baseline": "7", "baseline_model_uri": "s3://bucket/model"}
    with pytest.raises(EdgelineError, match="both name a model to compare with: leave one out"):
        worked_out(evaluation=both, **place)
    with pytest.raises(EdgelineError, match="there is no destination and model_name"):
        worked_out(evaluation={"baseline": "latest"})
    with pytest.raises(EdgelineError, match="'newest' is not latest, approved or the number of a"):
        worked_out(evaluation={"baseline": "newest"}, **place)


@pytest.mark.parametrize(
    ("kind", "asked", "said"),
    [
        (
            "tabular",
            {"devices": {"npu": {"target": "ethos-u55", "size_kb": 9}}},
            "device npu is of",
        ),
        ("tabular", {"devices": {"x": {}}}, "devices.x asks for nothing"),
        (
            "tabular",
            {"devices": {"litert": {"mapped_share": 0.5}}},
            "asks for a mapped_share, but a model for litert is not compiled",
        ),
        (
            "tabular",
            {"devices": {"litert": {"energy_mj": 5, "size_kb": 9}}},
            "asks for an energy_mj, which nothing measures of a model for litert",
        ),
        (
            "tabular",
            {"devices": {"litert": {"quantisation": "int8", "size_kb": 9}}},
            "about models of quantisation int8, but this run makes one of float",
        ),
        ("pretrained", {"metrics": [AUC]}, "evaluates no model"),
    ],
)
def test_what_nobody_would_judge_is_refused_before_any_work(
    kind: str, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(EdgelineError, match=said):
        worked_out(kind, edge={"requirements": asked})


def test_a_candidate_that_would_be_served_is_refused_before_any_work() -> None:
    signed = {"signing_keys": "env:KEY", "candidate": "wide"}
    assert worked_out(delivery=signed)["candidate"] == "wide"
    with pytest.raises(EdgelineError, match="candidate is for a signed repository"):
        worked_out(delivery={"candidate": "wide"})
    sites = {"sites": [{"site": "cluster://edge"}], "models_repository": "ghcr.io/acme/models"}
    with pytest.raises(EdgelineError, match="to which a candidate is not deployed"):
        worked_out(delivery={**signed, **sites})


def test_a_slice_by_a_column_that_is_not_there_is_told_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("hour,fare,tip\n1,2.5,0\n")
    form = of_form("tabular")
    asked = {"metrics": [{"metric": "auc", "at_least": 0.5, "by": ["hours"]}]}
    given = check({"data": str(tmp_path / "rows.csv"), "requirements": asked}, form)
    with pytest.raises(UsageError, match="asks for slices by 'hours', which is not a column"):
        before_a_run_there(form, given)
