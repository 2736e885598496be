"""Reader of the Azure LLM inference traces (Patel et al., "Splitwise", ISCA 2024; arXiv:2311.18677).

Columns ``TIMESTAMP, ContextTokens, GeneratedTokens``; 2023's stamps have seven decimals and no zone, later ones a zone.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .columns import ReadOptions, Table, assemble, time_order, whole_numbers
from .request_trace import MAX_TOKENS, RequestTrace

STAMP, PROMPT, OUTPUT = "TIMESTAMP", "ContextTokens", "GeneratedTokens"
SIGNATURE = (STAMP, PROMPT, OUTPUT)
_STAMP_FORM = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?")


def read_azure(file: Table, options: ReadOptions) -> RequestTrace:
    """Read it; time 0 is the first request.

    Raises:
        TraceError: With line and field of whatever is missing or out of range.
    """
    file.require(SIGNATURE, "the Azure traces have it; fetch the file again, or name your columns with --map")
    columns = file.read((PROMPT, OUTPUT), (STAMP,))
    source = file.source
    tokens = [whole_numbers(file, c, columns[c], low=0, high=MAX_TOKENS) for c in (PROMPT, OUTPUT)]
    stamp_ns = date_stamps_ns(file, STAMP, columns[STAMP])
    order = time_order(stamp_ns, source, file.place, STAMP, options)
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


def date_stamps_ns(file: Table, column: str, values: pa.ChunkedArray) -> np.ndarray:
    """Date-and-time text as nanoseconds since 1970 (UTC where no zone is given), int64, shape (n,)."""
    text = values.cast(pa.string())
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            return pc.cast(text, kind).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            continue
    zoned = [_zone(value) for value in text.to_pylist()]
    for row, value in enumerate(text.to_pylist()):
        if not _STAMP_FORM.fullmatch(value) or not _castable(value):
            problem = f"{value[:40]!r} is not a date and time such as 2023-11-16 18:15:46.6805900; mend or drop the row"
            raise file.source.bad_value(file.place(row), column, problem)
        if zoned[row] != zoned[0]:
            raise file.source.bad_value(file.place(row), column, "some stamps have a time zone and some have not")
    raise file.source.error(f"field {column!r}: the stamps cannot be read as dates and times; export them again")


def _zone(value: str) -> bool:
    match = _STAMP_FORM.fullmatch(value)
    return bool(match and match.group(2))


def _castable(value: str) -> bool:
    for kind in (pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")):
        try:
            pc.cast(pa.scalar(value), kind)
        except pa.ArrowInvalid:
            continue
        return True
    return False
