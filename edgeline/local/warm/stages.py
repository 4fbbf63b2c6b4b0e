"""What is imported in which warm process, and which task starts from which.

Nothing but importing happens before a fork: TensorFlow starts its threads at its first
operation, and a fork after that would hang. Importing tf.Transform switches TensorFlow to
Keras 2, so tasks that train are forked from the process before it.
"""

from __future__ import annotations

from collections.abc import Collection

STAGES: dict[str, tuple[str, ...]] = {
    "light": (
        "kfp.dsl.executor",
        "pyarrow.parquet",
        "pyarrow.compute",
        "matplotlib.figure",
        "jinja2",
    ),
    "tensorflow": ("tensorflow", "keras"),
    "transform": ("tensorflow_transform",),
    "beam": ("apache_beam", "tensorflow_transform.beam", "tensorflow_model_analysis"),
}
# by stage what it is not to import, though it is installed: keras has it for notebooks alone, and
# each task would hold 20 MB for it
LEFT_OUT = {"tensorflow": "IPython"}
# by stage what many of its tasks import of edgeline's own, which comes when nothing else waits
AFTERWARDS: dict[str, tuple[str, ...]] = {
    "light": (
        "edgeline.artifacts.metadata",
        "edgeline.components.ingest.ingest",
        "edgeline.components.validate.validate",
        "edgeline.components.notify.notify",
        "edgeline.components.settings.settings",
    ),
    "tensorflow": ("edgeline.components.train.train", "edgeline.components.convert.convert"),
    "transform": ("edgeline.components.transform.transform",),
    "beam": ("edgeline.components.analyze.analyze",),
}
COMPONENT_STAGE = {  # by the name of the task, which kfp writes with dashes
    "settings": "light",
    "plan": "light",
    "ingest": "light",
    "validate": "light",
    "acceptance": "light",
    "choose": "light",
    "publish": "light",
    "publish-candidates": "light",
    "serve": "light",
    "notify": "light",
    "check": "light",
    "model-card": "light",
    "monitor": "light",
    "import-model": "tensorflow",
    "train": "tensorflow",
    "train-candidate": "tensorflow",
    "tune": "tensorflow",
    "convert": "tensorflow",
    "compile": "tensorflow",
    "verify": "tensorflow",
    "explain": "tensorflow",
    "transform": "transform",
    "analyze": "beam",
}


def up_to(stages: Collection[str]) -> list[str]:
    """The chain that ends at the last of some stages; empty where there are none."""
    order = list(STAGES)
    return order[: 1 + max((order.index(stage) for stage in stages), default=-1)]
