"""`monitor`: for a schedule, where nobody listens to the events of servers.

It trains nothing, so it has neither the objects of the other pipelines nor their task `settings`:
its parameters are those of its one component.
"""

from kfp import dsl

from edgeline.components.described import described
from edgeline.components.faces import monitor, notify
from edgeline.pipelines import description as descriptions
from edgeline.pipelines.parameter import Parameter

# kfp takes a compiled pipeline with the name of one of its components for that component
NAME = "monitor-payloads"
ABOUT = "How a published model fares on what devices have met since: drift, decay, late labels."
_KINDS = {
    "str": "STRING",
    "int": "NUMBER_INTEGER",
    "float": "NUMBER_DOUBLE",
    "list": "LIST",
    "dict": "STRUCT",
}
_TABLE = {
    each.name: Parameter(
        each.name, _KINDS[each.type], each.required, each.default, each.description
    )
    for each in described("monitor").parameters
}


def graph(
    payloads_uri: str,
    bundle_uri: str,
    labels_uri: str = "",
    window_hours: float = 24.0,
    until: str = "",
    min_rows: int = 1,
    events_url: str = "",
    events_key: str = "",
    device: str = "monitor",
    decay_slices: list = [],  # noqa: B006  # as kfp reads them
    thresholds: dict = {},  # noqa: B006
) -> None:
    """One task, which never comes from the cache, and what tells how it ended."""
    ended = notify(pipeline_name=NAME, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
    ended.set_caching_options(False).set_display_name("tell how it ended")
    with dsl.ExitHandler(ended, name="monitor a model"):
        task = monitor(
            payloads_uri=payloads_uri,
            bundle_uri=bundle_uri,
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
        task.set_caching_options(False).set_display_name("compare with training")


graph.__doc__ = "\n".join(
    [ABOUT, "", "Args:", *(f"    {name}: {each.description}" for name, each in _TABLE.items())]
)
pipeline = dsl.pipeline(name=NAME, description=descriptions.text(ABOUT, _TABLE))(graph)
