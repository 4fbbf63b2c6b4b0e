"""`edgeline images`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from edgeline.cli.arguments import as_json, existing, new_file, new_path
from edgeline.cli.told import Told, telling


@click.group()
def images() -> None:
    """Build, lock, list and mirror container images."""


@images.command("build")
@click.argument("names", nargs=-1)
@click.option("--registry", help="The registry in the images' names, instead of the lock file's.")
@click.option("--push", is_flag=True, help="Build for every platform and push.")
@click.option("--base-image", help="Use this base image, for example from a mirror.")
@click.option("--uv-image", help="Take uv from this image.")
@click.option("--ca", callback=existing, help="A CA bundle for the build; not kept in any layer.")
@click.option(
    "--uv-config",
    callback=existing,
    help="A uv.toml with a package index for the build; not kept in any layer.",
)
def build(
    names: tuple[str, ...],
    registry: str | None,
    push: bool,
    base_image: str | None,
    uv_image: str | None,
    ca: str | None,
    uv_config: str | None,
) -> None:
    """Build images NAMES, by default all, with Docker from edgeline's source tree."""
    from edgeline.images.build import build as work

    bases = {"BASE_IMAGE": base_image, "UV_IMAGE": uv_image}
    secrets = {"ca.pem": ca, "uv.toml": uv_config}
    work(
        names,
        registry,
        push,
        {name: image for name, image in bases.items() if image},
        {name: Path(file) for name, file in secrets.items() if file},
    )


@images.command("lock")
@click.option("--registry", help="The registry to ask; by default the lock file's.")
@click.option(
    "-o",
    "--output",
    callback=new_file,
    help="The lock file to write; EDGELINE_IMAGES selects it later.",
)
@click.option(
    "--kustomization",
    callback=new_path,
    help="Also write the images as a kustomize Component here.",
)
@telling
def lock(told: Told, registry: str | None, output: str | None, kustomization: str | None) -> None:
    """Write the digests of the pushed images to the lock file."""
    from edgeline.images.lock import lock as work

    file = work(registry, Path(output) if output else None)
    told(str(file), file=str(file))
    if kustomization:
        from edgeline.images.kustomization import write

        made = str(write(Path(kustomization), file))
        told(made, kustomization=made)


@images.command("closure")
@click.argument("paths", nargs=-1, required=True, callback=existing)
@click.option("--mirror", help="Copy each image to this registry; digests stay the same.")
@as_json
def closure(paths: tuple[str, ...], mirror: str | None, as_json: bool) -> None:
    """List every image that the pipelines and manifests in PATHS need."""
    from edgeline.images.closure import closure as work
    from edgeline.images.closure import mirror as copy

    uses = work([Path(path) for path in paths])
    if mirror:
        copies = copy(uses, mirror)
        if as_json:
            click.echo(json.dumps([{"image": one, "copy": other} for one, other in copies]))
            return
        for image, copied in copies:
            click.echo(f"{image}\t{copied}")
    elif as_json:
        click.echo(json.dumps([dataclasses.asdict(use) for use in uses], default=str, indent=1))
    else:
        for use in uses:
            click.echo(f"{use.image}\t{use.file}\t{use.place}")
