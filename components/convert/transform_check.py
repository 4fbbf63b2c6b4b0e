"""What LiteRT lacks of a transform, from its graph alone: to be asked before a training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgeline.artifacts.features import Feature
from edgeline.components.convert import column_names, raw_form
from edgeline.components.convert.raw_form import Lack, Lacks
from edgeline.formats.signature_names import by_original, by_safe, safe

if TYPE_CHECKING:
    import tensorflow as tf


def lacking(tell: Callable[[str], None], transform_fn: str, outputs: Sequence[Feature]) -> Lacks:
    """What keeps features of a transform from being made on a device. Runs in a child process.

    Args:
        tell: is told what comes next.
        transform_fn: the SavedModel in a folder of `tft.TFTransformOutput`.
        outputs: of the transform, those that a model may take.

    Returns:
        The operators that LiteRT lacks, tried by converting the transform; empty where it has all.
    """
    import tensorflow as tf

    from edgeline.components.convert import building, hosting, replay

    tf.get_logger().setLevel("ERROR")
    tell("loading the transform")
    loaded = tf.saved_model.load(transform_fn)
    specs = loaded.transform_fn.structured_input_signature[0][0]
    arguments = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in by_safe(specs).items()
    }

    def traced(wanted: Sequence[Feature]) -> tf.types.experimental.ConcreteFunction:
        def make(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            made = loaded.transform_fn(by_original(inputs))
            return {safe(f.name): tf.ensure_shape(made[f.name], [None, *f.shape]) for f in wanted}

        return tf.function(make, autograph=False).get_concrete_function(**arguments)

    found: dict[str, Lack] = {}
    wanted = list(outputs)
    while wanted:
        transform = traced(wanted)
        hosted = hosting.cut(transform)
        left = hosted.transform if hosted else transform
        try:
            building.floating(tell, replay.lower(left, raw=True))
        except building.UnsupportedError as error:
            more = raw_form.lacks(transform, error.operators, hosted, error.types)
            found = raw_form.together(found, more)
            made = {name for lack in more.values() for name in lack.makes}
            wanted = [f for f in wanted if safe(f.name) not in made] if made else []
        else:
            break
    return column_names.lacks(found)
