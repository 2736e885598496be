"""``load_job_trace``: from a file, or a name that handrail knows, to a ``JobTrace``; the format is told by content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ..catalog import CATALOG
from ..common.columns import Table
from ..common.delimited import DelimitedFile
from ..common.parquet import ParquetFile
from ..common.source import DEFAULT_MAX_BYTES, DEFAULT_MAX_ROWS, PARQUET_MAGIC, Source, read_source
from ..errors import TraceError
from ..signatures import (
    JOBS,
    OPENB_NODES,
    OPENB_PODS,
    PHILLY,
    access_format,
    domain_of,
    first_character,
    looks_like_swf,
)
from . import generic, openb, philly, swf
from .job_trace import JobTrace

Format = Literal["auto", "swf", "philly", "openb", "generic"]
FORMATS: tuple[str, ...] = ("auto", "swf", "philly", "openb", "generic")
BUNDLED = "bundled-cluster"
_ELSEWHERE = {
    "llm": "holds LLM requests, not jobs; read it with --domain llm (load_trace)",
    "prefetch": "holds accesses to a cache, not jobs; read it with --domain prefetch (load_access_trace)",
}
BUNDLED_PATH = Path(__file__).parent.parent / "data" / "philly_like.csv.gz"


def load_job_trace(
    path_or_name: str | Path = BUNDLED,
    *,
    format: Format | str = "auto",
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    max_rows: int = DEFAULT_MAX_ROWS,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> JobTrace:
    """Read a job trace: SWF, Philly, an openb pod list, or any CSV or Parquet; gzip and zip are unpacked.

    Args:
        path_or_name: A file, or ``"bundled-cluster"`` (``"bundled"`` for short) for the trace that comes with handrail.
            A file of that name in the working directory comes first.
        format: ``auto`` tells the format by content.
        mapping: From handrail's column names to the file's, for the generic reader (``{"arrival_s": "ts"}``).
        sort: Sort by time instead of refusing a file whose time goes backwards.
        max_rows: More jobs than this are refused.
        max_bytes: A file of more bytes than this, unpacked, is refused.

    Raises:
        TraceError: One line that names the file as given, the line and field, and the mend.
    """
    if format not in FORMATS:
        raise TraceError(f"{path_or_name}: format {format!r} is not known; take one of {', '.join(FORMATS)}")
    if mapping and format not in ("auto", "generic"):
        raise TraceError(f"{path_or_name}: --map is for the generic format; leave out --format {format}")
    if str(path_or_name) in CATALOG and not Path(path_or_name).exists():
        raise TraceError(f"{path_or_name}: {_ELSEWHERE['llm']}")
    if str(path_or_name) == "bundled-cache" and not Path(path_or_name).exists():
        raise TraceError(f"{path_or_name}: {_ELSEWHERE['prefetch']}")
    known = str(path_or_name) in (BUNDLED, "bundled") and not Path(path_or_name).exists()
    path = BUNDLED_PATH if known else path_or_name
    source = read_source(path, max_rows=max_rows, max_bytes=max_bytes, items="jobs")
    try:
        return _read(source, format, mapping or {}, sort)
    except MemoryError:
        raise source.error("does not fit into memory; cut it") from None


def _read(source: Source, format: str, mapping: Mapping[str, str], sort: bool) -> JobTrace:
    if format == "swf" or (format == "auto" and looks_like_swf(source)):
        if mapping:
            raise source.error("is SWF, which --map does not read; its fields have a fixed order")
        return swf.read_swf(source, sort=sort)
    if format == "auto" and first_character(source) == b"{":
        raise source.error(_ELSEWHERE["llm"])
    if format == "auto" and not mapping and access_format(source):
        raise source.error(_ELSEWHERE["prefetch"])
    table = ParquetFile(source) if source.data.startswith(PARQUET_MAGIC) else DelimitedFile(source)
    if format == "auto":
        format = "generic" if mapping else detect_table(table)
    if format == "philly":
        return philly.read_philly(table, sort=sort)
    if format == "openb":
        return openb.read_openb(table, sort=sort)
    return generic.read_generic(table, mapping, sort=sort)


def detect_table(table: Table) -> str:
    """The format of a table, told by its columns; ``generic`` where none's are all there.

    Raises:
        TraceError: It is a list of machines, or a trace of another domain.
    """
    for format, signature in (("openb", OPENB_PODS), ("philly", PHILLY), ("generic", JOBS)):
        if all(column in table.header for column in signature):
            return format
    if all(column in table.header for column in OPENB_NODES):
        raise table.source.error("is a list of machines, not of jobs; give it with --nodes (read_nodes)")
    if (domain := domain_of(table.header)) in _ELSEWHERE:
        raise table.source.error(_ELSEWHERE[domain])
    return "generic"
