"""`edgeline check` of several models and of references, as typed."""

from __future__ import annotations

import http.server
import json
import threading
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeline.cli.main import cli

DATA = Path(__file__).parents[2] / "data"
LSTM = DATA / "coral" / "keras_lstm_mnist_ptq.tflite"


def run(*arguments):
    done = CliRunner().invoke(cli, ["check", *map(str, arguments)], env={"COLUMNS": "250"})
    return done.exit_code, done.output + str(done.exception or "")


def test_several_models_are_one_table_and_one_that_is_damaged_does_not_hide_the_others(tmp_path):
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(LSTM.read_bytes()[:3000])
    posenet = DATA / "coral" / "posenet_mobilenet_v1_075_353_481_16_quant_decoder.tflite"
    code, output = run(LSTM, posenet, damaged, DATA / "cnn_float.tflite")
    assert code == 1
    assert "100.0%, 6 of 6" in output
    assert "97.4%, 37 of 38" in output
    assert "1 PosenetDecoderOp" in output
    assert "The model is not quantised" in output
    assert "1 of 4 models cannot be checked" in output


def test_a_folder_stands_for_its_models(tmp_path):
    (tmp_path / "a.tflite").write_bytes(LSTM.read_bytes())
    code, output = run(tmp_path, "--json")
    assert code == 0
    assert json.loads(output)["model"] == f"{tmp_path}/a.tflite"
    (tmp_path / "a.tflite").unlink()
    _, output = run(tmp_path)
    assert "no .tflite file is in it" in output


def test_a_web_servers_model_is_fetched_by_its_address():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(LSTM.parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        found = run(f"{address}/{LSTM.name}", LSTM, "--json")
        missing = run(f"{address}/missing.tflite")
    finally:
        server.shutdown()
        server.server_close()
    assert found[0] == 0
    remote, local = json.loads(found[1])
    assert remote["model"] == f"{address}/{LSTM.name}"
    assert remote["operators"] == local["operators"]
    assert missing[0] == 1
    assert "missing.tflite" in missing[1]


def test_the_compilers_option_for_several_subgraphs():
    model = DATA / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    one, every = (json.loads(run(model, *more, "--json")[1]) for more in ([], ["-a"]))
    assert (one["mapped"], one["segments"]) == (64, 1)
    assert every["mapped"] > one["mapped"]
    assert every["segments"] > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([LSTM, LSTM, "--report", "page.html"], "for one model, and here are 2"),
        ([LSTM, "--target", "mobile-gpu", "-a"], "mobile-gpu has no compiler"),
        ([LSTM, "--target", "mobile"], "no static check for target 'mobile'"),
    ],
)
def test_what_cannot_be_asked_for_is_told(arguments, words):
    code, output = run(*arguments)
    assert code in (1, 2)
    assert words in output
