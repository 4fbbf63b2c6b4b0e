"""Can the launcher read what a run would take from the cache?

A task of KFP's cache gives the places where an earlier run put its outputs, and the launcher reads
inputs with the settings of the run's own root: one under `s3://` reads nothing from `minio://`. So
after a change of root each run would end at the first task with a cached input. A run without the
cache leaves nothing there, so it does not fix that for the next one; another name of the cache
does.

A pipeline that names no root has the server's, which no API tells: it is seen where a later run of
another such pipeline put its outputs. The first run after a change shows it itself, by failing.
"""

from __future__ import annotations

from typing import Any

from edgeline.client.lineage import artifacts_of
from edgeline.client.stored import EXECUTION
from edgeline.components.settings.objects import CACHE_NAME, PREFIX
from edgeline.errors import EdgelineError
from edgeline.kubeflow import versions
from edgeline.stores import remote

# by KFP's names, in one's own pipeline and in ours: who gives one knows which results there are
PARAMETERS = frozenset({CACHE_NAME, PREFIX + CACHE_NAME})
RUNS = 20  # the newest that are looked at


def check(server: Any, pipeline: str | None, name: str, root: str) -> None:
    """Refuse a run whose cached inputs lie under a scheme that its root does not read.

    What is not told (older servers, no metadata store at the host, a root of the server's own that
    no later run shows) is not refused.

    Args:
        server: a `kfp.Client`.
        pipeline: its identifier on the server; None: it has not been run yet.
        name: the pipeline's.
        root: the compiled pipeline's; "" for the server's own.

    Raises:
        EdgelineError: with the way out.
    """
    if not pipeline or (root and not remote.scheme(root)):
        return
    found, later = _last_places(server, pipeline, has_root=bool(root))
    wanted = remote.scheme(root or later)
    if not (found and wanted) or remote.scheme(found) == wanted:
        return
    place = f"the root {root}" if root else f"the server's root, where later runs put {later},"
    keep = "keep the old root" if root else "give the server its old root again"
    raise EdgelineError(
        f"Earlier results of {name} lie at {found.partition('?')[0]}, and with {place} "
        f"KFP's launcher reads nothing from {remote.scheme(found)}://, so a task that takes "
        f"one from the cache would fail: give another {CACHE_NAME}, where the pipeline has "
        "that parameter, run without the cache (caching: false in the environment's file, "
        f"cache=False in Python), or {keep}."
    )


def _last_places(server: Any, pipeline: str, has_root: bool) -> tuple[str, str]:
    """Where the newest run of a pipeline that has any artifact put one, and where the newest of the
    others did that have come since and name no root; "" where it is not told.

    Args:
        has_root: the pipeline names a root, so that no other is asked.
    """
    from kfp_server_api import ApiException

    later = ""
    try:
        runs = server.list_runs(page_size=RUNS, sort_by="created_at desc").runs or ()
    except ApiException:
        return "", ""
    for run in runs:
        version = run.pipeline_version_reference
        is_own = bool(version) and version.pipeline_id == pipeline
        if not version or not (
            is_own or (not (has_root or later) and _root(server, version) == "")
        ):
            continue
        told = artifacts_of(server, run.run_id)
        if told is None:  # no metadata store at this address: the version may tell its root
            return (_root(server, version) or "", later) if is_own else ("", "")
        places = [artifact.uri for artifact in told if _is_made(artifact.uri)]
        if places and is_own:
            return places[-1], later
        fresh = [uri for uri in places if f"/{run.run_id}/" in uri]  # others come from the cache
        later = later or (fresh[-1].partition("?")[0] if fresh else "")
    return "", later


def _is_made(uri: str) -> bool:
    """Whether a task made it there: an imported artifact lies anywhere."""
    return bool(EXECUTION.fullmatch(uri.partition("?")[0].rpartition("/")[0]))


def _root(server: Any, version: Any) -> str | None:
    """The root that a version names; None where the server does not tell of it."""
    from kfp_server_api import ApiException

    try:
        found = server.get_pipeline_version(version.pipeline_id, version.pipeline_version_id)
    except ApiException:
        return None
    spec = versions.pipeline_of(found.pipeline_spec or {})
    return str(spec.get("defaultPipelineRoot") or "")
