"""An event sent by hand or by a clock: of a schedule, or to try the rules."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import orjson

from edgeline.errors import EdgelineError
from edgeline.kubeflow.api import UnavailableError
from edgeline.monitoring.cloud_events import event, shown
from edgeline.stores import redirects
from edgeline.triggers.events import SIGNATURE, STRUCTURED, signature
from edgeline.triggers.rules import KINDS

TIMEOUT = 10.0  # seconds
_NAMES = {"schedule": "due", "drift": "detected", "range": "detected", "decay": "measured"}


def made(kind: str, model: str, feature: str, device: str) -> dict[str, Any]:
    """An event of now.

    Args:
        kind: schedule, drift, range or decay, or a whole type.
        device: whose it is; empty: this machine's.
    """
    data: dict[str, Any] = {"model": model} if model else {}
    if feature:
        data |= {"drifting": [feature]} if kind == "drift" else {"feature": feature}
    type_ = KINDS[kind] + _NAMES[kind] if kind in KINDS else kind
    found: dict[str, Any] = event(type_, f"/models/{model}" if model else "", data)
    if device:
        found["source"] = f"/{device}/models/{model}" if model else f"/{device}"
    return found


def send(url: str, made: dict[str, Any], key: bytes | None, token: str) -> dict[str, Any]:
    """Post an event to `edgeline triggers serve`; what it answers.

    Raises:
        EdgelineError: it refuses the event.
        UnavailableError: it does not answer.
    """
    body = orjson.dumps(made)
    headers = {"Content-Type": STRUCTURED}
    if key is not None:
        headers[SIGNATURE] = signature(key, body)
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with redirects.urlopen(request, timeout=TIMEOUT) as answer:
            return dict(_object(answer.read(1 << 20)))
    except urllib.error.HTTPError as error:
        with error:
            said = _object(error.read(1 << 16)).get("error") or f"status {error.code}"
        raise EdgelineError(f"{shown(url)} does not take the event: {said}") from error
    except (OSError, ValueError, redirects.RedirectError) as error:
        why = getattr(error, "reason", error)
        raise UnavailableError(f"{shown(url)} cannot be asked ({why}).") from error


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
