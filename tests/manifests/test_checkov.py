"""What checkov finds in manifests, rendered sites, images and workflows is explained, or none."""

from __future__ import annotations

import json
import os
import re
import shutil
import string
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import kustomize

from edgeline.environments import NAMES
from edgeline.sites.render import render
from edgeline.sites.settings import IN_CLUSTER, SiteSettings

sys.path.append(str(Path(__file__).parents[1] / "sites"))
from conftest_sites import pixels

pytestmark = pytest.mark.slow
__all__ = ["pixels"]

ROOT = Path(__file__).parents[2]
BUILD = Path(__file__).with_name("build_checkov.sh")
EXPLAINED = Path(__file__).with_name("checkov_explained.yaml")


def program() -> Path:
    (version,) = [
        line.partition("=")[2] for line in BUILD.read_text().splitlines() if "version=" in line[:8]
    ]
    cache = Path(os.environ.get("EDGELINE_TEST_CACHE", "~/.cache/edgeline-tests")).expanduser()
    found = cache / f"checkov-{version}"
    if not (found / "ready").exists():
        pytest.skip(f"NOT TESTED: what checkov finds; {BUILD.name} installs it")
    return found / "bin" / "checkov"


@pytest.fixture(scope="module")
def looked_at(pixels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that a cluster, a registry or a forge is given, in folders."""
    folder = tmp_path_factory.mktemp("checkov")
    for name in NAMES:
        objects = kustomize(ROOT / "manifests" / "overlays" / name)
        (folder / "overlays").mkdir(exist_ok=True)
        (folder / "overlays" / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
    for form in IN_CLUSTER:
        render(str(pixels), SiteSettings(form), "ghcr.io/acme/models", str(folder / "sites" / form))
    for tool in ("argocd", "flux"):
        shutil.copytree(ROOT / "manifests" / "gitops" / tool, folder / "gitops" / tool)
    for file in (ROOT / "images").glob("*/Containerfile"):  # by this name alone it reads one
        target = folder / "images" / file.parent.name / "Dockerfile"
        target.parent.mkdir(parents=True)
        shutil.copyfile(file, target)
    workflows = folder / ".github" / "workflows"
    workflows.mkdir(parents=True)
    for file in (ROOT / ".github" / "workflows").glob("*.yaml"):
        shutil.copyfile(file, workflows / file.name)
    for file in (ROOT / "manifests" / "gitops").glob("*-workflow.yaml"):
        shutil.copyfile(file, workflows / file.name)
    for file in folder.rglob("kustomization.yaml"):
        file.unlink()  # no object
    return folder


def findings(folder: Path) -> list[tuple[str, str, str]]:
    """The check, FILE:RESOURCE, and what it says."""
    command = [program(), "-d", folder, "--compact", "--quiet", "-o", "json", "--framework"]
    command += ["kubernetes", "dockerfile", "github_actions", "secrets"]
    environment = {**os.environ, "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    told: Any = json.loads(done.stdout)
    reports = {report["check_type"]: report for report in told}
    assert {"kubernetes", "dockerfile", "github_actions"} <= reports.keys()
    assert not any(report["summary"]["parsing_errors"] for report in reports.values())
    return [
        (
            each["check_id"],
            f"{each['file_path'].lstrip('/')}:{each['resource']}",
            each["check_name"],
        )
        for report in reports.values()
        for each in report["results"]["failed_checks"]
    ]


def test_a_base_that_is_a_build_argument_is_a_digest() -> None:
    """checkov does not look into arguments: why CKV_DOCKER_7 is explained."""
    for file in (ROOT / "images").glob("*/Containerfile"):
        text = file.read_text()
        values = dict(re.findall(r"^ARG (\w+)=(\S*)$", text, re.MULTILINE))
        stages = set(re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE))
        for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
            name = string.Template(base).substitute(values)
            assert name in stages or re.search(r"@sha256:[0-9a-f]{64}$", name), (file, base)


def test_whatever_checkov_finds_is_explained(looked_at: Path) -> None:
    explained = yaml.safe_load(EXPLAINED.read_text())
    assert all(set(entry) == {"check", "where", "why"} and entry["why"] for entry in explained)
    used, open_ = set(), []
    for check, place, said in findings(looked_at):
        reasons = {
            (entry["check"], pattern)
            for entry in explained
            for pattern in entry["where"]
            if entry["check"] == check and fnmatch(place, pattern)
        }
        used |= reasons
        if not reasons:
            open_.append(f"{check} {place}: {said}")
    assert not open_, "\n".join(open_)
    given = {(entry["check"], pattern) for entry in explained for pattern in entry["where"]}
    assert given - used == set()  # what is explained is still there
