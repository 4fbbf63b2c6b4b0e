"""A published bundle on a device: whole, damaged, or with other answers."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgeline.artifacts import vectors
from edgeline.artifacts.bundle import Signature
from edgeline.components.verify import runtimes
from edgeline.components.verify.verify_bundle import verify_bundle
from edgeline.errors import EdgelineError
from edgeline.runtimes import child, limits
from edgeline.runtimes.interpreter import load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recorded(edge_model, signature, tmp_path_factory):
    """Test vectors of the edge model as JSON."""
    inputs = {
        "fare": np.float32([[12.5], [np.nan], [np.inf]]),
        "payment_type": np.array([[b"Cash"], [b""], [b"\xff"]], object),
        "trip_miles": np.float32([[1.5], [0], [3]]),
        "trip_start_hour": np.int64([[7], [-(2**63)], [23]]),
    }
    answer = load(edge_model / "model.tflite")(inputs)
    path = tmp_path_factory.mktemp("vectors") / vectors.FILE
    vectors.write(path, vectors.Vectors(inputs, answer, 1e-5))
    again = vectors.read(path, signature)
    for name, array in inputs.items():
        np.testing.assert_array_equal(again.inputs[name], array)
    return json.loads(path.read_text())


def test_a_good_bundle(bundle_maker, signature, recorded):
    check = verify_bundle(bundle_maker(signature, recorded))
    assert (check.name, check.version, check.vector_rows) == ("taxi", 1, 3)
    assert check.max_difference <= 1e-5
    assert {case.outcome for case in check.cases} == {"answered", "refused"}


def test_a_bundle_without_vectors_is_checked_with_made_up_rows(bundle_maker, signature):
    check = verify_bundle(bundle_maker(signature))
    assert (check.vector_rows, check.max_difference) == (0, None)


def test_a_tampered_bundle(bundle_maker, signature):
    folder = bundle_maker(signature)
    content = bytearray((folder / "model.tflite").read_bytes())
    content[-1] ^= 1
    (folder / "model.tflite").write_bytes(content)
    with pytest.raises(EdgelineError, match=r"model\.tflite is damaged"):
        verify_bundle(folder)


def test_other_answers_than_recorded(bundle_maker, signature, recorded):
    wrong = json.loads(json.dumps(recorded))
    wrong["outputs"]["prediction"][0][0] = 0.25
    with pytest.raises(EdgelineError, match=r"Row 0 of .* the difference is 0\.\d+, above 1e-05"):
        verify_bundle(bundle_maker(signature, wrong))


@pytest.mark.parametrize("damage", [{}, {"format": "other"}, {"inputs": {"x": [[1]]}}])
def test_damaged_vectors_are_one_sentence(bundle_maker, signature, recorded, damage):
    value = {**recorded, **damage} if damage else {}
    with pytest.raises(EdgelineError, match=r"test_vectors\.json is damaged"):
        verify_bundle(bundle_maker(signature, value))


def test_a_model_that_takes_all_memory_is_a_sentence(bundle_maker, signature, monkeypatch):
    folder = bundle_maker(signature)
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)  # a fork has the next line, too
    monkeypatch.setattr(runtimes, "load", lambda _: bytearray(3 << 30))
    with pytest.raises(EdgelineError, match=r"its model exceeded 1,\d+,\d+,\d+ bytes of memory"):
        verify_bundle(folder)


def test_a_model_that_does_not_end_is_a_sentence(bundle_maker, signature, monkeypatch):
    folder = bundle_maker(signature)

    def spin(_):
        while True:
            pass

    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)
    monkeypatch.setattr(limits, "MODEL_TIME", 0.2)
    monkeypatch.setattr(runtimes, "load", spin)
    with pytest.raises(EdgelineError, match=r"its model exceeded 0\.[26] s .*while loading"):
        verify_bundle(folder)


def test_another_signature_than_the_manifest(bundle_maker, signature):
    other = Signature(signature.inputs[1:], signature.outputs)
    with pytest.raises(EdgelineError, match=r"'fare' of .* but the manifest says absent"):
        verify_bundle(bundle_maker(other))


def test_a_device_needs_neither_tensorflow_nor_pyarrow_nor_kfp():
    code = (
        "import sys, edgeline.components.verify.verify_bundle\n"
        "heavy = {'tensorflow', 'pyarrow', 'kfp', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_model_that_takes_too_much_memory_is_a_sentence(bundle_maker, signature, monkeypatch):
    folder = bundle_maker(signature)

    def fill(_):
        held = bytearray(300 << 20)
        while held:
            pass

    monkeypatch.setenv("EDGELINE_MODEL_MEMORY", "100M")
    monkeypatch.setattr(child, "_tensorflow_runs", lambda: False)
    monkeypatch.setattr(runtimes, "load", fill)
    said = "its model exceeded 100,000,000 bytes of memory .EDGELINE_MODEL_MEMORY allows more."
    with pytest.raises(EdgelineError, match=f"{said} while loading"):
        verify_bundle(folder)
