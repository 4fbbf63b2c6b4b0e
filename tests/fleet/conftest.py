"""What these tests have in common with those of other rooms."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
for shared in (TESTS, TESTS / "server", TESTS / "components" / "tune"):
    sys.path.append(str(shared))
