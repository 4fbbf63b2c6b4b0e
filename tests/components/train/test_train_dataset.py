"""The order of rows in training, and what is held of them at once."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeline import artifacts
from edgeline.artifacts import batches, examples
from edgeline.artifacts.features import Feature

ROWS, WIDTH = 96, 50


@pytest.fixture
def sorted_images(tmp_path):
    """96 rows of 50 floats, sorted by 4 classes, 8 rows per row group, in two parts."""
    with artifacts.writing(tmp_path / "examples", examples.TRANSFORMED_SCHEMA) as draft:
        (draft.path / "train").mkdir()
        for part in range(2):
            numbers = np.arange(part * ROWS // 2, (part + 1) * ROWS // 2)
            pixels = np.repeat(numbers.astype(np.float32), WIDTH)
            image = pa.FixedSizeListArray.from_arrays(pa.array(pixels), WIDTH)
            table = pa.table({"image": image, "class": pa.array(numbers // 24)})
            path = draft.path / "train" / f"part-{part:05d}.parquet"
            pq.write_table(table, path, row_group_size=8)
        draft.metadata["splits"] = {"train": {"rows": ROWS}}
    return artifacts.read(tmp_path / "examples", examples.TRANSFORMED_SCHEMA)


def epoch(transformed, seed):
    """Numbers and classes of as many rows as there are."""
    from edgeline.components.train import dataset

    columns = [Feature("image", "float32", (WIDTH,)), Feature("class", "int64")]
    found = dataset.training_batches(transformed, "train", columns, "class", 8, seed)
    pairs = [(x["image"][:, 0].numpy(), y.numpy()) for x, y in found.take(ROWS // 8)]
    return tuple(np.concatenate(side).reshape(-1).tolist() for side in zip(*pairs, strict=True))


def test_long_rows_come_in_small_blocks_from_all_over_the_split(sorted_images, monkeypatch):
    from edgeline.components.train import dataset

    row = 4 * WIDTH + 8
    monkeypatch.setattr(dataset, "SHUFFLE_BYTES", 32 * row)
    blocks = dataset._blocks(
        sorted_images, "train", ["image", "class"], np.random.default_rng([0, 0])
    )
    sizes = [sum(batches.row_bytes(batch).sum() for batch in block) for block in blocks]
    assert sizes == [32 * row] * 3
    numbers, classes = epoch(sorted_images, [0, 0])
    assert sorted(numbers) == list(range(ROWS))  # every row once
    assert [int(n) // 24 for n in numbers] == classes
    assert all(len(set(classes[start : start + 32])) > 1 for start in range(0, ROWS, 32))
    assert epoch(sorted_images, [0, 0]) == (numbers, classes) != epoch(sorted_images, [0, 1])


def test_short_rows_are_shuffled_together(sorted_images):
    numbers, _ = epoch(sorted_images, [0, 0])
    order = np.random.default_rng([0, 0, 0]).permutation(ROWS // 2)
    assert numbers[: ROWS // 2] == order.tolist()  # the first part, as it always was
