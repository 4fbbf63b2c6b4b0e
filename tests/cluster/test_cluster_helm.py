"""The chart on a real API server: installed, upgraded as it runs, removed without a trace."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from api_server import ApiServer

sys.path.append(str(Path(__file__).parents[1] / "manifests"))
from helm import CHART, EVERYTHING, helm, skip_without_helm

KINDS = "deployment,service,serviceaccount,hpa,pdb,ingress,networkpolicy,servicemonitor,configmap"


def objects(api_server: ApiServer) -> dict[str, dict[str, Any]]:
    """Those of the release, by kind."""
    own = ("-n", "edgeline", "-l", "app.kubernetes.io/instance=chart", "-o", "json")
    found = json.loads(api_server.kubectl("get", KINDS, *own))["items"]
    return {each["kind"]: each for each in found}


def test_helm_installs_upgrades_and_removes_it(api_server: ApiServer) -> None:
    skip_without_helm()
    at = ("--kubeconfig", api_server.kubeconfig, "--namespace", "edgeline")
    install = ("upgrade", "--install", "chart", CHART, *at, *EVERYTHING)
    notes = helm(*install).split("NOTES:\n")[1]
    assert "chart-edge-server serves s3://edgeline/models in the namespace edgeline." in notes
    for bring in ("edge-server-trust", "edge-server-tokens", "edge-server-prometheus"):
        assert f" {bring} with " in notes
    first = objects(api_server)
    assert len(first) == len(KINDS.split(","))
    # as the autoscaler does it: through the scale subresource
    api_server.kubectl("scale", "deployment", "chart-edge-server", "-n", "edgeline", "--replicas=5")
    helm(*install)
    second = objects(api_server)
    assert second["Deployment"]["spec"] == {**first["Deployment"]["spec"], "replicas": 5}
    for kind in first.keys() - {"Deployment"}:
        assert (
            second[kind]["metadata"]["resourceVersion"]
            == (first[kind]["metadata"]["resourceVersion"])
        )
    helm(*install, "--set", "settings.AWS_REGION=eu-central-1")
    third = objects(api_server)["Deployment"]["spec"]
    assert third["replicas"] == 5
    assert third["template"] != second["Deployment"]["spec"]["template"]
    helm("uninstall", "chart", *at)
    assert objects(api_server) == {}
