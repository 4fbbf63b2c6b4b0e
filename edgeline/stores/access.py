"""Who asks an object store: by a key, as an identity of its cloud, or as nobody.

| scheme     | keys (see `endpoints`)                  | identity          | sent as         |
|------------|-----------------------------------------|-------------------|-----------------|
| `minio://` | `MINIO_ACCESS_KEY`, `AWS_ACCESS_KEY_ID` | as `s3://`        | AWS's signature |
| `s3://`    | the same                                | `identity.aws`    | AWS's signature |
| `gs://`    | an HMAC key in `AWS_ACCESS_KEY_ID`      | `identity.google` | a bearer token  |
| `abfs://`  | `AZURE_STORAGE_SAS_TOKEN`               | `identity.azure`  | a bearer token  |

A key comes before an identity, which is asked once it is needed and renewed before it ends. Keys of
`MINIO_ENDPOINT` have none beside them: an identity of AWS is nobody there. Nor is a machine's own
identity told to an endpoint that is not its cloud's. `AZURE_STORAGE_KEY`, which opens a whole
account, counts where rows are read and bundles are published, and not on a device.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgeline.errors import EdgelineError
from edgeline.stores.endpoints import AZURE, DEFAULT_REGION, Endpoint, container, endpoint
from edgeline.stores.identity.lease import Lease
from edgeline.stores.sigv4 import Credentials, signed_headers

AZURE_VERSION = "2023-11-03"  # of its REST interface
WAYS = {
    "s3": "AWS_ROLE_ARN with AWS_WEB_IDENTITY_TOKEN_FILE, or EKS Pod Identity, as a service "
    "account with a role brings them",
    "gs": "Workload Identity of the service account, with GCE_METADATA_HOST where the machine does "
    "not look like Google's, or the file that GOOGLE_APPLICATION_CREDENTIALS names",
    AZURE: "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE, as workload identity "
    "brings them",
}


class StoreAccess(Protocol):
    """What makes a request somebody's."""

    def request(self, method: str, url: str, body: bytes = b"") -> tuple[str, dict[str, str]]:
        """The URL to ask, and the headers.

        Raises:
            PassingError: whoever gives the identity does not answer now.
            EdgelineError: it is refused.
        """


@dataclass(frozen=True)
class Signed:
    """By AWS's signature."""

    keys: Callable[[], Lease[Credentials]]

    def request(self, method: str, url: str, body: bytes = b"") -> tuple[str, dict[str, str]]:
        return url, signed_headers(method, url, self.keys().value, body)


@dataclass(frozen=True)
class Bearer:
    """By a token, with headers that the store wants besides."""

    token: Callable[[], Lease[str]]
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, method: str, url: str, body: bytes = b"") -> tuple[str, dict[str, str]]:  # noqa: ARG002
        return url, {"Authorization": f"Bearer {self.token().value}", **self.headers}


@dataclass(frozen=True)
class SharedAccess:
    """By a signature in the URL that somebody else has made (Azure's SAS)."""

    query: str = field(repr=False)

    def request(self, method: str, url: str, body: bytes = b"") -> tuple[str, dict[str, str]]:  # noqa: ARG002
        return f"{url}?{self.query}", {"x-ms-version": AZURE_VERSION}


def access(place: str) -> StoreAccess | None:
    """Who asks for what lies at `scheme://bucket/prefix`; None: nobody, as for what is public.

    Raises:
        EdgelineError: the environment cannot be read, or names an identity that cannot be used.
    """
    scheme = place.partition("://")[0]
    if scheme == AZURE:
        return _of_azure(place)
    store = endpoint(scheme)
    if keys := s3_keys(store, scheme):
        return Signed(keys)
    token = google_token(store) if scheme == "gs" else None
    return Bearer(token) if token else None


def s3_keys(store: Endpoint, scheme: str) -> Callable[[], Lease[Credentials]] | None:
    """The keys of a store that takes AWS's signature, None where there are none.

    Raises:
        EdgelineError: as `access`.
    """
    if store.credentials is not None:
        fixed = Lease(store.credentials)
        return lambda: fixed
    if scheme == "gs" or store.variable == "MINIO_ENDPOINT":
        return None
    from edgeline.stores.identity import aws  # brings urllib, which few servers need

    return aws.find(store.region or DEFAULT_REGION, at_aws=not store.variable)


def google_token(store: Endpoint) -> Callable[[], Lease[str]] | None:
    """The token for Google Cloud Storage, None where there is none."""
    from edgeline.stores.identity import google

    return google.find(at_google=not store.variable)


def azure_token(place: str) -> Callable[[], Lease[str]] | None:
    """The token for Azure Blob Storage, None where there is none."""
    from edgeline.stores.identity import azure

    return azure.find(at_azure=not container(place).variable)


def azure_signature() -> str:
    """The query of a shared access signature; empty where there is none."""
    return os.environ.get("AZURE_STORAGE_SAS_TOKEN", "").lstrip("?")


def azure_key() -> str:
    """The account's key; empty where there is none."""
    return os.environ.get("AZURE_STORAGE_KEY", "")


def _of_azure(place: str) -> StoreAccess | None:
    if query := azure_signature():
        return SharedAccess(query)
    if token := azure_token(place):
        return Bearer(token, {"x-ms-version": AZURE_VERSION})
    if azure_key():
        raise EdgelineError(
            "AZURE_STORAGE_KEY opens the whole account and is not used here: give an identity, or "
            "a signature for this container alone in AZURE_STORAGE_SAS_TOKEN."
        )
    return None


def required(place: str, found: StoreAccess | None) -> StoreAccess:
    """The access, for who has to write.

    Raises:
        EdgelineError: there is none; with what would be.
    """
    if found is None:
        raise EdgelineError(missing(place))
    return found


def check_identity(place: str, needed: bool) -> None:
    """Whether the identity that the environment names is one, before anything is done with it.

    Args:
        needed: whether it is a fault that there is none.

    Raises:
        PassingError: whoever gives it does not answer.
        EdgelineError: it is refused, or there is none.
    """
    if place.partition("://")[0] == AZURE and azure_key():
        return
    found = access(place)
    if found is None and needed:
        raise EdgelineError(missing(place))
    if found is not None:
        found.request("GET", "https://localhost/")  # which is not sent


def missing(place: str) -> str:
    """A sentence: what a place needs that the environment lacks."""
    scheme, _, path = place.partition("://")
    shown = f"{scheme}://{path.partition('/')[0]}"
    if scheme == AZURE:
        return (
            f"{shown} needs an identity: {WAYS[AZURE]}, or a signature in AZURE_STORAGE_SAS_TOKEN."
        )
    store = endpoint(scheme)
    keys = f"set {' and '.join(store.key_names)}"
    if store.variable == "MINIO_ENDPOINT":
        return f"{shown} needs keys: {keys}."
    if scheme == "gs":
        return f"{shown} needs an identity: {WAYS['gs']}; or {keys} to an HMAC key."
    return f"{shown} needs keys or an identity: {keys}, or have {WAYS['s3']}."
