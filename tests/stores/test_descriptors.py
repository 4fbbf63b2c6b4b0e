"""A manifest from a registry that is not ours: what it points to, or what is wrong with it."""

from __future__ import annotations

import json

import pytest

from edgeline.errors import EdgelineError
from edgeline.stores import descriptors

DIGEST = "sha256:" + "0" * 64
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 7}
REFERENCE = "registry.example.com/taxi:1"


def test_an_image_is_a_configuration_and_layers() -> None:
    content = json.dumps({"config": {**LAYER, "size": 2}, "layers": [LAYER, {**LAYER, "size": 9}]})
    found = descriptors.parts(content.encode(), REFERENCE)
    assert (found.config.size, [layer.size for layer in found.layers]) == (2, [7, 9])


def test_an_index_names_platforms_or_not() -> None:
    platform = {"architecture": "arm", "os": "linux", "variant": "v7", "os.features": ["win32k"]}
    content = json.dumps({"manifests": [{**LAYER, "platform": platform}, LAYER]})
    first, second = descriptors.images(content.encode(), REFERENCE)
    assert first.platform == {"architecture": "arm", "os": "linux", "variant": "v7"}
    assert second.platform == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"{}", "config in the manifest"),
        (json.dumps({"config": LAYER}).encode(), "has no list of layers"),
        (json.dumps({"config": LAYER, "layers": [None]}).encode(), r"layers\[0\]"),
        (
            json.dumps({"config": LAYER, "layers": [{**LAYER, "digest": "../x"}]}).encode(),
            "no sha256 digest",
        ),
        (json.dumps({"config": LAYER, "layers": [{**LAYER, "size": "7"}]}).encode(), "no size"),
        (json.dumps({"config": LAYER, "layers": [{**LAYER, "size": -1}]}).encode(), "no size"),
    ],
)
def test_what_is_no_manifest_is_refused_by_its_part(content: bytes, said: str) -> None:
    with pytest.raises(EdgelineError, match=said) as refused:
        descriptors.parts(content, REFERENCE)
    assert REFERENCE in str(refused.value)
