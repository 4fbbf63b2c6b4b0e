"""The target tvm: a linked Arm library, and its twin for this machine against the source."""

import struct

import pytest

from edgeline.components.compile import forms
from edgeline.components.compile.target import find

pytestmark = pytest.mark.slow

AARCH64 = 183  # e_machine in ELF


@pytest.mark.long
@pytest.mark.usefixtures("in_this_process")
def test_an_int8_model_is_linked_for_arm_and_right_here(source, compiled, tmp_path):
    model = source("int8")
    made, runtime = compiled("tvm", model)
    reference = forms.litert(model.tflite)
    assert forms.difference(reference, runtime, forms.sample(reference.signature)).max <= 0.004
    header = (tmp_path / made.model).read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert struct.unpack_from("<HH", header, 16) == (3, AARCH64)  # a shared library for Arm
    assert "quicker" in made.notes[0]
    assert "The Arm library is not run" in find("tvm").limits
