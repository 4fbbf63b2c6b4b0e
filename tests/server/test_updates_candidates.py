"""Candidates in a signed repository: no device takes one until it is promoted, and then at once."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from publishing import ROW, model
from running import eventually

from edgeline.artifacts import bundle as bundles
from edgeline.cli.main import cli
from edgeline.errors import EdgelineError, UsageError
from edgeline.repository import actions
from edgeline.repository.status import status
from edgeline.repository.versions import published_versions

pytestmark = pytest.mark.usefixtures("passphrase")


def promote(publisher, candidate: str) -> bundles.Bundle:
    made, outcome = actions.promote(str(publisher.path), "m", candidate, [str(publisher.keys)])
    assert outcome.live
    return made


def listed(publisher) -> list[int]:
    return [each["version"] for each in status(str(publisher.path))["versions"]]


@pytest.mark.slow
def test_a_promoted_candidate_is_served_within_a_look_and_no_request_is_lost(
    start, publisher, web, tmp_path
) -> None:
    options = (f"--root={publisher.root}", f"--state={tmp_path / 'state'}", "--poll=0.5")
    server = start(web.url, *options)
    publisher.add(model(2), recorded=7, candidate="wide")
    looks = server.metric('edgeline_update_looks_total{result="ok"}')
    eventually(lambda: server.metric('edgeline_update_looks_total{result="ok"}') > looks + 1, 120)
    assert not any("targets/m/2/" in path for path in web.sent)  # not even fetched
    stop, answers = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            answers.append(server.ask("POST", "/v1/models/m:predict", ROW)[:2])

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()

    def scores() -> set[float]:
        return {body["predictions"][0]["score"][0] for _, body in answers[-3:]}

    try:
        eventually(lambda: len(answers) > 20, 120)
        assert scores() == {4}
        promote(publisher, "wide")
        eventually(lambda: scores() == {7}, 120)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {code for code, _ in answers} == {200}


def test_a_candidate_is_signed_and_no_version_until_it_is_promoted(publisher) -> None:
    assert publisher.add(model(2), recorded=7, candidate="wide") == 2
    assert listed(publisher) == [1]
    assert published_versions(str(publisher.path), "m").numbers == (1,)
    assert status(str(publisher.path))["candidates"] == {"m": ["wide"]}
    assert promote(publisher, "wide").version == 2
    assert listed(publisher) == [1, 2]
    assert status(str(publisher.path))["candidates"] == {}
    with pytest.raises(UsageError, match=r"There is no candidate 'wide': m has none\."):
        promote(publisher, "wide")


def test_it_becomes_the_newest_where_another_version_came_after_it(publisher) -> None:
    publisher.add(model(2), recorded=7, candidate="wide")
    assert publisher.add(model(3)) == 3
    assert promote(publisher, "wide").version == 4  # devices take the highest number
    assert listed(publisher) == [1, 3, 4]
    with pytest.raises(UsageError, match="There is no candidate 'deep': m has none"):
        promote(publisher, "deep")


def test_a_candidate_of_the_same_name_takes_the_place_of_the_earlier_one(publisher) -> None:
    publisher.add(model(2), recorded=7, candidate="wide")
    publisher.add(model(3), candidate="wide")
    publisher.add(model(2), recorded=7, candidate="deep")
    assert status(str(publisher.path))["candidates"] == {"m": ["deep", "wide"]}
    promoted = promote(publisher, "wide")
    served = bundles.read(publisher.path / "targets" / "m" / str(promoted.version))
    assert (publisher.file(promoted.version)).read_bytes() == model(3)
    assert served.version == promoted.version
    assert status(str(publisher.path))["candidates"] == {"m": ["deep"]}


def test_a_candidate_that_was_changed_since_is_not_promoted(publisher) -> None:
    publisher.add(model(2), recorded=7, candidate="wide")
    publisher.file(2).write_bytes(model(3))
    with pytest.raises(EdgelineError, match=r"model\.tflite is damaged"):
        promote(publisher, "wide")
    assert listed(publisher) == [1]


def test_what_cannot_be_a_candidate_is_refused(publisher) -> None:
    with pytest.raises(UsageError, match="'a b' is not a label"):
        publisher.add(model(2), candidate="a b")
    with pytest.raises(UsageError, match="cannot have the label stable, by which devices would"):
        publisher.add(model(2), candidate="wide", labels=["stable"])


def test_the_command_line_says_what_devices_will_see(publisher, tmp_path: Path) -> None:
    from publishing import bundle

    folder = bundle(tmp_path / "bundle", model(2), recorded=7)
    key = ["--key", str(publisher.keys)]
    place = str(publisher.path)
    run = CliRunner().invoke(
        cli, ["repository", "add", place, str(folder), *key, "--candidate", "wide"]
    )
    assert "wide is a candidate: no device takes it until it is promoted." in run.output
    assert "candidates: m wide" in CliRunner().invoke(cli, ["repository", "status", place]).output
    run = CliRunner().invoke(cli, ["repository", "promote", place, "m", "wide", *key])
    assert run.output == "wide is m 2 now: devices will see it.\n"
