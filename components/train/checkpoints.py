"""Where a training's checkpoints lie: on a disk that outlives the task, or in a store."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgeline.stores.destinations import refuse_forgotten
from edgeline.stores.shared_folder import SharedFolder, local_path

# of a folder that `fitting` has written; what else lies in a store is left there
_FILE = re.compile(r"epoch-[0-9]{5}/\w[\w.-]*")


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        folder: where `fitting` reads and writes them.
        store: what it is a copy of; None where the folder itself outlives the task.
    """

    folder: Path
    store: SharedFolder | None = None

    def fetch(self) -> None:
        """Bring what the store has. Whether a checkpoint is whole is for its reader to see.

        Raises:
            EdgelineError: the store cannot be reached, or refuses.
        """
        if self.store is None:
            return
        for name in filter(_FILE.fullmatch, self.store.names()):
            if (content := self.store.read(name)) is not None:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)

    def keep(self, epoch: int) -> None:
        """Bring an epoch's checkpoint to the store, then remove those there that are gone here.

        Raises:
            EdgelineError: the store cannot be reached, or refuses.
        """
        if self.store is None:
            return
        for path in sorted((self.folder / f"epoch-{epoch:05}").iterdir()):
            self.store.write(path.relative_to(self.folder).as_posix(), path.read_bytes())
        there = {name.partition("/")[0] for name in self.store.names() if _FILE.fullmatch(name)}
        for gone in there - {path.name for path in self.folder.iterdir()}:
            SharedFolder(f"{self.store.uri}/{gone}").remove()

    def discard(self) -> None:
        """Remove them, of a training that has ended and been saved."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.store is not None:
            self.store.remove()


def of(place: str, key: str, temporary: Path) -> Checkpoints:
    """The checkpoints of the training `key` at a place.

    Args:
        place: a folder, or an address that `SharedFolder` takes; "" keeps them for this process.
        temporary: a folder of this process alone.

    Raises:
        UsageError: nothing can be written at such an address.
        EdgelineError: it is a folder of a pod that does not outlive it.
    """
    refuse_forgotten("checkpoint_dir", place)
    path = local_path(place) if place else temporary
    if path is not None:
        return Checkpoints(path / key)
    return Checkpoints(temporary / key, SharedFolder(f"{place.rstrip('/')}/{key}"))
