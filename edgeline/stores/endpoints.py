"""Where an object store answers and with which keys: read from the environment here alone.

| scheme     | endpoint, the first that is set                                                |
|------------|--------------------------------------------------------------------------------|
| `minio://` | `MINIO_ENDPOINT`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`                    |
| `s3://`    | the same, AWS itself                                                           |
| `gs://`    | `STORAGE_EMULATOR_HOST`, Google Cloud Storage itself                           |
| `abfs://`  | `AZURE_STORAGE_SERVICE_ENDPOINT`, Azure Blob Storage itself                    |

`abfs://container@account.dfs.core.windows.net/path` is Hadoop's form; in `abfs://container/path`
the account is that of `AZURE_STORAGE_ACCOUNT`.

`MINIO_ENDPOINT` is `host:port` or a URL; `MINIO_SECURE` says whether one without a scheme is asked
by HTTPS, as which it is without it. Keys belong to the endpoint: `MINIO_ACCESS_KEY` and
`MINIO_SECRET_KEY` to `MINIO_ENDPOINT`, and to no other; `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` to the others (for `gs://` they are an HMAC key
where they look like one: Google's begin with GOOG). Whoever has no key may have an identity, see
`edgeline.stores.access`. The region is `AWS_REGION` or `AWS_DEFAULT_REGION`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from edgeline.errors import EdgelineError
from edgeline.stores.sigv4 import Credentials

SCHEMES = ("s3", "gs", "minio")
AZURE = "abfs"
STORES = (*SCHEMES, AZURE)
TRUE = ("1", "true", "yes", "on", "t", "y")
FALSE = ("0", "false", "no", "off", "f", "n")
HMAC = "GOOG"  # how the keys of Google's S3 interface begin
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
    if scheme == "gs" and not key.startswith(HMAC):
        return found
    keys = Credentials(key, secret, token, region or DEFAULT_REGION)
    return Endpoint(url, variable, region, keys)


@dataclass(frozen=True)
class Container:
    """A container of Azure Blob Storage; `service` is the account's URL, without a slash behind."""

    service: str
    account: str
    name: str
    variable: str


def container(place: str) -> Container:
    """The container of an abfs:// address.

    Raises:
        EdgelineError: the address or the environment lacks the account, or the endpoint is in a
            form that cannot be read.
    """
    name, mark, host = place.partition("://")[2].partition("/")[0].partition("@")
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT", "")
    variable = "AZURE_STORAGE_SERVICE_ENDPOINT"
    if not name or (mark and not host) or ":" in name:
        raise EdgelineError(
            f"{AZURE}://... names no container: write abfs://CONTAINER/PREFIX or "
            "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX."
        )
    if not account:
        raise EdgelineError(
            f"{AZURE}://{name} names no storage account: set AZURE_STORAGE_ACCOUNT, or write "
            f"abfs://{name}@ACCOUNT.dfs.core.windows.net/PREFIX."
        )
    if "." in host:
        return Container(f"https://{host.replace('.dfs.', '.blob.', 1)}", account, name, "")
    if text := os.environ.get(variable):
        return Container(_url(variable, text), account, name, variable)
    return Container(f"https://{account}.blob.core.windows.net", account, name, "")


def web_address(place: str) -> str:
    """The URL below which the objects of `scheme://bucket/prefix` are, quoted, with no slash at
    its end.

    Raises:
        EdgelineError: as `endpoint` and `container`.
    """
    scheme, _, path = place.partition("://")
    bucket, _, prefix = path.strip("/").partition("/")
    if scheme == AZURE:
        found = container(place)
        url, bucket = found.service, found.name
    else:
        url = endpoint(scheme).url
    return f"{url}/{quote('/'.join(filter(None, (bucket, prefix))))}"


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
