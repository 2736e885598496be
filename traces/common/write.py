"""Writing columns as CSV, gzipped CSV or Parquet: whole or not at all, the same bytes for the same columns."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import TraceError

SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Numbers as arrays, text as lists; NaN is written as nothing.
Columns = Mapping[str, "np.ndarray | list[str]"]


def check_suffix(path: str | Path) -> str:
    """The file name without its ending.

    Raises:
        TraceError: Not one of the endings that are written.
    """
    name = Path(path).name
    for suffix in SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix)
    raise TraceError(f"{path}: the ending tells the format; take one of {', '.join(SUFFIXES)}")


def check_free(path: str | Path, *, force: bool, source: str | Path | None = None) -> None:
    """Refuse to write over what is there.

    Args:
        path: What is to be written.
        force: Replace an existing file.
        source: What is read; never written over, not even with ``force``.

    Raises:
        TraceError: ``path`` exists and ``force`` was not given, or it is the file that is read.
    """
    path = Path(path)
    if not path.exists():
        return
    if source is not None and Path(source).exists() and path.samefile(source):
        raise TraceError(f"{path}: is the file that is read; write to another name")
    if not force:
        raise TraceError(f"{path}: is there already; choose another name, or --force to replace it")


def write_columns(columns: Columns, path: str | Path) -> None:
    """Write columns of equal length to ``path``; what is written depends on them alone.

    CSV numbers are the shortest decimals that read back as the same float64. A gzip file has no name and no time in its
    header.

    Raises:
        TraceError: An ending other than ``.csv``, ``.csv.gz`` and ``.parquet``, or a folder that cannot be written to.
    """
    check_suffix(path)
    name = str(path)
    if name.endswith(".parquet"):
        write_atomically(path, lambda file: pq.write_table(_table(columns), file, compression="zstd"))
    elif name.endswith(".csv"):
        write_atomically(path, lambda file: _write_csv(columns, file))
    else:
        write_atomically(path, lambda file: _write_gzip(columns, file))


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write to a file beside ``path`` and rename it when it is complete.

    Raises:
        TraceError: The folder does not exist or cannot be written to, or the disk is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            write(file)
        os.replace(part, path)
    except OSError as error:
        raise TraceError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        part.unlink(missing_ok=True)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def _write_csv(columns: Columns, file: BinaryIO) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_as_text(values) for values in columns.values()), strict=True))
    text.flush()
    text.detach()


def _as_text(values: np.ndarray | list[str]) -> Iterator[str]:
    if isinstance(values, list):
        return iter(values)
    if values.dtype.kind == "f" and np.isnan(values).any():
        return ("" if value != value else repr(value) for value in values.tolist())
    return map(repr, values.tolist())


def _write_gzip(columns: Columns, file: BinaryIO) -> None:
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        _write_csv(columns, packed)  # pyright: ignore[reportArgumentType]
