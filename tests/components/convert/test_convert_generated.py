"""Features that a grammar makes answer on the device as in the cloud, whatever is missing."""

import pytest

pytestmark = pytest.mark.slow


def test_generated_features():
    from extreme_cases import of_features
    from generated_functions import VOCABULARY, differing, functions, values

    given = values(200)
    found = of_features(functions(12, seed=2), given, raw=True, kept=VOCABULARY)
    assert differing(found, given) == {}
