"""A fleet's server as a command asks it."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from edgeline.errors import EdgelineError, UsageError
from edgeline.kubeflow.api import UnavailableError
from edgeline.monitoring.cloud_events import check_url, shown
from edgeline.stores import redirects

TIMEOUT = 30.0  # seconds
_LARGEST = 64 << 20  # bytes of an answer


def ask(
    url: str,
    path: str,
    token: str,
    query: Mapping[str, object] | None = None,
    body: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """What the server answers.

    Args:
        url: its address; a token is sent to it alone, whatever it leads on to.
        path: such as `/v1/fleet/versions`.
        token: a bearer token; empty: none.
        query: behind the path; what is empty is left out.
        body: what is posted; None: it is only read.

    Raises:
        UsageError: the address is not one.
        EdgelineError: it refuses.
        UnavailableError: it does not answer.
    """
    check_url(url, "--fleet")
    asked = urlencode({name: value for name, value in (query or {}).items() if value != ""})
    whole = url.rstrip("/") + path + (f"?{asked}" if asked else "")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(whole, data, {"Content-Type": "application/json"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        with redirects.urlopen(request, timeout=TIMEOUT) as answer:
            found = json.loads(answer.read(_LARGEST))
    except urllib.error.HTTPError as error:
        with error:
            said = _said(error.read(1 << 16)) or f"status {error.code}"
        raise EdgelineError(f"{shown(url)} refuses: {said}") from error
    except (OSError, ssl.SSLError, redirects.RedirectError) as error:
        why = getattr(error, "reason", error)
        raise UnavailableError(f"{shown(url)} cannot be asked ({why}).") from error
    except ValueError as error:
        raise EdgelineError(f"{shown(url)} is not a fleet's server.") from error
    if not isinstance(found, dict):
        raise UsageError(f"{shown(url)} is not a fleet's server: look at --fleet.")
    return found


def _said(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("error", "")) if isinstance(found, dict) else ""
