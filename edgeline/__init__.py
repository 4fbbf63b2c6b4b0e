"""Edgeline: train in the cloud, predict on the device.

Importing this package costs nothing: TensorFlow, Beam and kfp are imported
by the parts that use them, when they are used.
"""

from typing import TYPE_CHECKING

from edgeline.version import __version__ as __version__

if TYPE_CHECKING:
    from edgeline.client.client import Client as Client
    from edgeline.server.follow import follow as follow
    from edgeline.server.load import load as load

__all__ = ["Client", "__version__", "follow", "load"]


def __getattr__(name: str) -> object:
    if name == "Client":
        from edgeline.client.client import Client

        return Client
    if name == "follow":
        from edgeline.server.follow import follow

        return follow
    if name == "load":
        from edgeline.server.load import load

        return load
    raise AttributeError(f"module 'edgeline' has no attribute {name!r}")
