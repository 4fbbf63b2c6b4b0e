"""Temporary keys of AWS for a role, as Kubernetes, ECS and EC2 give them.

| found by                                              | what gives the keys                      |
|-------------------------------------------------------|------------------------------------------|
| `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`      | STS, for the token: IRSA of EKS, MinIO   |
| `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `_RELATIVE_URI` | EKS Pod Identity's agent, ECS          |
| a machine of EC2, but for `AWS_EC2_METADATA_DISABLED` | the instance's own role                  |

The first that is there counts, as in AWS's own clients:
https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html. STS answers at
`AWS_ENDPOINT_URL_STS`, `AWS_ENDPOINT_URL` or in the region.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from edgeline.errors import EdgelineError
from edgeline.stores.identity.asking import ask, members, moment, token_in
from edgeline.stores.identity.lease import Lease, Renewed
from edgeline.stores.sigv4 import Credentials

SYSTEM_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
METADATA = "http://169.254.169.254/latest/"
CONTAINERS = "http://169.254.170.2"  # ECS
# whom a token may be told without TLS, besides this machine: ECS, and Pod Identity's agent
AGENTS = ("169.254.170.2", "169.254.170.23", "fd00:ec2::23")
TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"


@dataclass(frozen=True)
class WebIdentity:
    """A role that STS gives for a token in a file."""

    role: str
    token_file: str
    session: str
    sts: str
    region: str

    def __call__(self) -> Lease[Credentials]:
        who = f"AWS's token service for {self.role}"
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self.role,
            "RoleSessionName": self.session,
            "WebIdentityToken": token_in(self.token_file, TOKEN_FILE),
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/xml"}
        text = ask(self.sts, who, headers, urlencode(form).encode()).decode("utf-8", "replace")
        names = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        found = [re.search(f"<{name}>([^<]+)</{name}>", text) for name in names]
        key, secret, token, expires = (unescape(each[1]) if each else "" for each in found)
        if not (key and secret and token):
            raise EdgelineError(f"{who} answers without keys.")
        return Lease(Credentials(key, secret, token, self.region), moment(expires, who))


@dataclass(frozen=True)
class Agent:
    """A role that an agent beside the container gives."""

    url: str
    token_file: str
    token: str
    region: str

    def __call__(self) -> Lease[Credentials]:
        token = self.token
        if self.token_file:
            token = token_in(self.token_file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        headers = {"Authorization": token} if token else {}
        who = "The agent of AWS_CONTAINER_CREDENTIALS_FULL_URI"
        return _keys(ask(self.url, who, headers, near=True), who, self.region)


@dataclass(frozen=True)
class MachineRole:
    """The role of a machine of EC2."""

    region: str

    def __call__(self) -> Lease[Credentials]:
        who = "The metadata service of EC2"
        life = {"X-aws-ec2-metadata-token-ttl-seconds": "600"}
        token = ask(f"{METADATA}api/token", who, life, method="PUT", near=True)
        headers = {"X-aws-ec2-metadata-token": token.decode("ascii", "replace")}
        roles = f"{METADATA}meta-data/iam/security-credentials/"
        role = ask(roles, who, headers, near=True).decode("utf-8", "replace").split()
        if not role:
            raise EdgelineError(f"{who} names no role of this machine.")
        answer = ask(roles + quote(role[0]), who, headers, near=True)
        return _keys(answer, who, self.region)


def find(region: str, at_aws: bool) -> Callable[[], Lease[Credentials]] | None:
    """Keys that are renewed, None where the environment names no identity; nobody is asked yet.

    Args:
        region: what requests to the store are signed for.
        at_aws: whether the store is AWS's own; else the machine's own role does not count.

    Raises:
        EdgelineError: the environment names an identity that cannot be used.
    """
    found = _found(region, at_aws)
    return _renewed(found) if found else None


def _found(region: str, at_aws: bool) -> WebIdentity | Agent | MachineRole | None:
    told = os.environ.get
    if (role := told("AWS_ROLE_ARN")) and (file := told(TOKEN_FILE)):
        sts = told("AWS_ENDPOINT_URL_STS") or told("AWS_ENDPOINT_URL")
        sts = sts or f"https://sts.{region}.amazonaws.com{'.cn' * region.startswith('cn-')}"
        session = told("AWS_ROLE_SESSION_NAME") or "edgeline"
        return WebIdentity(role, file, session, sts.rstrip("/") + "/", region)
    relative = told("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    if url := CONTAINERS + relative if relative else told("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        if not _may_know_tokens(url):
            raise EdgelineError(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https:// nor an address of this "
                "machine or of AWS's agents: the token would be told to a stranger."
            )
        token = told("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        file = told("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
        return Agent(url, file, token, region)
    disabled = told("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    if at_aws and not disabled and _is_ec2():
        return MachineRole(region)
    return None


@functools.lru_cache(16)
def _renewed(found: WebIdentity | Agent | MachineRole) -> Renewed[Credentials]:
    return Renewed(found)


def _may_know_tokens(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "https" or host in AGENTS or host == "localhost":
            return True
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_ec2() -> bool:
    try:
        return SYSTEM_VENDOR.read_text("utf-8").strip() == "Amazon EC2"
    except (OSError, UnicodeDecodeError):
        return False


def _keys(answer: bytes, who: str, region: str) -> Lease[Credentials]:
    found = members(answer, who)
    names = ("AccessKeyId", "SecretAccessKey", "Token")
    key, secret, token = (str(found.get(name) or "") for name in names)
    if not (key and secret):
        raise EdgelineError(f"{who} answers without keys.")
    return Lease(Credentials(key, secret, token, region), moment(found.get("Expiration"), who))
