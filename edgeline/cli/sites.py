"""`edgeline site`."""

from __future__ import annotations

import click

from edgeline.cli.arguments import existing, new_folder
from edgeline.cli.told import Told, telling

_form = click.option(
    "--for",
    "form",
    required=True,
    help="The kind of site: kustomize, kserve, ocm, kubeedge, greengrass, iotedge or compose.",
)
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
_name = click.option("--name", default="", help="The deployment's name; by default the bundle's.")
_namespace = click.option(
    "--namespace", default="edgeline", show_default=True, help="The namespace, in clusters."
)
_model_from = click.option(
    "--model-from",
    type=click.Choice(["image", "modelcar", "store"]),
    help="For kserve: the bundle's image as a volume, as a container beside the server, or the "
    "store where the bundle lies.",
)
_kserve_version = click.option(
    "--kserve-version",
    metavar="VERSION",
    help="For kserve: the cluster's; by default what it says, or 0.20 where none is asked.",
)
_port = click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="On a single device: where it answers, for the device alone.",
)
_login = click.option(
    "--login",
    default="",
    metavar="FOLDER",
    help="On a single device: the folder there with Docker's config.json, for a private registry.",
)
_accelerator = click.option(
    "--accelerator",
    default="",
    metavar="NAME",
    help="coral-usb, coral-pcie, nvidia, or a device below /dev.",
)
_server = click.option("--server", default="", metavar="IMAGE", help="A server image of your own.")
_tokens = click.option(
    "--tokens",
    default="",
    metavar="SOURCE",
    help="Who may call: a Secret with tokens.json (by default edge-server-tokens), or a file on "
    "the devices (by default /etc/edgeline/tokens.json); `none` for everybody who gets there.",
)


@click.group()
def site() -> None:
    """Deploy a bundle to edge sites: its image, and files for the site's manager."""


@site.command()
@click.argument("bundle", callback=existing)
@_form
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
@_model_from
@_kserve_version
@_base
@_tokens
@_port
@_login
@_accelerator
@_server
@telling
def render(
    told: Told,
    bundle: str,
    form: str,
    repository: str,
    output: str,
    name: str,
    namespace: str,
    model_from: str | None,
    kserve_version: str | None,
    base: str,
    tokens: str,
    port: int,
    login: str,
    accelerator: str,
    server: str,
) -> None:
    """Write the files that deploy BUNDLE to a site; the model is pinned by its digest."""
    from edgeline.sites.render import Host
    from edgeline.sites.render import render as work

    of_kserve = (model_from or "", kserve_version or "", base)
    given = (bundle, form, repository, output, name, namespace, *of_kserve)
    host = Host(port, login, accelerator, server)
    files = [str(path) for path in work(*given, tokens=tokens, host=host)]
    told("\n".join(files), files=files)


@site.command()
@click.argument("bundle", callback=existing)
@click.option(
    "--for",
    "form",
    default="kustomize",
    show_default=True,
    help="What the cluster takes: kustomize (plain objects) or kserve.",
)
@_images
@_name
@_namespace
@_model_from
@_kserve_version
@_base
@_tokens
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
    form: str,
    repository: str,
    name: str,
    namespace: str,
    model_from: str | None,
    kserve_version: str | None,
    base: str,
    tokens: str,
    adopt: bool,
    address: str,
    time_limit: float,
) -> None:
    """Deploy BUNDLE to the cluster of the kubeconfig: push its image, apply, wait until ready."""
    from edgeline.components.serve.applying import apply as work

    rows = work(
        *(bundle, form, repository, name, namespace),
        *(model_from or "", kserve_version or "", base),
        adopt=adopt,
        tokens=tokens,
        address=address,
        time_limit=time_limit,
    )
    asked = f"{rows} recorded rows agree" if rows is not None else "no --address, so not asked"
    told(f"{bundle} is ready in {namespace} ({asked}).", recorded_rows_asked=rows)


@site.command()
@click.argument("bundle", callback=existing)
@click.argument("site", metavar="ADDRESS")
@_form
@_images
@_name
@_namespace
@_model_from
@_kserve_version
@_base
@_tokens
@_port
@_login
@_accelerator
@_server
@telling
def commit(
    told: Told,
    bundle: str,
    site: str,
    form: str,
    repository: str,
    name: str,
    namespace: str,
    model_from: str | None,
    kserve_version: str | None,
    base: str,
    tokens: str,
    port: int,
    login: str,
    accelerator: str,
    server: str,
) -> None:
    """Push BUNDLE's image, and put a site's files into its Git repository.

    ADDRESS is git+https://HOST/REPOSITORY.git//FOLDER?branch=BRANCH. With &pull_request=github,
    gitlab or gitea it is proposed by a pull request, which is brought up to date each time. The
    token is GIT_TOKEN in the environment.
    """
    from edgeline.components.serve.committing import commit as work
    from edgeline.sites.render import Host

    of_kserve = (model_from or "", kserve_version or "", base)
    given = (bundle, site, form, repository, name, namespace, *of_kserve)
    with told.printed():
        work(*given, tokens=tokens, host=Host(port, login, accelerator, server))


@site.command()
@click.argument("bundle", callback=existing)
@_images
@_base
@telling
def push(told: Told, bundle: str, repository: str, base: str) -> None:
    """Push BUNDLE as an image that sites pull, and print its name with the digest."""
    from edgeline.sites.render import push_image

    image = push_image(bundle, repository, base)
    told(image, image=image)
