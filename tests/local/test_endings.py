"""By what a task's process was ended: signal, shell, memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeline.local import endings


@pytest.mark.parametrize(
    ("code", "short", "said"),
    [
        (-9, False, "its process was ended by SIGKILL"),
        (137, False, "its process was ended by SIGKILL"),  # of a shell or a container
        (137, True, "its process was ended by SIGKILL, as memory ran out: give it more"),
        (139, True, "its process was ended by SIGSEGV"),
        (143, False, "its process was ended by SIGTERM"),
        (1, True, ""),
        (130, False, ""),  # Ctrl-C, which it has heard
        (200, False, ""),
        (255, False, ""),
    ],
)
def test_a_code_is_said_by_its_signal(code: int, short: bool, said: str) -> None:
    found = endings.sentence(code, short)
    assert found.startswith(said) and bool(found) == bool(said)


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/user/me\n", "user/me/memory.events"),
        ("0::/of/the/host\n", "memory.events"),  # inside a container
        ("4:cpu,memory:/a\n0::/\n", "memory/a/memory.oom_control"),
    ],
)
def test_kills_for_lack_of_memory_are_counted_where_the_kernel_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, file: str
) -> None:
    (tmp_path / "groups").write_text(groups)
    monkeypatch.setattr(endings, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(endings, "CONTROLLERS", tmp_path / "sys")
    assert endings.memory_kills() == 0
    place = tmp_path / "sys" / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("oom 3\noom_kill 2\n")
    assert endings.memory_kills() == 2
