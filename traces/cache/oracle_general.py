"""Reader of libCacheSim's oracleGeneral: 24-byte records of time (s), object id, size (bytes) and next access.

The next access is what an oracle would know. It serves to recognise the format and is not kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..common.source import Source
from ..signatures import ORACLE_RECORD
from .access_trace import AccessTrace
from .columns import ReadOptions, assemble, whole_second_arrivals

_LARGEST_ID = 2**63 - 1


def read_oracle_general(source: Source, options: ReadOptions) -> AccessTrace:
    """Read it; ids as they are, time 0 is the whole second of the first record.

    Raises:
        TraceError: With the record of whatever is out of range; a size that is no multiple of 24 bytes.
    """
    extra = len(source.data) % ORACLE_RECORD.itemsize
    if extra:
        raise source.error(
            f"{len(source.data):,} bytes are no whole number of {ORACLE_RECORD.itemsize}-byte oracleGeneral records: "
            f"the last {extra} trail; fetch or copy the file again"
        )
    records = np.frombuffer(source.data, ORACLE_RECORD)
    source.check_rows(len(records))
    too_large = records["id"] > _LARGEST_ID
    if too_large.any():
        row = int(np.argmax(too_large))
        problem = f"{int(records['id'][row])} is above 2^63 - 1; renumber the ids"
        raise source.bad_value(_place(row), "id", problem)
    arrival_s, order, notes = whole_second_arrivals(records["time_s"].astype(np.int64), source, _place, "time", options)
    size_bytes = records["size_bytes"].astype(np.int64)
    empty = size_bytes == 0
    if empty.any():
        notes["sizes_raised_to_1_byte"] = int(empty.sum())
    columns: dict[str, Any] = {"key": records["id"].astype(np.int64), "size_bytes": np.maximum(size_bytes, 1)}
    notes = {"format": "oracle-general", **notes}
    return assemble(source, arrival_s=arrival_s, order=order, notes=notes, backing="all", **columns)


def _place(row: int) -> str:
    return f"record {row + 1}"
