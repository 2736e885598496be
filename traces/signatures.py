"""What tells the trace formats of all domains apart: columns that only they have, or the form of their first lines."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from .common.source import UTF8_BOM, Source

BURSTGPT = ("Timestamp", "Request tokens", "Response tokens")
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
MOONCAKE = ("timestamp", "input_length", "output_length")
REQUESTS = ("arrival_s", "prompt_tokens", "output_tokens")
PHILLY = ("timestamp", "duration", "num_gpus")
OPENB_PODS = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "creation_time", "deletion_time")
OPENB_NODES = ("sn", "cpu_milli", "memory_mib", "gpu", "model")
JOBS = ("arrival_s", "run_s")
SWF_FIELDS = 18
CACHELIB_BLOCK = ("op_time", "block_id", "io_size", "io_offset", "op_name")
CACHELIB_KV = ("key", "op", "size", "op_count")
ACCESSES = ("arrival_s", "key")
MQSIM_FIELDS = 5
MSR_FIELDS = 7
# libCacheSim's oracleGeneral: little-endian, without padding.
ORACLE_RECORD = np.dtype([("time_s", "<u4"), ("id", "<u8"), ("size_bytes", "<u4"), ("next", "<i8")])

_BY_DOMAIN = {
    "llm": (BURSTGPT, AZURE, MOONCAKE, REQUESTS),
    "cluster": (PHILLY, OPENB_PODS, OPENB_NODES, JOBS),
    "prefetch": (CACHELIB_BLOCK, CACHELIB_KV, ACCESSES),
}
_ORACLE_SUFFIX = "oraclegeneral"
_ORACLE_SAMPLE = 4_096
_FEWEST_ORACLE_RECORDS = 4


def domain_of(header: tuple[str, ...]) -> str | None:
    """The domain of a table with these columns, ``None`` where no format that is known has them all."""
    for domain, signatures in _BY_DOMAIN.items():
        if any(all(column in header for column in signature) for signature in signatures):
            return domain
    return None


def first_character(source: Source) -> bytes:
    """The first byte of a file that is no blank; empty where there is none."""
    start = _start(source)
    while source.data[start : start + 1].isspace():
        start += 1
    return bytes(source.data[start : start + 1])


def looks_like_swf(source: Source) -> bool:
    """Whether the first line is a header line of the Standard Workload Format (``;``) or has 18 numbers."""
    line = _first_line(source)
    fields = line.split()
    return line.startswith(b";") or (len(fields) == SWF_FIELDS and all(map(is_finite_number, fields)))


def access_format(source: Source) -> str | None:
    """Which format of accesses without named columns a file has: ``oracle-general``, ``mqsim``, ``msr`` or ``None``."""
    line = _first_line(source)
    fields = line.split(b",")
    if len(fields) == MSR_FIELDS and fields[3].strip().lower() in (b"read", b"write"):
        return "msr"
    fields = line.split()
    if len(fields) == MQSIM_FIELDS and all(field.isdigit() for field in fields) and b"," not in line:
        return "mqsim"
    return "oracle-general" if _looks_like_oracle_general(source) else None


def is_finite_number(value: bytes) -> bool:
    try:
        return b"_" not in value and math.isfinite(float(value))
    except ValueError:
        return False


def _looks_like_oracle_general(source: Source) -> bool:
    """Whether the name says so, or the first records are plausible.

    Plausible are stamps that never go back, sizes below 2^31 and, for each record, a next access that is none (-1) or a
    later one, with the same id there. That field counts records from 1. Text never is: its bytes, read as a next
    access, stand for numbers beyond any file.
    """
    if _ORACLE_SUFFIX in Path(source.name).name.lower():
        return True
    size = ORACLE_RECORD.itemsize
    if len(source.data) % size or len(source.data) < _FEWEST_ORACLE_RECORDS * size:
        return False
    records = np.frombuffer(source.data, ORACLE_RECORD, count=min(len(source.data) // size, _ORACLE_SAMPLE))
    following, number = records["next"], np.arange(1, len(records) + 1)
    if not ((following == -1) | ((following > number) & (following < 2**40))).all():
        return False
    if (records["time_s"][1:] < records["time_s"][:-1]).any() or records["size_bytes"].max() >= 2**31:
        return False
    inside = following[(following > 0) & (following <= len(records))]
    return bool((records["id"][inside - 1] == records["id"][(following > 0) & (following <= len(records))]).all())


def _first_line(source: Source) -> bytes:
    """The first line that is not blank, of the file's first 4,096 bytes."""
    start = _start(source)
    lines = bytes(source.data[start : start + 4096]).lstrip().splitlines()
    return lines[0] if lines else b""


def _start(source: Source) -> int:
    return len(UTF8_BOM) if source.data.startswith(UTF8_BOM) else 0
