"""A Beam pipeline on the runner that the options name, with the traps of runners avoided."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeline.errors import EdgelineError

if TYPE_CHECKING:
    import apache_beam as beam


def create(options: Sequence[str]) -> Any:
    """A `beam.Pipeline` on the runner that the options name, not yet run.

    Args:
        options: Beam's command-line options, for example
            `["--runner=FlinkRunner", "--flink_master=..."]`. Without a runner (or with
            DirectRunner) the pipeline runs in this process, in memory.

    Raises:
        EdgelineError: the options are not Beam's, or ask for a mode that loses rows.
            A runner elsewhere may know options that are not Beam's own.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability import fn_api_runner

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = PipelineOptions(list(options))
            known = parsed.get_all_options()
            unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    except (SystemExit, ValueError) as error:
        reason = said.getvalue().strip().rpartition("error: ")[2] or str(error)
        raise EdgelineError(
            f"Parameter 'beam_options' {list(options)} is not understood by Beam ({reason}): "
            "give a list such as ['--runner=FlinkRunner', '--flink_master=host:8081']."
        ) from None
    runner, mode = known["runner"], known["direct_running_mode"]
    if mode == "multi_threading":
        raise EdgelineError(
            "Parameter 'beam_options' asks for --direct_running_mode=multi_threading, which loses "
            "rows without an error: use in_memory or multi_processing."
        )
    # the default DirectRunner would first try to download another runner
    local = runner in (None, "DirectRunner", "FnApiRunner", "apache_beam.runners.DirectRunner")
    if local and unknown:
        raise EdgelineError(
            f"Parameter 'beam_options' has --{min(unknown)}, which Beam does not know: "
            "correct the name, or leave it out."
        )
    try:
        return beam.Pipeline(runner=fn_api_runner.FnApiRunner() if local else None, options=parsed)
    except ValueError as error:
        raise EdgelineError(
            f"Parameter 'beam_options' {list(options)} is refused by Beam: {error}"
        ) from error


def run(pipeline: beam.Pipeline, counters: Sequence[str]) -> dict[str, int]:
    """Run a pipeline to its end and give its counters of the namespace `edgeline`.

    Raises:
        EdgelineError: a step raised it.
    """
    from apache_beam.metrics import MetricsFilter

    # an exception that it logs, with a traceback, is raised as well
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)
    try:
        result = pipeline.run()
        result.wait_until_finish()
    except EdgelineError as error:
        raise EdgelineError(str(error).partition(" [while running")[0]) from error
    found = result.metrics().query(MetricsFilter().with_namespace("edgeline"))["counters"]
    totals = dict.fromkeys(counters, 0)
    for counter in found:
        if counter.key.metric.name in totals:
            totals[counter.key.metric.name] += counter.result
    return totals
