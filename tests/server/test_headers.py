"""Header blocks mean what hpack says they mean, whatever was remembered before; the Date."""

from __future__ import annotations

import random
import time
from email.utils import formatdate

import pytest

from edgeline.server.http import server
from edgeline.server.http.frames import BrokenError
from edgeline.server.http.headers import Headers

hpack = pytest.importorskip("hpack")


def test_remembered_blocks_follow_the_dynamic_table():
    """Blocks of one byte a header mean something else whenever the table has moved."""
    rng = random.Random(0)
    encoder, plain, ours = hpack.Encoder(), hpack.Decoder(), Headers(1 << 16)
    blocks, answers = [], {}
    for _ in range(5000):
        if rng.random() < 0.01:
            encoder.header_table_size = rng.choice([0, 100, 4096])
        names = rng.sample(["a", "b", "c"], 2)
        given = [(name, str(rng.randrange(3 if rng.random() < 0.9 else 500))) for name in names]
        block = encoder.encode(given)
        expected = {n.decode(): v.decode() for n, v in plain.decode(block, raw=True)}
        assert expected == dict(given)
        known = ours.decode(block)
        assert known is not None and known.headers == expected
        blocks.append(block)
        answers.setdefault(block, set()).add(tuple(sorted(expected.items())))
    assert len(set(blocks)) < len(blocks) / 2  # many come again
    assert any(len(meanings) > 1 for meanings in answers.values())  # with another meaning


def test_a_block_that_cannot_be_read_is_refused_and_not_remembered():
    ours = Headers(1 << 16)
    for _ in range(2):
        with pytest.raises(BrokenError, match="cannot be read"):
            ours.decode(b"\xff\xff\xff\xff\x0f")


def test_a_date_is_as_the_standard_library_writes_it(monkeypatch):
    rng = random.Random(0)
    for moment in (0, 951782400, 4102444799, *(rng.randrange(1 << 32) for _ in range(1000))):
        monkeypatch.setattr(server, "gmtime", lambda at=moment: time.gmtime(at))
        assert server.date_now().decode() == formatdate(moment, usegmt=True)
