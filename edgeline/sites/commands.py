"""`edgeline site`."""

from __future__ import annotations

import click


@click.group()
def site() -> None:
    """Run a bundle at a site: its image, and what the site's manager takes."""


@site.command()
@click.argument("bundle")
@click.option(
    "--for",
    "form",
    required=True,
    help="kustomize, kserve, ocm, kubeedge, greengrass, iotedge or compose.",
)
@click.option(
    "--images",
    "repository",
    required=True,
    metavar="REPOSITORY",
    help="Where models' images are, for example ghcr.io/acme/models.",
)
@click.option("-o", "--output", default="site", show_default=True, help="The folder to write to.")
@click.option("--name", default="", help="Of the deployment; by default the bundle's.")
@click.option("--namespace", default="edgeline", show_default=True, help="In clusters.")
def render(bundle: str, form: str, repository: str, output: str, name: str, namespace: str) -> None:
    """Write what runs BUNDLE at a site; the model is named by the same digest for each."""
    from edgeline.sites.render import render as work

    for path in work(bundle, form, repository, output, name, namespace):
        click.echo(path)


@site.command()
@click.argument("bundle")
@click.option(
    "--images",
    "repository",
    required=True,
    metavar="REPOSITORY",
    help="Where models' images are, for example ghcr.io/acme/models.",
)
def push(bundle: str, repository: str) -> None:
    """Push BUNDLE as an image, from where sites take it; prints it by digest."""
    from edgeline.sites.render import push_image

    click.echo(push_image(bundle, repository))
