"""The sentences that say why an edge model is not approved."""

import pytest

from edgeline.components.verify.findings import Limits, reasons_of
from edgeline.components.verify.latency import Latency
from edgeline.components.verify.parity import Parity

FAST = Latency(1, 0.1, 0.1, 0.1, (), 10, None, None)


@pytest.mark.parametrize(("difference", "said"), [(1.0004e-5, "1.0004e-05"), (0.25, "0.25")])
def test_a_value_just_above_its_limit_does_not_read_as_the_limit(difference, said):
    found = Parity(rows=10, outputs={"y": {"max_difference": difference, "mean_difference": 0.0}})
    [reason] = reasons_of(found, FAST, [], Limits(1e-5, 1.0), "in the cloud")
    assert reason == f"The largest difference is {said}, above the limit of 1e-05."


def test_neither_does_a_drop_or_a_share_of_decisions():
    drop = {"accuracy": {"cloud": 0.9, "edge": 0.8899996, "drop": 0.0100004}}
    found = Parity(
        rows=1_000_000,
        outputs={"y": {"max_difference": 0.0, "mean_difference": 0.0}},
        changed_decisions=50_001,
        metrics=drop,
    )
    share, metric = reasons_of(found, FAST, [], Limits(1.0, 0.05), "in the cloud")
    assert "(5.0001%), above the limit of 5.0000%." in share
    assert "0.0100004 worse, above the limit of 0.01." in metric
