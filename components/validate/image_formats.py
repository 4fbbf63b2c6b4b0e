"""Which of encoded values are pictures, by their first bytes.

The formats are those that `tf.io.decode_image` reads, and are called as TFDV calls them.
"""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN = "UNKNOWN"
_BEGINNINGS = {
    "jpeg": b"\xff\xd8\xff",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF8",
    "bmp": b"BM",
}


def count(values: pa.Array) -> Counter[str]:
    """How many values are of each format; those of none count as `UNKNOWN`.

    Args:
        values: binary, without nulls.
    """
    found: Counter[str] = Counter()
    longest = max(map(len, _BEGINNINGS.values()))
    heads = pc.binary_slice(values, 0, longest)
    for entry in pc.value_counts(heads).to_pylist():
        head = entry["values"]
        names = (name for name, start in _BEGINNINGS.items() if head.startswith(start))
        found[next(names, UNKNOWN)] += entry["counts"]
    return found
