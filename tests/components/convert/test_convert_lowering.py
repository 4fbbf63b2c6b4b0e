"""Every lowered operator against TensorFlow, on random and edge values, run by LiteRT."""

import numpy as np
import pytest

pytestmark = pytest.mark.slow

# of lowering_cases.py, which TensorFlow is imported for
CASES = (
    "UpperBound",
    "UpperBound int32",
    "UpperBound int64",
    "UpperBound no boundary",
    "LowerBound",
    "LowerBound int64",
    "LookupTableFindV2",
    "LookupTableFindV2 string",
    "LookupTableFindV2 of one bucket",
    "LookupTableFindV2 of floats",
    "LookupTableFindV2 of int32",
    "LookupTableSizeV2",
    "StringToHashBucketFast",
    "StringToHashBucket",
    "StringToHashBucketStrong",
    "BatchToSpaceND",
    "BatchToSpaceND of pictures",
    "AsString",
    "SelectV2",
    "SelectV2 with a bucket",
    "SelectV2 twice",
    "Select",
    "Squeeze",
    "ExpandDims",
    "Reshape",
    "Equal",
    "NotEqual",
    "Abs",
    "Sign",
    "ClipByValue",
)


@pytest.mark.parametrize("case", CASES)
def test_gives_what_tensorflow_gives(case, tmp_path):
    from lowering_cases import CASES, both

    function, dtype = CASES[case]
    cloud, edge, replaced = both(function, dtype, tmp_path)
    assert edge.dtype == cloud.dtype
    np.testing.assert_array_equal(edge, cloud)
    if " string" not in case:
        assert case.split()[0] in replaced


def test_every_entry_is_tested():
    import lowering_cases

    from edgeline.components.convert.lowering import LOWERINGS

    assert tuple(lowering_cases.CASES) == CASES
    assert {case.split()[0] for case in CASES} == LOWERINGS.keys()
