"""Archives that strangers made: opened with limits on what reading their lists alone may cost.

`tarfile` and `zipfile` read a list of entries before anybody can look at one: of a zip the whole
directory at its end, of a tar each header, among them hidden ones (long names, pax records) whose
content goes into memory. So a few megabytes of either could take gigabytes. What the entries' own
content may be is said by whoever reads it.

Sources: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16; POSIX.1-2001's pax format.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, ClassVar

from edgeline.errors import EdgelineError

MOST_ENTRIES = 20_000
MOST_HIDDEN = 1 << 20  # bytes of a hidden header of a tar
_DIRECTORY = 256 * MOST_ENTRIES  # bytes of a zip's list
# the records at a zip's end, and their bytes
_END, _END_BYTES = b"PK\x05\x06", 22
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_END64, _END64_BYTES = b"PK\x06\x06", 56
_TAIL = (1 << 16) + _END_BYTES + _LOCATOR_BYTES  # with the longest comment
_HIDDEN = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def _lzma_errors() -> tuple[type[Exception], ...]:
    try:
        import lzma
    except ImportError:  # Python can be built without
        return ()
    return (lzma.LZMAError,)


# what reading the content of an entry raises where it is damaged
TORN: tuple[type[Exception], ...] = (EOFError, zipfile.BadZipFile, zlib.error, *_lzma_errors())
# and what an archive does: RuntimeError for what is encrypted, or nested too deep
DAMAGED: tuple[type[Exception], ...] = (*TORN, OSError, ValueError, RuntimeError, tarfile.TarError)


def open_zip(file: Path | IO[bytes], shown: str) -> zipfile.ZipFile:
    """A zip, whose list is not above the limits.

    Args:
        shown: what it is called.

    Raises:
        EdgelineError: it has too many entries.
        One of DAMAGED: it is not a zip.
    """
    if isinstance(file, Path):
        with open(file, "rb") as stream:
            length = _directory_bytes(stream)
    else:
        length = _directory_bytes(file)
    if length > _DIRECTORY:
        raise _too_many(shown)
    archive = zipfile.ZipFile(file)
    if len(archive.infolist()) > MOST_ENTRIES:
        archive.close()
        raise _too_many(shown)
    return archive


def open_tar(file: Path | IO[bytes], shown: str, most: int) -> tarfile.TarFile:
    """A tar, packed or not, whose headers are checked against the limits as they are read.

    Args:
        shown: what it is called.
        most: bytes of all that is in it; iterating raises an EdgelineError beyond that, and for too
            many entries.

    Raises:
        One of DAMAGED: it is not a tar.
    """
    info = type("_CheckedInfo", (_HeldInfo,), {"shown": shown, "most": most, "headers": [0]})
    if isinstance(file, Path):
        return tarfile.open(file, tarinfo=info)
    return tarfile.open(fileobj=file, mode="r:*", tarinfo=info)


class _HeldInfo(tarfile.TarInfo):
    shown: ClassVar[str]
    most: ClassVar[int]
    headers: ClassVar[list[int]]  # one number: how many were read

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _HeldInfo:
        found = super().frombuf(buf, encoding, errors)
        cls.headers[0] += 1
        # a name that is too long is an entry with a header in front
        if cls.headers[0] > 3 * MOST_ENTRIES:
            raise _too_many(cls.shown)
        if found.type in _HIDDEN and found.size > MOST_HIDDEN:
            raise EdgelineError(f"{cls.shown} has a name of {found.size} bytes: pack it again.")
        if found.type == tarfile.GNUTYPE_SPARSE:
            raise EdgelineError(f"{cls.shown} has a file with holes: pack it without --sparse.")
        if found.size > cls.most:
            raise _too_large(cls.shown, cls.most)
        return found

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _HeldInfo:
        if tarfile.offset > cls.most:
            raise _too_large(cls.shown, cls.most)
        return super().fromtarfile(tarfile)


def _directory_bytes(stream: IO[bytes]) -> int:
    """How long a zip says its list is; 0 where it is not a zip, which `zipfile` says.

    The records are looked for where `zipfile` does: an archive may hold several.
    """
    size = stream.seek(0, 2)
    start = max(0, size - _TAIL)
    stream.seek(start)
    tail = stream.read(_TAIL)
    place = len(tail) - _END_BYTES
    if not (tail[place:].startswith(_END) and tail.endswith(b"\0\0")):
        place = tail.rfind(_END)
    if place < 0:
        return 0
    found = int.from_bytes(tail[place + 12 : place + 16], "little")
    if tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_LOCATOR):
        stream.seek(max(0, start + place - _LOCATOR_BYTES - _END64_BYTES))
        record = stream.read(_END64_BYTES)
        if record.startswith(_END64):
            found = int.from_bytes(record[40:48], "little")
    stream.seek(0)
    return found


def _too_many(shown: str) -> EdgelineError:
    return EdgelineError(f"{shown} has more than {MOST_ENTRIES:,} entries: pack what is needed.")


def _too_large(shown: str, most: int) -> EdgelineError:
    return EdgelineError(f"{shown} unpacks to more than {most >> 30} GiB: pack what is needed.")
