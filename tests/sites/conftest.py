"""A real bundle, and a real registry of images."""

from conftest_sites import pixels, registry

__all__ = ["pixels", "registry"]
