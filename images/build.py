"""`edgeline images build`: images from this folder's Containerfiles."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.images import engine, entries, lock_file
from edgeline.version import __version__

BAKE = "images/docker-bake.hcl"


def build(
    names: Sequence[str],
    registry: str | None = None,
    push: bool = False,
    images: Mapping[str, str] | None = None,
    secrets: Mapping[str, Path] | None = None,
) -> None:
    """Build images: into the local engine for this platform, or for all and to their registry.

    Args:
        names: targets of docker-bake.hcl; by default all images of the lock file.
        registry: where they are named after, such as `registry.example.com/team`; by default
            that of the lock file.
        push: build every platform with SBOM and provenance, and push.
        images: other images for `BASE_IMAGE` and `UV_IMAGE`, for example from a mirror.
        secrets: files that a build may read and no layer keeps: `ca.pem` and `uv.toml`.

    Raises:
        EdgelineError: this is not a checkout of edgeline, a secret is missing, or the build failed.
    """
    sources = Path(__file__).resolve().parents[1]
    if not (sources / "setup.cfg").is_file():
        raise EdgelineError("Images are built from edgeline's sources: run this in a checkout.")
    settings = {**(images or {}), "VERSION": __version__, "REVISION": _revision(sources)}
    if registry:
        settings["REGISTRY"] = registry.rstrip("/")
    given = [f"id={name},src={_secret(path)}" for name, path in (secrets or {}).items()]
    if engine.has_buildx():
        where = (
            ["--push"]
            if push
            else ["--load", "--provenance=false", "--sbom=false", "--set=*.platform=local"]
        )
        arguments = ["buildx", "bake", "--file", BAKE, *where]
        arguments += [f"--set=*.secrets={secret}" for secret in given]
        engine.run([*arguments, *names], sources, settings)
    elif push:
        raise EdgelineError("Building for every platform needs Docker's buildx plugin.")
    else:
        for name in names or entries(lock_file()):
            engine.run(_plain(name, settings, given), sources, {"DOCKER_BUILDKIT": "1"})


def _plain(name: str, settings: Mapping[str, str], secrets: Sequence[str]) -> list[str]:
    """`docker build` of one image, for an engine without bake (as Debian's)."""
    images = entries(lock_file())
    if name not in images:
        raise UsageError(
            f"There is no image {name!r}. {did_you_mean(name, images)} A variant of the bake file "
            "needs Docker's buildx plugin."
        )
    repository = images[name].repository
    if "REGISTRY" in settings:
        repository = f"{settings['REGISTRY']}/{repository.rpartition('/')[2]}"
    arguments = ["build", "--file", f"images/{name}/Containerfile"]
    arguments += ["--tag", f"{repository}:{settings['VERSION']}"]
    for key, value in settings.items():
        if key != "REGISTRY":
            arguments += ["--build-arg", f"{key}={value}"]
    for secret in secrets:
        arguments += ["--secret", secret]
    return [*arguments, "."]


def _secret(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"There is no file {path} to give to the build.")
    return path.resolve()


def _revision(sources: Path) -> str:
    command = ["git", "-C", str(sources), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
    except OSError:
        return "unknown"
