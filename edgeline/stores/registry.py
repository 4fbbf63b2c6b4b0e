"""A container registry over HTTP: the OCI distribution specification 1.1, digests and copies.

Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md; tokens are
https://distribution.github.io/distribution/spec/auth/token/ and .../auth/oauth/. Logins are
Docker's (`edgeline.stores.logins`). What is copied keeps its digest, which `docker pull` and
`push` do not promise, and all its platforms.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import re
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import IO, Any

from edgeline.errors import EdgelineError, UsageError
from edgeline.stores import descriptors, logins, redirects
from edgeline.stores.again import BUSY, PassingError, again

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
REFERENCE = re.compile(
    r"(?P<path>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::(?P<tag>[\w.-]{1,128}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
CHUNK = 1 << 20
TIMEOUT = 60.0
_MANIFEST, _ANSWER = 4 << 20, 1 << 20  # bytes of a manifest, and of a token's answer, at most
ATTEMPTS = 8
PAUSE = 0.05  # seconds at most before the second attempt; twice as long before each further one


@dataclass(frozen=True)
class Image:
    """A reference in its parts; without a tag and a digest it is the tag `latest`."""

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def version(self) -> str:
        """What a registry calls it by: the digest before the tag."""
        return self.digest or self.tag or "latest"


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index as the registry keeps it."""

    kind: str
    content: bytes

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.content).hexdigest()


def parse(reference: str) -> Image:
    """A reference's parts, by Docker's rules for what is a host.

    Raises:
        UsageError: it is not an image reference.
    """
    first, slash, rest = reference.partition("/")
    host = first if slash and ("." in first or ":" in first or first == "localhost") else ""
    match = REFERENCE.fullmatch(rest if host else reference)
    if match is None:
        raise UsageError(f"{reference!r} is not an image reference: it is HOST/PATH:TAG@DIGEST.")
    path = match["path"]
    if host in ("", "docker.io", "index.docker.io"):
        host, path = "docker.io", path if "/" in path else f"library/{path}"
    return Image(host, path, match["tag"] or "", match["digest"] or "")


def digest(reference: str) -> str:
    """The digest that a registry has for a reference: of the index where there is one.

    Raises:
        EdgelineError: it cannot be reached or has no such image.
    """
    return _manifest(parse(reference)).digest


def copy(reference: str, to: str) -> str:
    """Copy an image with all its platforms; what is there already is not sent again.

    Args:
        reference: the image.
        to: the copy's reference; a digest in it is that of the image.

    Returns:
        the copy's reference, by digest.

    Raises:
        EdgelineError: a registry cannot be reached, lacks the image or refuses it.
    """
    source, target = parse(reference), parse(to)
    manifest = _manifest(source)
    _copy(source, target, manifest, target.tag or manifest.digest)
    return f"{target.host}/{target.path}@{manifest.digest}"


def manifest(reference: str) -> Manifest:
    """The manifest or index of a reference, checked against its digest where it has one.

    Raises:
        EdgelineError: it cannot be reached, has no such image or gives other content.
    """
    return _manifest(parse(reference))


def download(reference: str, blob: str, file: IO[bytes], limit: int) -> None:
    """Write a blob of an image's repository to a file, checked against its digest.

    Raises:
        EdgelineError: it cannot be reached, has no such blob, gives other content or more than
            `limit` bytes.
    """
    image = parse(reference)
    try:
        again(lambda: _download(image, blob, file, limit))
    except _MissingError:
        raise EdgelineError(f"{image.host} has no {blob} of {image.path}: push it again.") from None


def upload(reference: str, blob: str, file: IO[bytes]) -> None:
    """Put a blob into an image's repository; what is there already is not sent again."""
    image = parse(reference)
    if not _has_blob(image, blob):
        _upload(image, blob, file)


def copy_blob(reference: str, to: str, blob: str) -> None:
    """Copy a blob between the repositories of two images; what is there already is not sent again.

    Raises:
        EdgelineError: a registry cannot be reached, lacks the blob or refuses it.
    """
    source = parse(reference)
    try:
        _copy_blob(source, parse(to), blob)
    except _MissingError:
        raise EdgelineError(f"{source.host} has no {blob} of {source.path}.") from None


def put(reference: str, manifest: Manifest, name: str) -> None:
    """Put a manifest or an index, under a tag or its digest, once its parts are there."""
    headers = {"Content-Type": manifest.kind}
    _call("PUT", parse(reference), f"manifests/{name}", headers, manifest.content).close()


def _copy(source: Image, target: Image, manifest: Manifest, name: str) -> None:
    reference = f"{source.host}/{source.path}@{manifest.digest}"
    if manifest.kind in INDEXES:
        for image in descriptors.images(manifest.content, reference):
            part = _manifest(Image(source.host, source.path, digest=image.digest))
            _copy(source, target, part, part.digest)
    else:
        made_of = descriptors.parts(manifest.content, reference)
        for blob in (made_of.config, *made_of.layers):
            _copy_blob(source, target, blob.digest)
    headers = {"Content-Type": manifest.kind}
    _call("PUT", target, f"manifests/{name}", headers, manifest.content).close()


def _copy_blob(source: Image, target: Image, digest: str) -> None:
    if _has_blob(target, digest):
        return
    with tempfile.TemporaryFile() as file:
        again(lambda: _download(source, digest, file))
        _upload(target, digest, file)


def _download(image: Image, blob: str, file: IO[bytes], limit: int | None = None) -> None:
    """A blob in place of what the file has."""
    found, size = hashlib.sha256(), 0
    file.seek(0)
    file.truncate()
    with _call("GET", image, f"blobs/{blob}") as answer:
        try:
            while chunk := answer.read(CHUNK):
                size += len(chunk)
                if limit is not None and size > limit:
                    raise EdgelineError(f"{blob} of {image.path} has more than {limit} bytes.")
                found.update(chunk)
                file.write(chunk)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            raise _broken(image, error) from None
    if f"sha256:{found.hexdigest()}" != blob:
        raise EdgelineError(f"{image.host} gave other content for {image.path} {blob}.")


def _upload(target: Image, digest: str, file: IO[bytes]) -> None:
    again(lambda: _sent(target, digest, file))


def _sent(target: Image, digest: str, file: IO[bytes]) -> None:
    size = str(file.seek(0, os.SEEK_END))
    file.seek(0)
    with _call("POST", target, "blobs/uploads/", data=b"") as upload:
        place = upload.headers["Location"]
    place += ("&" if "?" in place else "?") + urllib.parse.urlencode({"digest": digest})
    headers = {"Content-Type": "application/octet-stream", "Content-Length": size}
    _call("PUT", target, place, headers, file).close()


def _has_blob(image: Image, digest: str) -> bool:
    try:
        _call("HEAD", image, f"blobs/{digest}").close()
    except _MissingError:
        return False
    return True


def _manifest(image: Image) -> Manifest:
    headers = {"Accept": ", ".join(INDEXES + MANIFESTS)}
    try:
        with _call("GET", image, f"manifests/{image.version}", headers) as answer:
            manifest = Manifest(answer.headers.get_content_type(), answer.read(_MANIFEST + 1))
    except _MissingError:
        name = f"{image.host}/{image.path}{'@' if image.digest else ':'}{image.version}"
        raise EdgelineError(f"There is no image {name}: build it and push it.") from None
    if len(manifest.content) > _MANIFEST:
        raise EdgelineError(
            f"The manifest of {image.host}/{image.path} has over {_MANIFEST} bytes."
        )
    if image.digest not in ("", manifest.digest):
        raise EdgelineError(f"{image.host} gave other content for {image.path}@{image.digest}.")
    return manifest


class _MissingError(Exception):
    """404."""


_authorisations: dict[tuple[str, str, str], str] = {}
_firsts: dict[str, str] = {}  # the kind of a registry's address (see `redirects`), by host


def _call(
    method: str,
    image: Image,
    resource: str,
    headers: dict[str, str] | None = None,
    data: bytes | IO[bytes] | None = None,
) -> Any:
    """One request about an image's repository, authorised if the registry asks for it.

    It is sent again where the registry was not ready; one with a stream, and a POST, only by who
    called it.
    """
    if method == "POST" or hasattr(data, "read"):
        return _asked(method, image, resource, headers, data)
    return again(lambda: _asked(method, image, resource, headers, data))


def _asked(
    method: str,
    image: Image,
    resource: str,
    headers: dict[str, str] | None,
    data: bytes | IO[bytes] | None,
) -> Any:
    api = "https" if image.host.partition(":")[0] not in ("localhost", "127.0.0.1") else "http"
    host = "registry-1.docker.io" if image.host == "docker.io" else image.host
    url = urllib.parse.urljoin(f"{api}://{host}/v2/{image.path}/", resource)
    kind = "pull" if method in ("GET", "HEAD") else "pull,push"
    key = (image.host, image.path, kind)
    own = urllib.parse.urlsplit(url).netloc == host
    first = _firsts.get(image.host, redirects.PUBLIC)
    challenged, tried = False, 0
    while True:
        request = urllib.request.Request(url, data, headers or {}, method=method)
        if key in _authorisations:  # not sent on to where a blob is redirected
            request.add_unredirected_header("Authorization", _authorisations[key])
        try:
            # what a registry names itself, as where an upload goes on, is its redirect, too
            answer = redirects.urlopen(request, TIMEOUT, None if own else first)
            if own:
                _firsts[image.host] = redirects.first_of(request)
            return answer
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise _MissingError from None
            tried += 1
            if error.code == 401 and not challenged:
                challenge = error.headers.get("WWW-Authenticate", "")
                first = redirects.first_of(request)
                _authorisations[key], challenged = _authorise(image, kind, challenge, first), True
            elif tried < ATTEMPTS and not hasattr(data, "read") and _may_pass(error):
                time.sleep(random.uniform(0, PAUSE * 2**tried))
            else:
                raise (PassingError if error.code in BUSY else EdgelineError)(
                    f"{image.host} refuses to {kind.rpartition(',')[2]} {image.path} "
                    f"({error.code} {error.reason}): `docker login {image.host}` may be needed."
                ) from None
        except OSError as error:
            raise _broken(image, getattr(error, "reason", error)) from None


def _broken(image: Image, reason: object) -> PassingError:
    return PassingError(f"Registry {image.host} cannot be reached ({reason}).")


def _may_pass(error: urllib.error.HTTPError) -> bool:
    """Whether it may be otherwise in a moment.

    While somebody else pushes the same blob, distribution's registry reads a link to it that is
    half written: it then fails, or says of a manifest that it does not know the blob.
    """
    unknown = error.code == 400 and b"MANIFEST_BLOB_UNKNOWN" in error.read()
    return unknown or error.code in (500, 502, 503, 504)


def _authorise(image: Image, kind: str, challenge: str, first: str) -> str:
    """The value of an `Authorization` header that answers a registry's challenge, which names who
    gives tokens; `first` is the kind of the registry's address (see `redirects`)."""
    scheme, _, rest = challenge.partition(" ")
    login = logins.find(image.host)
    if scheme.lower() == "basic" and login and login.basic:
        return login.basic
    wanted = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if scheme.lower() != "bearer" or "realm" not in wanted:
        raise EdgelineError(f"Registry {image.host} needs `docker login {image.host}`.")
    query = {"service": wanted.get("service", ""), "scope": f"repository:{image.path}:{kind}"}
    if login and login.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": login.identity_token}
        data = urllib.parse.urlencode(query | form | {"client_id": "edgeline"}).encode()
        request = urllib.request.Request(wanted["realm"], data)
    else:
        mark = "&" if "?" in wanted["realm"] else "?"
        request = urllib.request.Request(wanted["realm"] + mark + urllib.parse.urlencode(query))
        if login and login.basic:
            request.add_unredirected_header("Authorization", login.basic)
    try:
        with redirects.urlopen(request, TIMEOUT, first) as answer:
            given = json.loads(answer.read(_ANSWER))
        return f"Bearer {given.get('token') or given['access_token']}"
    except urllib.error.HTTPError as error:
        again = f"log in again: `docker login {image.host}`" if login else "log in"
        raise EdgelineError(
            f"Registry {image.host} refuses {'the' if login else 'a'} login for {image.path} "
            f"({error.code} {error.reason}): {again}."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EdgelineError(f"Registry {image.host} gives no token ({error}).") from None
