"""Addresses and the client's command: what could be an option, or a shell's, is refused."""

from __future__ import annotations

import pytest

from edgeline.devices.secure_shell import SshAddress
from edgeline.errors import UsageError


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("raspberrypi", "", "raspberrypi", None),
        ("pi@10.0.0.7:2222", "pi", "10.0.0.7", 2222),
        ("pi@[fe80::1%eth0]:22", "pi", "fe80::1%eth0", 22),
        ("a_b.c@my-host.example.com", "a_b.c", "my-host.example.com", None),
    ],
)
def test_addresses(text, user, host, port):
    assert SshAddress.parse(text) == SshAddress(user, host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "-oProxyCommand=id", "pi@-oProxyCommand=id", "a b", "pi@host;id", "pi@host:0"),
        *("pi@host:65536", "pi@host:22:22", "fe80::1", "$(id)@host", "host\n", "@host", "pi@"),
    ],
)
def test_what_is_not_an_address_is_refused(text):
    with pytest.raises(UsageError, match=r"is not an address: give \[user@\]host\[:port\]"):
        SshAddress.parse(text)


def test_the_command_asks_for_nothing_and_trusts_no_new_host():
    command = SshAddress.parse("pi@host:2222").command("/opt/venv/bin/python3.11")
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ClearAllForwardings=yes"):
        assert command[command.index(option) - 1] == "-o"
    assert command[command.index("--") + 1] == "pi@host"
    assert command[-1].startswith("/opt/venv/bin/python3.11 -c '")


@pytest.mark.parametrize("python", ["", "-c", "python3; id", "python3 -c", "$(id)", "a'b", "a\nb"])
def test_a_python_that_a_shell_would_read_otherwise_is_refused(python):
    with pytest.raises(UsageError, match="is not the path of a Python"):
        SshAddress.parse("pi").command(python)
