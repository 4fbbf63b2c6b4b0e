"""`edgeline site`: the image of a bundle, and a site's files that name it by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgeline import images
from edgeline.artifacts.folder import write_output
from edgeline.errors import EdgelineError, UsageError, did_you_mean
from edgeline.formats import names, plain_yaml
from edgeline.sites import accelerators, clusters, devices, kserve
from edgeline.sites import tokens as tokens_
from edgeline.sites.image import model_image, push
from edgeline.sites.site import Object, Site
from edgeline.sites.tokens import Tokens
from edgeline.stores.store import local_copy

FORMS: dict[str, Callable[[Site, Tokens], dict[str, list[Object]]]] = {
    "kustomize": clusters.kustomize,
    "kserve": kserve.kserve,
    "ocm": clusters.ocm,
    "kubeedge": clusters.kubeedge,
    "greengrass": devices.greengrass,
    "iotedge": devices.iotedge,
    "compose": devices.compose,
}
IN_CLUSTER = ("kustomize", "kserve")  # forms whose objects a cluster takes as they are
ON_DEVICES = ("greengrass", "iotedge", "compose")  # forms whose servers are not pods
REPOSITORY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")


@dataclass(frozen=True)
class Host:
    """What a site's server is given of the machines that it runs on.

    Attributes:
        port: of a device, on its own address alone; two models on one device need two.
        login: of a device: the folder with Docker's `config.json`.
        accelerator: see `edgeline.sites.accelerators`.
        server: an image in place of edgeline's own.
    """

    port: int = 8080
    login: str = ""
    accelerator: str = ""
    server: str = ""


def render(
    bundle: str,
    form: str,
    repository: str,
    output: str,
    name: str = "",
    namespace: str = "edgeline",
    model_from: str = "",
    kserve_version: str = "",
    base: str = "",
    address: str = "",
    tokens: str = "",
    host: Host | None = None,
) -> list[Path]:
    """Write what a site's manager takes to run a bundle; nothing is pushed, and nothing asked but
    what the base of a modelcar consists of.

    Args:
        bundle: its folder, or its s3:// or minio:// address.
        form: one of FORMS.
        repository: below which models' images are, for example ghcr.io/acme/models; the
            bundle's name is added.
        output: the folder to write to.
        name: of the deployment; by default the bundle's.
        namespace: of it, in clusters.
        model_from: for kserve: `image` (the default), the bundle's image as a volume, `modelcar`,
            the image beside the server, or `store`, where the bundle lies.
        kserve_version: for kserve: the version that the cluster has; by default 0.20.
        base: for a modelcar: the image by digest that lies below the bundle's.
        address: for `store`: where the bundle lies; by default `bundle`, where that is an address.
        tokens: who may call, as `edgeline.sites.tokens.of` takes it: by default the Secret
            `edge-server-tokens`, or a device's file `/etc/edgeline/tokens.json`.
        host: what the server is given of the machines that it runs on.

    Returns:
        the files, each written whole.

    Raises:
        EdgelineError: it is not a bundle, or none for LiteRT; there is no such form, a name is none
            that Kubernetes takes, or a file cannot be written.
    """
    if form not in FORMS:
        raise UsageError(f"There is no kind of site {form!r}. {did_you_mean(form, FORMS)}")
    asked = tokens_.of(tokens, form not in ON_DEVICES)
    make, needs = FORMS[form], ""
    if make == kserve.kserve:
        source = model_from or kserve.IMAGE
        version = kserve_version or kserve.NEWEST
        make = partial(kserve.kserve, source=source, version=version, base=base)
        needs = kserve.needs(source)
    elif model_from or kserve_version or base:
        raise UsageError(
            "--model-from, --kserve-version and --base are for --for kserve: leave them out."
        )
    _check_repository(repository)
    with local_copy(bundle) as folder:
        image, manifest = model_image(folder, base)
    if not manifest.model.endswith(".tflite"):
        raise EdgelineError(
            f"{bundle} is made for {manifest.target}, and the image of a site's server has LiteRT "
            "alone: `edgeline site push` makes an image of it for a runtime of yours."
        )
    name = name or manifest.name
    if not names.SERVICE.fullmatch(name):
        raise UsageError(f"Name {name!r}: use at most 63 of a-z, 0-9 and -, a letter first.")
    names.check_namespace(namespace)
    model = f"{repository}/{manifest.name}@{image.digest}"
    host = host or Host()
    _check_host(host, form, manifest.target)
    server = host.server or _server(host.accelerator)
    address = address or (bundle if "://" in bundle else "")
    keeps = manifest.windows is not None
    site = Site(
        *(name, namespace, manifest.version, model, server, address, keeps),
        port=host.port,
        login=host.login,
        accelerator=host.accelerator,
    )
    return [_write(Path(output) / file, parts, needs) for file, parts in make(site, asked).items()]


def _check_host(host: Host, form: str, target: str) -> None:
    on_nodes = form not in ON_DEVICES
    if form == "kserve" and host.accelerator:
        raise UsageError(
            "The form kserve takes no accelerator here: add its resource to the ServingRuntime."
        )
    if on_nodes and (host.login or host.port != Host.port):
        raise UsageError(
            f"--port and --login are for single devices ({', '.join(ON_DEVICES)}): a cluster has a "
            "Service, and the login in a Secret."
        )
    if not 1 <= host.port <= 65535:
        raise UsageError(f"The port {host.port} is none: give one from 1 to 65535.")
    if host.login and not re.fullmatch(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+", host.login):
        raise UsageError(
            f"The login {host.login!r} is not the absolute path of a folder on the device, with "
            "Docker's config.json in it."
        )
    accelerators.check(host.accelerator, on_nodes, target, bool(host.server))


def _server(accelerator: str) -> str:
    """The server's image: with libedgetpu, which has a licence of its own, where it is needed."""
    if accelerator not in accelerators.CORAL:
        return images.reference("edge-server")
    entry = images.entries(images.lock_file())["edge-server"]
    return f"{entry.repository}-coral:{entry.version}"


def check_in_cluster(form: str) -> None:
    """Refuse a form whose files something else than a cluster takes.

    Raises:
        UsageError: names the forms that one does take.
    """
    if form not in IN_CLUSTER:
        raise UsageError(f"A cluster does not take {form}: use {' or '.join(IN_CLUSTER)}.")


def image_name(bundle: str, repository: str) -> str:
    """What a bundle's image is called below a repository, whether it is there or not.

    Raises:
        EdgelineError: it is not a bundle.
    """
    image, manifest = model_image(bundle)
    return f"{repository}/{manifest.name}@{image.digest}"


def push_image(bundle: str, repository: str, base: str = "") -> str:
    """Push a bundle's image below a repository, tagged with its version; returns its reference.

    Args:
        base: of a modelcar: an image by digest, with a shell. The tag ends in `-modelcar` then.

    Raises:
        EdgelineError: it is not a bundle, there is no such base, or a registry cannot be reached or
            refuses.
    """
    _check_repository(repository)
    with local_copy(bundle) as folder:
        image, manifest = model_image(folder, base)
        tag = f"{manifest.version}-modelcar" if base else str(manifest.version)
        return push(image, f"{repository}/{manifest.name}", tag)


def _check_repository(repository: str) -> None:
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"{repository!r} is not a repository of images: name a registry and a path, for "
            "example ghcr.io/acme/models."
        )


def _write(path: Path, documents: list[Object], comment: str = "") -> Path:
    if path.suffix == ".json":
        text = "".join(json.dumps(document, indent=2) + "\n" for document in documents)
    else:
        text = plain_yaml.dump(documents, sort_keys=False, comment=comment)
    return write_output(path, text, "folder")
