"""A training done by several workers: processes of this machine, or in a cluster pods of a Job."""

from __future__ import annotations

from edgeline.components.train import cluster_workers, local_workers, saving, sharing, workers
from edgeline.components.train.checkpoints import Checkpoints
from edgeline.components.train.jobs import Jobs
from edgeline.components.train.workers import SharedTraining
from edgeline.errors import EdgelineError
from edgeline.kubeflow import pods
from edgeline.stores import remote
from edgeline.stores.destinations import in_cluster


def check_places(count: int, checkpoint_dir: str, transformed_examples_uri: str) -> None:
    """Refuse, in a cluster, what the pods of workers could not reach.

    Raises:
        EdgelineError: names the parameter.
    """
    sharing.check_place(count, checkpoint_dir)
    if not in_cluster():
        return
    if not remote.scheme(transformed_examples_uri):
        raise EdgelineError(
            f"Parameter 'workers' is {count}, and the transformed examples are at "
            f"{transformed_examples_uri!r}, where the workers' pods cannot read them: give the run "
            "a root in a store, or set workers to 1."
        )


def spread(work: SharedTraining, kept: Checkpoints) -> None:
    """Have the workers train to the end, from the last checkpoint where there is one.

    Args:
        kept: the checkpoints of this training; the last is that of the end afterwards.

    Raises:
        EdgelineError: what a worker refused, they were lost too often, or the cluster refuses.
    """

    def reached() -> int:
        kept.fetch()
        return saving.last(kept.folder).epoch

    if not in_cluster():
        workers.until_done(lambda _: local_workers.start(work), reached)
        return
    jobs = Jobs(pods.own_cluster(), pods.NAMESPACE.read_text().strip())
    own = cluster_workers.own_pod(jobs)
    workers.until_done(lambda number: cluster_workers.start(work, jobs, own, number), reached)
