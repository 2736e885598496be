"""Reader of the Azure LLM inference traces (Patel et al., "Splitwise", ISCA 2024; arXiv:2311.18677).

Columns ``TIMESTAMP, ContextTokens, GeneratedTokens``; 2023's stamps have seven decimals and no zone, later ones a zone.
"""

from __future__ import annotations

import numpy as np

from ..common.columns import Table, date_stamps_ns, time_order, whole_numbers
from ..signatures import AZURE
from .columns import ReadOptions, assemble
from .request_trace import MAX_TOKENS, RequestTrace

STAMP, PROMPT, OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"


def read_azure(file: Table, options: ReadOptions) -> RequestTrace:
    """Read it; time 0 is the first request.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    file.require(AZURE, "the Azure traces have it; fetch the file again, or name your columns with --map")
    columns = file.read((PROMPT, OUTPUT), (STAMP,))
    source = file.source
    tokens = [whole_numbers(file, c, columns[c], low=0, high=MAX_TOKENS) for c in (PROMPT, OUTPUT)]
    stamp_ns = date_stamps_ns(file, STAMP, columns[STAMP])
    order = time_order(stamp_ns, source, file.place, STAMP, sort=options.sort)
    if order is not None:
        stamp_ns = stamp_ns[order]
    origin = str(np.datetime64(int(stamp_ns[0]), "ns"))
    return assemble(
        source,
        options,
        arrival_s=(stamp_ns - stamp_ns[0]) / 1e9,
        prompt_tokens=tokens[0],
        output_tokens=tokens[1],
        order=order,
        notes={"format": "azure", "origin": origin},
    )
