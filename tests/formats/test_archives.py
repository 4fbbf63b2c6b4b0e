"""Archives made to cost more than they hold."""

from __future__ import annotations

import io
import lzma
import resource
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from edgeline.errors import EdgelineError
from edgeline.formats import archives

ONE = 1 << 20


def zip_of(names: int) -> bytes:
    """A zip whose list says that it has so many empty files."""
    name = b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *([0] * 6), 0, 0, 0, 1, *([0] * 4), 0, 0)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *([0] * 5), 0, 0, 0, 1, 0) + name
    listed = (entry + name) * names
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, len(listed), len(local), 0)
    return local + listed + end


def header(kind: bytes, size: int) -> bytes:
    entry = tarfile.TarInfo("a")
    entry.type, entry.size = kind, size
    return entry.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", ["stream", "path", "with a comment", "an end within the end"])
def test_a_zip_with_too_many_entries_costs_nothing(tmp_path: Path, kind: str) -> None:
    content = zip_of(300_000)
    if kind == "with a comment":
        content = content[:-2] + struct.pack("<H", 3) + b"abc"
    if kind == "an end within the end":  # zipfile takes the whole one
        content = content[:-6] + b"PK\x05\x06\0\0"
    (tmp_path / "x.zip").write_bytes(content)
    file = tmp_path / "x.zip" if kind == "path" else io.BytesIO(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EdgelineError, match="x has more than 20,000 entries"):
        archives.open_zip(file, "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_zip64_is_held_to_the_same() -> None:
    content = zip_of(200_000)
    end, length = content[-22:], 47 * 200_000
    wide = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 0, 0, 0, 0, 0, 0, length, 31)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(content) - 22, 1)
    small = end[:12] + struct.pack("<L", 47) + end[16:]
    with pytest.raises(EdgelineError, match="20,000 entries"):
        archives.open_zip(io.BytesIO(content[:-22] + wide + locator + small), "x")


def test_a_zip_of_short_names_is_counted() -> None:
    with pytest.raises(EdgelineError, match="20,000 entries"):
        archives.open_zip(io.BytesIO(zip_of(archives.MOST_ENTRIES + 1)), "x")


def test_what_is_within_the_limits_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("a", b"1")
        made.comment = b"PK\x05\x06"
    with pytest.raises(archives.DAMAGED):  # zipfile itself takes the comment for the end
        archives.open_zip(tmp_path / "x.zip", "x")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as made:
        made.writestr("a", b"1")
    with archives.open_zip(tmp_path / "y.zip", "y") as opened:
        assert opened.read("a") == b"1"
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("n" * 300), io.BytesIO())
    with archives.open_tar(tmp_path / "x.tar.gz", "x", ONE) as tar:
        assert [entry.name for entry in tar] == ["n" * 300]


@pytest.mark.parametrize("kind", archives._HIDDEN)
def test_a_hidden_header_is_not_read_into_memory(kind: bytes) -> None:
    with pytest.raises(EdgelineError, match=f"a name of {1 << 32} bytes"):
        archives.open_tar(io.BytesIO(header(kind, 1 << 32) + bytes(512)), "x", 1 << 40)


def test_a_tar_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 100)
    content = zlib.compress(header(tarfile.REGTYPE, 0) * (3 * archives.MOST_ENTRIES + 2), wbits=31)
    with (
        archives.open_tar(io.BytesIO(content), "x", ONE << 10) as tar,
        pytest.raises(EdgelineError, match="100 entries"),
    ):
        list(tar)


def test_a_tar_is_not_unpacked_beyond_its_limit_to_skip_a_file() -> None:
    entry = header(tarfile.REGTYPE, ONE) + bytes(ONE)
    with (
        archives.open_tar(io.BytesIO(entry * 4), "x", 2 * ONE) as tar,
        pytest.raises(EdgelineError, match="x unpacks to more than"),
    ):
        list(tar)
    with pytest.raises(EdgelineError, match="x unpacks to more than"):
        archives.open_tar(io.BytesIO(header(tarfile.REGTYPE, 1 << 32)), "x", ONE)


def test_headers_nested_without_end_and_files_with_holes_are_refused() -> None:
    nested = (header(tarfile.XHDTYPE, 12) + b"12 path=aaa\n".ljust(512, b"\0")) * 2000
    with pytest.raises(archives.DAMAGED):
        archives.open_tar(io.BytesIO(nested), "x", 1 << 30)
    with pytest.raises(EdgelineError, match="a file with holes"):
        archives.open_tar(io.BytesIO(header(tarfile.GNUTYPE_SPARSE, 0)), "x", 1 << 30)


def test_what_torn_archives_raise_is_known(tmp_path: Path) -> None:
    assert lzma.LZMAError in archives.DAMAGED
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", bytes(9999))
    content = bytearray((tmp_path / "x.zip").read_bytes())
    content[31:40] = b"\xff" * 9
    with (
        archives.open_zip(io.BytesIO(content), "x") as opened,
        pytest.raises(archives.TORN),
    ):
        opened.read("a")
