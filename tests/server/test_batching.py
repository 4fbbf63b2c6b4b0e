"""Requests that run together get their own answers; short ones may run on the event loop."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import numpy as np
import pytest
from running import MIXED, MOBILENET, eventually

from edgeline.server.errors import ServingError, invalid
from edgeline.server.metrics import Metrics
from edgeline.server.models.batching import batched
from edgeline.server.models.loading import load
from edgeline.server.models.model import Instance
from edgeline.server.models.pool import Pool


class Counting(Instance):
    """A real instance that notes the rows of its runs, and refuses those with a 13."""

    def __init__(self, instance: Instance) -> None:
        self.description, self._instance, self.runs = instance.description, instance, []

    def predict(self, arrays):
        if (arrays["amount"] == 13).any():
            raise invalid("It is 13.")
        self.runs.append(len(arrays["amount"]))
        return self._instance.predict(arrays)


def given(value: float, rows: int = 1) -> dict[str, np.ndarray]:
    name = np.full((rows, 1), str(value).encode(), object)
    return {
        "amount": np.full((rows, 2), value, np.float32),
        "count": np.full((rows, 1), 1, np.int64),
        "name": name,
    }


def right(value: float, answers: dict[str, np.ndarray], rows: int = 1) -> bool:
    return (
        answers["score"].tolist() == [[4 * value + 1]] * rows
        and answers["echo"].tolist() == [[str(value).encode()]] * rows
    )


@pytest.fixture
def counting() -> Counting:
    return Counting(load(MIXED, "m", 1, 1, 1)[0])


def together(workers: list[Instance], values: list[tuple[float, int]]) -> list[object]:
    def run(place: int) -> object:
        value, rows = values[place]
        try:
            return right(value, workers[place].run(given(value, rows)), rows)
        except ServingError as error:
            return str(error)

    with ThreadPoolExecutor(len(values)) as threads:
        return list(threads.map(run, range(len(values))))


def test_each_request_of_a_batch_gets_its_own_answer(counting):
    workers = batched([counting], 8, 5.0)
    assert len(workers) == 16
    values = [(float(n), rows) for n, rows in enumerate((1, 1, 2, 1, 3))]
    assert together(workers, values) == [True] * 5
    assert counting.runs == [8]  # full, so nobody waited
    assert together(workers, [(2.0, 20)]) == [True]  # more rows than a batch may have: alone
    assert counting.runs == [8, 20]
    workers[0].close()


def test_a_bad_request_does_not_fail_its_neighbours(counting):
    workers = batched([counting], 4, 5.0)
    found = together(workers, [(1.0, 1), (13.0, 1), (3.0, 1), (4.0, 1)])
    assert found == [True, "It is 13.", True, True]
    assert counting.runs == [1, 1, 1]
    workers[0].close()


def test_a_batch_waits_no_longer_than_its_delay_or_a_deadline(counting):
    (first, *others) = batched([counting], 4, 0.05)
    assert right(1.0, first.run(given(1.0)))
    began = monotonic()
    slow = batched([counting], 4, 60.0)
    slow[0].deadline = monotonic() + 0.05
    assert right(2.0, slow[0].run(given(2.0)))
    assert monotonic() - began < 10
    assert others
    first.close()
    slow[0].close()


def test_what_cannot_be_batched_is_left_alone(counting, caplog):
    assert batched([counting], 0, 0.1) == [counting]
    instances = load(MOBILENET, "fixed", 1, 1, 1)
    assert batched(instances, 8, 0.1) is instances
    assert "'fixed' has a fixed batch and is not batched" in caplog.text


def test_closing_ends_the_threads(counting):
    before = threading.active_count()
    pool = Pool(batched([counting], 4, 0.01), Metrics().of("m", 1), 16)
    done: list[object] = []
    for value in range(4):
        pool.submit(
            lambda instance, v=value: right(v, instance.run(given(v))), done.append, monotonic() + 9
        )
    pool.close()
    assert pool.join(10)
    assert done == [True] * 4
    eventually(lambda: threading.active_count() <= before)


def test_a_server_that_batches(start):
    server = start(MIXED, "--batch=8", "--batch-delay=0.02", "--instances=1")

    def row(value: int) -> object:
        name = 5 if value % 7 == 0 else str(value)  # a number is not a string: refused
        body = {"instances": [{"amount": [value, 0], "count": [value], "name": [name]}]}
        status, answer, _ = server.ask("POST", "/v1/models/mixed:predict", body)
        if value % 7 == 0:
            return status == 400
        (got,) = answer["predictions"]
        return got["score"] == [3 * value] and got["echo"] == [str(value)]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(row, range(1, 200)))


# on the event loop


def test_only_what_is_known_to_be_short_runs_in_the_callers_thread():
    pool = Pool(load(MIXED, "m", 1, 1, 1), Metrics().of("m", 1), 128, inline=0.05)
    here = threading.get_ident()

    def thread(_: Instance) -> int:
        return threading.get_ident()

    def slow(_: Instance) -> int:
        sleep(0.06)
        return 1

    assert pool.inline(thread, 10) is None  # nothing is known yet
    done: list[object] = []
    for _ in range(80):
        pool.submit(thread, done.append, monotonic() + 9, 10)
    eventually(lambda: len(done) == 80)
    assert here not in done
    assert pool.inline(thread, 11) is None  # larger than what is known to be short
    assert pool.inline(thread, 10) == here
    assert pool.inline(slow, 10) == 1
    assert pool.inline(thread, 10) is None  # it was not short
    pool.close()


def test_one_client_and_many_get_the_same_answers(start):
    server = start(MIXED)
    body = {"instances": [{"amount": [1, 2], "count": [1], "name": ["a"]}]}

    def many(count: int) -> set[str]:
        import http.client
        import json

        connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
        found = set()
        for _ in range(count):
            connection.request("POST", "/v1/models/mixed:predict", json.dumps(body))
            found.add(connection.getresponse().read().decode())
        return found

    alone = many(150)  # long enough to be run on the event loop
    assert len(alone) == 1
    with ThreadPoolExecutor(9) as threads:
        crowd = [threads.submit(many, 50) for _ in range(8)]
        assert all(server.ask("GET", "/v2/health/live")[0] == 200 for _ in range(20))
        assert [found.result() for found in crowd] == [alone] * 8
    assert server.metric('edgeline_requests_total{model="mixed"') == 150 + 400
