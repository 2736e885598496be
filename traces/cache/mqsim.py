"""Reader of MQSim's block traces (Tavakkol et al., "MQSim", FAST 2018).

Lines of arrival (ns), device, first sector (of 512 bytes), sectors and type (0 write, 1 read), separated by blanks.
"""

from __future__ import annotations

from ..common.source import Source
from .access_trace import AccessTrace
from .blocks import MAX_DEVICES, MAX_OFFSET_BYTES, MAX_REQUEST_BYTES, device_trace
from .columns import ReadOptions
from .headerless import HeaderlessFile

STAMP, DEVICE, SECTOR, SECTORS, TYPE = COLUMNS = ("arrival", "device", "start LBA", "size", "type")
SECTOR_BYTES = 512


def read_mqsim(source: Source, options: ReadOptions) -> AccessTrace:
    """Read it; time 0 is the first request, an access is to one block, the key device x 2^40 + block.

    Raises:
        TraceError: With line and field of whatever is out of range.
    """
    table = HeaderlessFile(source, "MQSim", COLUMNS, " ")
    read = table.read(COLUMNS, ())
    stamp_ns = table.ints(STAMP, read[STAMP], low=0, high=2**63 - 1)
    sector = table.ints(SECTOR, read[SECTOR], low=0, high=MAX_OFFSET_BYTES // SECTOR_BYTES)
    sectors = table.ints(SECTORS, read[SECTORS], low=1, high=MAX_REQUEST_BYTES // SECTOR_BYTES)
    return device_trace(
        source,
        table.place,
        options,
        stamps=(STAMP, stamp_ns, 10**9),
        lengths=(SECTORS, sectors * SECTOR_BYTES),
        start_bytes=sector * SECTOR_BYTES,
        device=table.ints(DEVICE, read[DEVICE], low=0, high=MAX_DEVICES - 1),
        writes=table.ints(TYPE, read[TYPE], low=0, high=1) == 0,
        notes={"format": "mqsim", "origin_s": int(stamp_ns.min()) / 1e9},
    )
