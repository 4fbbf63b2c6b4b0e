"""Who may do what: bearer tokens with scopes.

The token file holds digests, never tokens:

    {"tokens": [{"name": "camera-1", "sha256": "<hex>", "scopes": ["predict"]}]}

`predict` allows inference, metadata and metrics, `read` what the page at `/` shows, drift included,
`admin` all of it and loading, unloading and rollouts. Health is open to all. Without a token file
everybody may predict and read, and `admin` is for this machine only. A client certificate that the
server's CA signed (mTLS) allows `predict`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.server.errors import Code, ServingError

SCOPES = ("predict", "read", "admin")
_LOCAL = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "unix")


@dataclass(frozen=True)
class Access:
    """`tokens` maps the sha256 of a token to its scopes; None where there are no tokens."""

    tokens: dict[str, frozenset[str]] | None = field(default=None, repr=False)

    def check(self, scope: str, authorization: str, peer: str) -> None:
        """Let a call pass or refuse it.

        Args:
            scope: what the call needs; empty for nothing.
            authorization: the header's value, `Bearer TOKEN`.
            peer: the client's address, or `tls:` and its certificate's subject.

        Raises:
            ServingError: 401 without a known token, 403 without the scope.
        """
        if not scope:
            return
        if self.tokens is None:
            if scope == "admin" and peer not in _LOCAL:
                raise ServingError(
                    Code.PERMISSION_DENIED,
                    "Admin calls from another machine need a token: serve with --tokens.",
                )
            return
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token:
            if scope == "predict" and peer.startswith("tls:"):
                return
            raise ServingError(Code.UNAUTHENTICATED, "This call needs a bearer token.")
        digest = hashlib.sha256(token.strip().encode("latin-1", "replace")).hexdigest()
        scopes = self.tokens.get(digest)
        if scopes is None:
            raise ServingError(Code.UNAUTHENTICATED, "The token is not known here.")
        if scope not in scopes and "admin" not in scopes:
            raise ServingError(Code.PERMISSION_DENIED, f"The token lacks the scope {scope!r}.")


def read(path: str | None) -> Access:
    """Read a token file; without one everybody may predict.

    Raises:
        EdgelineError: it is missing or malformed.
    """
    if path is None:
        return Access()
    try:
        entries = json.loads(Path(path).read_text())["tokens"]
        tokens = {str(e["sha256"]).lower(): frozenset(e["scopes"]) for e in entries}
    except FileNotFoundError:
        raise EdgelineError(f"{path} is missing: give a file of token digests.") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise EdgelineError(f"{path} is no token file ({error}).") from error
    for digest, scopes in tokens.items():
        if len(digest) != 64 or not scopes or not scopes <= set(SCOPES):
            raise EdgelineError(
                f"{path} has an entry that is not a sha256 with scopes of {', '.join(SCOPES)}."
            )
    return Access(tokens)
