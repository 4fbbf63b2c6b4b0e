"""What a task and its workers hand each other: files in a shared folder, sealed with a key.

The key is made for one job and goes to the workers with it, so what somebody else has written into
the folder is refused before it is read. That matters because some of it is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
import secrets
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgeline.beam.runner import Runner
from edgeline.errors import EdgelineError
from edgeline.stores import remote
from edgeline.stores.shared_folder import SharedFolder, local_path

SEAL = hashlib.sha256().digest_size  # bytes before the content
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Exchange:
    """The files of one job by name."""

    folder: SharedFolder
    key: bytes = field(repr=False)

    def put(self, name: str, content: bytes) -> None:
        """Write a file, which appears whole or not at all."""
        self.folder.write(name, self._seal(name, content) + content)

    def get(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            EdgelineError: there is none, or it was not written by this job.
        """
        sealed = self.folder.read(name)
        if sealed is None:
            raise EdgelineError(
                f"{self.folder.uri}/{name} is not there: leave what Beam's workers share alone "
                "until the job has ended."
            )
        seal, content = sealed[:SEAL], sealed[SEAL:]
        if not hmac.compare_digest(seal, self._seal(name, content)):
            raise EdgelineError(
                f"{self.folder.uri}/{name} was damaged, or written by somebody else: run again, "
                "and let nobody but the tasks and Beam's workers write there."
            )
        return content

    def names(self, folder: str) -> list[str]:
        """The names of the files below a folder, sorted."""
        return self.folder.names(folder)

    def put_folder(self, name: str, path: Path) -> None:
        """Write a folder as one file."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(each for each in path.rglob("*") if each.is_file()):
                archive.write(file, file.relative_to(path))
        self.put(name, packed.getvalue())

    def get_folder(self, name: str, target: Path) -> None:
        """Lay a folder that was written so into one on this machine.

        Raises:
            EdgelineError: as `get`.
        """
        with zipfile.ZipFile(io.BytesIO(self.get(name))) as archive:
            archive.extractall(target)

    def _seal(self, name: str, content: bytes) -> bytes:
        mac = hmac.new(self.key, name.encode() + b"\0", hashlib.sha256)
        mac.update(content)
        return mac.digest()


@contextlib.contextmanager
def opened(runner: Runner, artifact_uri: str, component: str) -> Iterator[Exchange]:
    """A new folder that the runner's workers can reach, removed in the end.

    It lies below `--temp_location`; without one in a folder of this machine for workers here, and
    beside the task's own artifacts for workers elsewhere.

    Args:
        runner: see `edgeline.beam.runner.read`.
        artifact_uri: the address of one of the task's outputs, or "".
        component: part of the folder's name.

    Raises:
        EdgelineError: the runner's workers could not reach any of these, or nothing can be
            written there.
    """
    with contextlib.ExitStack() as stack:
        base = runner.temp_location
        if not base and runner.here:
            base = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeline-beam-"))
        if not base:
            base = _beside(artifact_uri, runner)
        if (path := local_path(base)) is not None:
            base = str(path.absolute())
        folder = SharedFolder(f"{base.rstrip('/')}/edgeline-{component}-{uuid.uuid4().hex}")
        exchange = Exchange(folder, secrets.token_bytes(32))
        exchange.put("begun", b"")  # whether this can be written is told before anything else
        stack.callback(folder.remove)
        yield exchange


def _beside(artifact_uri: str, runner: Runner) -> str:
    """A folder beside an artifact's; KFP writes a store's endpoint behind it as a query."""
    place = artifact_uri.partition("?")[0].rstrip("/")
    if remote.scheme(place):
        return f"{place}-beam"
    host = runner.endpoint.rpartition(":")[0]
    if place and (not runner.endpoint or host in LOCAL_HOSTS):
        return f"{place}-beam"
    raise EdgelineError(
        f"The workers of {runner.place} do not have the task's disk: give a folder that they reach "
        "by --temp_location in 'beam_options', such as --temp_location=s3://bucket/beam, or "
        "file:///mnt/shared of a volume that they mount."
    )
