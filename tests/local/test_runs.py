"""`edgeline runs`: which runs there are, what they ran, and which may go."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_pipeline import tiny

from edgeline.errors import UsageError
from edgeline.local.runs import named

__all__ = ["tiny"]

pytestmark = pytest.mark.slow


def edgeline(*arguments: str) -> tuple[int, str]:
    from edgeline.cli.main import cli
    from edgeline.errors import EdgelineError

    done = CliRunner().invoke(cli, ["runs", *arguments], env={"COLUMNS": "250"})
    if isinstance(done.exception, EdgelineError):
        return done.exception.exit_code, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def two(tiny) -> list[str]:
    """A run that failed, and one that succeeded with results of it."""
    tiny.before("tell", "raise ValueError('no room')")
    tiny.run()
    tiny.before("tell", "")
    tiny.run("address=there", cache=True)
    return [run.name for run in tiny.runs]


def test_runs_are_listed_and_shown(two):
    code, said = edgeline()
    assert code == 0 and said.index(f"{two[1]} ") < said.index(f"{two[0]} ")
    assert "tell: ValueError: no room" in said and "length 6" in said
    _, text = edgeline("list", "--json")
    newest, oldest = json.loads(text)
    assert newest["run"] == two[1] and newest["metrics"] == {"length": 6.0}
    assert oldest["state"] == "failed" and oldest["bytes"] > 1000

    _, said = edgeline("show", "tiny")
    assert said.startswith(f"{two[1]}: succeeded") and "address there" in said
    assert "attempt 1" in said and "machine" in said
    _, text = edgeline("show", two[0], "--json")
    assert json.loads(text)["state"] == "failed"


def test_logs_and_pages(two, monkeypatch):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    code, said = edgeline("open", two[0])
    assert code == 0 and Path(said).is_file() and opened == [Path(said).as_uri()]
    _, said = edgeline("logs", two[0])
    assert "ValueError: no room" in said
    assert edgeline("logs") == (2, f"No task of run {two[1]} failed: name one of read, grow, tell "
                                "to see its log.")  # fmt: skip
    assert edgeline("logs", two[1], "read")[1].endswith("no log: its result is another run's.")
    assert "Did you mean read?" in edgeline("logs", two[1], "reed")[1]
    assert edgeline("logs", "tell")[1].endswith("follows its run: `edgeline logs latest tell`.")


def test_what_others_need_and_the_latest_stay(two, tiny):
    code, said = edgeline("prune", two[0])
    assert (code, said) == (
        1, f"Run {two[0]} cannot be removed: {two[1]} has taken results of it. Nothing is removed.",
    )  # fmt: skip
    _, said = edgeline("prune", "--limit", "0")
    assert "0 runs removed" in said
    assert f"stays: {two[1]}, it is the latest of tiny" in said
    assert f"stays: {two[0]}, {two[1]} has taken results of it" in said
    tiny.run("word=b")
    latest = tiny.runs[-1].name
    _, said = edgeline("prune", "--limit", "0", "--dry-run")
    assert f"would be removed: {two[0]} " in said and len(tiny.runs) == 3
    _, said = edgeline("prune", "--limit", "0")
    assert "2 runs removed, " in said and [run.name for run in tiny.runs] == [latest]
    entries = [json.loads(file.read_text()) for file in tiny.root.glob(".cache/*/*.json")]
    made = [each for entry in entries for each in entry.values() if isinstance(each, dict)]
    places = [each["uri"] for each in made if "uri" in each]
    assert places and all(Path(place).exists() for place in places)
    assert "1 run removed, " in edgeline("prune", latest)[1]
    assert "No run is kept" in edgeline()[1]


def test_a_run_of_another_root_is_neither_removed_nor_taken_for_one_of_its_name(two):
    elsewhere = Path("elsewhere").resolve() / two[1]
    shutil.copytree(Path("edgeline-runs", two[1]), elsewhere)
    for place in (str(elsewhere), f"elsewhere/{two[1]}"):
        code, said = edgeline("prune", place)
        assert code == 2 and said.endswith(f"name its folder with --root {elsewhere.parent}.")
    assert elsewhere.is_dir() and Path("edgeline-runs", two[1]).is_dir()
    assert "1 run removed" in edgeline("prune", two[1], "--root", "elsewhere")[1]
    assert not elsewhere.exists() and Path("edgeline-runs", two[1]).is_dir()


def test_the_oldest_go_until_the_limit_and_a_run_that_runs_stays(tiny):
    from edgeline.local import pruning
    from edgeline.local.folders import held

    for word in "abc":
        tiny.run(f"word={word}")
    names = [run.name for run in tiny.runs]
    for number, run in enumerate(tiny.runs):
        (run / ".size").write_text("1000000000")
        record = json.loads((run / "run.json").read_text())
        record["order"] = 3 - number
        (run / "run.json").write_text(json.dumps(record))
    planned = pruning.plan(tiny.root, 2_500_000_000)
    assert [run.name for run, _ in planned.remove] == [names[2]]  # the oldest by when it ran
    with held(tiny.root / names[2]):
        planned = pruning.plan(tiny.root, 2_500_000_000)
        assert [run.name for run, _ in planned.remove] == [names[1]]
        assert planned.stays[names[2]] == "it is running"


def test_a_limit_that_is_met_is_said(tiny, monkeypatch):
    from edgeline.local import pruning

    tiny.run()
    assert "prune" not in tiny.shown
    monkeypatch.setattr(pruning, "LIMIT", 1000)
    tiny.run()
    assert "more than 1.0 kB: `edgeline runs prune --root" in tiny.shown


def test_what_is_no_run_is_told(tiny):
    assert edgeline("show")[0] == 2
    assert "No run is kept in edgeline-runs" in edgeline()[1]
    tiny.run()
    assert "There is no run 'nine'" in edgeline("show", "nine")[1]


def test_a_damaged_record_is_named_and_the_other_runs_are_listed(two):
    record = Path("edgeline-runs", two[0], "run.json")
    whole = json.loads(record.read_text())
    for changed, why in (
        ({"tasks": {}, "schema": "run/v1"}, "pipeline is missing"),
        ({**whole, "attempts": [{}]}, "an attempt is without its time"),
        ({**whole, "attempts": 5}, "attempts is of another kind"),
        ({**whole, "state": "gone"}, "its state is 'gone'"),
        ({**whole, "pipeline": "\ud800"}, "half a surrogate pair is in it"),
        ({**whole, "tasks": {"read": {}}}, "KeyError('plan')"),
    ):
        record.write_text(json.dumps(changed))
        code, said = edgeline()
        assert code == 0 and f"Left out: {record} is damaged ({why}): remove" in said
        assert two[1] in said
        code, said = edgeline("show", two[0])
        assert code == 1 and why in said


def test_a_latest_run_whose_record_is_damaged_is_not_taken_for_an_older_one(two, tiny):
    record = Path("edgeline-runs", two[1], "run.json")
    record.write_text(record.read_text()[:-100])
    said = tiny.resume()
    assert f"{two[1]}/run.json" in said and said.endswith(
        f"It may be the latest run: name the one that is meant, such as {two[0]}."
    )
    assert tiny.resume(name=two[0]) == ""
    Path("edgeline-runs", two[0], "run.json").unlink()
    said = tiny.resume()
    assert f"{two[1]}/run.json" in said and "remove its folder, or name the run" in said
    Path("edgeline-runs", two[1]).rename("edgeline-runs/digits-20261201-120000")
    with pytest.raises(UsageError, match="No run of tiny is kept in edgeline-runs"):
        named(Path("edgeline-runs"), "latest", "tiny")


def test_the_latest_run_is_so_whatever_the_clock_said(tiny, monkeypatch):
    from edgeline.local import pruning, record

    tiny.run()
    monkeypatch.setattr(record, "now", lambda: "2001-01-01T00:00:00Z")  # it was set back
    tiny.before("tell", "raise ValueError('no room')")
    tiny.run("times=4")
    _, text = edgeline("list", "--json")
    assert [run["started"][:4] == "2001" for run in json.loads(text)] == [True, False]
    tiny.before("tell", "")
    tiny.shown  # noqa: B018  # what was said so far
    assert tiny.resume() == ""  # the one that failed
    assert "Nothing has changed since" in tiny.shown
    [first] = [run for run, _ in pruning.plan(tiny.root, limit=0).remove]
    assert not first.record["started"].startswith("2001")
    # the number is found again where its file was removed
    (tiny.root / ".order").unlink()
    tiny.run("times=5")
    _, text = edgeline("list", "--json")
    assert len(json.loads(text)) == 3
    assert json.loads(text)[0]["metrics"] == {"length": 10.0}


def test_options_of_the_list_need_no_command(two):
    listed = json.loads(edgeline("--json")[1])
    assert [each["run"] for each in listed] == two[::-1]
    assert edgeline("--root", "elsewhere")[1].startswith("No run is kept in elsewhere")
    code, said = edgeline("--json", "show")
    assert (code, said) == (2, "--json stands before show: put it behind.")


def test_a_namespace_without_a_server_is_refused():
    for arguments in (["list"], ["show", "taxi"], ["compare", "one", "two"]):
        code, said = edgeline(*arguments, "--namespace", "team-a")
        assert (code, said) == (2, "--namespace is for --host: leave it out, or give both.")
