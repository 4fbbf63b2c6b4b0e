"""`edgeline site`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edgeline.cli.arguments import existing, new_folder
from edgeline.cli.told import Told, telling
from edgeline.sites.settings import ABOUT, DEFAULTS, SiteSettings

_images = click.option(
    "--images",
    "repository",
    required=True,
    metavar="REPOSITORY",
    help="The repository of the models' images, for example ghcr.io/acme/models.",
)
_base = click.option(
    "--base",
    "modelcar_base",
    default="",
    metavar="IMAGE",
    help="For a modelcar: the image by digest, with a shell, that lies below the bundle's.",
)
_name = click.option("--name", default="", help="The deployment's name; by default the bundle's.")
_namespace = click.option(
    "--namespace", default="edgeline", show_default=True, help="The namespace, in clusters."
)
_FLAGS = {"form": "--for", "modelcar_base": "--base"}  # others are called as the setting
_METAVARS = {
    "form": "KIND",
    "modelcar_base": "IMAGE",
    "kserve_version": "VERSION",
    "login": "FOLDER",
    "accelerator": "NAME",
    "server": "IMAGE",
    "tokens": "SOURCE",
}


def _settings(needs_form: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a command that takes a site's settings: `SiteSettings`, field by field."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name, default in reversed(DEFAULTS.items()):
            required = needs_form and name == "form"
            command = click.option(
                _FLAGS.get(name, f"--{name.replace('_', '-')}"),
                name,
                type=type(default),
                metavar=_METAVARS.get(name),
                required=required,
                default=None if required else default,
                show_default=bool(default) and not required,
                help=ABOUT[name],
            )(command)
        return command

    return decorate


@click.group()
def site() -> None:
    """Deploy a bundle to edge sites: its image, and files for the site's manager."""


@site.command()
@click.argument("bundle", callback=existing)
@_images
@click.option(
    "-o",
    "--output",
    default="site",
    show_default=True,
    callback=new_folder,
    help="The folder to write to.",
)
@_name
@_namespace
@_settings(needs_form=True)
@telling
def render(
    told: Told,
    bundle: str,
    repository: str,
    output: str,
    name: str,
    namespace: str,
    **settings: Any,
) -> None:
    """Write the files that deploy BUNDLE to a site; the model is pinned by its digest."""
    from edgeline.sites.render import render as work

    how = SiteSettings(**settings)
    files = [str(path) for path in work(bundle, how, repository, output, name, namespace)]
    told("\n".join(files), files=files)


@site.command()
@click.argument("bundle", callback=existing)
@_images
@_name
@_namespace
@_settings(needs_form=False)
@click.option(
    "--adopt",
    is_flag=True,
    help="Replace objects of these names that somebody else has made, with all they held.",
)
@click.option(
    "--address",
    default="",
    metavar="URL",
    help="Where the server answers from here; it is asked the bundle's recorded rows then, with "
    "the token in EDGELINE_TOKEN.",
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    default=900,
    show_default=True,
    help="Seconds until it must be ready.",
)
@telling
def apply(
    told: Told,
    bundle: str,
    repository: str,
    name: str,
    namespace: str,
    adopt: bool,
    address: str,
    time_limit: float,
    **settings: Any,
) -> None:
    """Deploy BUNDLE to the cluster of the kubeconfig: push its image, apply, wait until ready."""
    from edgeline.components.serve.applying import apply as work

    how = SiteSettings(**settings)
    rows = work(bundle, how, repository, name, namespace, adopt, address, time_limit)
    asked = f"{rows} recorded rows agree" if rows is not None else "no --address, so not asked"
    told(f"{bundle} is ready in {namespace} ({asked}).", recorded_rows_asked=rows)


@site.command()
@click.argument("bundle", callback=existing)
@click.argument("site", metavar="ADDRESS")
@_images
@_name
@_namespace
@_settings(needs_form=True)
@telling
def commit(
    told: Told,
    bundle: str,
    site: str,
    repository: str,
    name: str,
    namespace: str,
    **settings: Any,
) -> None:
    """Push BUNDLE's image, and put a site's files into its Git repository.

    ADDRESS is git+https://HOST/REPOSITORY.git//FOLDER?branch=BRANCH. With &pull_request=github,
    gitlab or gitea it is proposed by a pull request, which is brought up to date each time. The
    token is GIT_TOKEN in the environment.
    """
    from edgeline.components.serve.committing import commit as work

    with told.printed():
        work(bundle, site, SiteSettings(**settings), repository, name, namespace)


@site.command()
@click.argument("bundle", callback=existing)
@_images
@_base
@telling
def push(told: Told, bundle: str, repository: str, modelcar_base: str) -> None:
    """Push BUNDLE as an image that sites pull, and print its name with the digest."""
    from edgeline.sites.render import push_image

    image = push_image(bundle, repository, modelcar_base)
    told(image, image=image)
