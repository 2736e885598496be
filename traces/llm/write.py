"""Writing a trace in handrail's own columns, as CSV, gzipped CSV or Parquet, which the generic reader reads back."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import TraceError
from .request_trace import RequestTrace

SUFFIXES = (".csv", ".csv.gz", ".parquet")


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


def write_trace(trace: RequestTrace, path: str | Path) -> None:
    """Write ``trace`` to ``path``, whole or not at all; what is written depends on the trace alone.

    CSV times are the shortest decimals that read back as the same float64, so that the content hash survives. A gzip
    file has no name and no time in its header.

    Raises:
        TraceError: An ending other than ``.csv``, ``.csv.gz`` and ``.parquet``, an empty trace, or a folder that cannot
            be written to.
    """
    check_suffix(path)
    name = str(path)
    if len(trace) == 0:
        raise TraceError(f"{name}: a trace without requests is not written; choose a wider window")
    if name.endswith(".parquet"):
        write_atomically(path, lambda file: pq.write_table(_table(trace), file, compression="zstd"))
    elif name.endswith(".csv"):
        write_atomically(path, lambda file: _write_csv(trace, file))
    else:
        write_atomically(path, lambda file: _write_gzip(trace, file))


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


def _columns(trace: RequestTrace) -> dict[str, np.ndarray | list[str]]:
    """Columns to write, in order: numbers as arrays, text as lists."""
    columns: dict[str, np.ndarray | list[str]] = {
        "arrival_s": trace.arrival_s,
        "prompt_tokens": trace.prompt_tokens,
        "output_tokens": trace.output_tokens,
    }
    if trace.session_id is not None:
        columns["session_id"] = ["" if i < 0 else str(i) for i in trace.session_id.tolist()]
    for name, codes, names in (
        ("tenant", trace.tenant, trace.tenant_names),
        ("model", trace.model, trace.model_names),
    ):
        if codes is not None:
            columns[name] = [names[code] for code in codes.tolist()]
    if trace.priority is not None:
        columns["priority"] = trace.priority
    if trace.prefix_blocks is not None:
        offsets, ids = (array.tolist() for array in trace.prefix_blocks)
        columns["prefix_blocks"] = [" ".join(map(str, ids[a:b])) for a, b in itertools.pairwise(offsets)]
        columns["prefix_block_tokens"] = np.full(len(trace), trace.prefix_block_tokens)
    return columns


def _table(trace: RequestTrace) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in _columns(trace).items()})


def _write_csv(trace: RequestTrace, file: BinaryIO) -> None:
    columns = _columns(trace)
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(_as_text(values) for values in columns.values()), strict=True))
    text.flush()
    text.detach()


def _as_text(values: np.ndarray | list[str]) -> Iterator[str]:
    return iter(values) if isinstance(values, list) else map(repr, values.tolist())


def _write_gzip(trace: RequestTrace, file: BinaryIO) -> None:
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed:
        _write_csv(trace, packed)  # pyright: ignore[reportArgumentType]
