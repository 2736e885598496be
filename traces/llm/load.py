"""``load_trace``: from a file, or a name that handrail knows, to a ``RequestTrace``; the format is told by content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from ..catalog import CATALOG, data_folder
from ..common.columns import Table
from ..common.delimited import DelimitedFile
from ..common.parquet import ParquetFile
from ..common.source import DEFAULT_MAX_BYTES, DEFAULT_MAX_ROWS, PARQUET_MAGIC, Source, read_source
from ..errors import TraceError
from ..signatures import AZURE, BURSTGPT, REQUESTS, access_format, domain_of, first_character, looks_like_swf
from . import azure, burstgpt, generic, mooncake
from .columns import ReadOptions
from .failures import Failures
from .request_trace import RequestTrace

Format = Literal["auto", "burstgpt", "azure", "mooncake", "generic"]
FORMATS: tuple[str, ...] = ("auto", "burstgpt", "azure", "mooncake", "generic")
BUNDLED = "bundled"
_ELSEWHERE = {
    "cluster": "holds jobs or machines of a cluster, not requests; read it with --domain cluster (load_job_trace)",
    "prefetch": "holds accesses to a cache, not requests; read it with --domain prefetch (load_access_trace)",
}
_BUNDLED_ELSEWHERE = {"bundled-cluster": "cluster", "bundled-cache": "prefetch"}
BUNDLED_PATH = Path(__file__).parent.parent / "data" / "burstgpt_like.csv.gz"


def load_trace(
    path_or_name: str | Path = BUNDLED,
    *,
    format: Format | str = "auto",
    mapping: Mapping[str, str] | None = None,
    failures: Failures | str = "drop",
    spread_seed: int | None = 0,
    sort: bool = False,
    max_rows: int = DEFAULT_MAX_ROWS,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> RequestTrace:
    """Read a request trace: BurstGPT, Azure 2023, Mooncake JSONL, or any CSV or Parquet; gzip is unpacked.

    Args:
        path_or_name: A file, ``"bundled"`` for the trace that comes with handrail, or the name of a fetched one
            (``handrail traces list``). A file of that name in the working directory comes first.
        format: ``auto`` tells the format by content.
        mapping: From handrail's column names to the file's, for the generic reader (``{"arrival_s": "ts"}``).
        failures: What becomes of failed requests (0 response tokens): ``drop``, ``keep``, or ``retry`` (the request
            comes again 0.5-8 s later with a plausible response length; see ``handle_failures``).
        spread_seed: Seed with which whole-second (BurstGPT) and batched (Mooncake) stamps are spread over the time they
            stand for; ``None`` leaves them. Retries draw from the same seed, in a stream of their own.
        sort: Sort by time instead of refusing a file whose time goes backwards.
        max_rows: More requests than this are refused.
        max_bytes: A file of more bytes than this, unpacked, is refused.

    Raises:
        TraceError: One line that names the file as given, the line and field, and the mend.
    """
    if format not in FORMATS:
        raise TraceError(f"{path_or_name}: format {format!r} is not known; take one of {', '.join(FORMATS)}")
    if failures not in ("drop", "keep", "retry"):
        raise TraceError(f"{path_or_name}: failures={failures!r} is not known; take drop, keep or retry")
    if mapping and format not in ("auto", "generic"):
        raise TraceError(f"{path_or_name}: --map is for the generic format; leave out --format {format}")
    if spread_seed is not None and spread_seed < 0:
        raise TraceError(f"{path_or_name}: spread_seed must be 0 or more, got {spread_seed}")
    if str(path_or_name) in _BUNDLED_ELSEWHERE and not Path(path_or_name).exists():
        raise TraceError(f"{path_or_name}: {_ELSEWHERE[_BUNDLED_ELSEWHERE[str(path_or_name)]]}")
    path = _resolve(path_or_name)
    source = read_source(path, max_rows=max_rows, max_bytes=max_bytes)
    options = ReadOptions(failures, spread_seed, sort)
    try:
        return _read(source, format, mapping or {}, options)
    except MemoryError:
        raise source.error("does not fit into memory; cut it") from None


def _resolve(path_or_name: str | Path) -> str | Path:
    name = str(path_or_name)
    if (name != BUNDLED and name not in CATALOG) or Path(name).exists():
        return path_or_name
    if name == BUNDLED:
        return BUNDLED_PATH
    path = data_folder() / CATALOG[name].file_name
    if not path.exists():
        raise TraceError(f"{name}: is not fetched yet; run `handrail traces fetch {name}`")
    return path


def _read(source: Source, format: str, mapping: Mapping[str, str], options: ReadOptions) -> RequestTrace:
    if source.data.startswith(PARQUET_MAGIC):
        return _read_table(ParquetFile(source), format, mapping, options)
    if format == "mooncake" or (format == "auto" and first_character(source) == b"{"):
        if mapping:
            raise source.error("is JSON lines, which --map does not read; convert it to CSV or Parquet")
        return mooncake.read_mooncake(source, options)
    if format == "auto" and not mapping and looks_like_swf(source):
        raise source.error(_ELSEWHERE["cluster"])
    if format == "auto" and not mapping and access_format(source):
        raise source.error(_ELSEWHERE["prefetch"])
    return _read_table(DelimitedFile(source), format, mapping, options)


def _read_table(table: Table, format: str, mapping: Mapping[str, str], options: ReadOptions) -> RequestTrace:
    if format == "mooncake":
        raise table.source.error("is not JSON lines; leave out --format mooncake")
    if format == "auto" and not mapping and (domain := domain_of(table.header)) in _ELSEWHERE:
        raise table.source.error(_ELSEWHERE[domain])
    if format == "auto":
        format = "generic" if mapping else detect_table(table.header)
    if format == "burstgpt":
        return burstgpt.read_burstgpt(table, options)
    if format == "azure":
        return azure.read_azure(table, options)
    return generic.read_generic(table, options, mapping)


def detect_table(header: tuple[str, ...]) -> str:
    """The format whose own column names occur most often among the given ones; ``generic`` where none does."""
    counts = {
        "generic": sum(name in header for name in REQUESTS),
        "burstgpt": sum(name in header for name in BURSTGPT),
        "azure": sum(name in header for name in AZURE),
    }
    return max(counts, key=lambda name: counts[name])
