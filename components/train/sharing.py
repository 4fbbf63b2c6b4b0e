"""What several workers can share, asked before anything else of a run."""

from __future__ import annotations

from edgeline.errors import EdgelineError
from edgeline.stores.destinations import in_cluster


def check(
    workers: int,
    batch_size: int,
    jit_compile: bool = False,
    optimisation: str = "",
    gradient_norms: bool = False,
) -> None:
    """Refuse a training that workers cannot share.

    Raises:
        EdgelineError: names the parameter.
    """
    if workers < 2:
        return
    if batch_size % workers:
        raise EdgelineError(
            f"Parameter 'batch_size' is {batch_size}, which {workers} workers cannot share "
            f"equally: give a multiple of {workers}."
        )
    if jit_compile:
        raise EdgelineError(
            f"Parameter 'jit_compile' is set with {workers} workers, but XLA cannot compile a step "
            "in which they wait for each other: leave one out."
        )
    if gradient_norms:
        raise EdgelineError(
            f"Parameter 'gradient_norms' is set with {workers} workers, whose gradients are added "
            "where nobody sees them: leave one out."
        )
    if optimisation:
        raise EdgelineError(
            f"Parameter 'optimisation' is {optimisation!r} with {workers} workers, which takes a "
            "tf_keras model that one worker trains: leave one out."
        )


def check_place(workers: int, checkpoint_dir: str) -> None:
    """Refuse, in a cluster, workers that have no place where they meet.

    Raises:
        EdgelineError: as said.
    """
    if workers > 1 and in_cluster() and not checkpoint_dir:
        raise EdgelineError(no_place(workers))


def no_place(workers: int) -> str:
    """What is said of workers in a cluster without a folder for checkpoints."""
    return (
        f"Parameter 'workers' is {workers}, and 'checkpoint_dir' is empty, which is where the "
        "workers' pods and the task meet: give a folder in a store, such as "
        "s3://bucket/checkpoints, or of a volume that several nodes mount."
    )
