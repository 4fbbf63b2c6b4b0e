"""What the folders right above a file say: `label=cat/part-0.parquet`, as Spark, Hive, Athena and
pandas' `partition_cols` write it.

They are read as pyarrow reads them: key and value with percent signs decoded,
`__HIVE_DEFAULT_PARTITION__` is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import PurePosixPath
from urllib.parse import unquote

from edgeline.errors import EdgelineError
from edgeline.stores import remote
from edgeline.stores.storage import LocatedFile

MISSING = "__HIVE_DEFAULT_PARTITION__"
_FOLDER = re.compile(r"([^=]+)=(.*)", re.DOTALL)
Values = Mapping[str, "str | None"]


def values_above(source: LocatedFile) -> dict[str, str | None]:
    """Column to value, the outermost folder first; empty where none names one.

    Raises:
        EdgelineError: the folders name a column twice.
    """
    if remote.scheme(source.location) in ("http", "https"):
        return {}
    folders = reversed(PurePosixPath(source.location).parent.parts)
    matched = takewhile(bool, (_FOLDER.fullmatch(folder) for folder in folders))
    found: dict[str, str | None] = {}
    for each in reversed([match for match in matched if match]):
        name, value = unquote(each[1]), unquote(each[2])
        if name in found:
            raise EdgelineError(f"The folders of {source.name} name {name!r} twice: rename one.")
        found[name] = None if value == MISSING else value
    return found
