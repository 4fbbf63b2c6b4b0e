"""`POST /v1/models/MODEL:explain`, as KServe's first protocol has it: the work in a child.

`instances` as `:predict` takes them give `predictions`, as there, and `explanations`, for each

    {"class": "yes", "score": 0.91, "base": 0.22, "attributions": {"fare": 0.31, "company": …},
     "errors": {"fare": 0.02, "company": …}, "orders": 320, "background_rows": 32}

`score` is that of the output that is explained (see `edgeline.runtimes.explained_output`), `base`
and the attributions add up to it, and `errors` are standard errors (see
`edgeline.runtimes.shapley_rounds`), null where a single background row was used. An instance that
is refused, or whose score is not finite, has `{"error": why}` in its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import numpy as np

from edgeline.artifacts.models import PREDICTION
from edgeline.runtimes import explained_output
from edgeline.runtimes.interpreter import dequantise
from edgeline.runtimes.shapley import Floats
from edgeline.runtimes.shapley_rounds import (
    BudgetedAsking,
    OutOfTimeError,
    ShapleyEstimate,
    UnwantedError,
    estimate,
    least_evaluations,
)
from edgeline.server.errors import Code, ServingError, invalid
from edgeline.server.models.model import Arrays, Description, Instance, decided_output
from edgeline.server.protocols.tfserving_json import (
    asked_of,
    from_rows,
    to_rows,
    with_refused,
    write_all,
)


@dataclass(frozen=True)
class ExplainBudget:
    """What an explanation may take: seconds, and rows that the model is asked."""

    seconds: float
    rows: int


def explain(
    body: bytes,
    instance: Instance,
    background: Arrays,
    budget: ExplainBudget,
    unwanted: Callable[[], bool] = lambda: False,
) -> tuple[bytes, int]:
    """The answer, and how many rows the model was asked for it.

    Args:
        background: recorded rows, checked, [background, ...] each.
        unwanted: asked before each call of the model.

    Raises:
        ServingError: the request is malformed, does not fit the model or the budget, the time is
            over, or nobody waits any more.
    """
    until = monotonic() + budget.seconds
    description = instance.description
    asked = asked_of(body)
    if (given := asked.get("instances")) is None:
        raise invalid("Give 'instances' (rows), as :predict takes them.")
    fit, refused = instance.prepare_each(from_rows(given, description))
    count, known = (len(next(iter(each.values()))) for each in (fit, background))
    _check_budget(count, len(fit), known, budget)
    output = _explained(description)
    bundle = description.bundle
    assert bundle is not None  # whose recorded rows are the background
    asking = BudgetedAsking(budget.rows, until, unwanted)
    try:
        pieces = asking(instance.predict, fit)
        answers = {name: np.concatenate([each[name] for each in pieces]) for name in pieces[0]}
        scores = _scores(answers, output, description)
        _check_columns(scores, bundle.task, output, description)
        places = [row for row in range(count + len(refused)) if row not in refused]
        finite = np.isfinite(scores).all(axis=1)
        odd = {
            places[row]: _not_finite(places[row], scores[row]) for row in np.flatnonzero(~finite)
        }
        if not finite.any():
            raise invalid(next(iter(odd.values())))
        explained = {name: array[finite] for name, array in fit.items()}
        scores = scores[finite]
        chosen = explained_output.targets(bundle.task, scores)
        found = estimate(
            asking,
            lambda rows: _scores(_mixed(rows, instance), output, description),
            *(explained, scores[np.arange(len(scores)), chosen], chosen, background),
        )
    except OutOfTimeError:
        raise ServingError(
            Code.UNAVAILABLE,
            f"In --explain ({budget.seconds:g} s) not one order of the features was done: ask for "
            "fewer instances at once, or later.",
        ) from None
    except UnwantedError:
        raise ServingError(Code.CANCELLED, "Nobody waits for the answer any more.") from None
    names = [
        explained_output.name(bundle.task, bundle.labels or (), target)
        for target in chosen.tolist()
    ]
    document: dict[str, object] = {
        "predictions": with_refused(to_rows(answers), fit, refused),
        "explanations": with_refused(_told(found, list(fit), names), explained, {**refused, **odd}),
    }
    return write_all(document, answers, instance.outside.parameters), found.asked


def _check_budget(count: int, features: int, background: int, budget: ExplainBudget) -> None:
    least = least_evaluations(count, features, background)
    if least <= budget.rows:
        return
    of_one = least_evaluations(1, features, 0)
    most = (budget.rows - background) // of_one
    fewer = f"ask for {most} at once at most" if most > 0 else "serve with a larger one"
    raise ServingError(
        Code.INVALID_ARGUMENT,
        f"To explain {count} instances the model would be asked for {least:,} rows or more, and "
        f"--explain-rows is {budget.rows:,}: {fewer}.",
        413,
    )


def _not_finite(place: int, scores: Floats) -> str:
    return (
        f"The model answers {scores.tolist()} to instances[{place}], so it cannot be explained: "
        "give it values as in the training."
    )


def _check_columns(scores: Floats, task: str, output: str, description: Description) -> None:
    """Refuse a regression of several numbers, of which nothing says which is meant."""
    if task == explained_output.REGRESSION and scores.shape[1] > 1:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Model {description.name!r} gives {scores.shape[1]} numbers as {output!r}, and an "
            "explanation is of one: publish a model of each.",
        )


def _explained(description: Description) -> str:
    """The output whose score is explained.

    Raises:
        ServingError: there is none.
    """
    outputs = description.signature.outputs
    names = [tensor.name for tensor in outputs]
    found = PREDICTION if PREDICTION in names else decided_output(outputs)
    if not found:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Model {description.name!r} has the outputs {', '.join(names)[:200]}, and none is "
            f"called {PREDICTION!r}: there is nothing to say which is explained.",
        )
    return found


def _mixed(rows: Arrays, instance: Instance) -> Arrays:
    """The answers to rows that are each made of two."""
    try:
        return instance.predict(rows)
    except ServingError as error:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Model {instance.description.name!r} cannot be explained, for it does not run where a "
            f"row has some of its features from a recorded one ({str(error).rstrip('.')}).",
        ) from error


def _scores(answers: Arrays, output: str, description: Description) -> Floats:
    """Real scores float64 [rows, outputs]."""
    real = dequantise({output: answers[output]}, description.signature.outputs)[output]
    return np.asarray(real, np.float64).reshape(len(real), -1)


def _told(found: ShapleyEstimate, features: list[str], names: list[str]) -> list[object]:
    told: list[object] = []
    for row, name in enumerate(names):
        errors = found.errors[row]
        told.append(
            {
                **({"class": name} if name else {}),
                "score": float(found.score[row]),
                "base": float(found.base[row]),
                "attributions": dict(zip(features, found.values[row].tolist(), strict=True)),
                "errors": dict(zip(features, errors.tolist(), strict=True))
                if np.isfinite(errors).all()
                else None,
                "orders": found.orders,
                "background_rows": found.background_rows,
            }
        )
    return told
