"""How a bundle is deployed at a site: one description for the command line, for Python, for the
component `serve` and for a pipeline's `sites`. `edgeline.sites.checks` says what is not one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

IN_CLUSTER = ("kustomize", "kserve")  # forms whose objects a cluster takes as they are
ON_DEVICES = ("greengrass", "iotedge", "compose")  # forms whose servers are not pods
FORMS = (*IN_CLUSTER, "ocm", "kubeedge", *ON_DEVICES)


def _setting(default: Any, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True)
class SiteSettings:
    """How a bundle is deployed, wherever that is; `ABOUT` says what each setting means."""

    form: str = _setting(
        IN_CLUSTER[0],
        "The kind of site: kustomize, kserve, ocm, kubeedge, greengrass, iotedge or compose; a "
        "cluster itself takes the first two.",
    )
    tokens: str = _setting(
        "",
        "Who may call: a Secret with tokens.json (empty: edge-server-tokens), or a file on the "
        "devices (empty: /etc/edgeline/tokens.json); none for everybody who gets there.",
    )
    model_from: str = _setting(
        "",
        "For kserve: image, the bundle's image as a volume; modelcar, as a container beside the "
        "server; store, where the bundle lies. Empty: modelcar with a base, else image.",
    )
    modelcar_base: str = _setting(
        "", "For a modelcar: the image by digest, with a shell, that lies below the bundle's."
    )
    kserve_version: str = _setting(
        "", "For kserve: its version; empty: as the cluster says, or 0.20 where none is asked."
    )
    port: int = _setting(
        8080,
        "On a single device: where it answers, for the device alone; two models need two.",
    )
    login: str = _setting(
        "",
        "On a single device: the folder there with Docker's config.json, for a private registry; "
        "in a cluster it is the Secret NAME-registry.",
    )
    accelerator: str = _setting(
        "",
        "What the server is given: coral-usb or coral-pcie (for a bundle of the target edgetpu), "
        "nvidia, or a device below /dev; empty: none.",
    )
    server: str = _setting("", "A server image of your own, by digest; empty: edgeline's.")

    @property
    def is_on_device(self) -> bool:
        """Whether its server is not a pod."""
        return self.form in ON_DEVICES


DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(SiteSettings)}
ABOUT: dict[str, str] = {each.name: each.metadata["about"] for each in fields(SiteSettings)}
