"""A bundle's files put into a site's Git repository: by the component, and by hand
(`edgeline site commit`)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgeline.artifacts import bundle as bundles
from edgeline.artifacts.bundle import Bundle
from edgeline.components.serve import git, proposing
from edgeline.errors import UsageError
from edgeline.sites.address import GitFolder, parse
from edgeline.sites.checks import model_source
from edgeline.sites.kserve import STORE
from edgeline.sites.render import push_image, render
from edgeline.sites.settings import SiteSettings
from edgeline.stores.store import local_copy


@dataclass(frozen=True)
class Committed:
    """Where the files are.

    Attributes:
        commit: the one that has them.
        pull_request: the page of the pull request that brings it to the site's branch; empty where
            the branch has it.
    """

    commit: str
    pull_request: str


def commit(
    bundle: str,
    site: str,
    settings: SiteSettings,
    repository: str,
    name: str = "",
    namespace: str = "edgeline",
) -> Committed:
    """Push a bundle's image, and commit a site's files or propose them.

    Args:
        bundle: its folder, or its s3:// or minio:// address.
        site: a folder of a Git repository, as `edgeline.sites.address.parse` takes it; all others
            are as `render` takes them.

    Raises:
        EdgelineError: an argument is unfit, or the registry or the repository refuses.
    """
    place = parse(site)
    if not isinstance(place, GitFolder):
        raise UsageError(
            f"{site} is not a Git repository: `edgeline site apply` deploys to a cluster."
        )
    with tempfile.TemporaryDirectory() as temporary, local_copy(bundle) as folder:
        files = render(bundle, settings, repository, temporary, name, namespace)
        manifest = bundles.read(folder)
        if model_source(settings) != STORE:
            print(f"{push_image(str(folder), repository, settings.modelcar_base)} is pushed.")
        return to_git(files, place, name or manifest.name, manifest)


def to_git(files: Iterable[Path], place: GitFolder, name: str, manifest: Bundle) -> Committed:
    """Put files where the site's address says, and say where they are.

    Raises:
        EdgelineError: see `git.commit` and `proposing.propose`.
    """
    if not place.pull_request:
        made = git.commit(files, place, proposing.message(files, place, manifest))
        print(f"{place.repository} {place.branch} has it with commit {made[:12]}.")
        return Committed(made, "")
    found = proposing.propose(files, place, name, manifest)
    if found.closed:
        print(f"{found.closed} is closed, which had another version.")
    if found.url:
        print(f"{found.url} has it with commit {found.commit[:12]}: merging it is the deployment.")
    else:
        print(f"{place.repository} {place.branch} has it already: there is nothing to merge.")
    return Committed(found.commit, found.url)
