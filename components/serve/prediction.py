"""One request to the deployed server: does it say what the bundle's test vectors say?"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import vectors
from edgeline.artifacts.bundle import Bundle
from edgeline.artifacts.differences import difference
from edgeline.errors import EdgelineError
from edgeline.formats.dtypes import BY_NAME

TIMEOUT = 30.0  # seconds
POLL = 5.0  # seconds


def wait(address: str, folder: Path, bundle: Bundle, end: float) -> int:
    """Check until it answers as it should: a Service or a GitOps agent may need a while.

    Args:
        address, folder, bundle: as `check` takes them.
        end: by the monotonic clock, when the last answer counts.

    Returns:
        as `check`.

    Raises:
        EdgelineError: what `check` said last.
    """
    while True:
        try:
            return check(address, folder, bundle)
        except EdgelineError:
            if time.monotonic() + POLL >= end:
                raise
            time.sleep(POLL)


def check(address: str, folder: Path, bundle: Bundle) -> int:
    """Send the recorded rows by Open Inference Protocol v2 and compare the answers.

    Args:
        address: of the server, `http://host:port`.
        folder: the bundle's.

    Returns:
        how many rows were compared; 0 where the bundle records none.

    Raises:
        EdgelineError: the server does not answer, serves another version, or answers otherwise.
    """
    path = folder / vectors.FILE
    if not path.is_file():
        return 0
    known = vectors.read(path, bundle.signature)
    inputs = [
        {
            "name": name,
            "shape": list(array.shape),
            "datatype": BY_NAME[_dtype(bundle, name)].v2,
            "data": [_plain(value) for value in array.reshape(-1).tolist()],
        }
        for name, array in known.inputs.items()
    ]
    url = f"{address}/v2/models/{bundle.name}/infer"
    answer = _ask(url, {"inputs": inputs})
    if str(answer.get("model_version")) != str(bundle.version):
        raise EdgelineError(
            f"{address} answers with version {answer.get('model_version')} of {bundle.name}, "
            f"version {bundle.version} was deployed."
        )
    found = {output["name"]: output for output in answer["outputs"]}
    for name, expected in known.outputs.items():
        data = np.array(found[name]["data"], object).reshape(found[name]["shape"])
        if expected.dtype == object:
            texts = [str(value).encode() for value in data.reshape(-1)]
            given = np.array(texts, object).reshape(data.shape)
        else:
            given = data.astype(expected.dtype)
        worst = float(difference(given, expected).max())
        if worst > known.tolerance:
            raise EdgelineError(
                f"{address} answers otherwise than the bundle records: output {name!r} differs by "
                f"{worst:.3g}, {known.tolerance:g} is allowed."
            )
    return len(next(iter(known.inputs.values())))


def _dtype(bundle: Bundle, name: str) -> str:
    return next(tensor.dtype for tensor in bundle.signature.inputs if tensor.name == name)


def _plain(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _ask(url: str, request: dict[str, object]) -> dict[str, Any]:
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, headers), timeout=TIMEOUT
        ) as stream:
            answer: dict[str, Any] = json.load(stream)
            return answer
    except urllib.error.HTTPError as error:
        said = f"{error.code} {error.read(1000).decode('utf-8', 'replace').strip()}"
        raise EdgelineError(f"{url} refuses the bundle's own rows: {said}") from error
    except (OSError, ValueError) as error:
        raise EdgelineError(f"{url} does not answer ({error}).") from error
