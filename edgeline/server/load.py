"""A published bundle as a function of raw rows, for a notebook or a program.

It is the server without a port, as in `follow`, for one version that stays the same: the model is
tried in a process of its own, its recorded rows are answered, and each call is checked, filled and
answered by the code that answers the server's requests.
"""

from __future__ import annotations

import tempfile
import weakref
from html import escape
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType

from edgeline.artifacts.bundle import Tensor
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats.dtypes import Array
from edgeline.server.errors import ServingError
from edgeline.server.follow import FollowedModels, follow
from edgeline.server.tensors.rows import columns_of
from edgeline.stores.store import local_copy

__all__ = ["LoadedModel", "load"]


def load(bundle: str | PathLike[str], root: str | PathLike[str] | None = None) -> LoadedModel:
    """Load a published bundle.

    The digest of every file, the model's signature and the recorded predictions are checked. Who
    published it is known only with a root.

    Args:
        bundle: the folder of a bundle or its address (`s3://bucket/models/taxi/1`, likewise gs://,
            abfs:// and minio://), as `run.bundle` says it; or a store with one model, whose newest
            version is taken. With a root a signed repository (a folder, https://, or a bucket).
        root: the file with the root of trust of a signed repository.

    Raises:
        UsageError: there is no such bundle, or the path holds several models.
        EdgelineError: it is damaged, not trusted, or does not run here.
    """
    place = fspath(bundle)
    if root is not None:
        state = tempfile.TemporaryDirectory(prefix="edgeline-", ignore_cleanup_errors=True)
        return LoadedModel(place, follow(place, root, state=state.name, poll=0), state)
    if "://" not in place and (Path(place) / "metadata").is_dir():
        raise UsageError(
            f"{place} is a signed repository: give root, the file with its root of trust."
        )
    with local_copy(place) as folder:
        try:
            return LoadedModel(place, follow(folder, poll=0))
        except EdgelineError as error:
            raise type(error)(str(error).replace(str(folder), place)) from None


class LoadedModel:
    """One version of a model, in memory. Any thread may call; a `with` block closes it.

    Attributes:
        name, version: of the bundle.
        inputs, outputs: what a caller gives and gets, [rows, ...] each.
        labels: of the classes, in the order of their scores; None where it has none.
        decision_threshold: above which score a binary model says yes; None for 0.5.
    """

    def __init__(
        self,
        place: str,
        models: FollowedModels,
        state: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self._models = models
        self._close = weakref.finalize(self, _close, models, state)
        if len(names := models.versions) > 1:
            self._close()
            raise UsageError(
                f"{place} holds the models {', '.join(names)}: give the folder of one."
            )
        self._description = models.describe()

    @property
    def name(self) -> str:
        return self._description.name

    @property
    def version(self) -> int:
        return self._description.version

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._description.asked.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self._description.asked.outputs

    @property
    def labels(self) -> tuple[str, ...] | None:
        return self._description.labels

    @property
    def decision_threshold(self) -> float | None:
        return self._description.decision_threshold

    def predict(self, rows: object) -> dict[str, Array]:
        """Answer raw rows, at most 1,048,576.

        Args:
            rows: a list of dictionaries, a dictionary of columns, a pandas DataFrame or a pyarrow
                Table, with the model's inputs and nothing else. None is a missing value; what
                else is one, and what becomes of times, says `columns_of`.

        Returns:
            Each output by name, [rows, ...].

        Raises:
            EdgelineError: the rows do not fit the model, by the first input, row or value that
                does not.
        """
        try:
            given = columns_of(rows, {tensor.name: tensor.dtype for tensor in self.inputs})
        except ServingError as error:
            raise EdgelineError(str(error)) from error
        return self._models.predict(given, model=self.name)

    def close(self) -> None:
        """Free the model. A second time it does nothing."""
        self._close()

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        takes = ", ".join(tensor.name for tensor in self.inputs)
        return f"{self.name} {self.version}: {takes} -> {', '.join(t.name for t in self.outputs)}"

    def _repr_html_(self) -> str:
        rows = [
            (kind, tensor.name, tensor.dtype, str([*tensor.shape[1:]]))
            for kind, tensors in (("input", self.inputs), ("output", self.outputs))
            for tensor in tensors
        ]
        cells = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{escape(c)}</td>' for c in row) + "</tr>"
            for row in rows
        )
        title = f"<div><b>{escape(self.name)} {self.version}</b>, a row each:</div>"
        return f"{title}<table>{cells}</table>"


def _close(models: FollowedModels, state: tempfile.TemporaryDirectory[str] | None) -> None:
    models.close()
    if state is not None:
        state.cleanup()
