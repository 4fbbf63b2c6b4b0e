"""Requests for an identity, by the standard library."""

from __future__ import annotations

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.stores import redirects
from edgeline.stores.again import BUSY, PassingError

NEAR, FAR = 5.0, 30.0  # seconds without a byte: from the machine itself, from a cloud's service
LONGEST = 1 << 20  # bytes of an answer


def ask(
    url: str,
    who: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    method: str | None = None,
    near: bool = False,
) -> bytes:
    """The answer to a request for an identity.

    Args:
        url: what is asked, which may be told.
        who: that in words, the beginning of a sentence.
        near: it is this machine's or its cloud's own, which no proxy knows and which leads nowhere
            else.

    Raises:
        PassingError: nobody answers, or a busy server does.
        EdgelineError: the request is refused; with the server's reason, but nothing that was sent.
    """
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)
    try:
        if near:
            answer = _near.open(request, timeout=NEAR)
        else:
            answer = redirects.urlopen(request, timeout=FAR)
        with answer:
            found: bytes = answer.read(LONGEST)
            return found
    except urllib.error.HTTPError as error:
        with error:
            said = _reason(error.read(LONGEST))
        kind = PassingError if error.code in BUSY else EdgelineError
        raise kind(f"{who} gives no identity (status {error.code}{said}).") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise PassingError(
            f"{who} does not answer at {url.partition('?')[0]} ({reason})."
        ) from None


def token_in(file: str, variable: str) -> str:
    """The token that a cluster keeps up to date in a file.

    Raises:
        EdgelineError: it cannot be read, or is empty.
    """
    try:
        token = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise EdgelineError(
            f"{variable} names {file}, which cannot be read ({reason}): the service account's "
            "token is not mounted there."
        ) from None
    if not token:
        raise EdgelineError(f"{variable} names {file}, which is empty.")
    return token


def members(answer: bytes, who: str) -> Mapping[str, object]:
    """An answer's JSON object.

    Raises:
        EdgelineError: it is none.
    """
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise EdgelineError(f"{who} answers with no JSON object.")
    return found


def moment(text: object, who: str) -> float:
    """Seconds since 1970 of a time as clouds write it, such as 2026-11-30T18:00:00Z.

    Raises:
        EdgelineError: it is none.
    """
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        if found.tzinfo is None:
            raise ValueError
    except ValueError:
        raise EdgelineError(f"{who} answers with an end that is not a time: {text!r}.") from None
    return found.timestamp()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_near = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())


def _reason(body: bytes) -> str:
    """What an error says of itself: the codes and messages of AWS, Google and Azure."""
    text = body.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except ValueError:
        codes = re.search(r"<Code>([^<]{1,100})</Code>", text)
        message = re.search(r"<Message>([^<]{1,300})</Message>", text)
        words = [each[1] for each in (codes, message) if each]
    else:
        found = found if isinstance(found, dict) else {}
        inner = found.get("error")
        inner = inner if isinstance(inner, dict) else found
        words = [
            str(inner[name])
            for name in ("code", "error", "message", "error_description")
            if isinstance(inner.get(name), str)
        ]
    told = ": ".join(" ".join(word.split()) for word in words)[:300]
    return f", {told}" if told else ""
