"""The space of hyperparameters that a search looks through, where it is given as an object.

    {"units": {"choices": [16, 32, 64]},
     "learning_rate": {"low": 1e-4, "high": 0.1, "log": true},
     "layers": {"low": 1, "high": 4},
     "dropout": {"low": 0, "high": 1, "type": "float"}}

Conditions and loops are for a function `search_space(trial)` in the user's module, whose `trial` is
Optuna's, and which returns the hyperparameters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from edgeline.errors import EdgelineError, did_you_mean
from edgeline.formats import parameter_file
from edgeline.formats.doubles import whole

PARAMETER = "search_space"
CHOICES, LOW, HIGH, LOG, STEP, TYPE = "choices", "low", "high", "log", "step", "type"
FIELDS = (CHOICES, LOW, HIGH, LOG, STEP, TYPE)
INT, FLOAT = "int", "float"
FORM = 'write it as {"choices": [16, 32]} or {"low": 0.001, "high": 0.1, "log": true}'


class Suggesting(Protocol):
    """What of Optuna's trial is used."""

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...


@dataclass(frozen=True)
class Dimension:
    """One hyperparameter: some choices, or a range with both ends in it.

    Attributes:
        choices: JSON values; empty for a range.
        low, high: the ends, of which a range of whole numbers has whole ones.
        step: between two values; 0: any value of a float, each whole number.
        log: whether each order of magnitude is as likely as the others.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    step: float = 0.0
    log: bool = False

    def suggest(self, trial: Suggesting) -> Any:
        """A value for a trial."""
        if self.choices:  # as texts, for lists are not choices of Optuna's
            texts = [json.dumps(each, sort_keys=True) for each in self.choices]
            return json.loads(trial.suggest_categorical(self.name, texts))
        if self.integer:
            step = int(self.step) or 1
            return trial.suggest_int(
                self.name, int(self.low), int(self.high), step=step, log=self.log
            )
        step_of_float = self.step or None
        return trial.suggest_float(self.name, self.low, self.high, step=step_of_float, log=self.log)

    @property
    def words(self) -> str:
        """What it may be, for people."""
        if self.choices:
            return "one of " + ", ".join(json.dumps(each) for each in self.choices)
        kind = "whole numbers" if self.integer else "numbers"
        step = f" in steps of {self.step:g}" if self.step else ""
        return f"{kind} from {self.low:g} to {self.high:g}{step}{', logarithmic' * self.log}"


def parse(given: Any, where: str = "Parameter training.search_space") -> tuple[Dimension, ...]:
    """The dimensions of an object, in its order.

    A range is of whole numbers where both ends (and the step) are whole and it has no type:
    Kubeflow hands on 1 as 1.0, so only `"type": "float"` tells 0.0 to 4.0 from 0 to 4.

    Raises:
        EdgelineError: begins with `where` and the name at fault.
    """
    if not isinstance(given, Mapping):
        raise EdgelineError(f"{where} is not an object of hyperparameters: {FORM}.")
    return tuple(_dimension(str(name), each, f"{where}.{name}") for name, each in given.items())


def read(path: str | Path) -> dict[str, Any]:
    """The object in a YAML file, checked as `parse` does.

    Raises:
        UsageError: it cannot be read, is not YAML, or is not as `parse` takes it.
    """
    where = str(Path(path))
    return parameter_file.read(
        path, dict[str, Any], lambda value: parse(value, where), "a search space", FORM
    )


def suggest(trial: Suggesting, space: tuple[Dimension, ...]) -> dict[str, Any]:
    """Values for a trial, by name."""
    return {each.name: each.suggest(trial) for each in space}


def _dimension(name: str, given: Any, place: str) -> Dimension:
    if not isinstance(given, Mapping):
        raise EdgelineError(f"{place} is not a range and no choices: {FORM}.")
    for key in given:
        if key not in FIELDS:
            hint = did_you_mean(str(key), FIELDS, "It has")
            raise EdgelineError(f"{place}.{key}: there is no such field. {hint}")
    if CHOICES in given:
        if len(given) > 1:
            raise EdgelineError(f"{place} has choices and other fields: leave one out.")
        return Dimension(name, choices=_choices(given[CHOICES], place))
    if LOW not in given or HIGH not in given:
        raise EdgelineError(f"{place} has not both low and high: {FORM}.")
    low, high, step = (_number(given.get(key, 0), f"{place}.{key}") for key in (LOW, HIGH, STEP))
    log, kind = given.get(LOG, False), given.get(TYPE, "")
    if not isinstance(log, bool):
        raise EdgelineError(f"{place}.log is not true or false: correct it.")
    if kind not in ("", INT, FLOAT):
        raise EdgelineError(f"{place}.type is {kind!r}: give {INT} or {FLOAT}, or leave it out.")
    are_whole = all(isinstance(each, int) for each in (low, high, step))
    if kind == INT and not are_whole:
        raise EdgelineError(f"{place} is of the type int, but has a fraction: correct it.")
    if not kind and are_whole and high - low == 1:
        raise EdgelineError(
            f"{place} is {low} or {high} and nothing between, if it is of whole numbers: say so "
            'with "type": "int", or give "type": "float".'
        )
    if low >= high:
        raise EdgelineError(f"{place} is empty, since low is not below high: change one.")
    if step < 0 or step > high - low:
        raise EdgelineError(f"{place}.step is {step}, which does not fit between low and high.")
    if log and low <= 0:
        raise EdgelineError(f"{place} is logarithmic, but its low is {low}: give one above 0.")
    if log and step:
        raise EdgelineError(f"{place} has log and step: leave one out.")
    return Dimension(
        name,
        low=low,
        high=high,
        integer=are_whole and kind != FLOAT,
        step=step,
        log=log,
    )


def _choices(given: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(given, (list, tuple)) or not given:
        raise EdgelineError(f"{place}.choices is not a list with something in it: {FORM}.")
    found = whole(list(given))
    texts = [json.dumps(each, sort_keys=True) for each in found]
    if twice := next((text for text in texts if texts.count(text) > 1), ""):
        raise EdgelineError(f"{place}.choices has {twice} twice: leave one out.")
    return tuple(found)


def _number(value: Any, place: str) -> int | float:
    value = whole(value)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise EdgelineError(f"{place} is not a finite number: correct it.")
    number: int | float = value
    return number
