"""Confidence intervals by the Poisson bootstrap, as TFMA computes them.

Every row is drawn Poisson(1) times in each of 20 resamples (TFMA's number); a metric's
interval is mean ± t(0.975, 19) · standard deviation over the resamples. Each slice draws
its own numbers from the seed and its name, so that one slice's interval does not depend
on which others are asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SAMPLES = 20


def generator(seed: int, name: str) -> np.random.Generator:
    """The random numbers of a slice."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def weights(
    random: np.random.Generator, rows: int, confidence_intervals: bool
) -> npt.NDArray[np.float64]:
    """How often each row counts: [1 + 20, rows], the first line ones, or that line alone."""
    once = np.ones((1, rows))
    if not confidence_intervals:
        return once
    return np.concatenate([once, random.poisson(1.0, (SAMPLES, rows))])


def with_interval(value: object, resampled: Sequence[object]) -> object:
    """A metric's value with the t-distribution of its resamples (TFMA's type)."""
    from tensorflow_model_analysis.api import types
    from tensorflow_model_analysis.evaluators import confidence_intervals_util

    mean, deviation = confidence_intervals_util.mean_and_std(resampled, ddof=1)
    return types.ValueWithTDistribution(
        sample_mean=mean,
        sample_standard_deviation=deviation,
        unsampled_value=value,
        sample_degrees_of_freedom=len(resampled) - 1,
    )
