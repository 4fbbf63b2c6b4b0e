"""A transform graph as a function, without importing tf.Transform.

The folder has the layout of `tft.TFTransformOutput`: `transform_fn/` is a SavedModel whose
`transform_fn` takes and gives dictionaries of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeline.errors import EdgelineError
from edgeline.features import MISSING, NUMPY_DTYPES, Feature

Arrays = Mapping[str, npt.NDArray[Any]]


class SavedGraph:
    """A loaded transform graph. Calling it takes and gives numpy arrays by name."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self.folder = folder
        self.loaded = tf.saved_model.load(str(folder / "transform_fn"))
        self.specs: Mapping[str, Any] = self.loaded.transform_fn.structured_input_signature[0][0]

    def __call__(self, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
        import tensorflow as tf

        tensors = {name: tf.constant(arrays[name], spec.dtype) for name, spec in self.specs.items()}
        return {name: value.numpy() for name, value in self.tensors(tensors).items()}

    def tensors(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The same on tensors, for use inside a tf.function."""
        return dict(self.loaded.transform_fn(dict(inputs)))

    def vocabulary(self, name: str) -> list[str]:
        """The entries of a vocabulary by its `vocab_filename`, in the order of their index.

        Raises:
            EdgelineError: the graph has no such vocabulary.
        """
        assets = self.folder / "transform_fn" / "assets"
        try:
            return (assets / name).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            known = sorted(file.name for file in assets.glob("*")) or ["none"]
            raise EdgelineError(
                f"The transform graph has no vocabulary {name!r}, only {', '.join(known)}: "
                "name it with vocab_filename in preprocessing_fn."
            ) from None

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

    def outputs(self) -> list[Feature]:
        """Name, dtype and shape of each output, seen on two rows of missing values.

        Raises:
            EdgelineError: an output's shape or dtype is one that no model takes.
        """
        rows = {
            name: np.full(
                [2, *spec.shape[1:]], MISSING[spec.dtype.name], NUMPY_DTYPES[spec.dtype.name]
            )
            for name, spec in self.specs.items()
        }
        return [_feature(name, values) for name, values in sorted(self(rows).items())]


def _ancestors(operation: Any) -> set[str]:
    """Names of the operations that an operation's value is computed from, itself included."""
    found = {operation.name}
    waiting = [operation]
    while waiting:
        for tensor in waiting.pop().inputs:  # control inputs carry no value
            if tensor.op.name not in found:
                found.add(tensor.op.name)
                waiting.append(tensor.op)
    return found


def _feature(name: str, values: npt.NDArray[Any]) -> Feature:
    dtype = "string" if values.dtype == np.object_ else values.dtype.name
    if dtype not in NUMPY_DTYPES:
        raise EdgelineError(
            f"preprocessing_fn's output {name!r} is {dtype}: cast it to float32 or int64."
        )
    if values.ndim != 2:
        shape = ", ".join(["batch", *map(str, values.shape[1:])])
        raise EdgelineError(
            f"preprocessing_fn's output {name!r} has shape [{shape}]: give it the shape [batch, n]."
        )
    return Feature(name, dtype, values.shape[1:])
