"""What an environment file may say. Unknown and ill-typed fields are refused by their path."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from edgeline.environments import NAMES
from edgeline.errors import UsageError, did_you_mean, shortened
from edgeline.formats import names, plain_file, plain_yaml

LAPTOP = "laptop"
INT32 = 2**31 - 1  # the largest that protobuf and Kubernetes take

# kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity
Quantity = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|[kMGT]|[KMGT]i)?\Z")]
Name = Annotated[str, msgspec.Meta(pattern=rf"^{names.SUBDOMAIN_PATTERN}\Z")]
Namespace = Annotated[str, msgspec.Meta(pattern=rf"^{names.LABEL_PATTERN}\Z")]
Root = Annotated[str, msgspec.Meta(pattern=rf"^({names.ROOT_PATTERN})?\Z")]
MountPath = Annotated[
    str, msgspec.Meta(pattern=r"^(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+\Z", max_length=255)
]
Variable = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all parts share: they cannot change, and take no field that they do not know."""


class Toleration(_Part, frozen=True):
    """Lets a task run on tainted nodes; as in Kubernetes."""

    key: str = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: Annotated[int, msgspec.Meta(ge=0, le=INT32)] | None = None


class Accelerator(_Part, frozen=True):
    """`count` devices of the extended resource `type`, for example `nvidia.com/gpu`."""

    type: str
    count: Annotated[int, msgspec.Meta(ge=1, le=INT32)] = 1


class Secret(_Part, frozen=True):
    """Environment variables taken from a Kubernetes Secret: variable to key, never a value.

    Attributes:
        optional: whether a task also runs where there is no such Secret, without the variables.
    """

    name: Name
    env: dict[Variable, str]
    optional: bool = False


class SecretFiles(_Part, frozen=True):
    """The keys of a Kubernetes Secret as files in a folder `path`: signing keys, a registry login.

    Attributes:
        optional: whether a task also runs where there is no such Secret.
    """

    name: Name
    path: MountPath
    optional: bool = False


class Volume(_Part, frozen=True):
    """A folder `path` of a task that is not its pod's own disk: one of the three kinds.

    Attributes:
        claim: a PersistentVolumeClaim that is there, which tasks share: checkpoints, the cache of
            the analysis, the folder of Beam's workers.
        sub_path: the folder of the claim that is mounted; empty: all of it.
        size: of a volume that is made for the task and is gone with it, from `storage_class`
            (empty: the cluster's default).
        memory: of a folder in the node's memory, which counts to the task's limit: `/dev/shm`.
    """

    path: MountPath
    claim: Name | Literal[""] = ""
    sub_path: str = ""
    size: Quantity | Literal[""] = ""
    storage_class: Name | Literal[""] = ""
    memory: Quantity | Literal[""] = ""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.claim, self.size, self.memory))) != 1:
            raise ValueError(f"the volume {self.path} needs one of claim, size and memory")
        if (self.sub_path and not self.claim) or (self.storage_class and not self.size):
            raise ValueError(
                f"the volume {self.path} has sub_path without claim, or storage_class without size"
            )
        if PurePosixPath(self.sub_path).is_absolute() or ".." in PurePosixPath(self.sub_path).parts:
            raise ValueError(f"the sub_path of the volume {self.path} leads out of the claim")


class Requirement(_Part, frozen=True):
    """What a node's labels have to be; as in Kubernetes' node affinity.

    Attributes:
        weight: 1 to 100 of a wish; 0: without it the task does not run.
    """

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: tuple[str, ...] = ()
    weight: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0

    def __post_init__(self) -> None:
        if bool(self.values) == (self.operator in ("Exists", "DoesNotExist")):
            raise ValueError(f"the operator {self.operator} of {self.key} has {self.values}")


class Neighbours(_Part, frozen=True):
    """Where a task runs beside pods with these labels, or (`apart`) not; as in pod affinity.

    Attributes:
        topology: the label of nodes that says what is beside: kubernetes.io/hostname,
            topology.kubernetes.io/zone, the block of a TPU slice.
        weight: 1 to 100 of a wish; 0: without it the task does not run.
    """

    labels: dict[str, str]
    topology: str
    apart: bool = False
    weight: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


class Resources(_Part, frozen=True):
    """What a task gets. Empty: as the environment's `defaults`, or nothing said.

    Attributes:
        image: of this task in place of the component's own: the name of an image in the lock file,
            or a whole reference.
        timeout: seconds after which the task's pod is ended; 0: none.
        secrets: environment variables of this task alone, by reference: publish's signing key,
            which no user's code sees.
        secret_files: likewise, as files.
        volumes: folders of the task; one of its own takes the place of a default's at that path.
        labels: of the task's pod, such as Kueue's `kueue.x-k8s.io/queue-name`, or Azure's
            `azure.workload.identity/use`.
        annotations: of the task's pod, such as Istio's `sidecar.istio.io/inject: "false"`.
        node_affinity: which nodes.
        pod_affinity: beside which pods.
    """

    image: str = ""

    cpu_request: Quantity | Literal[""] = ""
    cpu_limit: Quantity | Literal[""] = ""
    memory_request: Quantity | Literal[""] = ""
    memory_limit: Quantity | Literal[""] = ""
    accelerator: Accelerator | None = None
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    timeout: Annotated[int, msgspec.Meta(ge=0, le=INT32)] = 0
    secrets: tuple[Secret, ...] = ()
    secret_files: tuple[SecretFiles, ...] = ()
    volumes: tuple[Volume, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    node_affinity: tuple[Requirement, ...] = ()
    pod_affinity: tuple[Neighbours, ...] = ()


class Workspace(_Part, frozen=True):
    """KFP's own volume for a run, `dsl.WORKSPACE_PATH_PLACEHOLDER` in its tasks.

    Attributes:
        size: of the claim that KFP makes for each run.
        storage_class: empty: as KFP's server says.
        access_modes: empty: as KFP's server says.
    """

    size: Quantity
    storage_class: Name | Literal[""] = ""
    access_modes: tuple[
        Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"], ...
    ] = ()


class ArtifactStore(_Part, frozen=True):
    """Where artifacts go.

    Attributes:
        root: the pipeline root: gs://, s3:// or minio://, the only ones KFP's launcher knows.
            Empty: what `kfp-launcher` says in the namespace of the run. In a profile that is where
            its key may write, so what is compiled then runs in every namespace.
            The launcher reads a run's cached inputs under the scheme of its root, too: after a
            change of scheme (KFP's own root is minio://) set `caching: false`, or give the
            pipelines another name of the cache. The variables that say where the store is
            (AWS_ENDPOINT_URL, AWS_REGION) reach the launcher as well, so `root` and `endpoint`
            change together.
        endpoint: host and port of an S3 store that is not AWS's; else empty.
        region: of the bucket, where the store has regions.
        tls: whether the endpoint speaks HTTPS.
        secret: credentials by reference; without one the tasks' identity in the cloud counts.
    """

    root: Root = ""
    endpoint: str = ""
    region: str = ""
    tls: bool = True
    secret: Secret | None = None


class Environment(_Part, frozen=True):
    """One place where pipelines run.

    Attributes:
        namespace: of compiled manifests, by default kubeflow; and whose a run is that is submitted
            for it to a server with several teams, unless an option says it.
        registry: a mirror that holds all images, for sites without network; takes the place
            of the registry and organisation in `images.lock.yaml`.
        registries: where images of tasks may come from besides the lock file's, those of components
            of your own: a registry, or one with a path. `edgeline lint` refuses others.
        caching: whether tasks may be taken from earlier runs; null: as the pipeline says.
        run_as_user: the user of every task's container, above 0.
        service_account: whose identity runs have that are submitted for it; empty: the server's
            choice. KFP has it at the run and not at the task.
        workspace: KFP's own volume for each run.
        workers: pods that share each batch of `train`, each like the task's own; 0: as the pipeline
            says. A run then needs a `checkpoint_dir` in a store or of a volume that all mount.
        beam_options: for tasks with a parameter of that name; validate then runs in the image
            train.
        variables: environment variables of every task; nothing secret.
        secrets: environment variables of every task, by reference.
        defaults: for every task; `tasks` says what differs, by the component's name. What it says
            of train and publish is for train_candidate and publish_candidates, too, unless it names
            these.
    """

    name: Name
    description: str = ""
    namespace: Namespace | Literal[""] = ""
    object_store: ArtifactStore = ArtifactStore()
    registry: str = ""
    registries: tuple[str, ...] = ()
    image_pull_secrets: tuple[Name, ...] = ()
    run_as_user: Annotated[int, msgspec.Meta(ge=1, le=INT32)] | None = 1000
    service_account: Name | Literal[""] = ""
    workspace: Workspace | None = None
    caching: bool | None = None
    workers: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    beam_options: tuple[str, ...] = ()
    variables: dict[Variable, str] = {}
    secrets: tuple[Secret, ...] = ()
    defaults: Resources = Resources()
    tasks: dict[str, Resources] = {}

    @property
    def is_cluster(self) -> bool:
        """Whether its tasks run in pods, whose own disks are gone with them."""
        return self.name != LAPTOP


def load(name: str) -> Environment:
    """An environment of edgeline's by name, or a file's.

    Raises:
        UsageError: there is no such environment or file, or a field is unknown or has a wrong
            value.
    """
    path = Path(name)
    if name in NAMES:
        text = resources.files("edgeline.environments").joinpath(f"{name}.yaml").read_bytes()
    elif path.suffix in (".yaml", ".yml") and os.path.lexists(path):
        try:
            text = plain_file.read(path)
        except OSError as error:
            raise UsageError(f"Environment {name} cannot be read ({error.strerror}).") from error
    else:
        raise UsageError(
            f"There is no environment {shortened(name)!r}. {did_you_mean(name, NAMES)} A .yaml "
            "file also works."
        )
    try:
        return plain_yaml.load(text, Environment)
    except ValueError as error:
        raise UsageError(f"Environment {name} is not valid: {error}.") from error
