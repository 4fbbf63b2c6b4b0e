"""MLflow's tracking server and registry of models, through mlflow-skinny, imported here alone.

All that is done here may be done twice without effect: a run is looked up by a key of its own
before it is made, parameters and tags are what they are, a number is the same point by name, step,
time and value, and a version is looked up by the digest and the place of its bundle.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from edgeline.errors import EdgelineError, first_line
from edgeline.tracking.entries import BUNDLES, OURS, TOLD, DataUsed, TrackedEntry, VersionToRegister

PARENT = "mlflow.parentRunId"
KUBEFLOW_RUN = "kfp.pipeline_run_id"
KEY = f"{OURS}key"  # the tag that tells a run from all others
CHANGED = f"{OURS}changed."  # tags of parameters that a run that goes on was given anew
MOST_PARAMS, MOST_NUMBERS, MOST_TAGS = 100, 1000, 100  # in one request
LONGEST_PARAM, LONGEST_TAG, LONGEST_DIGEST = 6000, 5000, 36  # characters that MLflow takes
DEFAULTS = {  # of mlflow's own: minutes pass until it says that nobody answers
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would print the address with a password
    "GIT_PYTHON_REFRESH": "quiet",
}
# mlflow-skinny does without these, but imports them where they are: a fifth of its time
UNUSED = ("numpy", "pandas", "pyarrow", "scipy")
LOCAL = ("", "file")  # schemes of places that other machines do not see

_Each = TypeVar("_Each")


class TrackerError(EdgelineError):
    """The tracker did not take something: it does not answer, or refuses."""


class Tracker:
    """A tracking server, at an address as MLflow takes it."""

    def __init__(self, uri: str) -> None:
        """
        Raises:
            TrackerError: MLflow knows no such address.
            ModuleNotFoundError: mlflow is not installed.
        """
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        import mlflow
        from mlflow.tracking import MlflowClient

        with _told():
            mlflow.set_tracking_uri(uri)  # `runs:/` places are looked up in it
            self._client: Any = MlflowClient(uri)

    def run_of(
        self, key: str, experiment: str, name: str, started: int, tags: Mapping[str, str]
    ) -> tuple[str, str]:
        """The identifiers of a run and its experiment, which are made where they are not there.

        Args:
            key: of the run; two with one key are one.
            experiment: its name, or its identifier as MLFLOW_EXPERIMENT_ID has it.
            started: in milliseconds since 1970.

        Raises:
            TrackerError: see there.
        """
        with _told():
            place = os.environ.get("MLFLOW_EXPERIMENT_ID") or self._experiment(experiment)
            quoted = key.replace("'", "")
            found = self._client.search_runs([place], f"tags.`{KEY}` = '{quoted}'", max_results=1)
            if found:
                return str(found[0].info.run_id), place
            run = self._client.create_run(
                place, start_time=started, tags={**tags, KEY: quoted}, run_name=name
            )
            return str(run.info.run_id), place

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # another process has made it meanwhile
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise TrackerError(
                f"MLflow's experiment {name!r} is deleted: restore it, or name another one in "
                "MLFLOW_EXPERIMENT_NAME."
            )
        return str(found.experiment_id)

    def log_task(self, pipeline_run: str, pipeline: str, task: str, entry: TrackedEntry) -> bool:
        """Log what a task of a Kubeflow run has made, in the run that Kubeflow made for it; whether
        that had not got it.

        Kubeflow's runs are made where it could not do so, as MLflow did not answer.

        Args:
            pipeline_run: its identifier.
            pipeline: its name, for the experiment where there is none.
            task: its name in the pipeline; with a number where it ran several times.

        Raises:
            TrackerError: see there.
        """
        with _told():
            above = self._run_of_kubeflow(pipeline_run, pipeline, entry.time)
            own = [each for each in self._below(above) if each.info.run_name == task]
            place = above.info.experiment_id
            if len(own) != 1:  # none; or rounds of a loop, which Kubeflow calls alike
                key = f"{pipeline_run}/{task}"
                own = self._with_tag(place, KEY, key) or [
                    self._client.create_run(
                        place,
                        start_time=entry.time,
                        tags={PARENT: above.info.run_id, KEY: key},
                        run_name=task,
                    )
                ]
            [run] = own
            known = run.data
        if TOLD in known.tags:
            return False
        curves = {name: x for name, x in entry.curves.items() if name not in known.metrics}
        self.log(str(run.info.run_id), replace(entry, curves=curves))
        return True

    def _run_of_kubeflow(self, identifier: str, pipeline: str, started: int) -> Any:
        """MLflow's run of a pipeline's run; Kubeflow tags it so (plugins/mlflow/config.go)."""
        places = [str(each.experiment_id) for each in self._client.search_experiments()]
        for place in places:
            if found := self._with_tag(place, KUBEFLOW_RUN, identifier):
                return found[0]
        place = os.environ.get("MLFLOW_EXPERIMENT_ID") or self._experiment(
            os.environ.get("MLFLOW_EXPERIMENT_NAME") or pipeline
        )
        tags = {KUBEFLOW_RUN: identifier}
        return self._client.create_run(place, start_time=started, tags=tags, run_name=identifier)

    def _below(self, run: Any) -> Iterator[Any]:
        """Runs nested in a run, and in those: a group of tasks has one, too."""
        for each in self._with_tag(run.info.experiment_id, PARENT, run.info.run_id):
            yield each
            yield from self._below(each)

    def _with_tag(self, place: str, tag: str, value: str) -> list[Any]:
        quoted = value.replace("'", "")
        return list(self._client.search_runs([place], f"tags.`{tag}` = '{quoted}'"))

    def log(self, run: str, entry: TrackedEntry) -> None:
        """Log an entry, its tags last: a run that has them has all of it.

        Raises:
            TrackerError: see there.
        """
        from mlflow.entities import Metric, Param, RunTag

        with _told():
            params, changed = self._new_params(run, entry.params)
            tags = {**entry.tags, **changed}
            numbers = [Metric(name, value, entry.time, 0) for name, value in entry.metrics.items()]
            numbers += [
                Metric(name, value, entry.time, step)
                for name, values in entry.curves.items()
                for step, value in enumerate(values, 1)
                if value is not None
            ]
            told = [RunTag(name, value[:LONGEST_TAG]) for name, value in tags.items()]
            given = [Param(name, value) for name, value in params.items()]
            for some_params in _pieces(given, MOST_PARAMS):
                self._client.log_batch(run, params=some_params)
            for some_numbers in _pieces(numbers, MOST_NUMBERS):
                self._client.log_batch(run, metrics=some_numbers)
            if entry.data:
                self._client.log_inputs(run, datasets=[_input(each) for each in entry.data])
            if entry.files:
                self._upload(run, entry.files)
            for version in entry.published:
                self._register(run, version)
            for some_tags in _pieces(told, MOST_TAGS):
                self._client.log_batch(run, tags=some_tags)

    def _new_params(
        self, run: str, params: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Parameters that a run does not have, and tags for those that it has otherwise."""
        if not params:
            return {}, {}
        there = self._client.get_run(run).data.params
        cut = {name: value[:LONGEST_PARAM] for name, value in params.items()}
        new = {name: value for name, value in cut.items() if name not in there}
        changed = {name: value for name, value in cut.items() if there.get(name, value) != value}
        return new, {f"{CHANGED}{name}": value for name, value in changed.items()}

    def _upload(self, run: str, files: Mapping[str, str]) -> None:
        """Files under paths of their own, in one walk."""
        with tempfile.TemporaryDirectory(prefix="edgeline-tracking-") as folder:
            for path, file in files.items():
                place = Path(folder, path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(Path(file).resolve())
            self._client.log_artifacts(run, folder)

    def _register(self, run: str, version: VersionToRegister) -> None:
        """A published bundle as a version of a registered model, which its alias then names.

        An alias goes from a version to a higher one of the same store alone: what a tracker was not
        told in time comes after what was published later.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(version.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        known = {f"{OURS}{name}" for name in ("bundle_digest", "uri", "version")}
        wanted = {name: version.tags.get(name) for name in known}
        quoted = version.name.replace("'", "")
        there = list(self._client.search_model_versions(f"name = '{quoted}'"))
        for each in there:
            if {name: each.tags.get(name) for name in known} == wanted:
                number = each.version
                break
        else:
            scheme = version.uri.partition("://")[0] if "://" in version.uri else ""
            # a server refuses paths that are not its own: the copy among the run's artifacts
            source = f"runs:/{run}/{BUNDLES}" if scheme in LOCAL else version.uri
            number = self._client.create_model_version(
                version.name, source, run_id=run, tags=dict(version.tags)
            ).version
        named = self._client.get_registered_model(version.name).aliases.get(version.alias)
        holds: Mapping[str, str] = next(
            (each.tags for each in there if str(each.version) == str(named)), {}
        )
        if not _is_later(holds, version.tags):
            self._client.set_registered_model_alias(version.name, version.alias, number)

    def end(self, run: str, status: str, ended: int) -> None:
        """Say how a run ended.

        Args:
            status: MLflow's: RUNNING, FINISHED, FAILED or KILLED.
            ended: in milliseconds since 1970.

        Raises:
            TrackerError: see there.
        """
        with _told():
            if status == "RUNNING":
                self._client.update_run(run, status)
            else:
                self._client.set_terminated(run, status, ended)


def without_unused() -> None:
    """Let this process, which does nothing but send, import MLflow without what it does not use."""
    for name in UNUSED:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # as Python marks it


@contextmanager
def _told() -> Iterator[None]:
    """What mlflow and what it calls raise, as one sentence without the address."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        yield
    except (MlflowException, RequestException, OSError) as error:
        raise TrackerError(f"MLflow did not take it: {_reason(error)}.") from error


def _reason(error: BaseException) -> str:
    """The innermost cause in a few words: what is around it repeats it with the address."""
    while (inner := error.__cause__ or error.__context__) and len(str(inner)) > 0:
        error = inner
    return f"{type(error).__name__}: {first_line(error)[:300]}"


def _input(used: DataUsed) -> Any:
    from mlflow.entities import Dataset, DatasetInput

    # MLflow takes 36 characters of a digest; a tag has all
    source = json.dumps({"uri": used.source})
    return DatasetInput(Dataset(used.name, used.digest[:LONGEST_DIGEST], "edgeline", source))


def _is_later(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether the first of two versions, by their tags, has the higher number in the store of both;
    numbers of different stores do not compare."""
    stores, numbers = [], []
    for tags in (one, other):
        stores.append(tags.get(f"{OURS}uri", "").rpartition("/")[0])
        number = tags.get(f"{OURS}version", "")
        numbers.append(int(number) if number.isdecimal() else 0)
    return stores[0] == stores[1] and numbers[0] > numbers[1]


def _pieces(values: Sequence[_Each], most: int) -> Iterator[list[_Each]]:
    rest = iter(values)
    while piece := list(islice(rest, most)):
        yield piece
