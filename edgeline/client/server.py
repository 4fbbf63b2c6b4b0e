"""A KFP server as where runs are: a pipeline is compiled, uploaded where it is new, and run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgeline import preflight
from edgeline.client import cached_inputs, upload
from edgeline.client.backend import RunRequest
from edgeline.client.remote import RemoteRun
from edgeline.environments.apply import set_caching
from edgeline.environments.environment import Environment, load
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names
from edgeline.kubeflow import profiles
from edgeline.kubeflow.api import asking, has_teams, require_namespace
from edgeline.local.plan import plan
from edgeline.pipelines.parameters import complete, from_spec, parameters_of
from edgeline.reports import terminal

if TYPE_CHECKING:
    from kfp import Client as KfpClient

    from edgeline.client.compiling import CompiledPipeline


@dataclass(frozen=True)
class Server:
    """The backend of a KFP server.

    Attributes:
        connection: a `kfp.Client`, as `edgeline.kubeflow.api.reach` makes it.
        root: the pipeline root that reports are read from, where the server does not tell it; ""
            for the pipeline's own, or a profile's.
        console: where progress is shown.
        namespace: the profile's that was given; None: an environment's `namespace` counts, then a
            pod's own.
    """

    connection: KfpClient
    root: str
    console: Console
    namespace: str | None = None

    def submit(self, request: RunRequest) -> RemoteRun:
        """Start a run of a pipeline, uploaded where the server lacks this content of it.

        Whether one may is asked first, as far as the server tells it, and then things are made.
        """
        preflight.before_a_run_there(parameters_of(request.definition), request.parameters)
        environment = load(request.environment) if request.environment else None
        with self._namespace(environment):
            return _submit(self.connection, request, environment, self.root, self.console)

    @contextmanager
    def _namespace(self, environment: Environment | None) -> Iterator[None]:
        """The connection in an environment's namespace, where none was given."""
        before = self.connection.get_user_namespace()
        teams = asking(lambda: has_teams(self.connection))
        if teams and not self.namespace and environment and environment.namespace:
            self.connection.set_user_namespace(environment.namespace)
        try:
            require_namespace(self.connection)
            yield
        finally:
            self.connection.set_user_namespace(before)

    def __str__(self) -> str:
        return str(self.connection._get_url_prefix())


def _submit(
    server: KfpClient,
    request: RunRequest,
    environment: Environment | None,
    root: str,
    console: Console,
) -> RemoteRun:
    from edgeline.client.compiling import check_root, compile_definition

    _check_titles(request)
    compiled = compile_definition(request.definition, {}, environment, request.parameters)
    check_root(compiled.documents[0])
    team = server.get_user_namespace() if has_teams(server) else ""
    if team:
        _warn_of_places(request, compiled, team)
    _warn_of_size(request, compiled)
    # the same name as in Git: an equal pipeline is an equal version by either way
    name = compiled.name
    account = environment.service_account if environment else ""
    started = (_start if request.cache else _start_inline)(server, request, compiled, account)
    if not getattr(started, "run_id", None):
        raise EdgelineError(
            f"The server does not tell the identifier of the run of {name} that it was asked for: "
            "see its pages whether the run is there."
        )
    planned = plan(request.definition.pipeline_spec)
    root = root or compiled.documents[0].get("defaultPipelineRoot") or ""
    root = root or (profiles.root(team) if team else "")
    return RemoteRun(server, started.run_id, name, planned, root, console)


def _warn_of_places(request: RunRequest, compiled: CompiledPipeline, team: str) -> None:
    """Say which root and destinations the key that profiles come with cannot write to."""
    from edgeline.lint.destinations import published

    pipeline, *platform = compiled.documents
    places = [pipeline.get("defaultPipelineRoot") or ""]
    for entry in published(pipeline, platform[0] if platform else {}):
        places.append(request.parameters.get(entry.parameter, entry.destination))
    for place in places:
        if isinstance(place, str) and profiles.is_out_of_reach(place, team):
            _warn(
                f"the key of profile {team} may not write to {place}, unless somebody "
                f"allowed it: s3://{profiles.BUCKET}/private/{team}/ is its own."
            )


def _warn_of_size(request: RunRequest, compiled: CompiledPipeline) -> None:
    """Say that the server will not tell how this run's tasks end, and what to do."""
    from edgeline.lint.fitting import too_large

    given = complete(from_spec(compiled.documents[0]), request.parameters)
    if found := too_large(compiled.documents, given):
        _warn(str(found))


def _warn(sentence: str) -> None:
    terminal.console(sys.stderr).print(f"Warning: {sentence}", soft_wrap=True, markup=False)


def _start(server: KfpClient, request: RunRequest, compiled: CompiledPipeline, account: str) -> Any:
    """A run of the version with this content, which is uploaded where it is not there."""
    wanted = upload.WantedPipeline(
        *(compiled.name, compiled.version, compiled.documents),
        description=compiled.description or "",
        shared=request.shared,
    )
    found = asking(lambda: upload.find(server, wanted))
    root = str(compiled.documents[0].get("defaultPipelineRoot") or "")
    if found.place and not cached_inputs.PARAMETERS & request.parameters.keys():
        known = found.place.id
        asking(lambda: cached_inputs.check(server, known, compiled.name, root))
    writes = request.shared and not found.version
    experiment = asking(lambda: upload.experiment(server, request.experiment, writes))
    if not found.version:
        with _package(compiled) as package:
            looked = found
            found = asking(lambda: upload.upload(server, wanted, looked, package))
    place = found.place.id if found.place else None
    what = {"pipeline_id": place, "version_id": found.version}
    return _run(server, request, compiled, experiment, account, **what)


def _start_inline(
    server: KfpClient, request: RunRequest, compiled: CompiledPipeline, account: str
) -> Any:
    """A run without the cache. The server takes no such wish for a run of a version, and a version
    of its own would be the newest, which schedules take that name none: so its spec goes along."""
    set_caching(compiled.documents[0], caching=False)
    experiment = asking(lambda: upload.experiment(server, request.experiment, False))
    with _package(compiled) as package:
        what = {"pipeline_package_path": str(package)}
        return _run(server, request, compiled, experiment, account, **what)


def _run(
    server: KfpClient,
    request: RunRequest,
    compiled: CompiledPipeline,
    experiment: str,
    account: str,
    **what: Any,
) -> Any:
    """Ask for a run; `what` says of which version, or with which package, in kfp's terms."""
    return asking(
        lambda: server.run_pipeline(
            experiment_id=experiment,
            job_name=request.name or f"{compiled.name}-{datetime.now():%Y%m%d-%H%M%S}",
            params=complete(from_spec(compiled.documents[0]), request.parameters),
            service_account=account or None,
            **what,
        )
    )


@contextmanager
def _package(compiled: CompiledPipeline) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / f"{compiled.name}.yaml"
        package.write_text(compiled.text, "utf-8")
        yield package


def _check_titles(request: RunRequest) -> None:
    """Refuse what the server would answer with 500.

    Raises:
        UsageError: it names the option.
    """
    if request.name and (fault := names.unfit_title(request.name)):
        raise UsageError(f"The run's name (--name, name=) {fault}.")
    if fault := names.unfit_experiment(request.experiment):
        raise UsageError(f"The experiment's name (--experiment, experiment=) {fault}.")
