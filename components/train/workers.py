"""What several workers of a training are told, how each ends, and when they begin anew.

A worker is a process, `python -m edgeline.components.train.worker`, on this machine
(`local_workers`) or in a pod of a Job (`cluster_workers`). They train together, so when one is lost
all begin anew from the last checkpoint, which gives the weights that a training without a loss has.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from edgeline.artifacts import fairness
from edgeline.components.train.fitting import Fitting
from edgeline.components.train.optimising import Optimisation
from edgeline.errors import EdgelineError

MODULE = "edgeline.components.train.worker"
WORK = "EDGELINE_TRAINING"  # the variable with a `SharedTraining`
ADDRESSES = "EDGELINE_WORKERS"  # host:port of each worker, with commas between
INDEX = "JOB_COMPLETION_INDEX"  # which of them; Kubernetes sets it in pods of an indexed Job
REASON = "EDGELINE_REASON"  # the variable with the file for why a worker refuses, in a sentence
REFUSED = 78  # the exit code where another try would end alike (EX_CONFIG of sysexits.h)
STARTS = 3  # in a row that bring no epoch more, before it is given up
MOST_WORK = 100_000  # characters: Linux takes 128 KiB a variable


@dataclass(frozen=True)
class SharedTraining:
    """A training, as each of its workers is told of it.

    Attributes:
        module: the user's module.
        transformed: a `transformed_examples/v1` folder, here or in a store.
        digest: of that artifact.
        hyperparameters: handed to `build_model`.
        how: see `Fitting`.
        class_weights: by class number; None where all count the same.
        checkpoint_dir: where all of them find the checkpoints.
        key: of this training there.
    """

    module: str
    transformed: str
    digest: str
    hyperparameters: Mapping[str, object]
    how: Fitting
    class_weights: tuple[float, ...] | None
    checkpoint_dir: str
    key: str

    def to_json(self) -> str:
        """
        Raises:
            EdgelineError: it is too large for a variable of a process.
        """
        text = json.dumps(asdict(self))
        if len(text) > MOST_WORK:
            raise EdgelineError(
                f"Hyperparameters and class weights have {len(text):,} characters, more than the "
                f"{MOST_WORK:,} that workers can be given: put what is large into the module."
            )
        return text

    @classmethod
    def from_json(cls, text: str) -> SharedTraining:
        given = json.loads(text)
        how = given.pop("how")
        how["optimisation"] = Optimisation(**how["optimisation"])
        how["fairness"] = fairness.parse(how["fairness"])
        weights = given.pop("class_weights")
        return cls(
            **given, how=Fitting(**how), class_weights=None if weights is None else tuple(weights)
        )


@dataclass(frozen=True)
class Ended:
    """How workers that were started together have ended.

    Attributes:
        done: whether the first of them came to the end of the training.
        refused: why another try would end alike; "" where it may not.
        why: what became of the one that ended first, for people.
    """

    done: bool = False
    refused: str = ""
    why: str = ""


def until_done(start: Callable[[int], Ended], reached: Callable[[], int]) -> None:
    """Start workers, and anew from their last checkpoint when one is lost, until they are done.

    Args:
        start: starts all of them, the n-th time from 1, and waits until none is left.
        reached: the epoch of the last checkpoint.

    Raises:
        EdgelineError: what one of them refused, or `STARTS` starts brought no epoch more.
    """
    vain, before = 0, reached()
    for number in itertools.count(1):
        ended = start(number)
        if ended.done:
            return
        if ended.refused:
            raise EdgelineError(ended.refused)
        now = reached()
        vain = 0 if now > before else vain + 1
        before = now
        if vain == STARTS:
            raise EdgelineError(
                f"{ended.why}; {STARTS} starts in a row came to no further epoch than {now}: see "
                "what the workers printed, and give them more memory if they were killed."
            )
        print(f"{ended.why}: all begin anew after epoch {now}.", flush=True)


def environment(work: SharedTraining, addresses: Sequence[str]) -> dict[str, str]:
    """The variables of every worker, but for the index."""
    return {WORK: work.to_json(), ADDRESSES: ",".join(addresses)}
