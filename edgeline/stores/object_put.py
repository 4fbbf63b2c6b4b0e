"""Put objects into an object store with the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores.access import StoreAccess, access, required
from edgeline.stores.endpoints import AZURE, STORES, web_address

TIMEOUT = 30.0  # seconds


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket: `url` is the endpoint with both, quoted."""

    url: str
    access: StoreAccess
    headers: tuple[tuple[str, str], ...] = ()

    def put(self, key: str, data: bytes) -> None:
        """Write an object; OSError where the store does not take it."""
        import urllib.error
        import urllib.request

        from edgeline.stores import redirects

        try:
            url, headers = self.access.request("PUT", f"{self.url}/{quote(key)}", data)
        except EdgelineError as error:  # an identity that is refused now, or not to be reached
            raise OSError(str(error)) from error
        request = urllib.request.Request(url, data, dict(self.headers), method="PUT")
        for name, value in headers.items():  # for nobody to whom the store leads on
            request.add_unredirected_header(name, value)
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
        EdgelineError: the environment has no endpoint for it, or neither keys nor an identity.
    """
    parts = urlsplit(place)
    is_account = parts.scheme == AZURE and ":" not in parts.netloc
    if parts.scheme not in STORES or not parts.netloc or ("@" in parts.netloc and not is_account):
        raise UsageError(
            f"{parts.scheme}://... is not a place for payloads: give a folder, an http(s) "
            "receiver, s3://bucket/prefix, gs://bucket/prefix or abfs://container/prefix."
        )
    kind = (("x-ms-blob-type", "BlockBlob"),) if parts.scheme == AZURE else ()
    return Bucket(web_address(place), required(place, access(place)), kind)
