"""Sites that KServe runs: an InferenceService, and the runtime that serves its model.

Facts of KServe 0.15 to 0.20: an image volume (`oci+native://`) and the name of a storage container
(`storageContainerName`) need 0.20. A storage container is taken for whatever address it says that
it supports, of anybody's service, named or not, so ours has a scheme of its own. A name with
`-predictor-` and the namespace is part of a host name, and with `isvc.` and `-predictor` the value
of a label, so each is at most 63 characters.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from edgeline.errors import UsageError, did_you_mean
from edgeline.sites.site import SPEC, Object, Site
from edgeline.sites.tokens import Tokens
from edgeline.sites.workload import (
    CONTAINER_SECURITY,
    DRAIN,
    GRPC_PORT,
    LAST_WORDS,
    POD_SECURITY,
    PORT,
    ROLLING,
    credentials_name,
    metadata,
    network_policy,
    probes,
    resources,
    strategy,
)

FORM = "kserve"
OF_KSERVE = "serving.kserve.io/inferenceservice"  # the label of its pods
MODE = "serving.kserve.io/deploymentMode"  # an annotation
STANDARD = "Standard"
BEFORE_STANDARD = "RawDeployment"  # the same, as KServe called it before 0.16
KNATIVE = ("Knative", "Serverless")  # the other mode, by its names of now and of before
Version = tuple[int, int]
AGENT_PORT = 9081  # of KServe's agent, which logs and batches before the server
LONGEST = 63
IMAGE, MODELCAR, STORE = "image", "modelcar", "store"  # where the model comes from
BASE = "edgeline.dev/modelcar-base"  # an annotation: the image below the model's, with a shell
OLDEST, WITH_STANDARD, WITH_IMAGES, NEWEST = (0, 15), (0, 16), (0, 20), "0.20"
_VERSION = re.compile(r"v?(0)\.([1-9][0-9]*)(\.[0-9]+)?(-rc[0-9]+)?")
# of manifests/base/kserve: KServe's own gives its init container no security context, and a
# namespace that enforces `restricted` refuses the pod
STORAGE, SCHEME = "edgeline-storage", "edgeline+"
STORES = {"s3": "s3", "gs": "gs", "minio": "s3"}  # what KServe calls what a bundle's address does
ACCOUNT = "edge-server"  # the service account that may read the store


@dataclass(frozen=True)
class ModelSource:
    """Where KServe takes a model from.

    Attributes:
        uri: makes its `storageUri`.
        needs: of the cluster, for the head of the file.
        since: the first KServe that takes it.
        predictor: what else it has to say to a version of KServe.
    """

    uri: Callable[[Site], str]
    needs: str
    since: Version
    predictor: Callable[[Site, Version], Object]


def _with_login(site: Site, _: Version) -> Object:
    return {"imagePullSecrets": [{"name": credentials_name(site)}]}


SOURCES = {
    IMAGE: ModelSource(
        lambda site: f"oci+native://{site.model}",
        "KServe 0.20 or later with enableModelcar or enableOciModelSupport on in its "
        "configuration, as it is installed, and Kubernetes with the feature gate ImageVolume on in "
        "API server and kubelet (in 1.34 it is off): else the pod comes without the model",
        WITH_IMAGES,
        _with_login,
    ),
    MODELCAR: ModelSource(
        lambda site: f"oci://{site.model}",
        "the image with a shell that `edgeline site push --base` pushes, enableModelcar on in "
        "KServe's configuration, as it is installed, and a namespace that does not enforce "
        "`restricted`: KServe's sidecar has no security context",
        OLDEST,
        _with_login,
    ),
    STORE: ModelSource(
        lambda site: _in_store(site.address),
        f"the ClusterStorageContainer {STORAGE} of manifests/base/kserve, and a service account "
        f"{ACCOUNT} that may read the store: by the cloud's identity, or by a Secret as KServe "
        "takes them",
        OLDEST,
        lambda _, known: {
            "serviceAccountName": ACCOUNT,
            **({"storageContainerName": STORAGE} if known >= WITH_IMAGES else {}),
        },
    ),
}


def kserve(
    site: Site, tokens: Tokens, source: str = IMAGE, version: str = NEWEST, base: str = ""
) -> dict[str, list[Object]]:
    """A NetworkPolicy, the ServingRuntime and the InferenceService.

    Args:
        source: as `source_of` gives it for the version and the base.
        version: KServe's, such as 0.20 or 0.19.1.
        base: of a modelcar's image.

    Raises:
        UsageError: KServe refuses the name, or the bundle lies where KServe does not fetch it from.
    """
    if fault := too_long(site.name, site.namespace):
        most = len(site.name) - max(map(len, _made(site.name, site.namespace))) + LONGEST
        room = LONGEST - len(_made("", "")[0])
        give = f"--name of at most {most}"
        if most < 1:
            give = f"--name and a --namespace of at most {room} together"
        raise UsageError(
            f"KServe never starts {site.name!r} in {site.namespace!r}: {fault}: give a {give}."
        )
    entry, known = SOURCES[source], read_version(version)
    if source == STORE and not is_store(site.address):
        other = IMAGE if known >= WITH_IMAGES else MODELCAR
        raise UsageError(
            f"{site.address or 'A folder'} is not an address that KServe fetches a model from: "
            "name the bundle by its s3://, minio:// or gs:// address, or give model_from "
            f"{other}."
        )
    ports = (PORT, GRPC_PORT, AGENT_PORT)
    store = STORES[site.address.partition("://")[0]] if source == STORE else ""
    policy = network_policy(site, {OF_KSERVE: site.name}, *ports, within=ports, store=store)
    runtime = _runtime(site, tokens)
    service = _service(
        site,
        entry.uri(site),
        STANDARD if known >= WITH_STANDARD else BEFORE_STANDARD,
        base,
        entry.predictor(site, known),
    )
    # KServe hands it on to the pods, so pods of another form are told from these
    service["metadata"]["annotations"][SPEC] = _digest(runtime["spec"], service["spec"])
    return {f"{site.name}.yaml": [policy, runtime, service]}


def predictor(name: str) -> str:
    """What KServe calls an InferenceService's Deployment and its Service."""
    return f"{name}-predictor"


def too_long(name: str, namespace: str, component: str = "predictor", mode: str = "") -> str:
    """Why KServe takes an InferenceService and never starts it; "" where it does start it.

    Args:
        component: predictor, transformer or explainer.
        mode: of its deployment, or "" where none is known.
    """
    whole = max(_made(name, namespace, component, mode), key=len)
    if len(whole) <= LONGEST:
        return ""
    return f"{whole} has {len(whole)} characters, and {LONGEST} are allowed"


def _made(
    name: str, namespace: str, component: str = "predictor", mode: str = ""
) -> tuple[str, ...]:
    """What KServe makes of an InferenceService's name: part of a host's, and the value of a
    label."""
    host, label = f"{name}-{component}-{namespace}", f"isvc.{name}-{component}"
    return (host,) if mode in KNATIVE else (host, label)


def is_store(address: str) -> bool:
    """Whether KServe can fetch what lies there."""
    return address.partition("://")[0] in STORES and "://" in address


def _in_store(address: str) -> str:
    """The address of a bundle as KServe is given it: its storage container is ours by the scheme.

    Without the slash at its end versions 10, 11, ... are fetched as well.
    """
    scheme, _, path = address.partition("://")
    return f"{SCHEME}{STORES[scheme]}://{path.rstrip('/')}/"


def source_of(form: str, model_from: str, version: str, base: str) -> str:
    """Where KServe takes the model from, by a site's settings; "" where the form is another than
    KServe's.

    Raises:
        UsageError: a parameter is malformed, or does not fit the form or another one.
    """
    given = {"modelcar_base": base, "model_from": model_from, "kserve_version": version}
    if form != FORM:
        if name := next((name for name, value in given.items() if value), ""):
            why = "has no modelcar" if base else "is not KServe's"
            raise UsageError(f"form {form} {why}: leave {name} out.")
        return ""
    source = model_from or (MODELCAR if base else IMAGE)
    if source not in SOURCES:
        raise UsageError(f"model_from is {source!r}. {did_you_mean(source, SOURCES)}")
    if (source == MODELCAR) != bool(base):
        raise UsageError(
            f"model_from is {source!r}, and modelcar_base "
            f"{'is given' if base else 'is not'}: a modelcar, and nothing else, has one, an image "
            "by digest with a shell, such as busybox@sha256:...."
        )
    if version and read_version(version) < SOURCES[source].since:
        raise UsageError(
            f"KServe {version} takes no model from an {source} volume, which needs "
            f"{_written(SOURCES[source].since)}: give model_from store, or modelcar."
        )
    return source


def needs(source: str) -> str:
    """What a cluster needs for it, in a sentence."""
    return f"needs {SOURCES[source].needs}"


def read_version(text: str, option: str = "kserve_version") -> Version:
    """KServe's version, such as 0.20 or v0.19.1.

    Raises:
        UsageError: it is none, or older than these files are for.
    """
    parts = _VERSION.fullmatch(text)
    if parts is None:
        raise UsageError(f"{option} is {text!r}: give KServe's version as 0.20 or 0.19.1.")
    known = int(parts[1]), int(parts[2])
    if known < OLDEST:
        raise UsageError(
            f"{option} is {text}: these files are for KServe {_written(OLDEST)} and later."
        )
    return known


def form_version(known: Version) -> Version:
    """The first KServe that takes the same files as this one."""
    return max(each for each in (OLDEST, WITH_STANDARD, WITH_IMAGES) if each <= known)


def _written(version: Version) -> str:
    return ".".join(map(str, version))


def _digest(*specs: Object) -> str:
    text = json.dumps(specs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _runtime(site: Site, tokens: Tokens) -> Object:
    security = {key: value for key, value in POD_SECURITY.items() if key != "fsGroup"}
    container = {
        "name": "kserve-container",
        "image": site.server,
        # routers and transformers ask for the InferenceService's name
        "args": [
            *("/mnt/models", "--poll", "0", "--grpc-port", str(GRPC_PORT)),
            *("--drain", str(DRAIN)),
            *("--model-name", site.name),
            *site.names(predictor(site.name)),
            *tokens.options,
        ],
        # KServe's routes send gRPC to the port of that name. A gateway asks it by HTTP/2 for
        # everything, so REST has a port of its own, the first, which plain ingresses take.
        "ports": [
            {"name": "http1", "containerPort": PORT, "protocol": "TCP"},
            {"name": "h2c", "containerPort": GRPC_PORT, "protocol": "TCP"},
        ],
        "terminationMessagePolicy": LAST_WORDS,
        **probes(PORT),
        "resources": resources(site),
        "securityContext": {**CONTAINER_SECURITY, **security},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *tokens.mounts],
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {**metadata(site), "name": f"{site.name}-litert"},
        "spec": {
            "supportedModelFormats": [{"name": "litert", "version": "1", "autoSelect": False}],
            "protocolVersions": ["v1", "v2", "grpc-v2"],
            "containers": [container],
            "volumes": [
                {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
                *tokens.volumes,
            ],
        },
    }


def _service(site: Site, uri: str, mode: str, base: str, more: Object) -> Object:
    model = {
        "modelFormat": {"name": "litert"},
        "runtime": f"{site.name}-litert",
        "protocolVersion": "v2",
        "storageUri": uri,
        "resources": resources(site),
    }
    made = metadata(site)
    scale: Object = {"minReplicas": 1, "maxReplicas": 4}
    if site.keeps_windows:
        scale["maxReplicas"] = 1
    if (how_replaced := strategy(site)) != ROLLING:
        scale["deploymentStrategy"] = how_replaced
    # else KServe's configuration decides, and as it is installed that is Knative
    how = {MODE: mode, **({BASE: base} if base else {})}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {**made, "annotations": {**made["annotations"], **how}},
        "spec": {
            "predictor": {
                **scale,
                "automountServiceAccountToken": False,
                **more,
                "model": model,
            }
        },
    }
