"""The rules of names: whoever reads one, the answer is the same."""

import json

import pytest

from edgeline.artifacts import bundle
from edgeline.environments.environment import Environment
from edgeline.errors import EdgelineError, UsageError
from edgeline.formats import names, plain_yaml
from edgeline.kubeflow.api import connect
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
