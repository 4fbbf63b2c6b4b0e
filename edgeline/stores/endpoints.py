"""Where an object store answers and with which keys: read from the environment here alone.

| scheme     | endpoint, the first that is set                                                |
|------------|--------------------------------------------------------------------------------|
| `minio://` | `MINIO_ENDPOINT`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`                    |
| `s3://`    | the same, AWS itself                                                           |
| `gs://`    | `STORAGE_EMULATOR_HOST`, Google Cloud Storage itself                           |

`MINIO_ENDPOINT` is `host:port` or a URL; `MINIO_SECURE` says whether one without a scheme is asked
by HTTPS, as which it is without it. Keys belong to the endpoint: `MINIO_ACCESS_KEY` and
`MINIO_SECRET_KEY` to `MINIO_ENDPOINT`, and to no other; `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` to the others (for `gs://` they are an HMAC key).
The region is `AWS_REGION` or `AWS_DEFAULT_REGION`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from edgeline.errors import EdgelineError
from edgeline.stores.sigv4 import Credentials

SCHEMES = ("s3", "gs", "minio")
TRUE = ("1", "true", "yes", "on", "t", "y")
FALSE = ("0", "false", "no", "off", "f", "n")
DEFAULT_REGION = "us-east-1"  # what AWS's own clients and MinIO sign for where none is set


@dataclass(frozen=True)
class Endpoint:
    """Where the store of a scheme is.

    `url` has a scheme and a host, a port and a path where they were given, and no slash at its
    end. `variable` named it; empty: it is the cloud's own. `region` is empty where none is set.
    """

    url: str
    variable: str
    region: str
    credentials: Credentials | None

    @property
    def secure(self) -> bool:
        return self.url.startswith("https://")

    @property
    def host(self) -> str:
        """`host:port`.

        Raises:
            EdgelineError: the endpoint has a path, which this client cannot ask below.
        """
        parts = urlsplit(self.url)
        if parts.path:
            raise EdgelineError(
                f"{self.variable} has the path {parts.path}, and data can be read and published at "
                "a host and port alone: give an endpoint without a path."
            )
        return parts.netloc

    @property
    def key_names(self) -> tuple[str, str]:
        """The variables that hold its keys."""
        if self.variable == "MINIO_ENDPOINT":
            return "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"
        return "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"

    def required_credentials(self, place: str) -> Credentials:
        """The keys.

        Raises:
            EdgelineError: the environment lacks one of them.
        """
        if self.credentials is None:
            raise EdgelineError(f"{place} needs keys: set {' and '.join(self.key_names)}.")
        return self.credentials


def endpoint(scheme: str) -> Endpoint:
    """The store of a scheme: `s3`, `minio` or `gs`.

    Raises:
        EdgelineError: the environment does not say where the store is, or says it in a form that
            cannot be read, or in two ways that differ.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    variables = ["MINIO_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
    if scheme == "gs":
        variables = ["STORAGE_EMULATOR_HOST"]
    variable = next((name for name in variables if os.environ.get(name)), "")
    if variable:
        url = _url(variable, os.environ[variable])
    elif scheme == "gs":
        url = "https://storage.googleapis.com"
    elif scheme == "s3":
        url = f"https://s3.{region or DEFAULT_REGION}.amazonaws.com"
    else:
        raise EdgelineError("MINIO_ENDPOINT is not set: minio:// needs it, for example minio:9000.")
    found = Endpoint(url, variable, region, None)
    key, secret = (os.environ.get(name) for name in found.key_names)
    if not (key and secret):
        return found
    token = "" if variable == "MINIO_ENDPOINT" else os.environ.get("AWS_SESSION_TOKEN", "")
    keys = Credentials(key, secret, token, region or DEFAULT_REGION)
    return Endpoint(url, variable, region, keys)


def _url(variable: str, text: str) -> str:
    """An endpoint as a URL; the text is not repeated in an error, since it may hold a password."""
    wanted = f"{variable} is not of the form host:port, http://host:port or https://host:port"
    secure = _secure() if variable == "MINIO_ENDPOINT" else None
    if "://" not in text:
        plain = variable == "STORAGE_EMULATOR_HOST" or secure is False
        text = f"{'http' if plain else 'https'}://{text}"
    try:
        parts = urlsplit(text.strip())
        well_formed = _is_well_formed(parts)
    except ValueError:  # a port that is not a number, half an IPv6 address
        well_formed = False
    if not well_formed:
        raise EdgelineError(f"{wanted}.")
    if secure is not None and secure != (parts.scheme == "https"):
        raise EdgelineError(
            f"MINIO_ENDPOINT begins with {parts.scheme}:// and MINIO_SECURE is "
            f"{os.environ['MINIO_SECURE']}: leave one of them out."
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _is_well_formed(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return (
        parts.scheme in ("http", "https")
        and re.fullmatch(r"[\w.:-]+", host) is not None
        and "@" not in parts.netloc
        and not (parts.query or parts.fragment)
        and parts.port != 0
    )


def _secure() -> bool | None:
    """What MINIO_SECURE says, None where it is not set."""
    text = os.environ.get("MINIO_SECURE", "")
    if text.lower() in ("", *TRUE):
        return bool(text) or None
    if text.lower() in FALSE:
        return False
    raise EdgelineError(f"MINIO_SECURE is {text!r}: set it to true or false.")
