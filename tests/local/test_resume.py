"""A run that did not come to its end is kept, and goes on where its work ended."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tiny_pipeline import tiny

from edgeline.errors import EdgelineError

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

FAILS = "raise ValueError('no room')"
INTERRUPTED = "raise KeyboardInterrupt"


def test_a_run_that_failed_goes_on_where_it_failed(tiny):
    tiny.before("grow", FAILS)
    assert "Task grow failed: ValueError: no room" in tiny.run()
    assert tiny.states() == {"read": "succeeded", "grow": "failed", "tell": "skipped"}
    assert "It goes on with: edgeline run --resume tiny-" in tiny.shown
    assert tiny.ran() == "read"

    tiny.before("grow", "")
    assert tiny.resume() == ""
    assert tiny.ran() == "grow tell"
    assert tiny.states() == {"read": "cached", "grow": "succeeded", "tell": "succeeded"}
    record = tiny.record()
    assert [each["state"] for each in record["attempts"]] == ["failed", "succeeded"]
    assert record["state"] == "succeeded"
    assert record["tasks"]["tell"]["outputs"]["Output"] == "6 to here"
    [run] = tiny.runs
    page = (run / "index.html").read_text()
    assert "attempt 2" in page and ">done<" in page
    assert record["tasks"]["read"]["log"] == "logs/read.log"  # of the first attempt
    assert record["tasks"]["read"]["seconds"] > 0


def test_ctrl_c_leaves_record_and_page_and_goes_on(tiny):
    tiny.before("tell", INTERRUPTED)
    with pytest.raises(KeyboardInterrupt):
        tiny.run()
    assert re.search(r"Run tiny-\S+ is kept: edgeline run --resume goes on with it\.", tiny.shown)
    assert tiny.record()["state"] == "interrupted"
    assert tiny.states() == {"read": "succeeded", "grow": "succeeded", "tell": "canceled"}
    [run] = tiny.runs
    assert ">interrupted<" in (run / "index.html").read_text()
    assert tiny.ran() == "read grow"

    tiny.before("tell", "")
    assert tiny.resume() == ""
    assert tiny.ran() == "tell"
    assert "Nothing has changed since" in tiny.shown


def test_only_what_a_change_touches_runs_again_and_it_is_said(tiny):
    tiny.before("tell", FAILS)
    tiny.run()
    tiny.ran()
    tiny.before("tell", "")
    assert tiny.resume("times=4") == ""
    assert tiny.ran() == "grow tell"
    shown = tiny.shown
    assert "Changed since, and what it touches runs again: times: 3 -> 4" in shown
    assert "grow ran again: changed: times" in shown
    record = tiny.record()
    assert record["attempts"][1]["changed"] == ["times: 3 -> 4"]
    assert record["parameters"]["times"] == 4


def test_a_task_that_does_not_take_what_changed_is_not_run_again(tiny):
    tiny.before("tell", FAILS)
    tiny.run("times=2")
    tiny.ran()
    tiny.before("tell", "")
    assert tiny.resume("address=there") == ""
    assert tiny.ran() == "tell"
    assert tiny.record()["tasks"]["tell"]["outputs"]["Output"] == "4 to there"  # times stayed


def test_from_runs_a_task_and_what_follows_again(tiny):
    assert tiny.run() == ""
    assert tiny.ran() == "read grow tell"
    assert "has succeeded: --from TASK" in tiny.resume()
    assert "no task 'gro'. Did you mean grow?" in tiny.resume(start="gro")
    assert tiny.ran() == ""
    assert tiny.resume(start="grow") == ""
    assert tiny.ran() == "grow tell"
    assert "grow ran again: asked for" in tiny.shown


def test_what_was_asked_for_by_from_is_asked_for_until_it_is_done(tiny):
    tiny.run()
    tiny.before("grow", INTERRUPTED)
    with pytest.raises(KeyboardInterrupt):
        tiny.resume(start="grow")
    tiny.ran()
    tiny.before("grow", "")
    tiny.before("tell", FAILS)
    assert "no room" in tiny.resume()  # the result of the first attempt is not what was asked for
    assert tiny.ran() == "grow"
    assert "was to run these again and has not: grow, tell." in tiny.shown
    tiny.before("tell", "")
    assert tiny.resume() == ""
    assert tiny.ran() == "tell"  # grow was done meanwhile
    assert tiny.resume(start="tell") == ""
    assert tiny.ran() == "tell"


@pytest.mark.parametrize("damage", ["", "ababa", None])
def test_a_damaged_result_is_made_again(tiny, damage):
    tiny.before("tell", FAILS)
    tiny.run()
    tiny.ran()
    file = Path(tiny.record()["tasks"]["grow"]["outputs"]["grown"]["uri"], "text")
    file.unlink() if damage is None else file.write_text(damage)
    tiny.before("tell", "")
    assert tiny.resume() == ""
    assert tiny.ran() == "grow tell"
    assert "grow ran again: its result is damaged" in tiny.shown


def test_half_an_entry_is_none(tiny):
    tiny.before("tell", FAILS)
    tiny.run()
    tiny.ran()
    [run] = tiny.runs
    for entry in (run / "results").glob("*.json"):
        entry.write_text(entry.read_text()[:40])
    tiny.before("tell", "")
    assert tiny.resume() == ""
    assert tiny.ran() == "read grow tell"


def test_a_package_touches_what_may_import_it(tiny, monkeypatch):
    from edgeline.local import surroundings

    own = surroundings.packages()
    tiny.before("tell", FAILS)
    monkeypatch.setattr(surroundings, "packages", lambda: {**own, "numpy": "1.0", "ruff": "0.1"})
    tiny.run()
    tiny.ran()
    tiny.before("tell", "")
    new = {**own, "numpy": "2.0", "ruff": "0.2", "another": "1.0"}
    monkeypatch.setattr(surroundings, "packages", lambda: new)
    assert tiny.resume() == ""
    assert tiny.ran() == "read grow tell"
    assert "package numpy: 1.0 -> 2.0" in (shown := tiny.shown) and "ruff" not in shown
    assert "read ran again: numpy 1.0 -> 2.0" in shown

    changed = {"tensorflow": "2.19 -> 2.20"}
    assert surroundings.touch(changed, "train-2") == changed
    assert surroundings.touch(changed, "ingest") == {}


def test_files_and_modules_that_have_changed_are_said(tmp_path, monkeypatch):
    from edgeline.local.heads import _named_module
    from edgeline.local.parameters import changes

    monkeypatch.chdir(tmp_path)
    head = {"pipeline_digest": "a", "code": "b", "packages": {}}

    def now(data: str) -> dict[str, object]:
        (tmp_path / "own_module.py").write_text(f"WORD = {data!r}\n")
        pins = {"data": data, "module": _named_module("own_module")}
        given = {"data": f"rides.csv#sha256={data}", "module": "own_module"}
        return {**head, "parameters": given, "pins": pins}

    before, after = now("ab"), now("cd")
    assert changes(before, now("ab")) == []
    [data, module] = changes(before, after)
    assert data == "data: the content of rides.csv (sha256 ab -> cd)"
    assert re.fullmatch(r"module: its code \(sha256 [0-9a-f]{12} -> [0-9a-f]{12}\)", module)
    assert changes(before, {**before, "pipeline_digest": "z"}) == ["the pipeline itself"]


def test_other_code_of_edgeline_takes_nothing(tiny, monkeypatch):
    from edgeline.local import surroundings

    tiny.before("tell", FAILS)
    tiny.run()
    tiny.ran()
    monkeypatch.setattr(surroundings, "code_digest", lambda: "other")
    tiny.before("tell", "")
    assert tiny.resume() == ""
    assert tiny.ran() == "read grow tell"
    assert "edgeline's own code" in tiny.shown


def test_what_is_not_to_be_cached_is_taken_within_its_run_alone(tiny):
    assert tiny.run() == ""
    tiny.ran()
    assert tiny.run(cache=True) == ""  # the results of a run without --cache are there, too
    assert tiny.ran() == "tell"


def test_secrets_are_left_out_and_asked_for_again(tiny):
    tiny.before("tell", FAILS)
    tiny.run("hub_token=abc", "address=https://ada:pw@example.org/a?sig=xyz")
    [run] = tiny.runs
    kept = (run / "run.json").read_text() + (run / "index.html").read_text()
    assert not [word for word in ("abc", "sig=", "xyz", "ada:", "pw@") if word in kept]
    record = tiny.record()
    assert record["left_out"] == ["hub_token", "address"]
    assert record["given"]["address"] == "https://example.org/a"
    tiny.before("tell", "")
    assert "give hub_token, address again with --set" in tiny.resume()
    assert "give address again" in tiny.resume("hub_token=abc")
    tiny.ran()
    assert tiny.resume("hub_token=abc", "address=https://example.org/b?sig=1") == ""
    assert tiny.ran() == "tell"


def test_json_is_the_record_alone_and_of_a_run_that_failed_too(tiny, capsys):
    from edgeline.cli.run import run_pipeline
    from edgeline.errors import EdgelineError

    run_pipeline("tiny.py", ("word=abc",), tiny.root, False, as_json=True)
    told = capsys.readouterr()
    assert json.loads(told.out)["tasks"]["tell"]["outputs"]["Output"] == "9 to here"
    assert "report:" in told.err
    tiny.before("grow", "raise ValueError('no water')")
    with pytest.raises(EdgelineError, match="grow failed"):
        run_pipeline("tiny.py", ("word=abc",), tiny.root, False, as_json=True)
    assert json.loads(capsys.readouterr().out)["state"] == "failed"


def test_the_record_says_what_ran_with_what_and_where(tiny):
    tiny.run()
    record = tiny.record()
    assert record["parameters"] == {
        "word": "ab", "times": 3, "address": "here", "hub_token": "",
    }  # fmt: skip
    assert record["source"] == "tiny.py" and record["packages"]["kfp"].startswith("2.17")
    assert record["host"]["cpus"] >= 1 and re.match(r"\d{4}-\d\d-\d\dT", record["started"])
    assert record["tasks"]["read"]["began"] >= record["started"]
    assert len(record["code"]) == 16 and len(record["pipeline_digest"]) == 64


def test_a_run_that_is_running_is_left_alone(tiny):
    from edgeline.local.folders import held

    tiny.before("tell", FAILS)
    tiny.run()
    [run] = tiny.runs
    before = (run / "run.json").read_bytes()
    with held(run):
        assert "is running (process " in tiny.resume()
    assert (run / "run.json").read_bytes() == before


def test_a_file_system_without_locks_keeps_runs_too(tiny, monkeypatch):
    import errno
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    tiny.before("tell", FAILS)
    tiny.run()
    tiny.before("tell", "")
    assert tiny.resume() == ""


def test_what_cannot_be_gone_on_with_is_told(tiny, monkeypatch):
    assert "No run is kept in" in tiny.resume()
    tiny.before("tell", FAILS)
    tiny.run()
    [run] = tiny.runs
    assert f"There is no run 'other' in {tiny.root}. " in tiny.resume(name="other")
    assert "fails" not in tiny.resume(name=run.name)
    (tiny.folder / "elsewhere").mkdir()
    monkeypatch.chdir(tiny.folder / "elsewhere")
    assert f"was started in {tiny.folder}" in tiny.resume()
    monkeypatch.chdir(tiny.folder)
    (tiny.folder / "tiny.py").write_text(
        (tiny.folder / "tiny.py").read_text().replace("times: int = 3", "how_often: int = 3")
        .replace("times=times)", "times=how_often)")
    )  # fmt: skip
    assert tiny.resume() != ""
    (run / "run.json").write_text("{")
    assert "is not JSON" in tiny.resume(name=run.name)
    (run / "run.json").write_text(json.dumps({"tasks": {}}))
    assert "was written by another edgeline" in tiny.resume(name=run.name)


def test_a_pipeline_that_is_gone_goes_on_as_it_was(tiny):
    tiny.before("tell", FAILS)
    tiny.run()
    tiny.ran()
    tiny.before("tell", "")
    (tiny.folder / "tiny.py").unlink()
    assert tiny.resume() == ""
    assert tiny.ran() == "tell"


def test_a_record_without_its_process_is_of_an_interrupted_run(tiny):
    from edgeline.local import record as records

    tiny.run()
    [run] = tiny.runs
    own = json.loads((run / "run.json").read_text())
    own["state"] = own["tasks"]["tell"]["state"] = "running"  # as kill -9 leaves it
    (run / "run.json").write_text(json.dumps(own))
    found = records.read(run)
    assert found["state"] == "interrupted"
    assert records.restored(run, found).tasks["tell"].state == "canceled"
    own["tasks"]["tell"]["plan"] = {}
    with pytest.raises(EdgelineError, match=r"run\.json is damaged"):
        records.restored(run, own)


def test_tasks_side_by_side_write_one_record_and_none_after_the_last_word(tiny):
    import io
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace

    from rich.console import Console

    from edgeline.local import record as records
    from edgeline.local.here import _recorded
    from edgeline.local.progress import Progress

    tiny.run()
    [run] = tiny.runs
    told = records.read(run)
    tasks = dict(records.restored(run, told).tasks)
    recorder = records.Recorder(run, {key: told[key] for key in told if key != "tasks"}, tasks)
    late = []

    def rounds(change):
        late.append(change)

        def one(number):
            own = replace(tasks["grow"], task=replace(tasks["grow"].task, component=f"r[{number}]"))
            tasks[f"r[{number}]"] = own
            change(own)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, range(40)))
        raise KeyboardInterrupt

    console = Console(file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        _recorded(rounds, recorder, Progress(console, []), lambda: None)
    late[0](tasks["tell"])  # of a thread that only now sees that it is over
    record = tiny.record()
    assert record["state"] == "interrupted" and len(record["tasks"]) == 43
    assert not list(run.glob("*.partial"))


LOOP = """
from kfp import dsl


@dsl.component(base_image="python", install_kfp_package=False)
def grow(word: str, grown: dsl.Output[dsl.Artifact]) -> str:
    from pathlib import Path

    if word == Path("bad").read_text():
        raise ValueError("no room")
    with open("ran.txt", "a") as stream:
        stream.write(f"{word} ")
    Path(grown.path).write_text(word)
    return word


@dsl.component(base_image="python", install_kfp_package=False)
def join(words: list) -> str:
    with open("ran.txt", "a") as stream:
        stream.write("join ")
    return "".join(sorted(words))


@dsl.pipeline(name="tiny")
def pipeline(words: list = ["a", "b", "a", "c"]):
    with dsl.ParallelFor(words) as word:
        grown = grow(word=word)
    join(words=dsl.Collected(grown.outputs["Output"]))
"""


def test_of_a_loop_only_the_rounds_run_again_that_have_not_ended_well(tiny):
    (tiny.folder / "tiny.py").write_text(LOOP)
    (tiny.folder / "bad").write_text("b")
    assert "no room" in tiny.run()
    first = sorted(tiny.ran().split())
    assert set(first) <= {"a", "c"}
    (tiny.folder / "bad").write_text("")
    assert tiny.resume() == ""
    second = sorted(tiny.ran().split())
    assert "b" in second and "join" in second and not set(first) & set(second)
    record = tiny.record()
    assert record["tasks"]["join"]["outputs"]["Output"] == "aabc"
    states = [task["state"] for task in record["tasks"].values()]
    assert len(states) == 5 and set(states) <= {"cached", "succeeded"}
