"""`edgeline images lock`: the digests of pushed images, written into a lock file."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from edgeline.artifacts import write_text
from edgeline.formats import plain_yaml
from edgeline.images import Entry, entries, lock_file
from edgeline.stores import registry
from edgeline.version import __version__

HEAD = """\
# The one place that names container images. Faces, pipelines and manifests read it.
# `edgeline images lock` fills `digest` from the registry; until then `version` stands in.
"""


def lock(prefix: str | None = None, output: Path | None = None) -> Path:
    """Ask the registry for the digest of this version of each image, and write them all.

    Args:
        prefix: where the images were pushed, such as `registry.example.com/team`; by default
            the repositories of the lock file in use.
        output: the file to write; by default the lock file in use. EDGELINE_IMAGES names it
            to later commands.

    Raises:
        EdgelineError: a registry cannot be reached or lacks an image; nothing is written then.
    """
    locked = {}
    for name, entry in entries(lock_file()).items():
        repository = entry.repository
        if prefix:
            repository = f"{prefix.rstrip('/')}/{repository.rpartition('/')[2]}"
        entry = Entry(repository, __version__)
        locked[name] = replace(entry, digest=registry.digest(entry.tagged))
    path = output or lock_file()
    text = plain_yaml.dump(
        [{name: asdict(entry) for name, entry in locked.items()}], sort_keys=False, comment=HEAD
    )
    write_text(path, text)
    entries.cache_clear()
    return path
