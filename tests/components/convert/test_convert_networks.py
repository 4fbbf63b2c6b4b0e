"""Networks as people train them: converted whole, and nothing of their training goes along."""

import json

import numpy as np
import pytest

from edgeline.components.convert.convert import convert_arrays

pytestmark = pytest.mark.slow

ROWS = 20
# of the file: what only training has, and what its checks and a norm beside its layer become
OF_TRAINING = {"MUL", "ADD", "SUB", "DIV", "RSQRT", "WHILE", "IF", "CUSTOM"}
RANDOM = ("RANDOM", "MULTINOMIAL", "BERNOULLI", "PRINT", "ASSERT", "CHECK", "CALL")


def rows_of(networks):
    random = np.random.default_rng(5)
    return {
        f"of_{name}": random.uniform(-1, 1, [ROWS, *network.input_shape[1:]]).astype(np.float32)
        for name, network in networks.items()
    }


def converted(model, networks, folder):
    """Differences by network, and how often the file has each operator."""
    done = convert_arrays(
        str(model), rows_of(networks), str(folder / "edge"), str(folder / "r.html"), "float"
    )
    operators = json.loads((folder / "edge" / "operators.json").read_text())
    return done.metadata["difference"], {each["name"]: each["count"] for each in operators}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """Of kinds that no other test converts; whole ones, and int8, are in benchmarks."""
    return some(tmp_path_factory, "efficientnet_v2", "vit", "u_net", "tcn")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Of the same kinds, or dear."""
    return some(tmp_path_factory, "mobilenet_v3", "convnext", "attention", "own_gradients")


def some(factory, *names):
    from networks import NARROW

    return saved(factory, {name: NARROW[name]() for name in names})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """With augmentation, noise, dropout, checks and prints, and norms behind all layers."""
    from networks import FOLDED, augmented, normalised

    norms = {name.replace(" ", "_"): normalised(name) for name in FOLDED}
    return saved(tmp_path_factory, {"augmented": augmented(16), **norms})


def saved(factory, networks):
    from networks import save

    return save(factory.mktemp("networks") / "model", networks), networks


@pytest.mark.usefixtures("in_this_process")
def test_networks_answer_as_in_the_cloud(narrow, tmp_path):
    assert_equal(narrow, tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process")
def test_other_networks_answer_as_in_the_cloud(others, tmp_path):
    assert_equal(others, tmp_path)


def assert_equal(networks, folder):
    found, _ = converted(*networks, folder)
    assert found.keys() == networks[1].keys()
    assert {name: d for name, d in found.items() if d["of_range"] > 1e-5} == {}


@pytest.mark.usefixtures("in_this_process")
def test_nothing_of_the_training_is_left(trained, tmp_path):
    found, operators = converted(*trained, tmp_path)
    assert {name: d for name, d in found.items() if d["of_range"] > 1e-5} == {}
    assert OF_TRAINING & operators.keys() == set()
    assert [name for name in operators if any(part in name for part in RANDOM)] == []
    assert operators["CONV_2D"] and operators["FULLY_CONNECTED"]
