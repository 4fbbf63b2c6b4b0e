"""What a user says of a model that is taken in, since its file does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from edgeline.artifacts import models
from edgeline.errors import EdgelineError

SCALINGS = {"": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, -1.0)}
LABEL_TYPES = ("int64", "string", "float32")


@dataclass(frozen=True)
class Wanted:
    """The parameters of the component (see `component.py`), `labels` as the names themselves."""

    task: str = "multiclass_classification"
    labels: tuple[str, ...] = ()
    label: str = ""
    label_type: str = ""
    signature: str = ""
    input_shape: tuple[int, ...] = ()
    scaling: str = ""
    logits: bool = False
    rename: Mapping[str, str] = field(default_factory=dict)
    to_litert: bool = False

    def check(self) -> None:
        """Refuse what no model could fulfil.

        Raises:
            EdgelineError: names the parameter.
        """
        if self.task not in models.TASKS:
            raise EdgelineError(f"task is {self.task!r}: choose one of {', '.join(models.TASKS)}.")
        if self.label_type not in ("", *LABEL_TYPES):
            raise EdgelineError(
                f"label_type is {self.label_type!r}: choose one of {', '.join(LABEL_TYPES)}."
            )
        if self.label_type and not self.label:
            raise EdgelineError("label_type is set, but label is empty: name the label's column.")
        if self.label_type == "string" and not self.labels:
            raise EdgelineError(
                "label_type is string, but there are no class names to look the label up in: "
                "give labels."
            )
        if self.scaling not in SCALINGS:
            known = ", ".join(filter(None, SCALINGS))
            raise EdgelineError(f"scaling is {self.scaling!r}: choose one of {known}, or none.")
        if any(size < 1 for size in self.input_shape):
            raise EdgelineError(
                f"input_shape is {list(self.input_shape)}: give positive sizes without the batch, "
                "such as [224, 224, 3]."
            )
        if self.logits and self.task == "regression":
            raise EdgelineError("logits is set, but a regression has none: unset it.")

    @property
    def label_dtype(self) -> str:
        """The type of the label's column."""
        return self.label_type or ("float32" if self.task == "regression" else "int64")

    def refuse(self, names: Iterable[str], kind: str) -> None:
        """Refuse parameters that have no meaning for a kind of file.

        Raises:
            EdgelineError: one of them is set.
        """
        default = {entry.name: getattr(Wanted(), entry.name) for entry in fields(Wanted)}
        for name in names:
            if getattr(self, name) != default[name]:
                raise EdgelineError(
                    f"{name} is set, but {kind} is taken as it is: unset it, or import the "
                    "SavedModel that it was made of."
                )

    def names(self, given: Iterable[str], sole: str = "") -> dict[str, str]:
        """The names that tensors get, by the names that they have in the file.

        Args:
            given: names in the file.
            sole: the name of the only one, where there is only one and no other is wanted.

        Raises:
            EdgelineError: two would get the same name, or one has none.
        """
        given = list(given)
        found = {name: self.rename.get(name, _word(name)) for name in given}
        if sole and len(given) == 1 and given[0] not in self.rename:
            found = {given[0]: sole}
        for name, to in found.items():
            if not to:
                raise EdgelineError(
                    f"Tensor {name!r} would have no name: give it a column's with rename."
                )
            if list(found.values()).count(to) > 1:
                raise EdgelineError(
                    f"Several tensors of the model would be called {to!r}: tell {name!r} from the "
                    "others with rename."
                )
        return found

    def check_rename(self, known: Iterable[str]) -> None:
        """Refuse new names for what is not there.

        Raises:
            EdgelineError: names it and what there is.
        """
        known = list(known)
        for name in self.rename:
            if name not in known:
                raise EdgelineError(
                    f"rename names {name!r}, but the model has {', '.join(sorted(known))}."
                )

    def check_prediction(self, shape: tuple[int, ...]) -> None:
        """Compare the prediction's shape, without the batch and -1 where open, with the task.

        Raises:
            EdgelineError: they do not fit.
        """
        if len(shape) != 1 or shape[0] < 0:
            return
        if self.task == "multiclass_classification" and self.labels:
            if shape[0] != len(self.labels):
                raise EdgelineError(
                    f"The model tells {shape[0]} classes apart, but labels has {len(self.labels)}: "
                    "give the names that belong to it, one a line."
                )
        elif self.task != "multiclass_classification" and shape[0] != 1:
            raise EdgelineError(
                f"The model gives {shape[0]} values, but a {self.task} model gives one: set task "
                "to multiclass_classification."
            )


def _word(name: str) -> str:
    """`input` of `MobilenetV2/input:0`, `x` of `serving_default_x:0`, `poses_1` of `poses:1`."""
    last = name.rpartition("/")[2].removeprefix("serving_default_").removesuffix(":0")
    return re.sub("[^A-Za-z0-9_]", "_", last)
