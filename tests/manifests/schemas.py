"""Kubernetes objects against their schemas, with unknown fields refused as a strict server does."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

CRDS = Path(__file__).parents[1] / "data" / "crds"
OPEN = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource")


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of a folder."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run(
        [str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def validate(document: dict[str, Any]) -> None:
    """Hold an object to the schema of its kind.

    Raises:
        jsonschema.ValidationError, kubernetes_validate.ValidationError: it does not fit.
    """
    group, _, version = document["apiVersion"].rpartition("/")
    path = CRDS / f"{group}_{document['kind']}_{version}.json"
    if path.is_file():
        jsonschema.Draft202012Validator(_crd(path)).validate(document)
    else:
        kubernetes_validate.validate(document, "1.33", strict=True)


def validate_by_definition(document: dict[str, Any], definition: Path) -> None:
    """Hold an object to the CustomResourceDefinition of its kind, a YAML file.

    Raises:
        jsonschema.ValidationError: it does not fit.
    """
    spec = yaml.load(definition.read_text(), yaml.CSafeLoader)["spec"]
    assert document["kind"] == spec["names"]["kind"]
    schemas = {
        f"{spec['group']}/{each['name']}": each["schema"]["openAPIV3Schema"]
        for each in spec["versions"]
        if each["served"]
    }
    schema = _closed(schemas[document["apiVersion"]], top=True)
    jsonschema.Draft202012Validator(schema).validate(document)


@cache
def _crd(path: Path) -> Any:
    return _closed(json.loads(path.read_text())["schema"], top=True)


def _closed(schema: Any, top: bool = False) -> Any:
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(below) for name, below in value.items()}
        if key == "properties"
        else _closed(value)
        for key, value in schema.items()
    }
    if top:
        own = {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
        closed["properties"] = {**closed.get("properties", {}), **own}
    if schema.get("x-kubernetes-int-or-string"):
        closed.pop("type", None)
    if "properties" in schema and not any(schema.get(key) for key in OPEN):
        closed.setdefault("additionalProperties", False)
    return closed
