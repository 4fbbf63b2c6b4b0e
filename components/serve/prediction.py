"""One request to the deployed server: does it say what the bundle's test vectors say?"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from edgeline.artifacts import vectors
from edgeline.artifacts.bundle import Bundle
from edgeline.artifacts.differences import difference
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats.dtypes import BY_NAME
from edgeline.kubeflow.tokens import VISIBLE
from edgeline.sites.tokens import NONE

TIMEOUT = 30.0  # seconds
POLL = 5.0  # seconds
TOKEN = "EDGELINE_TOKEN"  # in the environment: with the scope `predict`


def check_token(tokens: str, folder: Path) -> None:
    """Whether a server could be asked, before anything is deployed.

    Args:
        tokens: who may call it, as `edgeline.sites.tokens.of` takes it.
        folder: the bundle's; one without recorded rows is not asked for.

    Raises:
        UsageError: it will ask for a token, and there is none, or none that can be sent.
    """
    if not (folder / vectors.FILE).is_file():
        return
    token = os.environ.get(TOKEN, "").strip()
    if not token and tokens != NONE:
        raise UsageError(
            "The deployed server takes no row without a token: give one with the scope predict in "
            f"{TOKEN}, by which the bundle's own rows are asked, or tokens {NONE}."
        )
    if token and not VISIBLE.fullmatch(token):
        raise UsageError(f"{TOKEN} has characters that no token has: write one token into it.")


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
    for name, expected in known.outputs.items():
        worst = float(difference(_output(answer, name, expected, url), expected).max())
        if worst > known.tolerance:
            raise EdgelineError(
                f"{address} answers otherwise than the bundle records: output {name!r} differs by "
                f"{worst:.3g}, {known.tolerance:g} is allowed."
            )
    return len(next(iter(known.inputs.values())))


def _output(
    answer: dict[str, Any], name: str, expected: np.ndarray[Any, Any], url: str
) -> np.ndarray[Any, Any]:
    """One output of an answer, of the expected type and shape.

    Raises:
        EdgelineError: the answer has none such, as that of another server has.
    """
    try:
        (found,) = (output for output in answer["outputs"] if output["name"] == name)
        data = np.array(found["data"], object).reshape(expected.shape)
        if expected.dtype == object:
            texts = [str(value).encode() for value in data.reshape(-1)]
            return np.array(texts, object).reshape(expected.shape)
        return data.astype(expected.dtype)
    except (KeyError, TypeError, ValueError) as error:
        raise EdgelineError(
            f"{url} answers without the output {name!r} {list(expected.shape)}: is another server "
            "there?"
        ) from error


def _dtype(bundle: Bundle, name: str) -> str:
    return next(tensor.dtype for tensor in bundle.signature.inputs if tensor.name == name)


def _plain(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _ask(url: str, request: dict[str, object]) -> dict[str, Any]:
    body = json.dumps(request).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    if token := os.environ.get(TOKEN, "").strip():
        asked.add_unredirected_header("Authorization", f"Bearer {token}")  # to this address alone
    try:
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as stream:
            answer = json.load(stream)
    except urllib.error.HTTPError as error:
        said = f"{error.code} {error.read(1000).decode('utf-8', 'replace').strip()}"
        raise EdgelineError(f"{url} refuses the bundle's own rows: {said}") from error
    except (OSError, ValueError) as error:
        raise EdgelineError(f"{url} does not answer ({error}).") from error
    if not isinstance(answer, dict):
        raise EdgelineError(f"{url} answers no JSON object: is another server there?")
    return answer
