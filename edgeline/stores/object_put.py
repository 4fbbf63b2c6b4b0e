"""Put objects into an S3-compatible store with the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from edgeline.errors import UsageError
from edgeline.stores.endpoints import SCHEMES, endpoint
from edgeline.stores.sigv4 import Credentials, signed_headers

TIMEOUT = 30.0  # seconds


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket: `url` is the endpoint with both, quoted."""

    url: str
    credentials: Credentials

    def put(self, key: str, data: bytes) -> None:
        """Write an object; OSError where the store does not take it."""
        import urllib.error
        import urllib.request

        from edgeline.stores import redirects

        url = f"{self.url}/{quote(key)}"
        headers = signed_headers("PUT", url, self.credentials, data)
        request = urllib.request.Request(url, data, headers, method="PUT")
        try:
            with redirects.urlopen(request, timeout=TIMEOUT) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            raise OSError(f"status {error.code}") from None
        except redirects.RedirectError as error:
            raise OSError(str(error)) from error


def bucket(place: str) -> Bucket:
    """The bucket and prefix that `scheme://bucket/prefix` names.

    Raises:
        UsageError: it names none.
        EdgelineError: the environment has no endpoint or keys for it.
    """
    parts = urlsplit(place)
    if parts.scheme not in SCHEMES or not parts.netloc or "@" in parts.netloc:
        raise UsageError(
            f"{parts.scheme}://... is not a place for payloads: give a folder, an http(s) receiver "
            "or s3://bucket/prefix."
        )
    store = endpoint(parts.scheme)
    keys = store.required_credentials(place)
    path = "/".join(filter(None, (parts.netloc, parts.path.strip("/"))))
    return Bucket(f"{store.url}/{quote(path)}", keys)
