"""The version of a pipeline that a run is of: found on the server by its content, or uploaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError
from edgeline.kubeflow import versions
from edgeline.kubeflow.api import (
    ServerPipeline,
    experiment_id,
    has_teams,
    new_experiment,
    pipeline_versions,
    pipelines_called,
)
from edgeline.kubeflow.refusals import RefusedError
from edgeline.pipelines.description import of_pipeline, of_version
from edgeline.reports import terminal

if TYPE_CHECKING:
    from kfp import Client as KfpClient

CONFLICT, BAD_REQUEST, REFUSED = 409, 400, (401, 403)


@dataclass(frozen=True)
class WantedPipeline:
    """A compiled pipeline.

    Attributes:
        name: the pipeline's on the server.
        version: the version's, with its content's digest.
        documents: of its YAML.
        description: what it does and what can be set; pages of the server show it.
        shared: whether the version belongs into the pipeline that all teams share.
    """

    name: str
    version: str
    documents: Sequence[Any]
    description: str
    shared: bool


@dataclass(frozen=True)
class FoundPipeline:
    """Where the pipeline is, or shall be, and its version; None where there is none yet."""

    place: ServerPipeline | None
    version: str | None


def find(server: KfpClient, wanted: WantedPipeline) -> FoundPipeline:
    """Look for the version: in the namespace's own pipeline, then in a shared one.

    An own pipeline without the version hides no shared one that has it. Only one's own takes
    an upload, but for `shared`. Where the server has one user all pipelines are everybody's, and
    `shared` changes nothing.

    Raises:
        EdgelineError: a version has the name and other content. In a shared pipeline that is
            nobody's trouble who has a pipeline of his own.
    """
    for_all = wanted.shared and has_teams(server)
    own = None
    for place in pipelines_called(server, wanted.name):
        if for_all and not place.shared:
            continue
        named = pipeline_versions(server, place.id, wanted.version)
        for one in named:
            if versions.equal(one.pipeline_spec, wanted.documents):
                return FoundPipeline(place, str(one.pipeline_version_id))
        if named and not own:
            raise EdgelineError(_taken(server, wanted, place))
        if place.shared == for_all:
            own = own or place
    return FoundPipeline(own, None)


def upload(
    server: KfpClient, wanted: WantedPipeline, found: FoundPipeline, package: Path
) -> FoundPipeline:
    """Upload what was not found; where another was quicker, its version is taken if it is equal.

    Args:
        package: its file.

    Raises:
        EdgelineError: the version is there by now, with other content.
    """
    from kfp_server_api import ApiException, V2beta1Pipeline

    namespace = server.get_user_namespace() or None
    if has_teams(server) and wanted.shared:
        namespace = None
    try:
        pipeline = found.place.id if found.place else ""
        if not pipeline:
            new = V2beta1Pipeline(
                name=wanted.name,
                display_name=wanted.name,
                description=of_pipeline(wanted.description),
                namespace=namespace,
            )
            # its upload would add a version that is named after nothing
            made = server.pipelines.pipeline_service_create_pipeline(pipeline=new)
            pipeline = str(made.pipeline_id)
        made = server.upload_pipeline_version(
            *(str(package), wanted.version),
            pipeline_id=pipeline,
            description=of_version(wanted.description) or None,
        )
    except ApiException as error:
        if error.status == CONFLICT and (again := find(server, wanted)) != found:
            return again if again.version else upload(server, wanted, again, package)
        if error.status == BAD_REQUEST and namespace and has_teams(server):
            # it gives no reason, and refuses so those who may only look
            raise RefusedError(
                f"The server refuses version {wanted.version} in namespace {namespace}: may you "
                "upload there? If not, ask its owner for the role kubeflow-edit."
            ) from error
        raise
    place = ServerPipeline(pipeline, has_teams(server) and wanted.shared)
    if place.shared:
        terminal.console(sys.stderr).print(
            f"Uploaded {wanted.version} into the shared pipeline {wanted.name}: schedules of every "
            "team that name no version run it from now on."
        )
    return FoundPipeline(place, str(made.pipeline_version_id))


def experiment(server: KfpClient, name: str, shared: bool) -> str:
    """The identifier of an experiment, made where there is none.

    Raises:
        ApiException: one may not make any. Before something is uploaded for all teams it is
            asked for even where the experiment is there: the server checks no rights to upload.
    """
    from kfp_server_api import ApiException

    if shared and has_teams(server):
        try:
            return new_experiment(server, name)
        except ApiException as error:
            if error.status in REFUSED:
                raise
    return experiment_id(server, name)


def _taken(server: KfpClient, wanted: WantedPipeline, place: ServerPipeline) -> str:
    where = f"Version {wanted.version} of pipeline {wanted.name} on the server"
    if place.shared:
        namespace = server.get_user_namespace()
        who = "anybody can upload to a shared pipeline"
        fix = (
            "ask those who keep the shared pipelines to delete that version, or make a pipeline "
            f"{wanted.name} in {namespace} (Kubeflow's page Pipelines, Upload pipeline, Private)"
        )
    else:
        who = "whoever may upload there can take the name"
        fix = "find out who did, and delete that version"
    return f"{where} is not what would be uploaded ({who}), so nothing was run: {fix}."
