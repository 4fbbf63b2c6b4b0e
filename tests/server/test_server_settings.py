"""The options of `edgeline serve`."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest

from edgeline.errors import EdgelineError
from edgeline.server.__main__ import main
from edgeline.server.options import descriptions
from edgeline.server.settings import ServerSettings


def test_help_says_what_each_option_is(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert "newest versions of a model to serve; 0 for all" in " ".join(shown.split())
    assert descriptions().keys() == {setting.name for setting in fields(ServerSettings)}
    assert not {"Args:", "Raises:", "None"} & set(shown.split())


@pytest.mark.parametrize(
    ("setting", "value"),
    [("port", 99999), ("instances", -1), ("poll", math.nan), ("read_time", math.inf)],
)
def test_a_number_that_cannot_be_names_its_option(setting, value):
    with pytest.raises(EdgelineError, match=f"^--{setting.replace('_', '-')} is {value}: give"):
        ServerSettings(**{setting: value})


def test_a_wrong_number_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", "--error-rate", "2"])
    assert ended.value.code == 2
    assert "--error-rate is 2.0: give a number from 0 to 1." in capsys.readouterr().err


@pytest.mark.parametrize("names", ["edge:8080", "https://edge", "a,*.example", "a,,b", "ü"])
def test_a_name_that_none_can_have_is_wrong_usage(names, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", "--names", names])
    assert ended.value.code == 2
    assert "give names without scheme, port and wildcards" in capsys.readouterr().err


def test_a_file_whose_name_cannot_be_in_a_url_is_told_so(tmp_path, capsys):
    (tmp_path / "mein Modell ü.tflite").write_bytes(b"")
    assert main([str(tmp_path / "mein Modell ü.tflite"), "--port", "0"]) == 2
    assert "ü.tflite cannot name a model in URLs: rename it" in capsys.readouterr().err


def test_a_signed_repository_may_be_mounted_later(tmp_path, capsys, monkeypatch):
    """What is on the device's disk is served meanwhile; a folder of models has to be there."""
    asked = []
    monkeypatch.setattr("edgeline.server.__main__.serve", lambda path, *_: asked.append(str(path)))
    monkeypatch.setattr("edgeline.server.__main__.trial.forked", lambda: None)
    monkeypatch.setattr("edgeline.server.__main__.threads.leave", lambda code: code)
    monkeypatch.setattr("edgeline.server.__main__.logs.set_up", lambda _: None)
    fleet, root = str(tmp_path / "fleet"), str(tmp_path / "root.json")
    assert main([fleet, "--root", root, "--state", str(tmp_path)]) == 0
    assert asked == [fleet]
    with pytest.raises(SystemExit) as ended:
        main([fleet])
    assert ended.value.code == 2
    assert "fleet does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"explain_rows": 10}, "--explain-rows is for --explain: give that, too"),
        ({"explain": 60.0}, "--explain is 60, but a request may take --request-time, which is 60"),
        ({"explain": 1.0, "explain_queue": 0}, "--explain-queue is 0: give a number above 0"),
    ],
)
def test_a_budget_of_explanations_that_cannot_be_is_wrong_usage(settings, said):
    with pytest.raises(EdgelineError, match=said):
        ServerSettings(**settings)


@pytest.mark.parametrize(
    ("options", "device", "group"),
    [
        (["--root", "root.json", "--state", "s"], "edge-7", "lab,berlin"),
        (["--root", "root.json", "--state", "s", "--device", "edge-8"], "edge-8", "lab,berlin"),
        (["--webhook", "https://a.example"], "edge-7", ""),
        ([], "", ""),  # of no use, and no fault: a deployment says it to all that it runs
    ],
)
def test_a_deployment_says_which_device_this_is(options, device, group, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGELINE_DEVICE", "edge-7")
    monkeypatch.setenv("EDGELINE_GROUP", "lab,berlin")
    given = []
    monkeypatch.setattr(
        "edgeline.server.__main__.serve", lambda _, settings, *__: given.append(settings)
    )
    assert main([str(tmp_path), *options]) == 0
    assert (given[0].device, given[0].group) == (device, group)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--group", "lab"], "--group is for the waves of updates: give --root, too."),
        (["--root", "r", "--group", "lab,,x"], "--group has '': give names of up to 63"),
        (["--root", "r", "--group", "Lab"], "--group has 'Lab': give names of up to 63"),
        (["--device", "edge-7"], "--device is the source of events and statuses"),
    ],
)
def test_a_device_or_group_that_cannot_be_is_wrong_usage(options, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["models", *options])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
