"""One of several workers of a training, a process of its own; see `workers` for what it is told.

    python -m edgeline.components.train.worker [--child THREADS]

`--child` is for workers on the machine of their task: they end with it, and share its processors.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeline import artifacts
from edgeline.artifacts import examples
from edgeline.components.train import checkpoints, replicas, workers
from edgeline.components.train.class_weights import ClassWeights
from edgeline.components.train.fitting import fit
from edgeline.components.train.workers import SharedTraining
from edgeline.errors import EdgelineError
from edgeline.stores import copies, remote
from edgeline.stores.again import PassingError

CHILD = "--child"
TERMINATION_LOG = "/dev/termination-log"  # where Kubernetes looks, by default
NAMED_WITHIN = 600.0  # seconds until every worker's name is known, as pods may wait for a node
LOOK = 2.0  # seconds between two looks


def main(arguments: Sequence[str]) -> int:
    """Train; the exit code is 0, `workers.REFUSED`, or that of a crash."""
    work = SharedTraining.from_json(os.environ[workers.WORK])
    index = int(os.environ[workers.INDEX])
    addresses = os.environ[workers.ADDRESSES].split(",")
    threads = 0
    if CHILD in arguments:
        threads = int(arguments[arguments.index(CHILD) + 1])
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _train(work, index, addresses, threads)
    except PassingError:
        raise
    except EdgelineError as error:
        sentence = " ".join(str(error).split())
        print(sentence, flush=True)
        reason = Path(os.environ.get(workers.REASON, TERMINATION_LOG))
        if reason.exists():
            reason.write_bytes(sentence.encode()[:4096])  # which the kubelet reads
        return workers.REFUSED
    return 0


def _train(work: SharedTraining, index: int, addresses: Sequence[str], threads: int) -> None:
    _wait_for_names(addresses)
    task = {"type": "worker", "index": index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": list(addresses)}, "task": task})
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(threads, 2))
    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before anything that TensorFlow runs
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        place = work.transformed.partition("?")[0]  # KFP writes a store's endpoint behind it
        if remote.scheme(place):
            brought, _ = copies.bring(place, temporary / "transformed")
            place = str(brought)
        transformed = artifacts.read(place, examples.TRANSFORMED_SCHEMA)
        if transformed.digest != work.digest:
            raise EdgelineError(
                f"{work.transformed} is not what the task was given: leave what it reads alone "
                "until it has ended."
            )
        kept = checkpoints.of(work.checkpoint_dir, work.key, temporary)
        kept.fetch()
        weights = None
        if work.class_weights is not None:
            values = np.array(work.class_weights, np.float32)
            weights = ClassWeights(("",) * len(values), (0,) * len(values), values)
        fit(
            work.module,
            transformed,
            work.hyperparameters,
            work.how,
            kept.folder,
            weights,
            on_epoch=lambda state: kept.keep(state.epoch),
            strategy=strategy,
            worker=index,
        )
        replicas.meet(strategy)  # nobody leaves before the first has kept the last checkpoint


def _wait_for_names(addresses: Sequence[str]) -> None:
    """Wait until each worker's name is known: that of a pod is only when it has a node."""
    end = time.monotonic() + NAMED_WITHIN
    for address in addresses:
        host = address.rpartition(":")[0]
        while True:
            try:
                socket.getaddrinfo(host, None)
                break
            except OSError as error:
                if time.monotonic() > end:
                    raise PassingError(
                        f"The worker {host} has no address after {NAMED_WITHIN:.0f} s "
                        f"({error.strerror}): see whether its pod waits for a node."
                    ) from error
                time.sleep(LOOK)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # the task holds the other end, and says nothing
    os._exit(1)


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's farewell would wait for workers that may be gone
    os._exit(code)
