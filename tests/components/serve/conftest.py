"""The bundle and the registry of the tests of sites."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "sites"))

from conftest_sites import pixels, registry

__all__ = ["pixels", "registry"]
