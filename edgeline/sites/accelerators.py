"""What a site's server is given of a device's accelerator, in each form of site.

| accelerator  | on a device                       | in a cluster                         |
|--------------|-----------------------------------|--------------------------------------|
| `coral-usb`  | the USB bus, and Debian's plugdev | `squat.ai/coral`, by coral-plugin     |
| `coral-pcie` | `/dev/apex_0`                     | the same                             |
| `nvidia`     | NVIDIA's container toolkit        | `nvidia.com/gpu` (NVIDIA's plugin)   |
| `/dev/...`   | this device, an NPU's for example |                                      |

An Edge TPU changes its USB address at its first use, so the whole bus is passed; the cgroup lets it
open devices of USB alone (major number 189). Coral's udev rules give the first to the group
plugdev, which is 46 on Debian, and the second to apex, which has no fixed number: there, and for a
device below /dev, a udev rule has to let the user 1000 open it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeline.errors import UsageError, did_you_mean

CORAL = ("coral-usb", "coral-pcie")
EDGE_TPU = "edgetpu"  # the target of bundles for one


@dataclass(frozen=True)
class PassedDevice:
    """What passes one.

    Attributes:
        devices: of the host, with the same path in the container.
        rules: of the container's cgroup for devices that come later.
        groups: whose member the server is besides.
        nvidia: whether NVIDIA's container toolkit passes its GPUs.
        resource: what a device plugin calls it in a cluster; empty: there is none.
    """

    devices: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    nvidia: bool = False
    resource: str = ""


ACCELERATORS = {
    "coral-usb": PassedDevice(
        ("/dev/bus/usb",), ("c 189:* rmw",), ("46",), resource="squat.ai/coral"
    ),
    "coral-pcie": PassedDevice(("/dev/apex_0",), resource="squat.ai/coral"),
    "nvidia": PassedDevice(nvidia=True, resource="nvidia.com/gpu"),
}


def find(name: str) -> PassedDevice:
    """What a name or a device's path stands for; nothing for no name.

    Raises:
        UsageError: it is neither.
    """
    if not name:
        return PassedDevice()
    if re.fullmatch(r"/dev(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)+", name):
        return PassedDevice((name,))
    if name not in ACCELERATORS:
        raise UsageError(
            f"There is no accelerator {name!r}. {did_you_mean(name, ACCELERATORS)} A device below "
            "/dev also works."
        )
    return ACCELERATORS[name]


def check(name: str, form_has_nodes: bool, own_server: bool) -> None:
    """Refuse an accelerator that the site would not use, whatever the bundle is.

    Args:
        form_has_nodes: whether the form is a cluster's, whose device plugins pass devices.
        own_server: whether an image was named for the server.

    Raises:
        UsageError: there is no such one, or why it would not be used.
    """
    found = find(name)
    if name and name not in CORAL and not own_server:
        raise UsageError(
            f"The image of a site's server runs models on the CPU or an Edge TPU, not on {name}: "
            "give as server an image with a runtime for it."
        )
    if form_has_nodes and name and not found.resource:
        raise UsageError(
            f"In a cluster a device plugin passes {name}, which has no name here: patch what is "
            "written with the plugin's resource."
        )


def check_target(name: str, target: str, own_server: bool) -> None:
    """Refuse a bundle that is not for the accelerator.

    Args:
        own_server: whether an image was named for the server, which may find an Edge TPU otherwise.

    Raises:
        UsageError: an Edge TPU is to run what was made for another target, or the site has none
            for a bundle that was made for one.
    """
    if target == EDGE_TPU and name not in CORAL and not own_server:
        raise UsageError(
            "The bundle is made for an Edge TPU, and this site's server is given none, so that the "
            f"CPU would run it: give as accelerator {' or '.join(CORAL)}, or deploy the bundle of "
            "the target litert."
        )
    if name in CORAL and target != EDGE_TPU:
        raise UsageError(
            f"The bundle is made for {target}, and an Edge TPU runs what was compiled for it "
            f"alone: give the bundle of the target {EDGE_TPU}."
        )
