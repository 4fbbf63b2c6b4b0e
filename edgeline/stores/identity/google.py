"""Tokens of Google Cloud: from the metadata server, or for a file of credentials.

| found by                                      | what gives the token                            |
|-----------------------------------------------|-------------------------------------------------|
| `GOOGLE_APPLICATION_CREDENTIALS`              | google-auth, of the file's account              |
| `GCE_METADATA_HOST`, a machine of Google's    | the metadata server: Workload Identity of GKE |
| the file that `gcloud auth application-default login` wrote | google-auth                       |

The metadata server is asked as
https://cloud.google.com/compute/docs/metadata/querying-metadata says. A file needs google-auth,
which comes with `edgeline[pipelines]` and which a device does without.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path

from edgeline.errors import EdgelineError
from edgeline.stores.identity.asking import ask, members
from edgeline.stores.identity.lease import Lease, Renewed

SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
PRODUCT = Path("/sys/class/dmi/id/product_name")
METADATA = "metadata.google.internal"
FILE = "GOOGLE_APPLICATION_CREDENTIALS"


@dataclass(frozen=True)
class Metadata:
    """The service account of a machine or, by Workload Identity, of a pod."""

    host: str

    def __call__(self) -> Lease[str]:
        who = f"Google's metadata server {self.host}"
        url = f"http://{self.host}/computeMetadata/v1/instance/service-accounts/default/token"
        now = time.time()
        found = members(ask(url, who, {"Metadata-Flavor": "Google"}, near=True), who)
        token, seconds = found.get("access_token"), found.get("expires_in")
        if not isinstance(token, str) or not isinstance(seconds, (int, float)):
            raise EdgelineError(f"{who} answers without a token.")
        return Lease(token, now + seconds)


@dataclass(frozen=True)
class CredentialsFile:
    """What a file says: a service account, a user, or an identity of another cloud."""

    path: str

    def __call__(self) -> Lease[str]:
        try:
            from google.auth import default, exceptions
            from google.auth.transport.requests import Request
        except ImportError:
            raise EdgelineError(
                f"{self.path} needs google-auth: install edgeline[pipelines], or give a device an "
                "HMAC key."
            ) from None
        try:
            credentials, _ = default(scopes=[SCOPE])  # which looks for the same file
            credentials.refresh(Request())
        except exceptions.GoogleAuthError as error:
            told = " ".join(str(error.args[0] if error.args else error).split())[:300]
            raise EdgelineError(f"{self.path} gives no identity of Google's ({told}).") from None
        except OSError as error:
            raise EdgelineError(f"{self.path} cannot be read ({error.strerror}).") from None
        expiry = credentials.expiry  # in UTC, without saying so
        ends = expiry.replace(tzinfo=timezone.utc).timestamp() if expiry else float("inf")
        return Lease(str(credentials.token), ends)


def find(at_google: bool) -> Callable[[], Lease[str]] | None:
    """A token that is renewed, None where nothing names an identity; nobody is asked yet.

    Args:
        at_google: whether the store is Google's own; else only what variables name counts.
    """
    found = _found(at_google)
    return _renewed(found) if found else None


def _found(at_google: bool) -> Metadata | CredentialsFile | None:
    if file := os.environ.get(FILE):
        return CredentialsFile(file)
    if host := os.environ.get("GCE_METADATA_HOST"):
        return Metadata(host)
    if not at_google:
        return None
    if _is_googles():
        return Metadata(METADATA)
    folder = os.environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config/gcloud"
    written = Path(folder) / "application_default_credentials.json"
    return CredentialsFile(str(written)) if written.is_file() else None


@functools.lru_cache(16)
def _renewed(found: Metadata | CredentialsFile) -> Renewed[str]:
    return Renewed(found)


def _is_googles() -> bool:
    try:
        return PRODUCT.read_text("utf-8").strip() in ("Google", "Google Compute Engine")
    except (OSError, UnicodeDecodeError):
        return False
