"""What is rendered for a site: one bundle by its digest, one server image by its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
# annotations of what is deployed, and of its pods: the bundle's image, and the server's
MODEL, SERVER = "edgeline.dev/model", "edgeline.dev/server"
SPEC = "edgeline.dev/spec"  # an annotation: the digest of what KServe was told besides
WINDOWS = "edgeline.dev/windows"  # an annotation: the server keeps rows, so there is one of it
PART_OF = {"app.kubernetes.io/part-of": "edgeline"}  # a label of all that is ours


@dataclass(frozen=True)
class Site:
    """One model at one kind of site.

    Attributes:
        name: of the deployment.
        namespace: in clusters.
        version: of the bundle.
        model: the bundle's image, `repository@sha256:...`, the same for every kind of site.
        server: the edge server's image.
        address: where the bundle lies, where it was named by an address; else empty.
        keeps_windows: whether its server keeps rows of each key.
        port: on a device: where it answers there.
        login: on a device: the folder with Docker's `config.json`, where the models' registry asks
            for a login; else empty. In a cluster it is a Secret.
        accelerator: a name of `edgeline.sites.accelerators.ACCELERATORS`, or a device below /dev;
            empty: none.
    """

    name: str
    namespace: str
    version: int
    model: str
    server: str
    address: str = ""
    keeps_windows: bool = False
    port: int = 8080
    login: str = ""
    accelerator: str = ""

    @property
    def source(self) -> str:
        """What the server is told to serve."""
        return f"oci://{self.model}"

    def names(self, service: str) -> list[str]:
        """The server's option for what its clients in a cluster call it: the names of a Service."""
        whole = f"{service}.{self.namespace}"
        return ["--names", f"{service},{whole},{whole}.svc,{whole}.svc.cluster.local"]

    @property
    def labels(self) -> dict[str, str]:
        return {
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/version": str(self.version),
            **PART_OF,
        }

    @property
    def annotations(self) -> dict[str, str]:
        found = {MODEL: self.model, SERVER: self.server}
        return {**found, WINDOWS: "kept-by-server"} if self.keeps_windows else found
