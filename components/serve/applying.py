"""A bundle's objects put into a cluster: by the component, and by hand (`edgeline site apply`)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeline.artifacts import bundle as bundles
from edgeline.components.serve import cluster, installed, prediction, waiting
from edgeline.formats import plain_yaml
from edgeline.sites.checks import check, check_in_cluster, model_source
from edgeline.sites.kserve import FORM, STORE
from edgeline.sites.render import push_image, render
from edgeline.sites.settings import SiteSettings
from edgeline.stores.store import local_copy

if TYPE_CHECKING:
    from kubernetes.dynamic import DynamicClient


def apply(
    bundle: str,
    settings: SiteSettings,
    repository: str,
    name: str = "",
    namespace: str = "edgeline",
    adopt: bool = False,
    address: str = "",
    time_limit: float = 900,
) -> int | None:
    """Push a bundle's image, apply its objects and wait until they are ready.

    Args:
        bundle: its folder, or its s3:// or minio:// address.
        settings: how; the form is kustomize or kserve, and KServe's version by default what the
            cluster says. `repository`, `name` and `namespace` are as `render` takes them.
        adopt: whether objects that somebody else has made are taken over. What they held goes.
        address: where the deployed server answers from here; empty: it is not asked.
        time_limit: seconds until it must answer.

    Returns:
        how many recorded rows were compared; None where the server was not asked.

    Raises:
        EdgelineError: an argument is unfit, the registry or the cluster refuses, it is not ready in
            time, or it answers otherwise than the bundle records.
    """
    check(settings)
    check_in_cluster(settings.form)
    end = time.monotonic() + time_limit
    with tempfile.TemporaryDirectory() as temporary, local_copy(bundle) as folder:
        place = (repository, temporary, name, namespace)
        files = render(bundle, settings, *place)  # what cannot be is refused before all else
        if address:
            prediction.check_token(settings.tokens, folder)
        client = cluster.connect()
        if settings.form == FORM:
            version = installed.kserve_version(client, settings.kserve_version)
            files = render(bundle, replace(settings, kserve_version=version), *place)
        manifest = bundles.read(folder)
        if model_source(settings) != STORE:
            print(f"{push_image(str(folder), repository, settings.modelcar_base)} is pushed.")
        to_cluster(client, files, end - time.monotonic(), adopt)
        return prediction.wait(address, folder, manifest, end) if address else None


def to_cluster(
    client: DynamicClient, files: Iterable[Path], limit: float, adopt: bool = False
) -> None:
    """Apply what the files say, and wait until it is ready.

    Raises:
        EdgelineError: see `cluster.apply` and `waiting.wait`.
    """
    objects = [
        document
        for file in files
        for document in plain_yaml.read(file.read_bytes())
        if document["kind"] != "Kustomization"
    ]
    cluster.apply(client, objects, adopt)
    waiting.wait(client, objects, limit)
