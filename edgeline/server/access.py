"""Who may do what: bearer tokens with scopes.

A server that other machines reach starts with a token file, with a CA of clients, or with
`--tokens none`. The token file holds digests, never tokens:

    {"tokens": [{"name": "camera-1", "sha256": "<hex>", "scopes": ["predict"]}]}

Every endpoint and gRPC method is of one kind:

| kind | what | scope of a token | without a token file, for |
|---|---|---|---|
| `HEALTH` | whether the server lives and is ready | none | everybody |
| `MODEL_HEALTH` | whether a model is ready, its versions' states | `metadata` | everybody |
| `PREDICTION` | infer, predict, classify, regress | `predict` | everybody |
| `EXPLANATION` | what predictions rest on | `explain` | own calls, without a certificate |
| `METADATA` | models, their inputs, statistics, metrics | `metadata` | own calls |
| `PUBLIC` | the page without its data, OpenAPI, reflection | none | own calls |
| `READ` | what the page shows, drift included | `read` | own calls |
| `EVENTS` | events for `edgeline triggers serve` | `events` | own calls |
| `LABELS` | labels of answers that were given | `labels` | own calls |
| `ADMIN` | loading, unloading, rollouts, updates | `admin` | own calls over loopback |

`predict` and `explain` allow `metadata` too, and `admin` everything. A client certificate that the
server's CA signed (mTLS) allows `predict`; it never explains, with or without a token file, but
beside a token that does. The status of a model's versions (`/v1/models/MODEL`,
GetModelStatus) is health: KServe v1 and TensorFlow Serving's load balancers probe by it.

A call is own unless it is from another site's page in a browser or came through a proxy (see
`edgeline.server.foreign`). The server must be asked for (`Host`, `:authority`) as `localhost`, by
any address, this machine's name, the name in `--host` or one in `--names`; for `ADMIN` as
`localhost` or by a loopback address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edgeline.errors import EdgelineError, UsageError, asked_for
from edgeline.formats import typed
from edgeline.server import foreign
from edgeline.server.errors import Code, ServingError

# what a scope in the token file allows
_ALLOWS = {
    "metadata": {"metadata"},
    "predict": {"predict", "metadata"},
    "explain": {"explain", "metadata"},
    "read": {"read"},
    "events": {"events"},
    "labels": {"labels"},
    "admin": {"admin", "events", "labels", "read", "explain", "predict", "metadata"},
}
_SHA256 = re.compile("[0-9a-fA-F]{64}")
_LOCAL = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "unix")


@dataclass(frozen=True)
class CallKind:
    """What an endpoint is for.

    Attributes:
        scope: what a token must allow; empty where none is needed.
        foreign: whether, without a token file, it answers other sites' pages and proxies too.
    """

    scope: str
    foreign: bool


HEALTH = CallKind("", foreign=True)
MODEL_HEALTH = CallKind("metadata", foreign=True)
PREDICTION = CallKind("predict", foreign=True)
EXPLANATION = CallKind("explain", foreign=False)
METADATA = CallKind("metadata", foreign=False)
PUBLIC = CallKind("", foreign=False)
READ = CallKind("read", foreign=False)
EVENTS = CallKind("events", foreign=False)
LABELS = CallKind("labels", foreign=False)
ADMIN = CallKind("admin", foreign=False)


@dataclass(frozen=True)
class TokenEntry:
    """A token: its digest in hexadecimal digits, what it allows, and a name for people."""

    sha256: str
    scopes: tuple[
        Literal["metadata", "predict", "explain", "read", "events", "labels", "admin"], ...
    ]
    name: str = ""


@dataclass(frozen=True)
class TokenFile:
    """What `--tokens` names."""

    tokens: tuple[TokenEntry, ...]


@dataclass(frozen=True)
class Access:
    """`tokens` maps the sha256 of a token to what it allows; None where there are no tokens.
    `names` are what this server may be called, `scheme` is `https` where it uses TLS."""

    tokens: dict[str, frozenset[str]] | None = field(default=None, repr=False)
    names: frozenset[str] = frozenset()
    scheme: str = "http"

    def check(
        self, kind: CallKind, authorization: str, peer: str, headers: Mapping[Any, Any]
    ) -> None:
        """Let a call pass or refuse it.

        Args:
            kind: of what is called.
            authorization: the header's value, `Bearer TOKEN`.
            peer: the client's address, or `tls:` and its certificate's subject.
            headers: all of HTTP's (bytes) or of gRPC's (str), names in lower case.

        Raises:
            ServingError: 401 without a known token, 403 without the scope.
        """
        if self.tokens is None:
            if not kind.foreign:
                self._check_untokened(kind is ADMIN, peer, headers)
            if kind is EXPLANATION and peer.startswith("tls:"):
                raise ServingError(
                    Code.PERMISSION_DENIED,
                    "A client certificate alone does not explain: serve with --tokens and send a "
                    "token of the scope 'explain'.",
                )
            return
        if not kind.scope:
            return
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            if kind.scope in _ALLOWS["predict"] and peer.startswith("tls:"):
                return
            raise ServingError(Code.UNAUTHENTICATED, "This call needs a bearer token.")
        digest = hashlib.sha256(token.strip().encode("latin-1", "replace")).hexdigest()
        allowed = self.tokens.get(digest)
        if allowed is None:
            raise ServingError(Code.UNAUTHENTICATED, "The token is not known here.")
        if kind.scope not in allowed:
            raise ServingError(Code.PERMISSION_DENIED, f"The token lacks the scope {kind.scope!r}.")

    def _check_untokened(self, admin: bool, peer: str, headers: Mapping[Any, Any]) -> None:
        if admin and peer not in _LOCAL:
            raise ServingError(
                Code.PERMISSION_DENIED,
                "Admin calls from another machine need a token: serve with --tokens.",
            )
        found = foreign.reason(headers, admin, self.names, self.scheme)
        named = found.startswith("Host:")
        if found and not (named and peer.startswith("tls:")):  # a certificate is for its own name
            own = "ask for localhost" if admin else "give the server's name with --names"
            otherwise = f"{own}, or " if named else ""
            raise ServingError(
                Code.PERMISSION_DENIED,
                f"This call has the header {found[:100]!r}, as those of another site's page or of "
                f"a proxy have: {otherwise}serve with --tokens and send a token.",
            )


def read(path: str | None, names: Iterable[str] = (), scheme: str = "http") -> Access:
    """Read a token file; without one everybody may predict.

    Args:
        names: what the server may be called, beside this machine's name.
        scheme: `https` where it uses TLS.

    Raises:
        UsageError: it is missing or malformed.
    """
    if path is None:
        return Access(names=foreign.own_names(names), scheme=scheme)
    with asked_for():
        content = typed.read(path)
        try:
            entries = typed.convert(content, TokenFile).tokens
        except EdgelineError as error:
            raise EdgelineError(f"{path} is not a token file: {error}.") from error
    if not entries:
        raise UsageError(f"{path} has no token, so that nobody could call: add one to its list.")
    allowed: dict[str, frozenset[str]] = {}
    for place, entry in enumerate(entries):
        if not _SHA256.fullmatch(entry.sha256) or not entry.scopes:
            raise UsageError(
                f"{path} is not a token file: 'tokens[{place}]' is not a sha256 of 64 hexadecimal "
                f"digits with scopes of {', '.join(_ALLOWS)}."
            )
        digest = entry.sha256.lower()
        if digest in allowed:
            raise UsageError(f"{path}: 'tokens[{place}]' has the sha256 of one before it.")
        allowed[digest] = frozenset().union(*(_ALLOWS[scope] for scope in entry.scopes))
    return Access(allowed)
