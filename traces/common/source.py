"""Getting at the bytes of a trace file: plain, gzip, zstd or zip (told by magic bytes), never above a stated size."""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from ..errors import TraceError

DEFAULT_MAX_ROWS = 20_000_000
DEFAULT_MAX_BYTES = 4 * 1024**3
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PARQUET_MAGIC = b"PAR1"
UTF8_BOM = b"\xef\xbb\xbf"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # with files and without
_OTHER_PACKINGS = {
    b"BZh": "bzip2 data",
    b"\xfd7zXZ": "xz data",
}
_CHUNK_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class Source:
    """A trace file in memory.

    Attributes:
        name: The file name as the user gave it, for messages.
        data: The content, decompressed.
        max_rows: More rows than this are refused.
        items: What its rows are called in messages.
    """

    name: str
    data: bytearray
    max_rows: int
    items: str = "requests"

    def error(self, problem: str) -> TraceError:
        return TraceError(f"{self.name}: {problem}")

    def bad_value(self, place: str, field: str, problem: str) -> TraceError:
        return TraceError(f"{self.name}: {place}, field {field!r}: {problem}")

    def check_rows(self, rows: int) -> None:
        if rows > self.max_rows:
            raise self.error(f"more than {self.max_rows:,} rows; cut the file or raise max_rows (--max-rows)")
        if rows == 0:
            raise self.error(f"no {self.items} in it (a header line and nothing else); check that it is the right file")

    def backwards(self, place: str, field: str) -> TraceError:
        return self.bad_value(place, field, "time goes backwards; sort the file, or let --sort (sort=True) do it")


def read_source(
    path: str | Path,
    *,
    max_rows: int = DEFAULT_MAX_ROWS,
    max_bytes: int = DEFAULT_MAX_BYTES,
    items: str = "requests",
) -> Source:
    """The whole file in memory, decompressed where it is gzip, zstd or a zip archive of one file.

    Raises:
        TraceError: No such file, not readable, empty, larger than ``max_bytes`` once decompressed, gzip, zstd or zip
            that is truncated or damaged, or packed in a way that is not read here.
    """
    name = str(path)
    if max_rows < 1 or max_bytes < 1:
        raise TraceError(f"{name}: max_rows and max_bytes must be at least 1")
    try:
        with open(path, "rb") as file:
            data = _read_capped(file, name, max_bytes)
    except FileNotFoundError:
        raise TraceError(f"{name}: no such file; `handrail traces list` shows the traces known by name") from None
    except IsADirectoryError:
        raise TraceError(f"{name}: is a folder; give the trace file in it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TraceError(f"{name}: cannot be read ({reason})") from None
    if not data or data.isspace():
        raise TraceError(f"{name}: the file is empty; fetch or export it again")
    for magic, what in _OTHER_PACKINGS.items():
        if data.startswith(magic):
            raise TraceError(f"{name}: is {what}; unpack it first (plain files, gzip, zstd and zip are read)")
    return Source(name, data, max_rows, items)


def _read_capped(file: BinaryIO, name: str, max_bytes: int) -> bytearray:
    head = file.read(len(ZIP_MAGICS[0]))
    plain: Callable[[int], bytes] = file.read
    data = bytearray()
    if not head.startswith(GZIP_MAGIC):
        data += head
        _append_all(data, plain, name, max_bytes)
        if head == ZSTD_MAGIC:
            return _unpacked_zstd(data, name, max_bytes)
        return _unzipped(data, name, max_bytes) if head in ZIP_MAGICS else data
    with gzip.GzipFile(fileobj=io.BufferedReader(_Rewound(head, file))) as unpacked:
        try:
            _append_all(data, unpacked.read, name, max_bytes)
        except EOFError:
            raise TraceError(f"{name}: the gzip data is truncated; fetch or copy the file again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise TraceError(f"{name}: the gzip data is damaged ({error}); fetch or copy the file again") from None
    return data


def _unpacked_zstd(packed: bytearray, name: str, max_bytes: int) -> bytearray:
    data = bytearray()
    try:
        with pa.CompressedInputStream(pa.py_buffer(packed), "zstd") as stream:
            _append_all(data, stream.read, name, max_bytes)
    except (OSError, pa.ArrowException) as error:
        problem = str(error).splitlines()[0]
        raise TraceError(f"{name}: the zstd data is damaged ({problem}); fetch or copy the file again") from None
    return data


def _unzipped(packed: bytearray, name: str, max_bytes: int) -> bytearray:
    """The one file of a zip archive."""
    data = bytearray()
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise TraceError(f"{name}: the zip archive holds {len(members)} files; pack the trace file alone")
            with archive.open(members[0]) as member:
                _append_all(data, member.read, name, max_bytes)
    except RuntimeError as error:
        raise TraceError(f"{name}: the zip archive cannot be unpacked ({error}); unpack it first") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, struct.error) as error:
        raise TraceError(f"{name}: the zip archive is damaged ({error}); fetch or copy the file again") from None
    return data


def _append_all(data: bytearray, read: Callable[[int], bytes], name: str, max_bytes: int) -> None:
    while chunk := read(_CHUNK_BYTES):
        data += chunk
        if len(data) > max_bytes:
            raise TraceError(
                f"{name}: more than {max_bytes:,} bytes unpacked; cut the file or raise max_bytes (--max-bytes)"
            )


class _Rewound(io.RawIOBase):
    """A stream with the bytes already read put back in front, for files that cannot seek (pipes)."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        chunk = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        self._head = self._head[len(chunk) :] if self._head else b""
        buffer[: len(chunk)] = chunk
        return len(chunk)
