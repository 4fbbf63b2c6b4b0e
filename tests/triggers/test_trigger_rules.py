"""What a triggers file may say: each mistake is a sentence with the file and the line."""

from __future__ import annotations

import pytest

from edgeline.errors import UsageError
from edgeline.triggers.rules import filled, read

GOOD = """\
rules:
  - name: taxi-drift
    model: taxi
    signals: [drift, io.edgeline.decay.measured]
    same: feature
    quorum: 5
    of: 200
    within: 3600
    cool_down: 86400
    budget: 1
    run:
      pipeline: taxi
      parameters: {steps: 2000}
      where: here
    then: publish
"""
FAULTS = [
    ("quorum: 5", "quorum: five", 6, "Expected `int`, got `str` (rules[0].quorum)"),
    ("quorum: 5", "quorum: 0", 6, "Expected `int` >= 1"),
    ("quorum: 5", "quorum: 500", 6, "asks for 500 devices of 200"),
    ("    budget: 1", "    budgets: 1", 10, "unknown field `budgets`"),
    ("budget: 1", "budget: 1\n    budget: 2", 1, "line 11 has 'budget' again"),
    ("pipeline: taxi", "pipelines: taxi", 12, "unknown field `pipelines`"),
    ("      pipeline: taxi\n", "", 11, "missing required field `pipeline`"),
    ("[drift,", "[drfit,", 4, "has the signal drfit, which is not one of drift, range"),
    ("name: taxi-drift", "name: Taxi", 2, "Expected `str` matching regex"),
    ("where: here", "where: kfp.example", 14, "runs in 'kfp.example': give here, or the http"),
    ("where: here", "namespace: team", 14, "has namespace, which a run here does not use"),
    ("where: here", "data: {base: a.parquet, payloads: p, labels: l}", 14, "not a .csv file"),
    ("{steps: 2000}", "{steps: .nan}", 13, "steps"),
    ("then: publish", "then: ship", 15, "Invalid enum value 'ship'"),
    ("rules:", "rules: [", 2, "did not find expected node"),
]


def test_a_file_is_read_with_its_defaults(tmp_path):
    (tmp_path / "triggers.yaml").write_text(GOOD)
    found = read(tmp_path / "triggers.yaml")
    [rule] = found.rules
    assert (rule.quorum, rule.of, rule.run.parameters) == (5, 200, {"steps": 2000})
    assert rule.run.is_here and found.max_age == 3600


@pytest.mark.parametrize(("old", "new", "line", "said"), FAULTS)
def test_a_mistake_is_told_with_its_line(old, new, line, said, tmp_path):
    file = tmp_path / "triggers.yaml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UsageError) as refused:
        read(file)
    assert str(refused.value).startswith(f"{file}, line {line}: "), refused.value
    assert said in str(refused.value)


def test_two_rules_of_a_name_and_a_file_that_is_not_there_are_refused(tmp_path):
    file = tmp_path / "triggers.yaml"
    with pytest.raises(UsageError, match="cannot be read"):
        read(file)
    file.write_text(GOOD + GOOD.removeprefix("rules:\n"))
    with pytest.raises(UsageError, match="line 16: rule 'taxi-drift' is there twice"):
        read(file)


def test_places_are_filled_in_and_other_braces_stay():
    given = {"a": "x {since} {other}", "b": [{"c": "{mark}"}], "d": 3}
    places = {"since": "2026", "mark": "m-1"}
    assert filled(given, places) == {"a": "x 2026 {other}", "b": [{"c": "m-1"}], "d": 3}
