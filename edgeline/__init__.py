"""Edgeline: train in the cloud, predict on the device.

Importing this package costs nothing: TensorFlow, Beam and kfp are imported
by the parts that use them, when they are used.
"""

__version__ = "0.1.0"
