"""What several workers of the training share."""

from __future__ import annotations

from collections.abc import Iterator

from edgeline.components.train import precision, sharing
from edgeline.errors import EdgelineError
from edgeline.preflight.given import GivenRun


def workers(run: GivenRun) -> Iterator[str]:
    """A batch that they cannot share, and what they cannot do; in a cluster, no place to meet."""
    count, size = run.values.get("workers"), run.values.get("batch_size")
    if not isinstance(count, int) or not isinstance(size, int):
        return
    try:
        precision.check(run.text("mixed_precision"), count)
        compiled, norms = run.values.get("jit_compile"), run.values.get("gradient_norms")
        sharing.check(count, size, bool(compiled), gradient_norms=bool(norms))
    except EdgelineError as error:
        yield str(error)
    if count > 1 and not run.here and run.is_final and not run.text("checkpoint_dir"):
        yield sharing.no_place(count)
