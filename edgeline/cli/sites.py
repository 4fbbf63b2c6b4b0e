"""`edgeline site`."""

from __future__ import annotations

import click

from edgeline.cli.arguments import existing, new_folder

_images = click.option(
    "--images",
    "repository",
    required=True,
    metavar="REPOSITORY",
    help="The repository of the models' images, for example ghcr.io/acme/models.",
)
_base = click.option(
    "--base",
    default="",
    metavar="IMAGE",
    help="For a modelcar: the image by digest that lies below the bundle's, with a shell.",
)


@click.group()
def site() -> None:
    """Deploy a bundle to edge sites: its image, and files for the site's manager."""


@site.command()
@click.argument("bundle", callback=existing)
@click.option(
    "--for",
    "form",
    required=True,
    help="The kind of site: kustomize, kserve, ocm, kubeedge, greengrass, iotedge or compose.",
)
@_images
@click.option(
    "-o",
    "--output",
    default="site",
    show_default=True,
    callback=new_folder,
    help="The folder to write to.",
)
@click.option("--name", default="", help="The deployment's name; by default the bundle's.")
@click.option(
    "--namespace", default="edgeline", show_default=True, help="The namespace, in clusters."
)
@click.option(
    "--model-from",
    type=click.Choice(["image", "modelcar", "store"]),
    help="For kserve: the bundle's image as a volume, as a container beside the server, or the "
    "store where the bundle lies.",
)
@click.option(
    "--kserve-version", metavar="VERSION", help="For kserve: the cluster's; by default 0.20."
)
@_base
def render(
    bundle: str,
    form: str,
    repository: str,
    output: str,
    name: str,
    namespace: str,
    model_from: str | None,
    kserve_version: str | None,
    base: str,
) -> None:
    """Write the files that deploy BUNDLE to a site; the model is pinned by its digest."""
    from edgeline.sites.render import render as work

    of_kserve = (model_from or "", kserve_version or "", base)
    for path in work(bundle, form, repository, output, name, namespace, *of_kserve):
        click.echo(path)


@site.command()
@click.argument("bundle", callback=existing)
@_images
@_base
def push(bundle: str, repository: str, base: str) -> None:
    """Push BUNDLE as an image that sites pull, and print its name with the digest."""
    from edgeline.sites.render import push_image

    click.echo(push_image(bundle, repository, base))
