"""Crashes, hangs and tracebacks of the interpreter are seen from outside and named."""

import sys

import pytest

from edgeline.artifacts import vectors
from edgeline.artifacts.bundle import Signature, Tensor
from edgeline.components.verify import latency, malformed
from edgeline.errors import EdgelineError

pytestmark = pytest.mark.slow

CHILD = """
import os, sys, time
from edgeline.components.verify import malformed
from edgeline.components.verify.malformed import Kind
from edgeline.runtimes import limits

def wait(arrays, tensor):
    limits.begin(1000, 0.001)  # the second limit alone, however busy the machine is
    time.sleep(60)

def compute(arrays, tensor):
    while True:
        pass

def once(arrays, tensor):
    # meets a busy machine the first time, and not the second
    if not os.path.exists(sys.argv[2] + ".once"):
        open(sys.argv[2] + ".once", "w").close()
        compute(arrays, tensor)
    return arrays

def divide(arrays, tensor):
    return 1 / 0

malformed.CASE_SECONDS, malformed.CLOCK = 0.5, 1000
malformed.KINDS = (
    Kind("good", lambda arrays, _: arrays, "call", False),
    Kind("aborts", lambda arrays, _: os.abort(), "call"),
    Kind("is killed", lambda arrays, _: os.kill(os.getpid(), 9), "call"),
    Kind("computes", compute, "call"),
    Kind("waits", wait, "call"),
    Kind("slow once", once, "call", False),
    Kind("divides", divide, "call"),
    Kind("no inputs", lambda arrays, _: {}, "call"),
)
malformed.main(*sys.argv[1:])
"""


@pytest.fixture
def files(edge_model, signature, tmp_path):
    rows = tmp_path / "rows.json"
    vectors.write(rows, vectors.synthetic(signature))
    return edge_model / "model.tflite", rows


def test_crashes_are_counted_and_the_rest_goes_on(files, tmp_path, monkeypatch):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    monkeypatch.setattr(malformed, "CHILD", [sys.executable, str(script)])
    cases = malformed.examine(*files)
    assert [(case.kind, case.outcome) for case in cases] == [
        ("good", "answered"),
        ("aborts", "crashed"),
        ("is killed", "crashed"),
        ("computes", "hung"),
        ("waits", "hung"),
        ("slow once", "answered"),
        ("divides", "raised"),
        ("no inputs", "refused"),
    ]
    assert [case.message for case in cases[1:3]] == ["SIGABRT", "SIGKILL"]
    sentences = [malformed.sentence(case) for case in malformed.faults(cases)]
    assert sentences[0] == "Malformed input (aborts) crashes the interpreter: SIGABRT."
    hung = "Malformed input ({}) hangs the interpreter: no answer in {}."
    assert hung.format("computes", "20 s of a core") in sentences
    assert hung.format("waits", "200 s") in sentences
    assert len(sentences) == 5


def test_a_crash_on_good_rows_is_one_sentence(files, monkeypatch):
    child = [sys.executable, "-c", "import os; os.abort()"]
    for module, work in ((latency, latency.measure), (malformed, malformed.examine)):
        monkeypatch.setattr(module, "CHILD", child)
        with pytest.raises(
            EdgelineError, match=r"crashed the interpreter \(SIGABRT\) on good rows"
        ):
            work(*files)


def test_an_answer_where_only_a_refusal_will_do_is_a_fault():
    case = malformed.Case("missing feature", "fare", "answered", "prediction = 0.5")
    assert malformed.faults([case]) == [case]
    assert malformed.sentence(case) == (
        "Malformed input (missing feature at input 'fare') is answered, but must be refused."
    )


def test_of_many_inputs_each_kind_is_tried_at_some_that_it_fits_and_that_is_told():
    def cases(floats: int, texts: int):
        inputs = [Tensor(f"x{place:04}", "float32", (-1, 1)) for place in range(floats)]
        inputs += [Tensor(f"y{place:04}", "string", (-1, 1)) for place in range(texts)]
        return [(kind.name, t.name) for kind, t in malformed.cases_of(Signature(tuple(inputs), ()))]

    few = cases(90, 10)
    assert sum(kind == "NaN" for kind, _ in few) == 90
    assert malformed.extent(100) == "at every input that it fits"
    many = cases(1900, 100)
    assert {kind for kind, _ in many} == {kind for kind, _ in few}
    assert [name for kind, name in many if kind == "NaN"] == [
        "x0000", "x0474", "x0949", "x1424", "x1899",
    ]  # fmt: skip
    assert [name for kind, name in many if kind == "empty text"][::4] == ["y0000", "y0099"]
    assert malformed.extent(2000) == (
        "at 5 of the model's 2,000 inputs, evenly spread over those that it fits"
    )
