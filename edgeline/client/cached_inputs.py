"""Can the launcher read what a run would take from the cache?

A task of KFP's cache gives the places where an earlier run put its outputs, and the launcher reads
inputs with the settings of the run's own root: one under `s3://` reads nothing from `minio://`. So
after a change of root each run would end at the first task with a cached input. A run without the
cache leaves nothing there, so it does not mend that for the next one; another name of the cache
does.
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

    What is not told (older servers, no metadata store at the host, a root of the server's own) is
    not refused.

    Args:
        server: a `kfp.Client`.
        pipeline: its identifier on the server; None: it has not been run yet.
        name: the pipeline's.
        root: the compiled pipeline's; "" for the server's own.

    Raises:
        EdgelineError: with the way out.
    """
    wanted = remote.scheme(root)
    if not (pipeline and wanted):
        return
    found = _last_place(server, pipeline)
    if found and remote.scheme(found) != wanted:
        raise EdgelineError(
            f"Earlier results of {name} lie at {found.partition('?')[0]}, and with the root {root} "
            f"KFP's launcher reads nothing from {remote.scheme(found)}://, so a task that takes "
            f"one from the cache would fail: give another {CACHE_NAME}, where the pipeline has "
            "that parameter, run without the cache (caching: false in the environment's file, "
            "cache=False in Python), or keep the old root."
        )


def _last_place(server: Any, pipeline: str) -> str:
    """Where the newest run of a pipeline that has any artifact put one; "" where it is not told."""
    from kfp_server_api import ApiException

    try:
        runs = server.list_runs(page_size=RUNS, sort_by="created_at desc").runs or ()
    except ApiException:
        return ""
    for run in runs:
        version = run.pipeline_version_reference
        if not version or version.pipeline_id != pipeline:
            continue
        told = artifacts_of(server, run.run_id)
        if told is None:  # no metadata store at this address: the version may tell its root
            return _root(server, version)
        places = [artifact.uri for artifact in told if _is_made(artifact.uri)]
        if places:
            return places[-1]
    return ""


def _is_made(uri: str) -> bool:
    """Whether a task made it there: an imported artifact lies anywhere."""
    return bool(EXECUTION.fullmatch(uri.partition("?")[0].rpartition("/")[0]))


def _root(server: Any, version: Any) -> str:
    from kfp_server_api import ApiException

    try:
        found = server.get_pipeline_version(version.pipeline_id, version.pipeline_version_id)
    except ApiException:
        return ""
    spec = versions.pipeline_of(found.pipeline_spec or {})
    return str(spec.get("defaultPipelineRoot") or "")
