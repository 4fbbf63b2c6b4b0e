"""A Beam pipeline on the runner that the options name, with the traps of runners avoided."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError
from edgeline.extras import install_hint
from edgeline.stores.again import PassingError
from edgeline.user_code import reason

if TYPE_CHECKING:
    import apache_beam as beam

HERE = (None, "DirectRunner", "FnApiRunner", "apache_beam.runners.DirectRunner")
WORKER_POOL = "localhost:50000"  # a pool of workers beside each of the runner's own
ENDPOINTS = {  # options that name where a runner answers, with the port that it has by default
    "job_endpoint": 8099,
    "flink_master": 8081,
    "spark_rest_url": 6066,
}
NOWHERE = ("", "[auto]", "[local]", "[collection]", "embed")  # the runner starts it by itself
CONNECT_TIMEOUT = 10.0  # seconds
SERVER_TIMEOUT = 60  # seconds, for each call of a job server; Beam's own is 300
TIMEOUT_OPTIONS = ("--job_server_timeout", "--job-server-timeout")


@dataclass(frozen=True)
class Runner:
    """Beam's options, understood.

    given: as they were given, with what was left out; name: the runner's; here: whether it is this
    process or children of it; temp_location: the address of `--temp_location`, "" where none is
    given; endpoint: `host:port` of the runner, "" where it is started by this process or found by
    its own means.
    """

    given: tuple[str, ...]
    name: str
    here: bool
    temp_location: str
    endpoint: str

    def pipeline(self) -> beam.Pipeline:
        """A pipeline for it, not yet run.

        Raises:
            EdgelineError: Beam refuses the options.
        """
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.portability import fn_api_runner

        # the default DirectRunner would first try to download another runner
        runner = fn_api_runner.FnApiRunner() if self.here else None
        try:
            return beam.Pipeline(runner=runner, options=PipelineOptions(list(self.given)))
        except ValueError as error:
            raise EdgelineError(
                f"Parameter 'beam_options' {list(self.given)} is refused by Beam: {error}"
            ) from error

    def reach(self) -> None:
        """Ask whether the runner answers.

        Raises:
            PassingError: it does not.
        """
        if not self.endpoint:
            return
        host, _, port = self.endpoint.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
        except (OSError, ValueError) as error:
            raise PassingError(
                f"{self.name} cannot be reached at {self.endpoint} ({_words(error)}): start it, or "
                "correct the address in 'beam_options'; without 'beam_options' the work is done in "
                "this process."
            ) from None

    @property
    def place(self) -> str:
        """The runner and where it is, for a sentence."""
        return f"{self.name} at {self.endpoint}" if self.endpoint else self.name


def read(options: Sequence[str]) -> Runner:
    """Understand Beam's command-line options.

    Args:
        options: for example `["--runner=PortableRunner", "--job_endpoint=host:8099"]`. With a
            `--job_endpoint` alone the runner is PortableRunner, and its workers are those of a pool
            at `WORKER_POOL`. Without a runner (or with DirectRunner) the work is done in this
            process.

    Raises:
        EdgelineError: the options are not Beam's, ask for a mode that loses rows, or for a runner
            that would be downloaded or needs Java.
            A runner elsewhere may know options that are not Beam's own.
    """
    given = list(options)
    known, unknown = _parsed(given)
    if known["runner"] is None and known["job_endpoint"]:
        given.append("--runner=PortableRunner")
        known["runner"] = "PortableRunner"
    if known["direct_running_mode"] == "multi_threading":
        raise EdgelineError(
            "Parameter 'beam_options' asks for --direct_running_mode=multi_threading, which loses "
            "rows without an error: use in_memory or multi_processing."
        )
    here = known["runner"] in HERE
    if here and unknown:
        raise EdgelineError(
            f"Parameter 'beam_options' has --{min(unknown)}, which Beam does not know: "
            "correct the name, or leave it out."
        )
    name = "DirectRunner" if here else str(known["runner"]).rpartition(".")[2]
    _refuse_downloads(name, known)
    if name in ("PortableRunner", "FlinkRunner", "SparkRunner") and not known["environment_type"]:
        # Beam's own default is a container of Beam alone, which does not have edgeline
        given += ["--environment_type=EXTERNAL", f"--environment_config={WORKER_POOL}"]
    if not here and not any(each.startswith(TIMEOUT_OPTIONS) for each in given):
        given.append(f"--job_server_timeout={SERVER_TIMEOUT}")
    return Runner(
        tuple(given), name, here, known["temp_location"] or "", "" if here else _endpoint(known)
    )


def run(pipeline: beam.Pipeline, counters: Sequence[str] = ()) -> dict[str, int]:
    """Run a pipeline to its end and give its counters of the namespace `edgeline`.

    A job elsewhere is cancelled when this process is interrupted.

    Raises:
        EdgelineError: a step raised it.
    """
    from apache_beam.metrics import MetricsFilter

    # an exception that it logs, with a traceback, is raised as well
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    try:
        result = pipeline.run()
        try:
            state = result.wait_until_finish() or result.state
        except (KeyboardInterrupt, SystemExit):
            with contextlib.suppress(Exception):  # the runner may be what is gone
                result.cancel()
            raise
        if state != "DONE":
            raise RuntimeError(f"the job is {state}")
    except EdgelineError as error:
        raise EdgelineError(str(error).partition(" [while running")[0]) from error
    finally:
        if type(pipeline.runner).__name__ == "PrismRunner":
            _stop_prism()
    if not counters:
        return {}
    found = result.metrics().query(MetricsFilter().with_namespace("edgeline"))["counters"]
    totals = dict.fromkeys(counters, 0)
    for counter in found:
        if counter.key.metric.name in totals:
            totals[counter.key.metric.name] += counter.result
    return totals


_OURS = f"{EdgelineError.__module__}.{EdgelineError.__name__}: "  # in a worker's traceback


def _stop_prism() -> None:
    """End the Prism that Beam has started, which it leaves to the end of Python: a task of a local
    run ends without it."""
    from apache_beam.runners.portability.prism_runner import PrismRunner

    def none() -> None:
        raise LookupError

    with contextlib.suppress(LookupError):
        PrismRunner.shared_handle.acquire(none).stop()


def failure(runner: Runner, error: Exception) -> EdgelineError:
    """What ended a job, in a sentence: the last line of a worker's traceback, or Beam's message."""
    code = getattr(error, "code", None)
    details = getattr(error, "details", None)
    if callable(code) and callable(details):  # a gRPC call's
        words = f"{details()}"
    else:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith(("File ", "Traceback", "^", "~"))]
        words = told[-1].removeprefix(_OURS) if told else reason(error) or type(error).__name__
    return EdgelineError(
        f"Beam's job on {runner.place} failed ({' '.join(words.split())[:300].rstrip('.')}): look "
        "into the logs of the runner and of its workers, whose image must be the task's own."
    )


def _parsed(given: list[str]) -> tuple[dict[str, Any], set[str]]:
    """Beam's options by name, and the names of those that Beam does not know."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise EdgelineError(
            f"Parameter 'beam_options' needs Apache Beam. {install_hint(error)}; in a cluster give "
            "the task the image train (in an environment: tasks.validate.image: train)."
        ) from None

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = PipelineOptions(given)
            known = parsed.get_all_options()
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except (SystemExit, ValueError) as error:
        why = said.getvalue().strip().rpartition("error: ")[2] or str(error)
        raise EdgelineError(
            f"Parameter 'beam_options' {given} is not understood by Beam ({why}): "
            "give a list such as ['--job_endpoint=host:8099']."
        ) from None
    return known, set(unknown)


def _refuse_downloads(name: str, known: Mapping[str, Any]) -> None:
    """Beam fetches what these runners need from the internet, or starts Java, in the middle."""
    if name == "PrismRunner" and not known["prism_location"] and not known["job_endpoint"]:
        raise EdgelineError(
            "Parameter 'beam_options' asks for PrismRunner, which Beam would download: give "
            "--prism_location with its file, or --job_endpoint of one that runs."
        )
    if name in ("FlinkRunner", "SparkRunner") and not known["job_endpoint"]:
        kind = name.removesuffix("Runner").lower()
        uber, jar = known[f"{kind}_submit_uber_jar"], known[f"{kind}_job_server_jar"]
        if not (uber and jar):
            raise EdgelineError(
                f"Parameter 'beam_options' asks for {name}, whose job server is a Java program "
                "that Beam would download: give --runner=PortableRunner with the --job_endpoint of "
                f"one that runs, or --{kind}_submit_uber_jar with --{kind}_job_server_jar."
            )
    if name == "PortableRunner" and known["job_endpoint"] in (None, *NOWHERE):
        raise EdgelineError(
            "Parameter 'beam_options' asks for PortableRunner without a runner's address: give "
            "--job_endpoint=host:8099."
        )


def _endpoint(known: Mapping[str, Any]) -> str:
    for option, port in ENDPOINTS.items():
        address = known.get(option) or ""
        if address in NOWHERE:
            continue
        address = address.partition("://")[2] or address
        address = address.partition("/")[0]
        return address if address.rpartition(":")[2].isdecimal() else f"{address}:{port}"
    return ""


def _words(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_TIMEOUT:.0f} s"
    return (getattr(error, "strerror", None) or str(error)).lower()
