"""Tokens of Azure for its Blob Storage.

| found by                                  | what gives the token                           |
|-------------------------------------------|------------------------------------------------|
| `AZURE_FEDERATED_TOKEN_FILE`              | Entra ID, for `AZURE_CLIENT_ID` of             |
|                                           | `AZURE_TENANT_ID`: workload identity of AKS    |
| `AZURE_CLIENT_SECRET`                     | Entra ID, for the same two                     |
| `IDENTITY_ENDPOINT` and `IDENTITY_HEADER` | the managed identity of an app                 |
| a machine of Azure's                      | the managed identity of the machine            |
| a program `az`                            | the Azure CLI, for who has logged in           |

The order is that of Azure's own clients:
https://learn.microsoft.com/azure/developer/python/sdk/authentication/credential-chains. The forms:
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from edgeline.errors import EdgelineError
from edgeline.stores.identity.asking import ask, members, token_in
from edgeline.stores.identity.lease import Lease, Renewed

RESOURCE = "https://storage.azure.com/"
AUTHORITY = "https://login.microsoftonline.com/"
MACHINE = "http://169.254.169.254/metadata/identity/oauth2/token"
ASSET_TAG = Path("/sys/class/dmi/id/chassis_asset_tag")
AZURES = "7783-7084-3265-9085-8269-3286-77"  # the same for each of its machines
CLI_TIMEOUT = 30.0  # seconds
TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"


@dataclass(frozen=True)
class Application:
    """An application of Entra ID, by a cluster's token in a file or by a secret."""

    authority: str
    tenant: str
    client: str
    token_file: str
    secret: str = field(repr=False)

    def __call__(self) -> Lease[str]:
        who = f"Entra ID for the client {self.client}"
        form = {
            "client_id": self.client,
            "grant_type": "client_credentials",
            "scope": f"{RESOURCE}.default",
        }
        if self.token_file:
            kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            form["client_assertion_type"] = kind
            form["client_assertion"] = token_in(self.token_file, TOKEN_FILE)
        else:
            form["client_secret"] = self.secret
        url = f"{self.authority}{quote(self.tenant)}/oauth2/v2.0/token"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        now = time.time()
        return _token(members(ask(url, who, headers, urlencode(form).encode()), who), who, now)


@dataclass(frozen=True)
class Managed:
    """The managed identity of a machine or an app."""

    url: str
    version: str
    client: str
    header: tuple[str, str] = field(repr=False)

    def __call__(self) -> Lease[str]:
        who = "Azure's managed identity"
        asked = {"api-version": self.version, "resource": RESOURCE}
        if self.client:
            asked["client_id"] = self.client
        now = time.time()
        answer = ask(f"{self.url}?{urlencode(asked)}", who, dict([self.header]), near=True)
        return _token(members(answer, who), who, now)


@dataclass(frozen=True)
class CommandLine:
    """Whoever has logged in with the Azure CLI."""

    program: str

    def __call__(self) -> Lease[str]:
        command = [self.program, "account", "get-access-token", "--resource", RESOURCE]
        try:
            answer = subprocess.run(
                [*command, "--output", "json"], capture_output=True, text=True, timeout=CLI_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EdgelineError(f"The Azure CLI gives no token ({error}).") from None
        if answer.returncode:
            raise EdgelineError("The Azure CLI gives no token: log in with `az login`.")
        try:
            found = json.loads(answer.stdout)
            return Lease(str(found["accessToken"]), float(found["expires_on"]))
        except (KeyError, TypeError, ValueError):
            raise EdgelineError("The Azure CLI gives no token that can be read.") from None


def find(at_azure: bool) -> Callable[[], Lease[str]] | None:
    """A token that is renewed, None where nothing names an identity; nobody is asked yet.

    Args:
        at_azure: whether the store is Azure's own; else only what variables name counts.
    """
    found = _found(at_azure)
    return _renewed(found) if found else None


def _found(at_azure: bool) -> Application | Managed | CommandLine | None:
    told = os.environ.get
    client, tenant = told("AZURE_CLIENT_ID", ""), told("AZURE_TENANT_ID", "")
    file, secret = told(TOKEN_FILE, ""), told("AZURE_CLIENT_SECRET", "")
    if client and tenant and (file or secret):
        authority = told("AZURE_AUTHORITY_HOST", AUTHORITY).rstrip("/") + "/"
        if "://" not in authority:
            authority = f"https://{authority}"
        return Application(authority, tenant, client, file, secret)
    url, header = told("IDENTITY_ENDPOINT"), told("IDENTITY_HEADER")
    if url and header:
        return Managed(url, "2019-08-01", client, ("X-IDENTITY-HEADER", header))
    if not at_azure:
        return None
    if _is_azures():
        return Managed(MACHINE, "2018-02-01", client, ("Metadata", "true"))
    program = shutil.which("az")
    return CommandLine(program) if program else None


@functools.lru_cache(16)
def _renewed(found: Application | Managed | CommandLine) -> Renewed[str]:
    return Renewed(found)


def _is_azures() -> bool:
    try:
        return ASSET_TAG.read_text("utf-8").strip() == AZURES
    except (OSError, UnicodeDecodeError):
        return False


def _token(found: Mapping[str, object], who: str, asked: float) -> Lease[str]:
    """Services write numbers as text, too."""
    token, seconds, ends = (found.get(n) for n in ("access_token", "expires_in", "expires_on"))
    try:
        expires = asked + float(str(seconds)) if seconds is not None else float(str(ends))
    except ValueError:
        expires = 0.0
    if not isinstance(token, str) or not expires:
        raise EdgelineError(f"{who} answers without a token.")
    return Lease(token, expires)
