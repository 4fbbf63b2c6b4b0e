"""How a training goes within its epochs: loss, learning rate and gradients, and a step's time.

What is watched is what the training has at hand anyway: after each call of its graph, which makes
up to 50 steps. A network of tf_keras is not watched, since its graph is left after every step.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeline.components.train.gradients import NORM, GradientNorms

if TYPE_CHECKING:
    import keras

MOST = 400  # points; of twice as many two neighbours become one


def steps_per_call(steps_per_epoch: int) -> int:
    """Of an epoch's steps, how many one call of the training's graph makes: a tenth, so that a
    curve has ten points an epoch, but not fewer than 5 nor more than 50."""
    return min(50, max(5, steps_per_epoch // 10))


@dataclass
class StepTimes:
    """Seconds of a step in each call of the graph; of this process alone, as no checkpoint may
    depend on the clock. `made` says whether the graph was: its first call makes it."""

    seconds: list[float] = field(default_factory=list)
    made: bool = False

    @property
    def median(self) -> float | None:
        """None where nothing but the first call was seen, in which the graph was made."""
        ordered = sorted(self.seconds)
        return ordered[len(ordered) // 2] if ordered else None


def watched(
    points: list[list[float]],
    done: int,
    steps: int,
    times: StepTimes,
    norms: GradientNorms | None = None,
) -> keras.callbacks.Callback:
    """A callback for one epoch, which adds the mean norm of its gradients to Keras' numbers.

    Args:
        points: step, mean loss of the steps since the point before, learning rate, and mean norm
            of the gradients since then, NaN where it is not known; new ones are put at the end.
        done: steps of the epochs before.
        steps: of this one.
        times: what the epoch's steps took is put in.
        norms: of the gradients.
    """
    import keras

    # a checkpoint of an older version has no norms
    points[:] = [[*point, math.nan][:4] for point in points]

    class Watch(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.steps, self.total, self.last = 0, 0.0, time.perf_counter()
            self.norms, self.known = 0.0, 0
            if norms:
                norms.restart()

        def on_train_batch_end(self, _: int, logs: Any = None) -> None:
            # the last call makes those that are left
            now = time.perf_counter()
            size = min(int(self.model.steps_per_execution), steps - self.steps)
            if times.made and len(times.seconds) < 2 * MOST:
                times.seconds.append((now - self.last) / size)
            self.last, times.made = now, True
            self.steps += size
            total = float(logs["loss"]) * self.steps  # Keras tells the mean since the epoch began
            rate = getattr(self.model.optimizer, "learning_rate", float("nan"))
            rate = rate.numpy() if hasattr(rate, "numpy") else rate  # on several devices, too
            norm = norms.mean() if norms else math.nan
            loss = (total - self.total) / size
            points.append([done + self.steps, loss, float(rate), norm])
            self.total = total
            if math.isfinite(norm):  # float16's first steps overflow until its scale fits
                self.norms, self.known = self.norms + norm * size, self.known + size
            if len(points) >= 2 * MOST:
                points[:] = _halved(points)

        def on_epoch_end(self, _: int, logs: Any = None) -> None:
            if norms and logs is not None:  # build_model's own comes first
                logs.setdefault(NORM, self.norms / self.known if self.known else math.nan)

    return Watch()


def _halved(points: list[list[float]]) -> list[list[float]]:
    """Each two neighbours as one, loss and norm by their steps."""
    found, before = [], 0.0
    for one, two in zip(points[::2], points[1::2], strict=False):
        (first, *_), (step, _, rate, _) = one, two
        loss, norm = (
            (one[at] * (first - before) + two[at] * (step - first)) / (step - before)
            for at in (1, 3)
        )
        found.append([step, loss, rate, norm])
        before = step
    return found + points[len(points) // 2 * 2 :]
