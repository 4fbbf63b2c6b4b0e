"""What the tests of convert share."""

import pytest

from edgeline.components.convert import child


@pytest.fixture
def in_this_process(monkeypatch):
    """Convert in this process, where TensorFlow is imported already."""

    def call(function, *arguments, time_limit):
        assert time_limit > 0
        return function(len, *arguments)

    monkeypatch.setattr(child, "call", call)
