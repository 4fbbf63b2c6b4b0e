"""Who may do what: bearer tokens with scopes.

The token file holds digests, never tokens:

    {"tokens": [{"name": "camera-1", "sha256": "<hex>", "scopes": ["predict"]}]}

`predict` allows inference, metadata and metrics, `read` what the page at `/` shows, drift included,
`admin` all of it and loading, unloading and rollouts. Health is open to all. A client certificate
that the server's CA signed (mTLS) allows `predict`.

Without a token file everybody may predict, and

| scope | who | asked for as (`Host`, `:authority`) |
|---|---|---|
| `read` | everybody | any address, `localhost`, this machine's name, the name in `--host` |
| `admin` | this machine, over loopback | `localhost` or a loopback address |

but neither is for another site's page in a browser, nor for what comes through a proxy
(see `edgeline.server.foreign`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeline.errors import EdgelineError
from edgeline.server import foreign
from edgeline.server.errors import Code, ServingError

SCOPES = ("predict", "read", "admin")
_LOCAL = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "unix")


@dataclass(frozen=True)
class Access:
    """`tokens` maps the sha256 of a token to its scopes; None where there are no tokens. `names`
    are this machine's."""

    tokens: dict[str, frozenset[str]] | None = field(default=None, repr=False)
    names: frozenset[str] = frozenset()

    def check(self, scope: str, authorization: str, peer: str, headers: Mapping[Any, Any]) -> None:
        """Let a call pass or refuse it.

        Args:
            scope: what the call needs; empty for nothing.
            authorization: the header's value, `Bearer TOKEN`.
            peer: the client's address, or `tls:` and its certificate's subject.
            headers: all of HTTP's (bytes) or of gRPC's (str), names in lower case.

        Raises:
            ServingError: 401 without a known token, 403 without the scope.
        """
        if not scope:
            return
        if self.tokens is None:
            if scope != "predict":
                self._check_untokened(scope, peer, headers)
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

    def _check_untokened(self, scope: str, peer: str, headers: Mapping[Any, Any]) -> None:
        if scope == "admin" and peer not in _LOCAL:
            raise ServingError(
                Code.PERMISSION_DENIED,
                "Admin calls from another machine need a token: serve with --tokens.",
            )
        found = foreign.reason(headers, scope == "admin", self.names)
        named = found.startswith("Host:")
        if found and not (named and peer.startswith("tls:")):  # a certificate is for its own name
            otherwise = "ask for localhost, or " if named else ""
            raise ServingError(
                Code.PERMISSION_DENIED,
                f"This call has the header {found[:100]!r}, as those of another site's page or of "
                f"a proxy have: {otherwise}serve with --tokens and send a token.",
            )


def read(path: str | None, host: str = "") -> Access:
    """Read a token file; without one everybody may predict.

    Args:
        host: the name or address that is listened on.

    Raises:
        EdgelineError: it is missing or malformed.
    """
    if path is None:
        return Access(names=foreign.own_names(host))
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
