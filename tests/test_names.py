"""The rules of names: whoever reads one, the answer is the same."""

import json
from pathlib import Path

import pytest

from edgeline.artifacts import bundle
from edgeline.environments.environment import Environment
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names, plain_yaml
from edgeline.kubeflow.api import connect
from edgeline.lint.lint import lint
from edgeline.lint.pipelines import SHORT_NAMES
from edgeline.sites import address

GOOD = ("a", "0", "team-a", "a" * 63, "1-2")
BAD = ("", "-a", "a-", "A", "a_b", "a.b", "a" * 64, "a\n", "é")


def in_an_environment(namespace):
    plain_yaml.load(json.dumps({"name": "x", "namespace": namespace}).encode(), Environment)


def in_an_address(namespace):
    assert address.parse(f"cluster://{namespace}") == address.Cluster(namespace)


def of_a_server(namespace):
    with pytest.raises(EdgelineError) as refused:  # no server is there
        connect("http://127.0.0.1:9", namespace)
    if isinstance(refused.value, UsageError):
        raise refused.value


def in_a_manifest(namespace):
    if not SHORT_NAMES["Namespace"].fullmatch(namespace):
        raise UsageError(namespace)


def of_a_bundle(name):
    if not bundle.NAME.fullmatch(name):
        raise UsageError(name)


READERS = [names.check_namespace, in_an_environment, in_a_manifest, of_a_bundle]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("read", [*READERS, in_an_address])
def test_what_kubernetes_takes_is_taken_by_all(read, name):
    read(name)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("read", [*READERS, of_a_server])
def test_what_kubernetes_refuses_is_refused_by_all(read, name):
    with pytest.raises((EdgelineError, ValueError)):
        read(name)


# an address's parts are cut, and without its line breaks, before anyone sees them
@pytest.mark.parametrize("name", [name for name in BAD if not name.endswith("\n")])
def test_an_address_has_no_other_namespaces(name):
    with pytest.raises(EdgelineError):
        in_an_address(name)


def of_a_secret(name):
    text = json.dumps({"name": "x", "image_pull_secrets": [name]})
    plain_yaml.load(text.encode(), Environment)


def of_a_root(root):
    text = json.dumps({"name": "x", "object_store": {"root": root}})
    plain_yaml.load(text.encode(), Environment)


def linted(root: str, folder: Path) -> list[str]:
    data = {"defaultPipelineRoot": root}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data}
    (folder / "launcher.json").write_text(json.dumps(manifest))
    return [finding.rule for finding in lint([folder])]


@pytest.mark.parametrize("name", ["a", "a.b-c.d", "a" * 253])
def test_a_secret_is_called_as_kubernetes_calls_it(name):
    of_a_secret(name)


@pytest.mark.parametrize("name", ["a..b", "a.-b", "a.", "A", "a" * 254, "a\n", "a_b"])
def test_no_secret_is_called_so(name):
    with pytest.raises(ValueError, match="image_pull_secrets"):
        of_a_secret(name)
    assert not names.SUBDOMAIN.fullmatch(name)


@pytest.mark.parametrize("root", ["s3://b/a", "gs://b", "minio://b/"])
def test_a_root_that_the_launcher_knows_is_taken_by_all(root, tmp_path):
    of_a_root(root)
    assert linted(root, tmp_path) == []


@pytest.mark.parametrize("root", ["azblob://b", "s3://", "s3:///a", "s3://a b/c", "gs://b\n"])
def test_a_root_that_the_launcher_cannot_write_to_is_refused_by_all(root, tmp_path):
    with pytest.raises(ValueError, match="root"):
        of_a_root(root)
    assert linted(root, tmp_path) == ["pipeline-root-scheme"]
