"""Targets and quantisations are rows of a table each: what else names them follows from it."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeline import docs
from edgeline.cli.compile_model import compile_model
from edgeline.components.compile import target
from edgeline.components.described import described
from edgeline.extras import EXTRA_OF, extra_of
from edgeline.formats import quantisation
from edgeline.pipelines import catalogue
from edgeline.pipelines.parameters import parameters_of

ROOT = Path(__file__).parents[1]
ALONE = {"serve", "qualcomm"}  # extras of targets that edgeline[targets] leaves out


def extras() -> dict[str, list[str]]:
    """The requirements of each extra in setup.cfg, by their names alone."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return {
        extra: [re.match(r"[\w.-]+(\[.*\])?", line)[0] for line in lines.split("\n") if line]
        for extra, lines in parser["options.extras_require"].items()
    }


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9_-]+", text)


def help_of_compile_model() -> str:
    done = CliRunner().invoke(compile_model, ["--help"], terminal_width=1000)
    assert done.exit_code == 0
    return done.output


def test_the_command_lists_every_target_and_quantisation():
    text = help_of_compile_model()
    assert f"Targets:\n  {', '.join(row.name for row in target.TABLE)}" in text
    option = next(line for line in text.splitlines() if "--quantisation" in line)
    assert ", ".join(row.name for row in quantisation.CONVERTED) in option


def test_the_command_breaks_no_name_at_its_hyphen(monkeypatch):
    many = {f"acme-npu-{number}": "" for number in range(40)}
    monkeypatch.setattr(target, "MODULES", many)
    done = CliRunner().invoke(compile_model, ["--help"], terminal_width=70)
    assert ", ".join(many) in " ".join(done.output.split())


def test_every_target_has_an_extra_that_setup_cfg_has():
    known = extras()
    assert {row.extra for row in target.TABLE} - {""} <= known.keys()
    [together] = re.findall(r"edgeline\[(.*)\]", known["targets"][0])
    wanted = {row.extra for row in target.TABLE} - ALONE - {"", "compile"}  # which quantise has
    assert wanted | {"quantise"} == set(together.split(","))


@pytest.mark.parametrize("row", target.TABLE, ids=lambda row: row.name)
def test_what_a_target_lacks_is_brought_by_its_extra(row, monkeypatch):
    """Its hint, on a machine without its packages, names the extra of its row, or a program."""
    import importlib.util
    import shutil

    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    found = target.find(row.name)
    hint = found.missing()
    if hint or row.extra:
        assert f"edgeline[{row.extra}]" in hint or re.search(r"on (the )?PATH", hint)


def test_packages_are_found_in_the_extra_that_lists_them():
    known = extras()
    assert set(EXTRA_OF.values()) <= known.keys()
    assert (extra_of("tflite_micro"), extra_of("ethosu")) == ("tflite-micro", "ethos-u")
    assert (extra_of("onnxsim"), extra_of("onnxruntime_qnn")) == ("onnx", "qualcomm")
    assert (extra_of("kfp"), extra_of("tensorflow"), extra_of("tuf")) == (
        *("pipelines", "train", "serve-updates"),
    )
    assert extra_of("nowhere_to_be_found") == "all"


def test_the_readmes_have_a_row_for_each():
    text = docs.readme("compile")
    for row in target.TABLE:
        found = target.find(row.name)
        line = next(line for line in text.splitlines() if line.startswith(f"| `{row.name}` "))
        assert ", ".join(each.name for each in found.quantisations) in line
        assert found.limits in line
        assert f"`{row.name}`" in (ROOT / "README.md").read_text()
    text = docs.readme("convert")
    for name in quantisation.NAMES:
        assert f"\n| `{name}` " in text


def test_parameters_name_the_quantisations_that_they_take():
    parameters = {each.name: each for each in described("convert").parameters}
    assert set(quantisation.NAMES) <= set(words(parameters["quantisation"].description))
    fields = parameters_of(catalogue.load("tabular"))["with_edge"].fields
    about = fields["quantisation"].description
    assert {row.name for row in quantisation.CONVERTED} <= set(words(about))


def test_every_target_wants_rows_of_the_table_that_a_conversion_can_make():
    for name in target.MODULES:
        rows = target.find(name).quantisations
        assert set(rows) <= set(quantisation.TABLE)
        assert len(set(rows)) == len(rows)


def test_the_table_is_consistent():
    assert len(set(quantisation.NAMES)) == len(quantisation.NAMES)
    for row in quantisation.TABLE:
        assert quantisation.of(row.name) is row
        assert row.about
        assert not row.recipe or row.recipe in quantisation.NAMES
        assert not row.spare or row.spare in quantisation.NAMES
        ranged = row.activations in (0, 8, 16) or row.name.endswith("_gptq")
        assert bool(row.needs) == ranged  # integers need their ranges, GPTQ what comes in
        assert set(row.io) <= set(quantisation.INT8.io)


def test_what_is_not_in_the_table_is_taken_for_quantised():
    assert quantisation.of("none") is quantisation.of("float32") is quantisation.FLOAT
    own = quantisation.of("dynamic_range")
    assert (own.name, own.exact, own.difference) == ("dynamic_range", False, float("inf"))
    assert quantisation.place("dynamic_range") > quantisation.place("auto")
