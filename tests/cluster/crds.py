"""CustomResourceDefinitions made from the schemas that the other tests validate with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMAS = sorted((Path(__file__).parents[1] / "data" / "crds").glob("*.json"))


def definitions() -> list[dict[str, Any]]:
    """One for each schema but those of Argo Events, which are parts of a JSON schema and not of a
    definition."""
    schemas = [json.loads(path.read_text()) for path in SCHEMAS]
    return [_definition(schema) for schema in schemas if "version" in schema]


def _definition(schema: dict[str, Any]) -> dict[str, Any]:
    group, kind = schema["group"], schema["kind"]
    singular = kind.lower()
    is_ies = singular.endswith("y") and singular[-2] not in "aeiou"
    plural = f"{singular[:-1]}ies" if is_ies else f"{singular}s"
    version = {
        "name": schema["version"],
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema["schema"]},
    }
    if "status" in schema["schema"].get("properties", {}):
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # groups of Kubernetes' own, such as gateway.networking.k8s.io, need it
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": group,
            "scope": schema["scope"],
            "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [version],
        },
    }
