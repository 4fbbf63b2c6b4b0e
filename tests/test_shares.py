"""The bound of a share, against scipy's."""

import pytest

from edgeline.artifacts.shares import at_most


@pytest.mark.parametrize(
    ("found", "rows"), [(0, 1), (0, 40), (3, 100), (99, 100), (500, 1_000_000), (5_000, 90_000)]
)
def test_the_bound_is_that_of_clopper_and_pearson(found, rows):
    from scipy.stats import beta

    assert at_most(found, rows) == pytest.approx(beta.ppf(0.95, found + 1, rows - found), rel=1e-3)


def test_of_all_rows_nothing_is_known():
    assert at_most(5, 5) == 1
