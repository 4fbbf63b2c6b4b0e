"""The workflows' own lines, run in repositories laid out as manifests/gitops/README.md says.

So are those of edgeline's own release. GitHub's actions are left out. `gh`, `pip`, `python`,
`cosign` and the building of images are stand-ins that note what they were told; git, edgeline,
kubectl and the registry are real. NOT TESTED: a signature without a key,
since Sigstore is not reached; one with a key is in tests/sites/test_signed_image.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeline import __version__, images
from edgeline.images import kustomization
from edgeline.kubeflow.versions import digest
from edgeline.lint.lint import lint

sys.path.append(str(Path(__file__).parents[1] / "sites"))
from conftest_sites import registry

__all__ = ["registry"]
ROOT = Path(__file__).parents[2]
GITOPS = ROOT / "manifests" / "gitops"
OWN = ROOT / ".github" / "workflows"
PIPELINE = """
from kfp import dsl

from edgeline.components.ingest.component import ingest


@dsl.pipeline(name="reading")
def pipeline(data: str, key: str = "id"):
    ingest(data=data, split_key=key)
"""
READING = """
from kfp import dsl

from edgeline.components.ingest.component import ingest
from edgeline.components.validate.component import validate


@dsl.pipeline(name="reading")
def pipeline(data: str, sample: float = 1.0, skew_threshold: float = 0.1):
    rows = ingest(data=data, sample=sample)
    validate(examples=rows.outputs["examples"], skew_threshold=skew_threshold)
"""
DIGEST = f"sha256:{'a' * 64}"


def steps(name: str, job: str, folder: Path = GITOPS) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((folder / name).read_text())["jobs"][job]["steps"]
    return found


@dataclass(frozen=True)
class Runner:
    """Runs the lines of a workflow in a checkout, as GitHub's machine does."""

    checkout: Path
    notes: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str) -> str:
        return self._run(["git", *arguments]).stdout

    def step(self, step: Mapping[str, Any], **variables: str) -> subprocess.CompletedProcess[str]:
        assert "${{" not in step["run"]  # a branch's name could be a command
        command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        return self._run(command, check=False, **variables)

    def _run(
        self, command: list[str], check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.checkout,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=check,
        )


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    tools, notes = tmp_path / "tools", tmp_path / "notes"
    tools.mkdir()
    for name in ("gh", "pip", "docker", "python", "cosign"):
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {notes}\n')
        (tools / name).chmod(0o755)
    bare, checkout = tmp_path / "origin.git", tmp_path / "work" / "checkout"
    checkout.mkdir(parents=True)
    path = f"{tools}:{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    made = Runner(
        checkout,
        notes,
        {
            **{key: value for key, value in os.environ.items() if not key.startswith("GIT")},
            "PATH": path,
            "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
            "HOME": str(tmp_path),
            "GITHUB_OUTPUT": str(tmp_path / "outputs"),
        },
    )
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", bare], check=True)
    made.git("init", "--quiet", "-b", "main")
    made.git("config", "--global", "user.name", "somebody")
    made.git("config", "--global", "user.email", "somebody@example.com")
    made.git("remote", "add", "origin", str(bare))
    return made


def commit(runner: Runner, message: str) -> None:
    runner.git("add", "--all")
    runner.git("commit", "--quiet", "-m", message)


@pytest.fixture
def team(runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """A team's repository on main, and a branch; edgeline's manifests lie beside it."""
    lock = tmp_path / "images.lock.yaml"
    entries = images.entries(images.lock_file())
    lock.write_text(
        yaml.safe_dump(
            {
                name: {"repository": entry.repository, "version": "1", "digest": DIGEST}
                for name, entry in entries.items()
            }
        )
    )
    monkeypatch.setenv(images.LOCK, str(lock))
    manifests = runner.checkout.parent / "edgeline" / "manifests"  # in place of its address
    shutil.copytree(ROOT / "manifests", manifests)
    kustomization.write(manifests / "components" / "images" / "kustomization.yaml", lock)
    production = runner.checkout / "environments" / "production"
    (production / "cluster").mkdir(parents=True)
    readme = (GITOPS / "README.md").read_text()
    written = readme.split("cluster/kustomization.yaml`:\n\n```yaml\n")[1].split("```")[0]
    address = next(line.strip("- ") for line in written.splitlines() if "https://" in line)
    local = "../../../../edgeline/manifests/overlays/onprem"
    (production / "cluster" / "kustomization.yaml").write_text(written.replace(address, local))
    shutil.copyfile(
        manifests / "overlays" / "onprem" / "pipelines" / "schedules.yaml",
        production / "cluster" / "schedules.yaml",
    )
    (production / "cluster" / "root.json").write_text("{}")
    shutil.copyfile(
        ROOT / "edgeline" / "environments" / "onprem.yaml", production / "environment.yaml"
    )
    for folder in ("argocd", "flux"):
        shutil.copytree(GITOPS / folder, runner.checkout / folder)
        for file in (runner.checkout / folder).iterdir():
            file.write_text(file.read_text().replace("git.example.com", "git.acme.dev"))
    (runner.checkout / "pipelines").mkdir()
    (runner.checkout / "pipelines" / "reading.py").write_text(PIPELINE)
    environment = {**runner.environment, images.LOCK: str(lock)}
    made = Runner(runner.checkout, runner.notes, environment)
    compile_all = next(x for x in steps("github-workflow.yaml", "check") if "Compile" in str(x))
    assert made.step(compile_all).returncode == 0
    commit(made, "what runs")
    made.git("push", "--quiet", "origin", "main")
    made.git("switch", "--quiet", "--create", "change")
    return made


def checked(team: Runner) -> tuple[str, str]:
    """The step of the pull request's check that fails, or none, and what it printed."""
    jobs = ("check", "lint", "sample", "tell")
    for step in (each for job in jobs for each in steps("github-workflow.yaml", job)):
        if "run" in step:
            given = {name: str(x) for name, x in step.get("env", {}).items() if "${{" not in str(x)}
            given |= {"GITHUB_BASE_REF": "main", "NUMBER": "7", "COLUMNS": "250"}
            done = team.step(step, **given)
            if done.returncode:
                return str(step["name"]), done.stdout + done.stderr
    return "", ""


def test_a_good_pull_request_passes_every_step_and_shows_what_changes(team: Runner) -> None:
    cluster = team.checkout / "environments" / "production" / "cluster"
    text = (cluster / "schedules.yaml").read_text()
    (cluster / "schedules.yaml").write_text(text.replace("0 0 3 * * *", "0 30 4 * * *"))
    commit(team, "later")
    assert checked(team) == ("", "")
    difference = (team.checkout / "difference.md").read_text()
    assert difference.startswith("```diff\n")
    assert "-        cron: 0 0 3 * * *\n+        cron: 0 30 4 * * *\n" in difference
    assert json.loads((team.checkout / "lint.sarif").read_text())["runs"][0]["results"] == []
    told = team.notes.read_text().splitlines()
    assert told == [
        *["pip install --require-hashes -r requirements.txt"] * 2,
        "pip install --require-hashes -r requirements-run.txt",
        "gh pr comment 7 --edit-last --create-if-none --body-file comment.md",
    ]
    assert "#### reading" not in (team.checkout / "compared.md").read_text()  # which is as it was
    assert "-        cron: 0 0 3 * * *" in (team.checkout / "comment.md").read_text()


def sampled(team: Runner) -> tuple[int, str]:
    """Exit code of the step that runs what has changed on a sample, and its part of the comment."""
    step = next(x for x in steps("github-workflow.yaml", "sample") if "Run each" in str(x))
    done = team.step(step, GITHUB_BASE_REF="main", SAMPLE="0.5", COLUMNS="250")
    return done.returncode, (team.checkout / "compared.md").read_text()


def test_a_changed_pipeline_runs_on_a_sample_and_is_compared_with_main_s(team: Runner) -> None:
    pipelines = team.checkout / "pipelines"
    rows = "".join(f"{number},{number % 7}\n" for number in range(400))
    (team.checkout / "rows.csv").write_text("id,value\n" + rows)
    (pipelines / "reading.py").write_text(READING)
    (pipelines / "reading.sample").write_text("data=rows.csv\n")
    commit(team, "main's")
    team.git("push", "--quiet", "origin", "HEAD:main")
    team.git("fetch", "--quiet", "origin")
    (pipelines / "reading.py").write_text(
        READING.replace("threshold: float = 0.1", "threshold: float = 0.3")
    )
    commit(team, "another threshold")
    code, told = sampled(team)
    assert (code, told.splitlines()[0]) == (0, "### On a sample of 0.5 of the rows")
    assert "#### reading" in told and "| skew\\_threshold | 0.1 | 0.3 |" in told
    team.git("worktree", "remove", "--force", "../before")
    (pipelines / "reading.sample").write_text("data=none.csv\n")
    commit(team, "no data")
    code, told = sampled(team)
    assert code == 1
    assert "The run of this change ended with exit code" in told


def test_a_pipeline_that_was_not_compiled_again_is_refused(team: Runner) -> None:
    (team.checkout / "pipelines" / "reading.py").write_text(PIPELINE.replace('"id"', '"name"'))
    commit(team, "another key")
    step, said = checked(team)
    assert step == "What is compiled must be what is committed"
    assert "new file mode" in said
    assert "defaultValue: name" in said


def handmade(team: Runner, name: str = "") -> Path:
    """A version with a foreign image, by its content's name or one like it, in its folder."""
    file = min((team.checkout / "environments").rglob("versions/reading-*.yaml"))
    document = yaml.safe_load(file.read_text())
    executors = document["spec"]["pipelineSpec"]["deploymentSpec"]["executors"]
    for executor in executors.values():
        executor["container"]["image"] = f"evil.example/pipeline-python@{DIGEST}"
    documents = [document["spec"]["pipelineSpec"], document["spec"]["platformSpec"]]
    document["metadata"]["name"] = name or f"reading-{digest(documents)}"
    made = file.with_name(f"{document['metadata']['name']}.yaml")
    made.write_text(yaml.safe_dump(document))
    return made


def test_a_version_that_nobody_compiled_is_refused(team: Runner) -> None:
    # by its content's name, by one like it, by another digest
    made = [handmade(team, name) for name in ("", "reading-0123456789abcdef", "reading-0123456")]
    found = lint([team.checkout / "environments"])  # by the linter, without the pipelines
    by_file = {
        file.name: {finding.rule for finding in found if Path(finding.file).name == file.name}
        for file in made
    }
    assert [by_file[file.name] for file in made] == [
        {"image-not-locked"},
        {"image-not-locked", "version-edited"},
        {"image-not-locked", "version-not-hashed"},
    ]
    commit(team, "three more")
    step, said = checked(team)  # and by the gate, whatever their images are
    assert step == "What is compiled must be what is committed"
    assert all(f"/{file.name}\n+++ /dev/null" in said for file in made)


@pytest.mark.long
def test_versions_that_were_merged_before_stay_and_stay_as_they_were(team: Runner) -> None:
    versions = next((team.checkout / "environments").rglob("versions"))
    (old,) = versions.glob("reading-*.yaml")
    (team.checkout / "pipelines" / "reading.py").write_text(PIPELINE.replace('"id"', '"name"'))
    compile_all = next(x for x in steps("github-workflow.yaml", "check") if "Compile" in str(x))
    kept = old.read_text()
    assert team.step(compile_all).returncode == 0
    old.write_text(kept)
    commit(team, "another key")
    assert checked(team) == ("", "")
    assert "Not run on a sample" in (team.checkout / "compared.md").read_text()
    old.write_text(kept.replace("ghcr.io", "evil.example"))
    commit(team, "what runs of before")
    step, said = checked(team)
    assert step == "What is compiled must be what is committed"
    assert "evil.example" in said


@pytest.mark.long
def test_an_environment_beside_production_differs_as_it_is_meant(team: Runner) -> None:
    places = team.checkout / "environments"
    shutil.copytree(places / "production", places / "staging")
    environment = places / "staging" / "environment.yaml"
    environment.write_text(
        environment.read_text().replace("memory_limit: 4Gi", "memory_limit: 2Gi")
    )
    compile_all = next(x for x in steps("github-workflow.yaml", "check") if "Compile" in str(x))
    assert team.step(compile_all).returncode == 0
    meant = places / "staging" / "meant.yaml"
    meant.write_text("[]\n")
    commit(team, "staging")
    step, said = checked(team)
    assert step == "Environments differ from production as it is meant"
    assert re.search(r"limits.memory_limit +reading +ingest +2Gi +4Gi +no", said)
    meant.write_text("- {what: limits.memory_limit, why: less data, values: [2Gi, 4Gi]}\n")
    commit(team, "as it is meant")
    assert checked(team) == ("", "")


def test_what_the_linter_refuses_stops_the_check(team: Runner) -> None:
    version = next((team.checkout / "environments").rglob("versions/*.yaml"))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}}
    (version.parent.parent.parent / "cluster" / "store.yaml").write_text(
        yaml.safe_dump({**secret, "stringData": {"key": "hunter2"}})
    )
    applications = team.checkout / "argocd" / "applications.yaml"
    text = applications.read_text()
    applications.write_text(text.replace("namespace: edgeline}", "namespace: team-a}"))
    commit(team, "a secret, and a team's own namespace")
    assert checked(team)[0] == "Lint"
    said = (team.checkout / "lint.sarif").read_text()
    assert '"secret-in-clear"' in said
    assert "does not allow the namespace team-a" in said  # which Argo CD would say


BUILD = """
import io, sys
from edgeline import images
from edgeline.stores import registry
for entry in images.entries(images.lock_file()).values():
    repository = sys.argv[1] + "/" + entry.repository.rpartition("/")[2]
    config = b"{}"
    digest = registry.Manifest("", config).digest
    registry.upload(repository, digest, io.BytesIO(config))
    kind = "application/vnd.oci.image.config.v1+json"
    described = '{"mediaType":"%s","digest":"%s","size":2}' % (kind, digest)
    text = '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[],"annotations":{"x":"%s"}}'
    content = text % (registry.MANIFESTS[0], described, repository)
    made = registry.Manifest(registry.MANIFESTS[0], content.encode())
    registry.put(repository, made, sys.argv[2])
"""


def signed_as_locked(
    runner: Runner, workflow: str, folder: Path, locked: Mapping[str, Mapping[str, str]]
) -> None:
    """Run the job that signs: each image of the lock file by its digest, and nothing else."""
    name, _, told = Path(runner.environment["GITHUB_OUTPUT"]).read_text().partition("=")
    job = yaml.safe_load((folder / workflow).read_text())["jobs"]["sign"]
    assert (name, job["env"]) == ("images", {"IMAGES": "${{ needs.release.outputs.images }}"})
    assert job["permissions"] == {"id-token": "write", "packages": "write"}
    runner.notes.unlink()
    of_the_workflow = "acme/edgeline/.github/workflows/images.yaml@refs/tags/v1"
    lines = [step for step in job["steps"] if "run" in step]
    for step in lines:
        done = runner.step(step, IMAGES=told.strip(), GITHUB_WORKFLOW_REF=of_the_workflow)
        assert done.returncode == 0, done.stderr
    wanted = [f"{each['repository']}@{each['digest']}" for each in locked.values()]
    options = (
        f"--certificate-identity https://github.com/{of_the_workflow} "
        "--certificate-oidc-issuer https://token.actions.githubusercontent.com"
    )
    assert runner.notes.read_text().splitlines() == [
        *(f"cosign sign --yes --recursive {image}" for image in wanted),
        *(f"cosign verify {image} {options}" for image in wanted),
    ]
    assert runner.step(lines[0], IMAGES="").returncode != 0  # nothing to sign is not success


def test_a_tag_s_images_are_pushed_locked_and_proposed_built_by_a_stand_in(
    runner: Runner, registry: Any
) -> None:
    here = runner.checkout
    (here / "images").mkdir()
    shutil.copyfile(ROOT / "images" / "images.lock.yaml", here / "images" / "images.lock.yaml")
    component = Path("manifests") / "components" / "images" / "kustomization.yaml"
    (here / component).parent.mkdir(parents=True)
    shutil.copyfile(ROOT / component, here / component)
    commit(runner, "before")
    team = f"{registry.address}/team"
    for step in steps("images-workflow.yaml", "release"):
        if "run" not in step:
            continue
        if "--push" in step["run"]:
            command = [sys.executable, "-c", BUILD, team, __version__]
            subprocess.run(command, check=True, capture_output=True)
        done = runner.step(step, REGISTRY=team, GITHUB_REF_NAME="v1.2.3", BASE="main")
        assert done.returncode == 0, done.stderr
    told = runner.notes.read_text()
    assert "docker buildx bake --file images/docker-bake.hcl --push" in told
    assert "gh pr create --base main --fill" in told
    runner.git("fetch", "--quiet", "origin")
    proposed = runner.git("show", "origin/images-v1.2.3:images/images.lock.yaml")
    locked = yaml.safe_load(proposed)
    assert {entry["digest"][:7] for entry in locked.values()} == {"sha256:"}
    assert locked["train"]["repository"] == f"{team}/train-python"
    written = runner.git("show", f"origin/images-v1.2.3:{component}")
    assert locked["edge-server"]["digest"] in written
    signed_as_locked(runner, "images-workflow.yaml", GITOPS, locked)


RELEASED = (
    Path("edgeline/version.py"),
    Path("images/images.lock.yaml"),
    Path("manifests/components/images/kustomization.yaml"),
)


@pytest.fixture
def sources(runner: Runner) -> Runner:
    """What a release reads and writes of edgeline's own repository, pushed."""
    for file in RELEASED:
        (runner.checkout / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, runner.checkout / file)
    (runner.checkout / "CHANGELOG.md").write_text(f"# Changelog\n\n## {__version__}\n\n- New.\n")
    commit(runner, "before")
    runner.git("push", "--quiet", "origin", "main")
    return runner


def test_a_release_s_tag_names_its_own_images_built_by_a_stand_in(
    sources: Runner, registry: Any
) -> None:
    team = f"{registry.address}/team"
    for step in steps("release.yaml", "release", OWN):
        if "run" not in step:
            continue
        if "--push" in step["run"]:
            command = [sys.executable, "-c", BUILD, team, __version__]
            subprocess.run(command, check=True, capture_output=True)
        done = sources.step(step, REGISTRY=team, GITHUB_REF_NAME="main", VERSION=__version__)
        assert done.returncode == 0, done.stderr
    told = sources.notes.read_text()
    assert "docker buildx bake --file images/docker-bake.hcl --push" in told
    written = "python -m edgeline.docs\npython charts/write_chart.py\n"
    assert told.endswith(f"{written}python -m build\n")
    sources.git("fetch", "--quiet", "--tags", "origin")
    tag = f"v{__version__}"
    assert sources.git("rev-parse", f"{tag}^{{}}") == sources.git("rev-parse", "origin/main")
    locked = yaml.safe_load(sources.git("show", f"{tag}:{RELEASED[1]}"))
    assert {entry["digest"][:7] for entry in locked.values()} == {"sha256:"}
    assert locked["edge-server"]["digest"] in sources.git("show", f"{tag}:{RELEASED[2]}")
    signed_as_locked(sources, "release.yaml", OWN, locked)


@pytest.mark.parametrize("wrong", ["sources", "changelog", "tag"])
def test_a_release_begins_only_with_the_version_of_the_sources_and_a_new_tag(
    sources: Runner, wrong: str
) -> None:
    [first] = [step for step in steps("release.yaml", "release", OWN) if "is new" in str(step)]
    assert sources.step(first, VERSION=__version__).returncode == 0
    if wrong == "tag":
        sources.git("tag", f"v{__version__}")
        sources.git("push", "--quiet", "origin", f"v{__version__}")
    if wrong == "changelog":
        (sources.checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    version = "9.9.9" if wrong == "sources" else __version__
    assert sources.step(first, VERSION=version).returncode != 0


def test_the_workflows_give_nobody_a_way_in() -> None:
    """By zizmor: actions pinned by commit, least rights, no expression in a script, no cache that
    others fill before what is published. What it is told to leave out says why beside it."""
    files = [*OWN.glob("*.yaml"), *GITOPS.glob("*-workflow.yaml"), OWN.parent / "dependabot.yml"]
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists() and sys.version_info < (3, 11):
        pytest.skip("NOT TESTED: the workflows' rights; zizmor needs Python 3.11")
    command = [zizmor, "--offline", "--no-config", "--quiet", "--format=plain", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for file in files:
        lines = file.read_text().splitlines()
        for before, line in pairwise(lines):
            assert "zizmor: ignore" not in line or before.lstrip().startswith("# "), line


def test_the_job_that_runs_a_pull_request_s_code_may_write_nothing() -> None:
    workflow = yaml.safe_load((GITOPS / "github-workflow.yaml").read_text())
    assert workflow["permissions"] == {}
    assert workflow["jobs"]["check"]["permissions"] == {"contents": "read"}
    linted = "".join(step.get("run", "") for step in workflow["jobs"]["lint"]["steps"])
    assert "edgeline lint" in linted
    assert not re.search(r"edgeline (compile|run|schedules)|python", linted)  # that run its code
    writer = workflow["jobs"]["tell"]["steps"]
    assert workflow["jobs"]["sample"]["permissions"] == {"contents": "read"}
    lines = [step.get("run", "").strip().splitlines() for step in writer]
    assert [each[-1:] for each in lines[:2]] == [[], []]
    assert lines[2][-1].startswith("gh pr comment ")
    assert "edgeline" not in "".join(lines[2])  # it runs nothing of the pull request


def test_a_fresh_repository_has_no_fault(team: Runner) -> None:
    workflows = team.checkout / ".github" / "workflows"
    workflows.mkdir(parents=True)
    shutil.copyfile(GITOPS / "github-workflow.yaml", workflows / "models.yaml")
    assert lint([team.checkout]) == []


def test_the_check_runs_what_is_there_on_each_python_that_edgeline_supports() -> None:
    jobs = yaml.safe_load((OWN / "check.yaml").read_text())["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert lines == ["make check", ".ci/run"]
    assert "\ncheck: lint types fast" in (ROOT / "Makefile").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    [first, last] = re.findall(
        r"python_requires = >=3\.(\d+),<3\.(\d+)", (ROOT / "setup.cfg").read_text()
    )[0]
    supported = [f"3.{minor}" for minor in range(int(first), int(last))]
    assert jobs["pythons"]["strategy"]["matrix"]["python"] == supported


def test_pre_commit_s_hooks_are_those_of_make_lint_and_make_types() -> None:
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    makefile = (ROOT / "Makefile").read_text()
    for hook in local["hooks"]:
        tool = Path(hook["entry"].split()[0]).name
        assert f"\t$(BIN)/{tool}" in makefile
        assert (Path(sys.executable).parent / tool).is_file()
