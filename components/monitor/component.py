"""The face of monitor."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Metrics, Output

from edgeline.images import reference


@dsl.component(base_image=reference("pipeline"), install_kfp_package=False)
def monitor(
    payloads_uri: str,
    bundle_uri: str,
    monitoring: Output[Artifact],
    monitoring_report: Output[HTML],
    monitoring_metrics: Output[Metrics],
    labels_uri: str = "",
    window_hours: float = 24.0,
    until: str = "",
    min_rows: int = 1,
    events_url: str = "",
    events_key: str = "",
    device: str = "monitor",
    decay_slices: list = [],  # noqa: B006
    thresholds: dict = {},  # noqa: B006
) -> NamedTuple("Outputs", [("drifting", bool), ("decayed", bool), ("rows", int)]):
    """Compare what devices have met in a window with what a published model met in training.

    Drift, values out of range, the accuracy that scores let expect, that which late labels measure,
    and concept drift: the numbers and the events of `edgeline serve`, where nobody listens to a
    server. Make it the task of a scheduled pipeline, without the cache.

    What could not be read, does not fit the model, or is of another version is counted and named.
    A window without rows fails the task.

    Args:
        payloads_uri: The folder or bucket that devices fill, as `edgeline serve --payloads` does.
        bundle_uri: The model: DESTINATION/NAME of its newest version, or DESTINATION/NAME/VERSION.
        monitoring: report.json with all numbers, and events.jsonl with the events (monitoring/v1).
        monitoring_report: All of it as a page.
        monitoring_metrics: Rows, drifting columns, estimated and measured metrics.
        labels_uri: Late labels: a file, folder or bucket of JSON lines with id and label.
        window_hours: The window: so many hours before until, by the time of the rows.
        until: Its end, ISO 8601 with a zone; empty: when the task runs.
        min_rows: Fewer rows of the version in the window fail the task; 0: none do.
        events_url: Where CloudEvents are posted to, such as `edgeline triggers serve`; empty: the
            environment variable EDGELINE_EVENTS_URL, or nowhere.
        events_key: A file with the key that signs them, such as one of a mounted Secret; empty: the
            environment variable EDGELINE_EVENTS_KEY holds the key, or they are not signed.
        device: In the source of events, in a device's place: one name for all runs.
        decay_slices: Names of inputs by whose values labelled rows are measured, too.
        thresholds: Of drift_psi (0.2), drift_ks (0.15), drift_unseen (0.05), drift_missing (0.1),
            drift_rows (500), decay_drop (0.05) and decay_margin (0.02) those that are others, as
            the server's options of these names.

    Returns:
        drifting: Whether a column drifts.
        decayed: Whether a metric has decayed, or labels come about otherwise.
        rows: How many rows were looked at.
    """
    from edgeline.artifacts.metadata import record, record_metrics
    from edgeline.components.monitor.monitor import monitor as work

    result = work(
        payloads_uri=payloads_uri,
        bundle_uri=bundle_uri,
        monitoring_path=monitoring.path,
        monitoring_report_path=monitoring_report.path,
        labels_uri=labels_uri,
        window_hours=window_hours,
        until=until,
        min_rows=min_rows,
        events_url=events_url,
        events_key=events_key,
        device=device,
        decay_slices=decay_slices,
        thresholds=thresholds,
    )
    record(monitoring, result.metadata, "drifting", "decayed")
    record_metrics(monitoring_metrics, result.metrics)
    return result.drifting, result.decayed, result.rows
