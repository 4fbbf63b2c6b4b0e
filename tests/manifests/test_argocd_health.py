"""The health checks for Argo CD, run in Lua 5.1 as it runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lupa.lua51
import pytest
import yaml

FILE = Path(__file__).parents[2] / "manifests" / "gitops" / "argocd" / "health.yaml"
PREFIX = "resource.customizations.health."
SCRIPTS = {
    key.removeprefix(PREFIX): text for key, text in yaml.safe_load(FILE.read_text())["data"].items()
}
KINDS = (
    "pipelines.kubeflow.org_PipelineVersion",
    "trainer.kubeflow.org_TrainJob",
    "kubeflow.org_TFJob",
    "kubeflow.org_Experiment",
)
BEFORE = {kind: "Healthy" if "Pipeline" in kind else "Progressing" for kind in KINDS}


def health(kind: str, obj: dict[str, Any]) -> tuple[str, str]:
    lua = lupa.lua51.LuaRuntime()
    # Argo CD gives no libraries but the basic one, string, table and math
    for name in ("io", "os", "package", "require", "python"):
        lua.globals()[name] = None
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    found = lua.execute(SCRIPTS[kind])
    return found["status"], found["message"]


def conditions(*entries: tuple[str, str]) -> dict[str, Any]:
    found = [
        {"type": name, "status": status, "message": f"{name} {status}", "reason": "x"}
        for name, status in entries
    ]
    return {"status": {"conditions": found}}


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_status_yet_is_on_its_way(kind: str) -> None:
    for obj in ({}, {"status": {}}, {"status": {"conditions": []}}):
        assert health(kind, obj)[0] == BEFORE[kind]


@pytest.mark.parametrize(
    ("kind", "entries", "expected"),
    [
        (KINDS[0], [("PipelineVersionStatus", "True")], "Healthy"),
        (KINDS[0], [("PipelineVersionStatus", "False")], "Degraded"),
        (KINDS[1], [("Suspended", "True")], "Suspended"),
        (KINDS[1], [("Suspended", "False"), ("Complete", "True")], "Healthy"),
        (KINDS[1], [("Suspended", "False"), ("Failed", "True")], "Degraded"),
        (KINDS[2], [("Created", "True"), ("Running", "True")], "Progressing"),
        (KINDS[2], [("Created", "True"), ("Running", "False"), ("Succeeded", "True")], "Healthy"),
        (KINDS[2], [("Created", "True"), ("Failed", "True")], "Degraded"),
        (KINDS[2], [("Created", "True"), ("Suspended", "True")], "Suspended"),
        (KINDS[3], [("Created", "True"), ("Running", "True")], "Progressing"),
        (KINDS[3], [("Running", "False"), ("Succeeded", "True")], "Healthy"),
        (KINDS[3], [("Running", "False"), ("Failed", "True")], "Degraded"),
    ],
)
def test_conditions_are_read_as_the_operators_write_them(
    kind: str, entries: list[tuple[str, str]], expected: str
) -> None:
    status, message = health(kind, conditions(*entries))
    assert status == expected
    if expected in ("Degraded", "Suspended"):
        assert message == f"{entries[-1][0]} {entries[-1][1]}"


def test_an_application_is_as_healthy_as_what_it_holds() -> None:
    kind = "argoproj.io_Application"
    assert health(kind, {})[0] == "Progressing"
    assert health(kind, {"status": {"health": {"status": "Degraded"}}}) == ("Degraded", "")
