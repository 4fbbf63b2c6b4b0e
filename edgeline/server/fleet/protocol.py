"""What a device and the fleet's server have agreed on: paths, headers, sizes, words.

A status is one POST of JSON whose exact bytes the device's key has signed (Ed25519, RFC 8032). The
headers name the device and hold the signature, so that nothing of a body is read before it is known
to be the device's own.
"""

from __future__ import annotations

from typing import Literal, get_args

STATUS, ENROLL = "/v1/fleet/status", "/v1/fleet/enroll"
DEVICE = "X-Edgeline-Device"
SIGNATURE = "X-Edgeline-Device-Signature"  # of the body by the device's key, base64
TOKEN_SIGNATURE = "X-Edgeline-Token-Signature"  # of an enrolment by the token's key, base64
LARGEST = 64 << 10  # bytes of a body
LARGEST_COUNTER = 2**53 - 1  # what every reader of JSON keeps exactly
MOST_MODELS = 64  # of a status
MOST_GROUPS = 100  # of a status
LONGEST_WHY = 500  # characters
LONGEST_TEXT = 200  # characters of a name
SOON = 5.0  # seconds between two looks for keys that unknown devices cause
MISSED = 3  # intervals without a status after which a device is stale

DeviceOutcome = Literal["serving", "trying", "failed", "waiting", "returned"]
OUTCOMES: tuple[DeviceOutcome, ...] = get_args(DeviceOutcome)
# what a bucket's object is called; a device writes these two and no other
STATUS_SUFFIX, ENROLL_SUFFIX = ".status", ".enroll"


def dropped(signatures: dict[str, str], body: bytes) -> bytes:
    """What lies in a bucket in place of a request: a line for each header, an empty one, the
    body."""
    head = "".join(f"{name}: {value}\n" for name, value in signatures.items())
    return head.encode() + b"\n" + body


def picked_up(content: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """The headers, in lower case, and the body of what was dropped.

    Raises:
        ValueError: it is something else.
    """
    head, blank, body = content.partition(b"\n\n")
    lines = [line.partition(b": ") for line in head.split(b"\n")]
    if not blank or len(lines) > 4 or not all(colon for _, colon, _ in lines):
        raise ValueError("it has no headers and body")
    return {name.lower(): value for name, _, value in lines}, body
