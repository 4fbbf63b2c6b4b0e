"""Steps in a manifest are computed in their order; what a version does not know is refused."""

import json

import numpy as np
import pytest

from edgeline.artifacts import host_operations
from edgeline.artifacts.bundle import Bundle, Signature, Tensor
from edgeline.artifacts.features import Feature
from edgeline.artifacts.host_operations import HostOperations, HostStep
from edgeline.errors import EdgelineError
from edgeline.runtimes.host.program import Program, hosted
from edgeline.runtimes.interpreter import EdgeModel

CODE = Feature("code", "string")
LENGTH = Feature("length", "int32")
COUNT = HostStep("StringLength", ("code",), ("length",), {"unit": "BYTE"})
NUMBER = HostStep("StringToNumber", ("code",), ("number",), {"out_type": "float32"})


def operations(*steps, inputs=(LENGTH,), version=host_operations.VERSION):
    return HostOperations(version, steps, inputs)


def column(*values):
    return np.array([[value] for value in values], object)


def test_a_manifest_says_them_and_they_come_back():
    declared = operations(COUNT, NUMBER)
    told = json.loads(json.dumps(declared.to_json()))
    assert host_operations.of({host_operations.KEY: told}) == declared
    signature = Signature((Tensor("code", "string", (-1, 1)),), ())
    bundle = Bundle(
        *("trips", 1, "litert", "model.tflite", "regression", "float", "raw", signature, (CODE,)),
        files={},
        not_proven_missing=(),
        host_operations=declared,
    )
    manifest = json.loads(json.dumps(bundle.to_json()))
    assert manifest["edgeline_bundle"] == "bundle/v3"
    assert Bundle.from_json(manifest) == bundle
    manifest["edgeline_bundle"] = "bundle/v2"
    with pytest.raises(EdgelineError, match="is of format bundle/v2, but has 'host_operations'"):
        Bundle.from_json(manifest)
    manifest["edgeline_bundle"] = "bundle/v9"
    with pytest.raises(EdgelineError, match="update what reads it"):
        Bundle.from_json(manifest)


def test_only_the_steps_that_are_needed_stay():
    declared = operations(COUNT, NUMBER, inputs=(LENGTH, Feature("number", "float32")))
    assert declared.only([LENGTH]).steps == (COUNT,)
    assert declared.reads == ("code",)
    assert declared.gives == ("length", "number")


def test_a_model_behind_them_takes_raw_features_and_names_the_row_that_it_refuses():
    file = Signature(
        (Tensor("number", "float32", (-1, 1)), Tensor("size", "float32", (-1, 1))),
        (Tensor("sum", "float32", (-1, 1)),),
    )
    bare = EdgeModel(file, lambda arrays: {"sum": arrays["number"] + arrays["size"]})
    size = Feature("size", "float32")
    declared = operations(NUMBER, inputs=(Feature("number", "float32"), size))
    model = hosted(bare, declared, (CODE, size))
    assert [tensor.name for tensor in model.signature.inputs] == ["code", "size"]
    sizes = np.ones((2, 1), np.float32)
    assert model({"code": column(b"1.5", b"+2"), "size": sizes})["sum"].tolist() == [[2.5], [3.0]]
    many = column(*[b"1"] * 2000)
    many[1500] = b"heavy"
    sentence = (
        r"^Instance 1500 \(from 0\): StringToNumber of 'code' refuses 'heavy', since it is not a "
        "number: give another value, or ask for the others without it.$"
    )
    with pytest.raises(EdgelineError, match=sentence):
        model({"code": many, "size": np.ones((2000, 1), np.float32)})


def test_a_column_has_its_own_name_in_them():
    from edgeline.components.convert import column_names

    count = HostStep("StringLength", ("the_x0020_code",), ("length",), {"unit": "BYTE"})
    declared = column_names.operations(operations(count))
    assert declared.reads == ("the code",)
    assert Program(declared)({"the code": column(b"abc")})["length"].tolist() == [[3]]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (
            operations(HostStep("Reverse", ("code",), ("length",))),
            "needs the host operation 'Reverse'",
        ),
        (operations(COUNT, version=2), "needs host operations of version 2, and this is version 1"),
        (
            operations(HostStep("StringLength", ("code",), ("length",), {"unit": "WORD"})),
            "does not know what it means here .its unit is 'WORD'.",
        ),
        (operations(HostStep("StringLength", ("late",), ("length",)), COUNT, COUNT), ""),
        (
            operations(
                HostStep("Squeeze", ("length",), ("size",)),
                COUNT,
                inputs=(Feature("size", "int32"),),
            ),
            "Squeeze reads 'length', which is computed after it",
        ),
    ],
)
def test_what_this_version_does_not_know_is_refused_when_it_is_loaded(declared, sentence):
    if not sentence:
        Program(declared)
        return
    with pytest.raises(EdgelineError, match=sentence):
        Program(declared)


def test_a_file_that_takes_something_else_is_refused():
    file = (Tensor("width", "int32", (-1, 1)),)
    with pytest.raises(EdgelineError, match="file takes 'width' of shape"):
        Program(operations(COUNT), file)
