"""schemathesis on the OpenAPI document of a running server.

`python tests/server/openapi_fuzzing.py 10000 [FILE]` sends that many requests to a server of its
own; FILE gets how often each status came. Each answer has a status, a content type and a body that
the document names for it.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
from collections import Counter

import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS: list[CheckFunction] = [
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]
MODELS = ("mixed", "mobilenet")


def attack(port: int, count: int, seed: int = 0) -> Counter[int]:
    """Send about `count` requests, of each operation as many; the answers by status."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 40
    counted: Counter[int] = Counter()
    with requests.Session() as session:
        for operation in operations:
            _one(operation, max(2, count // len(operations)), seed, session, counted)
    return counted


def _one(
    operation: schemathesis.APIOperation,
    count: int,
    seed: int,
    session: requests.Session,
    counted: Counter[int],
) -> None:
    rng = random.Random(seed)
    shares = ((GenerationMode.POSITIVE, count - count // 2), (GenerationMode.NEGATIVE, count // 2))
    for mode, size in shares:
        try:
            cases = operation.as_strategy(generation_mode=mode)
        except Exception:  # an operation without parameters or body has nothing to be wrong
            continue

        @hypothesis.seed(seed)
        @settings(
            max_examples=max(1, size),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=cases)
        def run(case: schemathesis.Case) -> None:
            steered = "load" in operation.path or "rollouts" in operation.path
            if "model" in (case.path_parameters or {}) and not steered and rng.random() < 0.7:
                case.path_parameters["model"] = rng.choice(MODELS)
                if "version" in case.path_parameters:
                    case.path_parameters["version"] = 1
            response = case.call(session=session, timeout=30)
            counted[response.status_code] += 1
            assert response.status_code < 500 or response.status_code in (501, 503), response.text
            case.validate_response(response, checks=CHECKS)
            if response.status_code >= 400 and response.content:
                message = response.json()["error"]
                assert message.endswith((".", ".)")), message

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            run()


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    from running import MIXED, MOBILENET, Running

    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("mixed", MIXED), ("mobilenet", MOBILENET)):
            (Path(folder) / f"{name}.tflite").write_bytes(model.read_bytes())
        server = Running(Path(folder), "--poll", "0")
        wanted, turn, found = int(sys.argv[1]), 0, Counter[int]()
        while (left := wanted - found.total()) > 0:  # what a schema allows may be soon told
            found += attack(server.http, left, turn)
            turn += 1
        print(dict(found))
        if len(sys.argv) > 2:
            Path(sys.argv[2]).write_text(json.dumps({"answers": found}, indent=1) + "\n")
        code, log = server.stop()
        assert code == 0, code
        assert "Traceback" not in log, log[-5000:]
