"""``load_access_trace``: from a file, or a name that handrail knows, to an ``AccessTrace``; told by content."""

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
from ..signatures import (
    ACCESSES,
    CACHELIB_BLOCK,
    CACHELIB_KV,
    ORACLE_RECORD,
    access_format,
    domain_of,
    first_character,
    looks_like_swf,
)
from . import cachelib, generic, mooncake, mqsim, msr, oracle_general
from .access_trace import AccessTrace
from .columns import ReadOptions
from .permute import permute_keys

Format = Literal["auto", "oracle-general", "mqsim", "msr", "cachelib-block", "cachelib-kv", "mooncake", "generic"]
FORMATS: tuple[str, ...] = (
    "auto",
    "oracle-general",
    "mqsim",
    "msr",
    "cachelib-block",
    "cachelib-kv",
    "mooncake",
    "generic",
)
BLOCK_FORMATS = ("mqsim", "msr", "cachelib-block")
BUNDLED = "bundled-cache"
BUNDLED_PATH = Path(__file__).parent.parent / "data" / "cache_like.csv.gz"
_BUNDLED_ELSEWHERE = {"bundled-cluster": "cluster"}
_ELSEWHERE = {
    "llm": "holds LLM requests, not cache accesses; read it with --domain llm (load_trace)",
    "cluster": "holds jobs or machines of a cluster, not cache accesses; read it with --domain cluster "
    "(load_job_trace)",
}
_LARGEST_BLOCK = 2**30
_BINARY_SAMPLE = 4_096
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_WITHOUT_HEADER = {
    "oracle-general": oracle_general.read_oracle_general,
    "mqsim": mqsim.read_mqsim,
    "msr": msr.read_msr,
    "mooncake": mooncake.read_mooncake,
}


def load_access_trace(
    path_or_name: str | Path = BUNDLED,
    *,
    format: Format | str = "auto",
    mapping: Mapping[str, str] | None = None,
    sort: bool = False,
    permute: bool | None = None,
    block_bytes: int | None = None,
    spread: bool = True,
    seed: int = 0,
    max_rows: int = DEFAULT_MAX_ROWS,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> AccessTrace:
    """Read an access trace: oracleGeneral, MQSim, MSR Cambridge, CacheLib, Mooncake, or any CSV or Parquet.

    gzip, zstd and zip are unpacked.

    Args:
        path_or_name: A file, ``"bundled-cache"`` (``"bundled"`` for short) for the trace that comes with handrail, or
            the name of a fetched Mooncake trace. A file of that name in the working directory comes first.
        format: ``auto`` tells the format by content (oracleGeneral also by that word in the file's name).
        mapping: From handrail's column names to the file's, for the generic reader (``{"arrival_s": "ts"}``).
        sort: Sort by time instead of refusing a file whose time goes backwards.
        permute: Renumber ids in an order that tells nothing. ``None``: Mooncake's hash ids only; false leaves those as
            they are too. Ids that are text are always numbered so.
        block_bytes: What requests of MQSim and MSR (default 4,096) and of CacheLib block traces (131,072) are split by.
        spread: Spread stamps in whole seconds within their second, and Mooncake's batches, in the order of the file.
        seed: Of the spreading and of the permutation.
        max_rows: More accesses than this (blocks, once requests are split) are refused.
        max_bytes: A file of more bytes than this, unpacked, is refused.

    Raises:
        TraceError: One line that names the file as given, the line or record and field, and the mend.
    """
    if format not in FORMATS:
        raise TraceError(f"{path_or_name}: format {format!r} is not known; take one of {', '.join(FORMATS)}")
    if mapping and format not in ("auto", "generic"):
        raise TraceError(f"{path_or_name}: --map is for the generic format; leave out --format {format}")
    if block_bytes is not None and not 1 <= block_bytes <= _LARGEST_BLOCK:
        raise TraceError(f"{path_or_name}: block_bytes must be 1 to {_LARGEST_BLOCK:,}, got {block_bytes}")
    if seed < 0:
        raise TraceError(f"{path_or_name}: seed must be 0 or more, got {seed}")
    path = _resolve(path_or_name)
    source = read_source(path, max_rows=max_rows, max_bytes=max_bytes, items="accesses")
    options = ReadOptions(sort, permute, block_bytes, spread, seed)
    try:
        return _read(source, format, mapping or {}, options)
    except MemoryError:
        raise source.error("does not fit into memory; cut it") from None


def _resolve(path_or_name: str | Path) -> str | Path:
    name = str(path_or_name)
    if Path(name).exists():
        return path_or_name
    if name in (BUNDLED, "bundled"):
        return BUNDLED_PATH
    if name in _BUNDLED_ELSEWHERE:
        raise TraceError(f"{name}: {_ELSEWHERE[_BUNDLED_ELSEWHERE[name]]}")
    if name not in CATALOG:
        return path_or_name
    if CATALOG[name].format != "mooncake":
        raise TraceError(f"{name}: {_ELSEWHERE['llm']}")
    path = data_folder() / CATALOG[name].file_name
    if not path.exists():
        raise TraceError(f"{name}: is not fetched yet; run `handrail traces fetch {name}`")
    return path


def _read(source: Source, format: str, mapping: Mapping[str, str], options: ReadOptions) -> AccessTrace:
    parquet = source.data.startswith(PARQUET_MAGIC)
    if format == "auto" and not mapping and not parquet:
        # Binary records come first: their first byte may be any character.
        if found := access_format(source):
            format = found
        elif first_character(source) == b"{":
            format = "mooncake"
        elif looks_like_swf(source):
            raise source.error(_ELSEWHERE["cluster"])
    table = None
    if format not in _WITHOUT_HEADER:
        if not parquet and b"\0" in source.data[:_BINARY_SAMPLE] and not source.data.startswith(_UTF16):
            raise source.error(_not_oracle_general(len(source.data)))
        table = ParquetFile(source) if parquet else DelimitedFile(source)
        if format == "auto":
            format = "generic" if mapping else detect_table(table)
    if options.block_bytes is not None and format not in BLOCK_FORMATS:
        raise source.error(f"block_bytes is for {', '.join(BLOCK_FORMATS)}; it is {format}, leave it out")
    if table is None:
        trace = _WITHOUT_HEADER[format](source, options)
    elif format == "cachelib-block":
        trace = cachelib.read_cachelib_block(table, options)
    elif format == "cachelib-kv":
        trace = cachelib.read_cachelib_kv(table, options)
    else:
        trace = generic.read_generic(table, mapping, options)
    # Mooncake's reader has permuted its ids already.
    return permute_keys(trace, options.seed) if options.permute and format != "mooncake" else trace


def _not_oracle_general(n_bytes: int) -> str:
    """What to say of binary content that no reader takes."""
    size = ORACLE_RECORD.itemsize
    extra = n_bytes % size
    why = f"the last {extra} bytes trail" if extra else "times go back, or a next access leads to another id"
    return (
        f"is neither text nor Parquet, and no plausible oracleGeneral ({size}-byte records: {why}); fetch it again, or "
        "put oracleGeneral into its name if it is one"
    )


def detect_table(table: Table) -> str:
    """The format of a table, told by its columns; ``generic`` where none's are all there.

    Raises:
        TraceError: It is a trace of another domain.
    """
    found = {"cachelib-block": CACHELIB_BLOCK, "generic": ACCESSES, "cachelib-kv": CACHELIB_KV}
    for format, signature in found.items():
        if all(column in table.header for column in signature):
            return format
    domain = domain_of(table.header)
    if domain in _ELSEWHERE:
        raise table.source.error(_ELSEWHERE[domain])
    # One wrong name should not turn a CacheLib trace into a table without times.
    missing = [column for column in CACHELIB_BLOCK if column not in table.header]
    if len(missing) == 1:
        table.require(missing, "all other columns are those of a CacheLib block trace")
    return "generic"
