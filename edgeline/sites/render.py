"""`edgeline site`: the image of a bundle, and a site's files that name it by digest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgeline import images
from edgeline.artifacts.folder import write_output
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names, plain_yaml
from edgeline.sites import accelerators, clusters, devices, kserve, tokens
from edgeline.sites.checks import check, model_source
from edgeline.sites.image import model_image, push
from edgeline.sites.settings import SiteSettings
from edgeline.sites.site import Object, Site
from edgeline.sites.tokens import Tokens
from edgeline.stores.store import local_copy

MAKERS: dict[str, Callable[[Site, Tokens], dict[str, list[Object]]]] = {
    "kustomize": clusters.kustomize,
    "kserve": kserve.kserve,
    "ocm": clusters.ocm,
    "kubeedge": clusters.kubeedge,
    "greengrass": devices.greengrass,
    "iotedge": devices.iotedge,
    "compose": devices.compose,
}
REPOSITORY = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")


def render(
    bundle: str,
    settings: SiteSettings,
    repository: str,
    output: str,
    name: str = "",
    namespace: str = "edgeline",
    address: str = "",
) -> list[Path]:
    """Write what a site's manager takes to run a bundle; nothing is pushed, and nothing asked but
    what the base of a modelcar consists of.

    Args:
        bundle: its folder, or its s3:// or minio:// address.
        settings: how it is deployed; KServe is taken for 0.20 where its version is not said.
        repository: below which models' images are, for example ghcr.io/acme/models; the
            bundle's name is added.
        output: the folder to write to.
        name: of the deployment; by default the bundle's.
        namespace: of it, in clusters.
        address: where KServe takes the model from the store: where the bundle lies; by default
            `bundle`, where that is an address.

    Returns:
        the files, each written whole.

    Raises:
        EdgelineError: it is not a bundle, or none for LiteRT; a setting is none or does not fit, a
            name is none that Kubernetes takes, or a file cannot be written.
    """
    check(settings)
    asked = tokens.of(settings.tokens, not settings.is_on_device)
    make, needs, base = MAKERS[settings.form], "", settings.modelcar_base
    if source := model_source(settings):
        version = settings.kserve_version or kserve.NEWEST
        make = partial(kserve.kserve, source=source, version=version, base=base)
        needs = kserve.needs(source)
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
    accelerators.check_target(settings.accelerator, manifest.target, bool(settings.server))
    server = settings.server or _server(settings.accelerator)
    address = address or (bundle if "://" in bundle else "")
    keeps = manifest.windows is not None
    site = Site(
        *(name, namespace, manifest.version, model, server, address, keeps),
        port=settings.port,
        login=settings.login,
        accelerator=settings.accelerator,
    )
    return [_write(Path(output) / file, parts, needs) for file, parts in make(site, asked).items()]


def _server(accelerator: str) -> str:
    """The server's image: with libedgetpu, which has a licence of its own, where it is needed."""
    if accelerator not in accelerators.CORAL:
        return images.reference("edge-server")
    entry = images.entries(images.lock_file())["edge-server"]
    return f"{entry.repository}-coral:{entry.version}"


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
