"""Bundles in an object store: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

An object appears whole or not at all, but a bundle is several objects. So a publisher first
claims the number, then uploads the files, and the manifest last.

A claim is an empty object `<name>/.claims/<version>/<digest of the content>`. A publisher writes
its claim, lists the claims on that number, and has it only if it sees no other; otherwise it
goes on to the next. Of two that claim the same number the one that lists last sees both, so two
never win; at worst both lose and the number stays unused. This takes a store that lists what
was just written, and nothing more: a conditional put (If-None-Match) would be shorter, but
SeaweedFS, the default store of Kubeflow Pipelines, ignored it before 3.97 and let concurrent
puts pass as late as 4.16.

A publisher that is killed leaves its claim and some files, which nobody sees. The same content
published again finds its own claim and completes that number; other content skips the number.
Claims stay for ever: they are what keeps a number from being given twice. Parts of an upload
that broke off are the store's to expire (AbortIncompleteMultipartUpload in its lifecycle).

Two publishers of the SAME content at the same moment share the number: they upload equal files,
and the manifest of the later, which differs in provenance alone, remains.
"""

from __future__ import annotations

import functools
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeline.artifacts.bundle import MANIFEST, MODEL_SIGNATURE, Bundle, manifest_text
from edgeline.stores.again import again
from edgeline.stores.buckets import open_bucket
from edgeline.stores.objects import Objects
from edgeline.stores.signed import ROOTS

CLAIMS = ".claims"


def connect(scheme: str, bucket: str, prefix: str) -> ObjectStore:
    """The store of a bucket, as `edgeline.stores.buckets.open_bucket`.

    Raises:
        EdgelineError: the environment names no endpoint, or neither keys nor an identity.
    """
    return ObjectStore(scheme, bucket, prefix, open_bucket(scheme, bucket))


@dataclass(frozen=True)
class ObjectStore:
    """A store (see `edgeline.stores.store.Store`) below a prefix of a bucket."""

    scheme: str
    bucket: str
    prefix: str
    objects: Objects = field(repr=False)

    def uri(self, name: str, version: int) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key(name, version)}"

    def versions(self, name: str) -> list[int]:
        folder = self.key(name) + "/"
        found = (
            re.fullmatch(rf"([1-9][0-9]*)/{re.escape(MANIFEST)}", key.removeprefix(folder))
            for key in self._keys(folder)
        )
        return sorted(int(match[1]) for match in found if match)

    def manifest(self, name: str, version: int) -> bytes | None:
        return self.read(name, version, MANIFEST)

    def signature(self, name: str, version: int) -> bytes | None:
        return self.read(name, version, MODEL_SIGNATURE)

    def read(self, *path: str | int) -> bytes | None:
        """The content of a small object, None where there is none."""
        return again(lambda: self.objects.read(self.key(*path)))

    def put(self, folder: Path, bundle: Bundle, digest: str) -> bool:
        name, version = bundle.name, bundle.version
        if self.manifest(name, version) is not None or not self._claim(name, version, digest):
            return False
        for path in bundle.files:
            key = self.key(name, version, path)
            again(functools.partial(self.objects.upload, key, folder / path))
        self._put_text(self.key(name, version, MANIFEST), manifest_text(bundle).encode())
        return True

    def get(self, bundle: Bundle, folder: Path) -> None:
        for path in bundle.files:
            key = self.key(bundle.name, bundle.version, path)
            again(functools.partial(self.objects.download, key, folder / path))

    def signed_repositories(self) -> tuple[str, str]:
        parts = self.prefix.split("/") if self.prefix else []
        above = ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]
        around = next((place for place in above if self._is_repository(place, ROOTS)), None)
        if around is not None:
            return f"{self.scheme}://{self.bucket}/{around}".rstrip("/"), ""
        for folder in self.objects.folders(f"{self.prefix}/" if self.prefix else ""):
            place = folder.rstrip("/")
            if self._is_repository(place, ROOTS[:1]):
                return "", f"{self.scheme}://{self.bucket}/{place}"
        return "", ""

    def _is_repository(self, place: str, roots: Sequence[str]) -> bool:
        return any(self.objects.has(f"{place}/{root}" if place else root) for root in roots)

    def _claim(self, name: str, version: int, digest: str) -> bool:
        claims = self.key(name, CLAIMS, version) + "/"
        mine = claims + digest
        others = set(self._keys(claims)) - {mine}
        if not others:
            self._put_text(mine, b"")
            others = set(self._keys(claims)) - {mine}
            if others:
                # Both may have lost: come to the next number at different times.
                time.sleep(random.uniform(0, 0.2))
        return not others

    def _keys(self, prefix: str) -> list[str]:
        return [entry.key for entry in again(lambda: self.objects.below(prefix))]

    def _put_text(self, key: str, text: bytes) -> None:
        again(lambda: self.objects.write(key, text))

    def key(self, *parts: str | int) -> str:
        """The object below the prefix."""
        return "/".join(map(str, (self.prefix, *parts) if self.prefix else parts))
