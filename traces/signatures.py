"""What tells the trace formats of all domains apart: columns that only they have."""

from __future__ import annotations

import math

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

_BY_DOMAIN = {
    "llm": (BURSTGPT, AZURE, MOONCAKE, REQUESTS),
    "cluster": (PHILLY, OPENB_PODS, OPENB_NODES, JOBS),
}


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
    start = _start(source)
    lines = bytes(source.data[start : start + 4096]).lstrip().splitlines()
    if not lines:
        return False
    fields = lines[0].split()
    return lines[0].startswith(b";") or (len(fields) == SWF_FIELDS and all(map(is_finite_number, fields)))


def is_finite_number(value: bytes) -> bool:
    try:
        return b"_" not in value and math.isfinite(float(value))
    except ValueError:
        return False


def _start(source: Source) -> int:
    return len(UTF8_BOM) if source.data.startswith(UTF8_BOM) else 0
