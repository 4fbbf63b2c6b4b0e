"""How the tasks of a stand-in run are started: as they are, or hollow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp_stand_in_launcher import Start

from edgeline.components.settings.settings import names, settings
from edgeline.local.warm.running import Warm
from edgeline.local.warm.stages import COMPONENT_STAGE


def real(warm: Warm) -> Start:
    """kfp's `executor_main` on the task's source, in a fork that has the imports done."""

    def start(command: list[str], env: dict[str, str], log: Path) -> int:
        stage = COMPONENT_STAGE.get(function_of(command).replace("_", "-"), "light")
        return warm.run(stage, command, env, log).code

    return start


def hollow(answers: Mapping[str, Mapping[str, Any]]) -> Start:
    """Every output of a task as it would be made, with nothing in it, in no time.

    Args:
        answers: values of output parameters, by component and output.
    """

    def start(command: list[str], env: dict[str, str], log: Path) -> int:  # noqa: ARG001
        function = function_of(command)
        given = json.loads(command[command.index("--executor_input") + 1])
        told = dict(answers.get(function, {}))
        if function == "settings":
            values = given["inputs"]["parameterValues"]
            values = {"defaults": {}, **values, "cache_name": ""}
            del values["cache_name"]
            told = dict(zip(names(), settings(**values), strict=True))
        disk = Path(_mount(command))
        for name, output in given["outputs"]["artifacts"].items():
            path = disk / output["artifacts"][0]["uri"].removeprefix("s3://")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        file = Path(given["outputs"]["outputFile"])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"parameterValues": told}))
        log.touch()
        return 0

    return start


def function_of(command: list[str]) -> str:
    return command[command.index("--function_to_execute") + 1]


def _mount(command: list[str]) -> str:
    source = command[command.index("--executor_input") - 1]
    found = re.search(r"_S3_LOCAL_MOUNT_PREFIX = '(.*)'", source)
    assert found
    return found[1]
