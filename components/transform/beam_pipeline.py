"""A Beam pipeline on the runner that the options name, with the traps of runners avoided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeline.errors import EdgelineError


def create(options: Sequence[str]) -> Any:
    """A `beam.Pipeline` on the runner that the options name, not yet run.

    Args:
        options: Beam's command-line options, for example
            `["--runner=FlinkRunner", "--flink_master=..."]`. Without a runner (or with
            DirectRunner) the pipeline runs in this process, in memory.

    Raises:
        EdgelineError: the options are not Beam's, or ask for a mode that loses rows.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import DirectOptions, StandardOptions
    from apache_beam.runners.portability import fn_api_runner

    try:
        parsed = beam.options.pipeline_options.PipelineOptions(list(options))
        runner = parsed.view_as(StandardOptions).runner
        mode = parsed.view_as(DirectOptions).direct_running_mode
    except SystemExit as error:
        raise EdgelineError(
            f"Parameter 'beam_options' is not understood by Beam: {options}."
        ) from error
    if mode == "multi_threading":
        raise EdgelineError(
            "Parameter 'beam_options' asks for --direct_running_mode=multi_threading, which loses "
            "rows without an error: use in_memory or multi_processing."
        )
    # the default DirectRunner would first try to download another runner
    local = runner in (None, "DirectRunner", "apache_beam.runners.DirectRunner")
    return beam.Pipeline(runner=fn_api_runner.FnApiRunner() if local else None, options=parsed)


def run(pipeline: Any, counters: Sequence[str]) -> dict[str, int]:
    """Run a pipeline to its end and give its counters of the namespace `edgeline`."""
    from apache_beam.metrics import MetricsFilter

    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query(MetricsFilter().with_namespace("edgeline"))["counters"]
    totals = dict.fromkeys(counters, 0)
    for counter in found:
        if counter.key.metric.name in totals:
            totals[counter.key.metric.name] += counter.result
    return totals
