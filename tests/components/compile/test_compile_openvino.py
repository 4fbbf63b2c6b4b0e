"""The target openvino: run on this CPU beside its source."""

import pytest

from edgeline.components.compile import forms
from edgeline.components.compile.target import Source
from edgeline.errors import EdgelineError
from edgeline.formats.quantisation import INT8

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("quantisation", "fp16", "most"),
    [
        ("float", "false", 1e-6),
        ("float", "true", 2e-3),
        ("int8", "true", 2 / 256),
    ],  # two steps: CPUs without VNNI round otherwise,
)
def test_a_litert_model_gives_the_same_answers(source, compiled, quantisation, fp16, most):
    model = source(quantisation)
    made, runtime = compiled("openvino", model, fp16=fp16)
    reference = forms.litert(model.tflite)
    assert runtime.signature == reference.signature
    assert forms.difference(reference, runtime, forms.sample(reference.signature)).max <= most
    halved = quantisation == "float" and fp16 == "true"
    assert made.facts["quantisation"] == ("fp16" if halved else quantisation)


@pytest.mark.usefixtures("in_this_process")
def test_a_saved_model(cnn, compiled):
    made, runtime = compiled("openvino", Source(saved_model=cnn / "saved_model"), fp16="false")
    reference = forms.litert(cnn / "float.tflite")
    assert forms.difference(reference, runtime, forms.sample(reference.signature)).max < 1e-6
    assert made.facts["made_of"] == "saved_model"


def test_an_lstm_is_one_sentence_from_a_process_of_its_own(coral, compiled):
    path = coral / "keras_lstm_mnist_ptq.tflite"
    with pytest.raises(EdgelineError, match=r"no OpenVINO form \(UNIDIRECTIONAL_SEQUENCE_LSTM\)"):
        compiled("openvino", Source(tflite=path, quantisation=INT8))


def test_an_option_that_is_neither(source, compiled):
    with pytest.raises(EdgelineError, match="Option fp16 is 'maybe': give true or false"):
        compiled("openvino", source("float"), fp16="maybe")
