"""Sites that are single devices: AWS IoT Greengrass, Azure IoT Edge, Docker Compose."""

from __future__ import annotations

import json

from edgeline.sites import accelerators
from edgeline.sites.site import Object, Site
from edgeline.sites.tokens import Tokens
from edgeline.sites.workload import PORT

STATE = "/var/lib/edgeline"
LOGIN = "/etc/edgeline/registry"
MEMORY = 512 << 20


def greengrass(site: Site, tokens: Tokens) -> dict[str, list[Object]]:
    """A component recipe of AWS IoT Greengrass v2 that runs the server in Docker.

    Greengrass pulls images from ECR and Docker Hub: have the lock file name the server's there.
    Its user (`ggc_user`) must be in the group `docker`.

    Held to the recipe's reference as a schema; AWS's nucleus, which no package registry has, has
    not run it.

    Source: AWS IoT Greengrass Developer Guide, component recipe reference, Docker application
    manager.
    """
    # a file that is not there is an error of `--mount`, where `--volume` would make a folder of it
    mount = f"--mount type=bind,source={tokens.source},target={tokens.place},readonly"
    given = accelerators.find(site.accelerator)
    passed = [
        *(f"--device {device}" for device in given.devices),
        *(f"--device-cgroup-rule '{rule}'" for rule in given.rules),
        *(f"--group-add {group}" for group in given.groups),
        *(["--gpus all"] if given.nvidia else []),
    ]
    login = [f"--volume {site.login}:{LOGIN}:ro --env DOCKER_CONFIG={LOGIN}"] if site.login else []
    run = " ".join(
        [
            "docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges",
            f"--user 1000:1000 --memory {MEMORY} --tmpfs /tmp:size=64m",
            f"--name {site.name} --volume {site.name}-state:{STATE}",
            *([mount] if tokens.source else []),
            f"--publish 127.0.0.1:{{configuration:/Port}}:{PORT}",
            *passed,
            *login,
            f"{site.server} {site.source} --state {STATE} {' '.join(tokens.options)}",
        ]
    )
    recipe = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": f"dev.edgeline.{site.name}",
        "ComponentVersion": f"{site.version}.0.0",
        "ComponentDescription": f"Serves {site.model}.",
        "ComponentPublisher": "edgeline",
        "ComponentConfiguration": {"DefaultConfiguration": {"Port": site.port}},
        "ComponentDependencies": {
            "aws.greengrass.DockerApplicationManager": {"VersionRequirement": ">=2.0.0 <3.0.0"}
        },
        "Manifests": [
            {
                "Platform": {"os": "linux"},
                "Lifecycle": {
                    "Run": {"Script": run},
                    "Shutdown": {"Script": f"docker stop --time 30 {site.name}", "Timeout": 45},
                },
                "Artifacts": [{"URI": f"docker:{site.server}"}],
            }
        ],
    }
    return {f"{site.name}.recipe.yaml": [recipe]}


def iotedge(site: Site, tokens: Tokens) -> dict[str, list[Object]]:
    """A layered deployment of Azure IoT Edge: one module beside what a device has already.

    Source: Azure IoT Edge documentation, "Understand deployments" and "Deploy modules".
    """
    mount = {
        "Type": "bind",
        "Source": tokens.source,
        "Target": tokens.place,
        "ReadOnly": True,
    }
    given = accelerators.find(site.accelerator)
    mounted = [f"{site.login}:{LOGIN}:ro"] if site.login else []
    host: Object = {
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "Memory": MEMORY,
        "Tmpfs": {"/tmp": "size=64m"},
        "Binds": [f"{site.name}-state:{STATE}", *mounted],
        **({"Mounts": [mount]} if tokens.source else {}),
        "PortBindings": {f"{PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(site.port)}]},
    }
    if given.devices:
        host["Devices"] = [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
            for path in given.devices
        ]
    if given.rules:
        host["DeviceCgroupRules"] = list(given.rules)
    if given.groups:
        host["GroupAdd"] = list(given.groups)
    if given.nvidia:
        host["DeviceRequests"] = [{"Count": -1, "Capabilities": [["gpu"]]}]
    options: Object = {
        # its name, as other modules ask
        "Cmd": [site.source, "--state", STATE, "--names", site.name, *tokens.options],
        "User": "1000:1000",
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "HostConfig": host,
    }
    if site.login:
        options["Env"] = [f"DOCKER_CONFIG={LOGIN}"]
    module = {
        "version": str(site.version),
        "type": "docker",
        "status": "running",
        "restartPolicy": "always",
        "settings": {
            "image": site.server,
            "createOptions": json.dumps(options, separators=(",", ":")),
        },
    }
    document = {
        "content": {
            "modulesContent": {"$edgeAgent": {f"properties.desired.modules.{site.name}": module}}
        }
    }
    return {f"{site.name}.deployment.json": [document]}


def compose(site: Site, tokens: Tokens) -> dict[str, list[Object]]:
    """A Compose file for one machine with Docker.

    Source: the Compose Specification.
    """
    mount = {
        "type": "bind",
        "source": tokens.source,
        "target": tokens.place,
        "read_only": True,
        "bind": {"create_host_path": False},
    }
    given = accelerators.find(site.accelerator)
    service: Object = {
        "image": site.server,
        "command": [site.source, "--state", STATE, "--names", "edge-server", *tokens.options],
        "restart": "unless-stopped",
        "read_only": True,
        "user": "1000:1000",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": str(MEMORY),
        "tmpfs": ["/tmp:size=64m"],
        "ports": [f"127.0.0.1:{site.port}:{PORT}"],
        "volumes": [f"state:{STATE}", *([mount] if tokens.source else [])],
        "labels": {
            "dev.edgeline.model": site.model,
            "dev.edgeline.version": str(site.version),
        },
        "stop_grace_period": "30s",
    }
    if site.login:
        service["volumes"].append(f"{site.login}:{LOGIN}:ro")
        service["environment"] = {"DOCKER_CONFIG": LOGIN}
    if given.devices:
        service["devices"] = [f"{path}:{path}" for path in given.devices]
    if given.rules:
        service["device_cgroup_rules"] = list(given.rules)
    if given.groups:
        service["group_add"] = list(given.groups)
    if given.nvidia:
        gpus = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [gpus]}}}
    document = {
        "name": site.name,
        "services": {"edge-server": service},
        "volumes": {"state": {}},
    }
    return {"compose.yaml": [document]}
