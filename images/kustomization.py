"""The lock file's images as a kustomize Component, so that manifests name what pipelines name."""

from __future__ import annotations

from pathlib import Path

from edgeline.artifacts import write_text
from edgeline.errors import at_path
from edgeline.formats import plain_yaml
from edgeline.images import entries

HEAD = "# written by `edgeline images lock --kustomization`\n"


def write(path: Path, lock: Path) -> Path:
    """Write a Component that gives every image named after an entry of a lock file its digest.

    Raises:
        EdgelineError: the lock file cannot be read, or the file cannot be written.
    """
    listed = [
        {
            "name": name,
            "newName": entry.repository,
            **({"digest": entry.digest} if entry.digest else {"newTag": entry.version}),
        }
        for name, entry in sorted(entries(lock).items())
    ]
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": listed,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, plain_yaml.dump([component], sort_keys=False, comment=HEAD))
    except OSError as error:
        raise at_path(error, f"{path} cannot be written ({error.strerror}).") from error
    return path
