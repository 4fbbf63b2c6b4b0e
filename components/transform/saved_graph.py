"""A transform graph as a function, without importing tf.Transform.

The folder has the layout of `tft.TFTransformOutput`: `transform_fn/` is a SavedModel whose
`transform_fn` takes and gives dictionaries of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeline.artifacts.features import Feature
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import Array
from edgeline.user_code import reason

if TYPE_CHECKING:
    import tensorflow as tf

Arrays = Mapping[str, Array]


class SavedGraph:
    """A loaded transform graph. Calling it takes and gives numpy arrays by name."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.loaded = tf.saved_model.load(str(folder / "transform_fn"))
        self.specs: Mapping[str, tf.TensorSpec] = (
            self.loaded.transform_fn.structured_input_signature[0][0]
        )

    def __call__(self, arrays: Arrays) -> dict[str, Array]:
        import tensorflow as tf

        tensors = {name: tf.constant(arrays[name], spec.dtype) for name, spec in self.specs.items()}
        try:
            return {name: value.numpy() for name, value in self.tensors(tensors).items()}
        except tf.errors.OpError as error:
            raise EdgelineError(f"preprocessing_fn fails on the data: {reason(error)}") from error

    def tensors(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The same on tensors, for use inside a tf.function."""
        return dict(self.loaded.transform_fn(dict(inputs)))

    def dependencies(self) -> dict[str, list[str]]:
        """For each output the raw features that it is computed from."""
        function = self.loaded.transform_fn
        # a restored function's tensors are in the order of tf.nest: by sorted name
        raw_nodes = {
            tensor.op.name: name
            for name, tensor in zip(sorted(self.specs), function.graph.inputs, strict=False)
        }
        outputs = zip(sorted(function.structured_outputs), function.graph.outputs, strict=True)
        return {
            name: sorted(raw_nodes[node] for node in raw_nodes.keys() & _ancestors(tensor.op))
            for name, tensor in outputs
        }

    def outputs(self, arrays: Arrays) -> list[Feature]:
        """Name, dtype and shape of each output, seen on some rows.

        Raises:
            EdgelineError: an output's shape is one that no model takes, or the graph
                fails on the rows.
        """
        return [_feature(name, values) for name, values in sorted(self(arrays).items())]


def check_label(label: str, names: Sequence[str]) -> None:
    """Refuse a label that the transform does not make.

    Args:
        names: the outputs of `preprocessing_fn`.

    Raises:
        EdgelineError: the label is none of them.
    """
    if label not in names:
        raise EdgelineError(
            f"Parameter 'label' is {label!r}, but preprocessing_fn gives {', '.join(names)}: "
            "name the output that is to be predicted."
        )


def vocabulary_names(folder: Path) -> list[str]:
    """The `vocab_filename` of each vocabulary of a transform graph."""
    return sorted(file.name for file in _assets(folder).glob("*"))


def vocabulary(folder: Path, name: str) -> list[str]:
    """The entries of a vocabulary by its `vocab_filename`, in the order of their index.

    Bytes that are not UTF-8 are shown as escapes, such as `\\xff`.

    Raises:
        EdgelineError: the graph has no such vocabulary.
    """
    try:
        content = (_assets(folder) / name).read_bytes()
    except FileNotFoundError:
        raise EdgelineError(
            f"The transform graph has no vocabulary {name!r}, only "
            f"{', '.join(vocabulary_names(folder)) or 'none'}: "
            "name it with vocab_filename in preprocessing_fn."
        ) from None
    # tf.Transform ends an entry with \n alone; str.splitlines knows other ends
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    return [line.decode("utf-8", "backslashreplace") for line in lines]


def _assets(folder: Path) -> Path:
    return folder / "transform_fn" / "assets"


def _ancestors(operation: tf.Operation) -> set[str]:
    """Names of the operations that an operation's value is computed from, itself included."""
    found = {operation.name}
    waiting = [operation]
    while waiting:
        for tensor in waiting.pop().inputs:  # control inputs carry no value
            if tensor.op.name not in found:
                found.add(tensor.op.name)
                waiting.append(tensor.op)
    return found


def _feature(name: str, values: Array) -> Feature:
    dtype = "string" if values.dtype == np.object_ else values.dtype.name
    if values.ndim < 2:
        raise EdgelineError(
            f"preprocessing_fn's output {name!r} has shape [batch]: give it the shape [batch, n]."
        )
    return Feature(name, dtype, values.shape[1:])
