"""The page of a model: what a reader finds on it, of real models and what was made of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from card_page import CORAL, DATA, boxes, rows
from panel import cut_in_panel

from edgeline import artifacts
from edgeline.artifacts import places
from edgeline.components.check.check import check, check_edge_model
from edgeline.components.compile import placement
from edgeline.components.compile.compile import compile_edge_model
from edgeline.components.import_model.import_model import import_model
from edgeline.components.model_card import card
from edgeline.components.model_card.model_card import model_card as write
from edgeline.errors import EdgelineError
from edgeline.formats import tflite
from edgeline.reports.report import GREEN, GREY, ORANGE, RED

pytestmark = pytest.mark.slow

BROWSER = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip


@pytest.fixture
def page(tmp_path):
    """Writes a card and gives the page."""

    def make(**given):
        write(tmp_path / "page.html", **given)
        return (tmp_path / "page.html").read_text()

    return make


@pytest.fixture
def whole(made, verification, page):
    """The page of all that there is of the small network, in no good order."""
    return page(
        name="digits",
        model_path=made.model,
        edge_model_paths=[made.integer, made.floating],
        compiled_model_paths=[made.ethos, made.litert],
        verification_paths=[
            verification(made.integer, made.litert, accuracy=0.96, runtime="litert-host"),
            verification(made.integer, made.ethos, accuracy=0.971, milliseconds=0.0625),
            verification(made.integer, accuracy=0.972, milliseconds=0.125),
            verification(
                made.floating, accuracy=0.98, milliseconds=4.0, reasons=("It is <slow> & large.",)
            ),
        ],
    )


def test_what_people_declare_stands_first_and_what_they_do_not_is_named(made, page):
    found = page(
        edge_model_paths=[made.integer],
        card={"licence": "Apache-2.0", "limits": "<b>None</b> known", "owner": ""},
    )
    assert rows(found, "Use, data and limits") == [
        ["limits", "<b>None</b> known"],
        ["licence", "Apache-2.0"],
    ]
    assert "<b>None</b>" not in found
    assert "Not stated: intended use, owner, data, ethics." in found
    assert found.index("Use, data and limits") < found.index("Size by stage")
    with pytest.raises(EdgelineError, match=r"card\.license: there is no such field"):
        page(edge_model_paths=[made.integer], card={"license": "MIT"})


def test_stages_stand_in_order_with_their_bytes(whole, made):
    sizes = {
        "SavedModel": 70_000,
        "float": (DATA / "cnn_float.tflite").stat().st_size,
        "int8": (DATA / "cnn_int8.tflite").stat().st_size,
        "ethos-u55": artifacts.read(made.ethos, "compiled_model/v1").metadata["size"],
        "litert": (DATA / "cnn_int8.tflite").stat().st_size,
    }
    shown = rows(whole, "Size by stage")
    assert [(row[0], row[2]) for row in shown] == [(n, f"{s:,}") for n, s in sizes.items()]
    change = sizes["int8"] / sizes["float"] - 1
    assert shown[2][3] == f"{change:+.1%} from float".replace("-", "−")
    assert shown[3][3].endswith("from int8")
    assert shown[4][3] == "as int8"
    # nobody made these, so they are not there
    assert ">fp16<" not in whole
    assert ">dynamic<" not in whole


def test_accuracy_and_latency_of_each_target(whole):
    shown = {row[0]: row for row in rows(whole, "Accuracy and latency by target")}
    assert list(shown) == ["float", "int8", "ethos-u55", "litert"]
    assert shown["float"][1:4] == ["refused", "litert", "0.98"]
    assert shown["int8"][1:5] == ["approved", "litert", "0.972", "0.008"]
    assert shown["int8"][-3:] == ["0.125", "0.25", "40.0 MB"]
    # only the device runs it, and the page does not claim otherwise
    assert shown["ethos-u55"][2] == "litert, in its place"
    assert "the model that it was compiled from answered for it" in whole
    assert "not on the device" in whole
    assert "float: It is &lt;slow&gt; &amp; large." in whole
    assert "accuracy (cloud 0.9800)" in whole
    assert "3 of 4" in whole


def test_the_layers_that_lose_most_come_first(whole, made):
    import json

    layers = json.loads((Path(made.integer) / "layers.json").read_text())
    shown = rows(whole, "Every layer, int8")
    assert len(shown) == len(layers)
    own = [float(row[5]) for row in shown]
    assert own == sorted(own, reverse=True)
    assert own[0] > 0
    assert whole.index("Layers that lose most, int8") < whole.index("Every layer, int8")


def test_every_operator_of_a_compiled_model_is_drawn_once_with_its_reason(made, page):
    text = page(edge_model_paths=[made.odd], compiled_model_paths=[made.odd_ethos])
    (drawn,) = boxes(text)
    operators = tflite.read(DATA / "cnn_odd.tflite").subgraphs[0].operators
    assert sorted(box.operator for box in drawn) == list(range(len(operators)))
    by_number = {box.operator: box for box in drawn}
    colours = {}
    for operator in operators:
        box = by_number[operator.index]
        assert box.told[0] == f"{operator.index} {operator.name}, version {operator.version}"
        colours.setdefault(box.colour, []).append(operator.name)
        if box.colour == RED:
            assert re.search(r"^on CPU: .{10}", box.told[-1]), box.told
    # what Vela left, and what came of shapes alone
    assert colours[RED] == ["DEQUANTIZE", "SIN", "CUMSUM", "QUANTIZE"]
    assert colours[GREY] == ["SHAPE", "STRIDED_SLICE", "PACK"] * 2
    assert len(colours[GREEN]) == 8
    assert ">8 on the NPU<" in re.sub(r"<i [^>]*></i>", "", text)
    assert "Unsupported opType" in text


def test_a_prediction_has_the_colours_and_reasons_of_the_check(made, page):
    text = page(edge_model_paths=[made.odd, made.integer], placement_paths=[made.placement])
    (drawn,) = boxes(text)
    placed = check(made.odd).operators
    assert len(drawn) == len(placed)
    for box, operator in zip(sorted(drawn, key=lambda box: box.operator), placed, strict=True):
        assert (box.colour == GREEN) == (operator.mapped and operator.verdict.state == "yes")
        if not operator.mapped:
            assert operator.status in box.told[-1]
        if box.colour == RED:
            assert operator.verdict.rule in box.told[-1]


def test_corals_own_pair(tmp_path, page):
    """DeepLab as Google compiled it: 72 operators, of which the compiler left 8."""
    name = "deeplabv3_mnv2_dm05_pascal_quant"
    import_model(str(CORAL / f"{name}.tflite"), str(tmp_path / "edge"))
    check_edge_model(tmp_path / "edge", "edgetpu", 0, tmp_path / "placed", tmp_path / "c.html")
    compiled = _compiled(tmp_path, CORAL / f"{name}.tflite", CORAL / f"{name}_edgetpu.tflite")
    edge = str(tmp_path / "edge")
    text = page(
        edge_model_paths=[edge],
        compiled_model_paths=[compiled],
        placement_paths=[str(tmp_path / "placed")],
    )
    predicted, truth = boxes(text)
    assert sorted(box.operator for box in truth) == list(range(72))
    left = {box.operator: box.told[0].split()[1] for box in truth if box.colour == RED}
    assert len(left) == 8
    assert {box.operator for box in predicted if box.colour in (RED, GREY)} == left.keys()
    assert {box.colour for box in predicted} == {GREEN, RED, GREY}
    assert ORANGE not in {box.colour for box in predicted}


def _compiled(folder: Path, source: Path, file: Path) -> str:
    """What the compile component writes, of a file that Coral's compiler wrote."""
    import json
    from dataclasses import asdict

    placed = placement.place(
        tflite.read(source), [tflite.read(file)], "edgetpu-custom-op", "edgetpu", lambda _: "Why"
    )
    on = sum(operator.device != "cpu" for operator in placed)
    with artifacts.writing(folder / "compiled", "compiled_model/v1") as draft:
        (draft.path / "placement.json").write_text(json.dumps([asdict(each) for each in placed]))
        draft.metadata.update(
            target="edgetpu", size=file.stat().st_size, operators=len(placed), on_accelerator=on,
            share=on / len(placed), facts={}, notes=[], limits="", options={},
            source_digest=artifacts.read(folder / "edge", "edge_model/v1").digest,
        )  # fmt: skip
    return str(folder / "compiled")


def test_only_an_edge_model(made, page):
    text = page(edge_model_paths=[made.floating])
    (drawn,) = boxes(text)
    assert {box.colour for box in drawn} == {GREY}
    assert len(drawn) == 14
    ((name, size, runtime, package),) = rows(text, "What a device loads")
    assert (name, runtime) == ("float", "LiteRT")
    assert size.endswith("kB") and package.endswith("MB")
    assert "\nactivation: relu\n" in text and "\npadding: valid\n" in text
    for absent in ("Accuracy and latency", "<h2>Targets", "Layers that lose most"):
        assert absent not in text
    assert [row[0] for row in rows(text, "Size by stage")] == ["float"]


def test_only_a_trained_model(made, page):
    text = page(model_path=made.model)
    assert [row[0] for row in rows(text, "Size by stage")] == ["SavedModel"]
    assert not boxes(text)


def test_two_models_of_one_kind_keep_apart(made, page, tmp_path):
    import_model(str(CORAL / "mobilenet_v1_0.25_128_quant.tflite"), str(tmp_path / "other"))
    text = page(edge_model_paths=[made.integer, str(tmp_path / "other")])
    assert [row[0] for row in rows(text, "Size by stage")] == ["int8", "int8 2"]


def test_a_target_whose_compiler_is_missing_does_not_cost_the_card_of_the_others(
    made, page, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", "")
    compile_edge_model("edgetpu", str(tmp_path / "coral"), made.integer, required=False)
    text = page(
        edge_model_paths=[made.integer], compiled_model_paths=[made.ethos, str(tmp_path / "coral")]
    )
    by_target = {row[0]: row for row in rows(text, "Targets")}
    assert "edgetpu_compiler is not on the PATH" in " ".join(by_target["edgetpu"])
    assert "ethos-u55" in by_target
    with pytest.raises(EdgelineError, match="edgetpu_compiler is not on the PATH"):
        compile_edge_model("edgetpu", str(tmp_path / "needed"), made.integer)


def test_names_are_text(tmp_path, page):
    hostile = b"<img src=x>&'\""
    data = (DATA / "cnn_int8.tflite").read_bytes()
    name = b"functional_1/max_pooling2d_1/MaxPool2d"
    assert name in data
    (tmp_path / "h.tflite").write_bytes(data.replace(name, hostile.ljust(len(name), b">")))
    import_model(str(tmp_path / "h.tflite"), str(tmp_path / "edge"))
    text = page(name="<b>&", edge_model_paths=[str(tmp_path / "edge")])
    assert "<img" not in text
    assert "<b>&<" not in text
    assert any("<img src=x>&'\">" in line for box in boxes(text)[0] for line in box.told)


def test_the_same_artifacts_give_the_same_page(made, page):
    given = {
        "model_path": made.model,
        "edge_model_paths": [made.integer],
        "compiled_model_paths": [made.ethos],
    }
    assert page(**given) == page(**given)


def test_what_was_not_made_of_each_other_is_refused(made, verification, page, tmp_path):
    with pytest.raises(EdgelineError, match="is not compiled from any model given"):
        page(
            model_path=made.model,
            edge_model_paths=[made.floating],
            compiled_model_paths=[made.ethos],
        )
    with pytest.raises(EdgelineError, match="verifies none of the models given"):
        page(edge_model_paths=[made.floating], verification_paths=[verification(made.integer)])
    with pytest.raises(EdgelineError, match="is the placement of another model"):
        page(edge_model_paths=[made.floating], placement_paths=[made.placement])
    with pytest.raises(EdgelineError, match=r"holds model/v1, but edge_model/v1 is needed"):
        page(edge_model_paths=[made.model])
    with pytest.raises(EdgelineError, match="No model is given"):
        page()
    edge = artifacts.read(made.floating, "edge_model/v1")
    with artifacts.writing(tmp_path / "foreign", "edge_model/v1") as draft:
        shutil.copy(edge.path / "model.tflite", draft.path)
        draft.metadata.update(edge.metadata, model_digest="0" * 64)
    with pytest.raises(EdgelineError, match="is not converted from"):
        page(model_path=made.model, edge_model_paths=[str(tmp_path / "foreign")])
    assert not (tmp_path / "page.html").exists()


def test_what_kfp_connects():
    class Artifact:
        def __init__(self, path):
            self.path = path

    assert places.paths(Artifact("a"), None, [Artifact("b"), Artifact("c")], []) == [*"abc"]


def test_a_card_is_read_without_order(made):
    found = card.read("", [made.integer, made.floating], [made.litert, made.ethos])
    assert [edge.name for edge in found.edge_models] == ["float", "int8"]
    assert [each.name for each in found.compiled] == ["litert", "ethos-u55"]
    assert {each.source.name for each in found.compiled} == {"int8"}


@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_it_without_a_word(whole, tmp_path, width):
    """No error, nothing asked of the network, nothing wider than the window."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("NO CHROMIUM: the page was not opened in a real browser")
    assert whole.count("<script") == 1  # the page's own
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']+|url\((?!#)""", whole)
    plain = tmp_path / "plain.html"
    plain.write_text(whole)
    measured = tmp_path / "measured.html"
    measured.write_text(
        re.sub(r"<meta http-equiv[^>]*>", "", whole).replace(
            "</body>",
            "<script>document.body.dataset.over = document.documentElement.scrollWidth - "
            "window.innerWidth; document.body.dataset.tops = [...document.querySelectorAll("
            "'details[open] g.op rect')].filter(b => b.getBoundingClientRect().width > 100)"
            ".length</script></body>",
        )
    )
    arguments = [chromium, *BROWSER, f"--user-data-dir={tmp_path}/p", f"--window-size={width},900"]
    shown = {}
    for file in (plain, measured):
        done = subprocess.run(
            [*arguments, "--dump-dom", f"file://{file}"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "CONSOLE" not in done.stderr
        assert "net::ERR" not in done.stderr
        shown[file] = done.stdout
    assert shown[plain].count('class="op"') == whole.count('class="op"') > 0
    assert int(re.search(r'data-over="(-?\d+)"', shown[measured])[1]) <= 0
    assert int(re.search(r'data-tops="(\d+)"', shown[measured])[1]) == len(boxes(whole)[0])


def test_nothing_is_cut_in_the_panel_of_kubeflow_s_pages(whole, tmp_path):
    assert cut_in_panel({"page": whole}, tmp_path) == {}
