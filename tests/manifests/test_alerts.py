"""The alerts, as Prometheus evaluates them: each fires when it should, and none for a fleet that is
well. promtool is of Debian's package `prometheus`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="NOT TESTED: the alerts by promtool: install Debian's package prometheus",
)
RULES = Path(__file__).parents[2] / "manifests/components/monitoring/rules/alerts.yaml"
POD = {"namespace": "edgeline", "pod": "edge-server-0"}
MODEL = {**POD, "model": "m"}
# an alert: the series that it is about (name, labels, a value a minute as promtool writes them),
# the first minute at which it fires, and its labels besides the severity
CASES: dict[str, tuple[list[tuple[str, dict[str, str], str]], int, dict[str, str]]] = {
    "NoEdgeServer": ([("up", POD, "1x20")], 10, {}),
    "EdgeServerDown": (
        [("up", {"job": "edgeline/edge-server", "instance": "a:8080"}, "0x20")],
        5,
        {"job": "edgeline/edge-server", "instance": "a:8080"},
    ),
    "NoModel": (
        [
            ("edgeline_connections", POD, "1x40"),
            ("edgeline_connections", {**POD, "pod": "another"}, "1x40"),
            ("edgeline_model_ready", {**MODEL, "pod": "another"}, "1x40"),
        ],
        15,
        POD,
    ),
    # it is gone from minute 4 on, which Prometheus is told by a stale marker
    "ModelGone": (
        [("edgeline_model_ready", {**MODEL, "version": "1"}, "1x3 stale _x40")],
        9,
        {"namespace": "edgeline", "model": "m"},
    ),
    "PredictionsFail": (
        [
            ("edgeline_requests_total", {**MODEL, "code": "OK"}, "0+97x40"),
            ("edgeline_requests_total", {**MODEL, "code": "INTERNAL"}, "0+3x40"),
        ],
        11,
        {"namespace": "edgeline", "model": "m"},
    ),
    "RequestsRefused": (
        [("edgeline_rejected_total", {**MODEL, "reason": "queue_full"}, "0+1x40")],
        11,
        {"namespace": "edgeline", "model": "m"},
    ),
    "ModelUpdateFailed": (
        [("edgeline_model_loads_total", {**MODEL, "result": "failed"}, "0x4 1x40")],
        5,
        {**MODEL, "result": "failed"},
    ),
    "UpdatesStale": ([("edgeline_update_stale", POD, "1x90")], 60, POD),
    # time begins at 0, so that it expires in minute 2
    "UpdateMetadataExpired": (
        [("edgeline_update_expiry_time_seconds", POD, "119x40")],
        17,
        POD,
    ),
    "UpdatesPending": ([("edgeline_update_pending_versions", POD, "1x400")], 360, POD),
    "InputsDrift": (
        [("edgeline_drift_drifting", {**MODEL, "version": "1"}, "2x60")],
        30,
        {"namespace": "edgeline", "model": "m"},
    ),
}
WELL = [
    ("up", {"job": "edgeline/edge-server", "instance": "a:8080"}, "1x400"),
    ("edgeline_connections", POD, "1x400"),
    ("edgeline_model_ready", {**MODEL, "version": "1"}, "1x200 stale"),
    ("edgeline_model_ready", {**MODEL, "version": "2"}, "_x190 1x210"),  # an update
    ("edgeline_requests_total", {**MODEL, "code": "OK"}, "0+1000x400"),
    ("edgeline_requests_total", {**MODEL, "code": "INTERNAL"}, "0+1x400"),
    ("edgeline_requests_total", {**MODEL, "code": "INVALID_ARGUMENT"}, "0+500x400"),
    ("edgeline_rejected_total", {**MODEL, "reason": "queue_full"}, "0x100 3x300"),
    ("edgeline_model_loads_total", {**MODEL, "result": "ok"}, "1x190 2x210"),
    ("edgeline_model_loads_total", {**MODEL, "result": "failed"}, "0x400"),
    ("edgeline_update_stale", POD, "0x100 1x30 0x270"),
    ("edgeline_update_expiry_time_seconds", POD, "100000x400"),
    ("edgeline_update_pending_versions", POD, "0x100 1x100 0x200"),
    ("edgeline_drift_drifting", {**MODEL, "version": "1"}, "0x400"),
]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PrometheusRule as the file that the operator makes of it."""
    file = tmp_path_factory.mktemp("rules") / "alerts.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return file


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules(rules: Path) -> None:
    promtool("check", "rules", rules)


def test_each_alert_fires_when_it_is_time_and_none_for_a_fleet_that_is_well(rules: Path) -> None:
    (group,) = yaml.safe_load(rules.read_text())["groups"]
    by_name = {rule["alert"]: rule for rule in group["rules"]}
    assert by_name.keys() == CASES.keys()
    tests = []
    for name, (series, minute, labels) in CASES.items():
        rule = by_name[name]
        fires = {
            "exp_labels": {**labels, **rule["labels"]},
            "exp_annotations": {
                key: _filled(text, labels) for key, text in rule["annotations"].items()
            },
        }
        expected = [(minute - 1, []), (minute, [fires])]
        tests.append(_test(series, [(at, name, alerts) for at, alerts in expected]))
    tests.append(_test(WELL, [(at, name, []) for at in (60, 195, 205, 260, 400) for name in CASES]))
    file = rules.with_name("test.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "tests": tests}))
    promtool("test", "rules", file)


def _filled(text: str, labels: dict[str, str]) -> str:
    """A template as Prometheus fills it."""
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)


def _test(
    series: list[tuple[str, dict[str, str], str]], expected: list[tuple[int, str, list[Any]]]
) -> dict[str, Any]:
    """One of promtool's: what comes in, and what is to fire at which minute."""
    given = []
    for name, labels, values in series:
        within = ",".join(f'{key}="{value}"' for key, value in labels.items())
        given.append({"series": f"{name}{{{within}}}", "values": values})
    return {
        "interval": "1m",
        "input_series": given,
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": alerts}
            for minute, alert, alerts in expected
        ],
    }
