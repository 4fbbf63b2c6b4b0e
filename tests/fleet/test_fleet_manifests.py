"""The Deployment of the list of devices, as the guide shows it."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import yaml

sys.path.append(str(Path(__file__).parents[1] / "manifests"))
from schemas import kustomize, validate

from edgeline.cli.fleet_serve import serve
from edgeline.lint.lint import lint

ROOT = Path(__file__).parents[2]


def test_the_component_fits_an_overlay(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests", symlinks=True)
    team = tmp_path / "team"
    team.mkdir()
    guide = (ROOT / "docs" / "fleet.md").read_text()
    blocks = [each.partition("```")[0] for each in guide.split("```yaml\n")[1:]]
    (shown,) = [each for each in blocks if "components/fleet" in each]
    here = re.sub(r"https://github.com/edgeline/edgeline//(\S+)\?ref=\S+", r"../\1", shown)
    (team / "kustomization.yaml").write_text(here)
    objects = kustomize(team)
    for each in objects:
        validate(each)
    kinds = {each["kind"]: each for each in objects}
    assert not {"Role", "ClusterRole"} & kinds.keys()
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].startswith("ghcr.io/edgeline/pipeline-python")
    assert container["command"][:3] == ["edgeline", "fleet", "serve"]
    given = serve.make_context("serve", container["command"][3:]).params
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    assert str(Path(given["state"]).parent) in mounted
    assert str(Path(given["tokens"]).parent) in mounted
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "all.yaml").write_text(yaml.safe_dump_all(objects))
    found = {str(entry) for entry in lint([tmp_path / "built"])}
    assert {entry for entry in found if "image-not-pinned" not in entry} == set()
