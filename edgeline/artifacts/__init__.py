"""What steps hand each other: folders with a listing, and what lies in them.

folder      written beside and renamed, listed with digests, checked before use
examples    rows in splits (`examples/v1`)
models      SavedModels and edge models (`model/v1`, `edge_model/v1`)
bundle      what a device gets
features    how a column becomes a tensor
"""

from edgeline.artifacts.folder import (
    LISTING,
    Artifact,
    Draft,
    digest_of_listing,
    list_files,
    read,
    schema_of,
    sha256,
    write_json,
    write_text,
    writing,
)

__all__ = [
    "LISTING",
    "Artifact",
    "Draft",
    "digest_of_listing",
    "list_files",
    "read",
    "schema_of",
    "sha256",
    "write_json",
    "write_text",
    "writing",
]
