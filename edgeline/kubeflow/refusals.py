"""What a server of KFP says when it refuses, as a sentence for the person who asked.

Its `message` is a chain of Go's errors. `details` has the last of them, which for a missing, an
expired and a token of another audience is the same: only `message` says which it was.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.kubeflow.sdk import import_client

TOKEN_HINT = "name the file of a token in KF_PIPELINES_SA_TOKEN_PATH"
READS = ("get", "list", "watch")
WHAT = {"jobs": "schedules"}  # what the server calls otherwise than its pages do
# backend/src/apiserver/resource/resource_manager.go: what SubjectAccessReview was asked
_DENIED = re.compile(
    r"User '(?P<user>[^']*)' is not authorized.*?&ResourceAttributes\{"
    r"Namespace:(?P<namespace>[^,]*),Verb:(?P<verb>[^,]*),.*?Resource:(?P<what>[^,]*),",
    re.DOTALL,
)
_AUDIENCE = re.compile(r'for the target audiences \[\\*"([^"\\]+)')
_STRUCT = re.compile(r"\s*\(?(request: )?&[A-Za-z]*\{.*", re.DOTALL)  # Go's, as %+v writes it


class RefusedError(EdgelineError):
    """The server does not do what it was asked."""


def refusal(error: Any, host: str) -> RefusedError:
    """What to raise for a server's refusal, a `kfp_server_api.ApiException`.

    Args:
        host: what the server is called in the sentence, with a capital letter or as an address.
    """
    body = _body(error)
    whole = str(body.get("message") or body.get("error_message") or "")
    if denied := _DENIED.search(whole):
        return RefusedError(_denied(**denied.groupdict()))
    if error.status == 401:
        return RefusedError(_unknown(whole, host, error, body))
    return RefusedError(f"{host} refuses ({error.status}): {_last(error, body)}")


def grpc_code(error: Any) -> int | None:
    """gRPC's code in a refusal, an `ApiException`; None where a proxy or nobody says one."""
    try:
        return int(_body(error)["code"])
    except (TypeError, ValueError, KeyError):
        return None


def token_file() -> str:
    """The file that a token is read from, whether it is there or not."""
    client = import_client()
    given = os.environ.get(client.KF_PIPELINES_SA_TOKEN_ENV)
    return given or str(client.KF_PIPELINES_SA_TOKEN_PATH)


def _denied(user: str, namespace: str, verb: str, what: str) -> str:
    """kubeflow-edit and kubeflow-view are the roles that Kubeflow's profiles know."""
    role = "kubeflow-view" if verb in READS else "kubeflow-edit"
    return (
        f"{user or 'Nobody'} may not {verb} {WHAT.get(what, what)} in {namespace}: ask its owner "
        f"for the role {role}."
    )


def _unknown(whole: str, host: str, error: Any, body: dict[str, Any]) -> str:
    token = f"The token in {token_file()}"
    if "token has expired" in whole:
        return f"{token} has expired: write a new one into it."
    if audience := _AUDIENCE.search(whole):
        return f"{token} needs the audience {audience[1]}."
    if "Authentication failure" in whole:
        return f"{token} is not accepted by {host}: write another one into it."
    return f"{host} refuses ({error.status}): {_last(error, body)}: {TOKEN_HINT}."


def _last(error: Any, body: dict[str, Any]) -> str:
    """The detail that is written for people, where there is one, without Go's structures."""
    details = body.get("details")
    detail = details[0] if isinstance(details, list) and details else {}
    said = detail.get("message") if isinstance(detail, dict) else None
    texts = (said, body.get("message"), body.get("error_message"))
    text = next((text for text in texts if text and text != "Internal Server Error"), None)
    if text is None:
        raw = error.body
        raw = raw.decode(errors="replace") if isinstance(raw, bytes) else raw
        text = error.reason if body or not raw or raw.lstrip().startswith("<") else raw
    lines = _STRUCT.sub("", str(text or "")).strip().splitlines()
    return (lines or [""])[0].rstrip(".")


def _body(error: Any) -> dict[str, Any]:
    try:
        body = json.loads(error.body)
    except (TypeError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
