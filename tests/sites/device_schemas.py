"""What the services behind single devices take: schemas that refuse what they do not know.

Neither service publishes one for all of it. Written after:
- AWS IoT Greengrass Developer Guide, version 2: component recipe reference; Docker application
  manager (addresses of images).
- Azure IoT Edge: properties of the IoT Edge agent's module twin; layered deployments; IoT Hub's
  limits of module twins. Docker Engine API 1.41: ContainerCreate, for createOptions.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
IMAGE = r"[a-z0-9.:/_-]+(:[\w.-]+|@sha256:[0-9a-f]{64})"


def closed(required: Schema, optional: Schema | None = None) -> Schema:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": [*required],
        "additionalProperties": False,
    }


def text(pattern: str = ".*", most: int = 1 << 16) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", "maxLength": most}


def mapping(values: Schema, keys: str = ".+") -> Schema:
    return {
        "type": "object",
        "patternProperties": {f"^{keys}$": values},
        "additionalProperties": False,
    }


def some(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


ANY: Schema = {}
STRING: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
SWITCH: Schema = {"type": "boolean"}
VERSION = text(r"\d+\.\d+\.\d+(-[\w.-]+)?", 64)

_STEP = closed(
    {"Script": {"type": "string", "minLength": 1}},
    {
        "RequiresPrivilege": SWITCH,
        "Skipif": text(r"(onpath|exists) .+"),
        "Timeout": WHOLE,
        "Setenv": mapping(STRING),
    },
)
_STEPS = ("Bootstrap", "Install", "Startup", "Run", "Shutdown", "Recover")
GREENGRASS = closed(
    {
        "RecipeFormatVersion": {"const": "2020-01-25"},
        "ComponentName": text(r"[a-zA-Z0-9-_.]+", 128),
        "ComponentVersion": VERSION,
        "Manifests": some(
            closed(
                {
                    "Lifecycle": closed(
                        {}, {"Setenv": mapping(STRING), **dict.fromkeys(_STEPS, _STEP)}
                    )
                },
                {
                    "Name": STRING,
                    "Platform": closed({}, {"os": STRING, "architecture": STRING}),
                    "Artifacts": some(
                        closed(
                            {"URI": text(rf"(docker:{IMAGE}|s3://.+)")},
                            {
                                "Unarchive": {"enum": ["NONE", "ZIP"]},
                                "Permission": closed({}, {"Read": STRING, "Execute": STRING}),
                            },
                        )
                    ),
                },
            )
        ),
    },
    {
        "ComponentDescription": STRING,
        "ComponentPublisher": STRING,
        "ComponentType": STRING,
        "ComponentConfiguration": closed({}, {"DefaultConfiguration": {"type": "object"}}),
        "ComponentDependencies": mapping(
            closed({"VersionRequirement": STRING}, {"DependencyType": {"enum": ["HARD", "SOFT"]}}),
            r"[a-zA-Z0-9-_.]+",
        ),
    },
)

_PORTS = r"\d{1,5}/(tcp|udp)"
CREATE_OPTIONS = closed(
    {
        "HostConfig": closed(
            {},
            {
                "ReadonlyRootfs": SWITCH,
                "Privileged": SWITCH,
                "CapDrop": some(STRING),
                "SecurityOpt": some(STRING),
                "Memory": WHOLE,
                "NanoCpus": WHOLE,
                "Tmpfs": mapping(STRING, "/.*"),
                "Mounts": some(
                    closed(
                        {
                            "Type": {"enum": ["bind", "volume", "tmpfs"]},
                            "Source": text("/.*"),
                            "Target": text("/.*"),
                        },
                        {"ReadOnly": SWITCH},
                    )
                ),
                "Binds": some(text(r"[^:]+:/[^:]*(:(ro|rw))?")),
                "PortBindings": mapping(
                    some(closed({"HostPort": text(r"\d{1,5}")}, {"HostIp": STRING})), _PORTS
                ),
                "Devices": some(
                    closed(
                        {
                            "PathOnHost": text("/dev/.+"),
                            "PathInContainer": text("/dev/.+"),
                            "CgroupPermissions": text("[rwm]{1,3}"),
                        }
                    )
                ),
                "DeviceCgroupRules": some(text(r"[abc] (\d+|\*):(\d+|\*) [rwm]{1,3}")),
                "DeviceRequests": some(
                    closed({"Count": WHOLE, "Capabilities": some(some(STRING))}, {"Driver": STRING})
                ),
                "GroupAdd": some(STRING),
            },
        )
    },
    {
        "Cmd": some(STRING),
        "Entrypoint": some(STRING),
        "Env": some(text("[A-Za-z_][A-Za-z0-9_]*=.*")),
        "User": text(r"\d+(:\d+)?"),
        "ExposedPorts": mapping(closed({}), _PORTS),
        "Labels": mapping(STRING),
    },
)
_MODULE = closed(
    {
        "type": {"const": "docker"},
        "status": {"enum": ["running", "stopped"]},
        "restartPolicy": {"enum": ["never", "on-failure", "on-unhealthy", "always"]},
        "settings": closed(
            {"image": text(IMAGE)},
            {"createOptions": text(r"\{.*\}", 4096)},  # a twin's most for one text
        ),
    },
    {
        "version": STRING,
        "imagePullPolicy": {"enum": ["on-create", "never"]},
        "startupOrder": WHOLE,
        "env": mapping(closed({"value": STRING})),
    },
)
IOT_EDGE = closed(
    {
        "content": closed(
            {
                "modulesContent": closed(
                    {
                        "$edgeAgent": mapping(
                            _MODULE, r"properties\.desired\.modules\.[A-Za-z0-9_-]{1,128}"
                        )
                    }
                )
            }
        )
    }
)
