"""Tasks in containers of their images, by kfp.local's DockerRunner.

kfp 2.17 mounts only the pipeline root, takes a container that ended before it looked as a
success, and leaves it running when the run is interrupted; so how a container is started and
waited for is our own. It sees this folder and the run's, has the user's own id, and sees
nothing else of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from edgeline import images
from edgeline.errors import EdgelineError
from edgeline.local.warm.task import EndedTask

NVIDIA = Path("/dev/nvidiactl")  # there where the driver is
STOP_TIME = 5  # seconds that an interrupted task has to clean up


def check_engine() -> None:
    """See that there is an engine, before anything starts.

    Raises:
        EdgelineError: Docker does not answer.
    """
    import docker

    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except (docker.errors.DockerException, OSError) as error:
        raise EdgelineError(
            f"Docker does not answer ({_cause(error)}): start it, or run without --docker."
        ) from None


def _cause(error: BaseException) -> str:
    """What the system said of it, out of the texts of docker, requests and urllib3 around that."""
    inside: BaseException | None = error
    while inside is not None:
        if isinstance(inside, OSError) and inside.strerror:
            return inside.strerror
        for each in inside.args:
            while isinstance(each, BaseException):
                if isinstance(each, OSError) and each.strerror:
                    return each.strerror
                each = next((x for x in each.args if isinstance(x, BaseException)), None)
        inside = inside.__cause__ or inside.__context__
    return str(error)


def run_container(
    image: str,
    command: list[str],
    folders: list[Path],
    variables: Mapping[str, str],
    log: IO[bytes],
) -> int:
    """Run a command in a new container to its end, and remove the container.

    Args:
        image: is pulled where the engine does not have it.
        command: what to run.
        folders: seen inside under the same path, writable; the first is the working folder.
        variables: its environment.
        log: gets what it prints.

    Returns:
        its exit code.

    Raises:
        EdgelineError: the image is not to be had, the container cannot be started, or it ran out of
            memory.
    """
    import docker

    client = docker.from_env()
    try:
        container = client.containers.run(
            image,
            command,
            detach=True,
            init=True,
            environment=dict(variables),
            user=f"{os.getuid()}:{os.getgid()}",
            volumes={str(folder): {"bind": str(folder), "mode": "rw"} for folder in folders},
            working_dir=str(folders[0]),
            device_requests=_gpus(client, image, log),
        )
    except docker.errors.DockerException as error:
        client.close()
        raise EdgelineError(f"Image {image} cannot be run ({error}).") from None
    try:
        for line in container.logs(stream=True):
            log.write(line)
            log.flush()
        code = int(container.wait()["StatusCode"])
        container.reload()
        if code and container.attrs["State"].get("OOMKilled"):
            raise EdgelineError("Its container was ended, as memory ran out: give Docker more.")
        return code
    except BaseException:
        container.stop(timeout=STOP_TIME)
        raise
    finally:
        container.remove(force=True)
        client.close()


def _gpus(client: Any, image: str, log: IO[bytes]) -> list[Any]:
    """All of this machine's NVIDIA GPUs for an image that may use them, as `docker run --gpus all`.

    Where the engine lacks NVIDIA's container toolkit, that is a line in the task's log: what needs
    a GPU says so itself, and all else runs.
    """
    import docker

    if images.is_for_cpus(image) or not NVIDIA.exists():
        return []
    if "nvidia" not in client.info().get("Runtimes", {}):
        log.write(
            b"This machine has an NVIDIA GPU, but Docker cannot pass it: install NVIDIA's "
            b"container toolkit.\n"
        )
        return []
    return [docker.types.DeviceRequest(count=-1, capabilities=[["gpu"]])]


def handler(
    watch: Callable[[list[str], Callable[[Path], EndedTask]], Any], folders: list[Path]
) -> type:
    """kfp.local's task handler for `DockerRunner`.

    Args:
        watch: called with a task's command, and with what runs it given a file for its output.
        folders: what tasks see of this machine beside the run's folder.
    """
    from kfp.local.docker_task_handler import DockerTaskHandler

    class TaskHandler(DockerTaskHandler):  # type: ignore[misc]
        def run(self) -> Any:
            return watch(self.full_command, self._start)

        def _start(self, log: Path) -> EndedTask:
            seen = list(dict.fromkeys([*folders, Path(self.pipeline_root)]))
            with open(log, "ab") as stream:
                code = run_container(self.image, self.full_command, seen, self.env_vars, stream)
            return EndedTask(code, 0)

    return TaskHandler
