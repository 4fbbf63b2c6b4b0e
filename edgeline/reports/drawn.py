"""Names that others gave, as text of a figure."""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def drawn(name: str) -> str:
    """A name as text of a figure: matplotlib takes what stands between two `$` for a formula, and
    fails at one that is none, at half a surrogate pair, or at characters without a form."""
    whole = name.encode("utf-8", "replace").decode()
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", whole).replace("$", r"\$")
