"""Reader of the MSR Cambridge block traces (Narayanan et al., "Write Off-Loading", FAST 2008).

CSV without a header: Timestamp (100 ns since 1601), Hostname, DiskNumber, Type (Read or Write), Offset, Size (bytes),
and ResponseTime, which the recorded system caused and is not read.
"""

from __future__ import annotations

import numpy as np

from ..common.columns import labels
from ..common.source import Source
from .access_trace import AccessTrace
from .blocks import MAX_DEVICES, MAX_OFFSET_BYTES, MAX_REQUEST_BYTES, device_trace
from .columns import ReadOptions
from .headerless import HeaderlessFile

STAMP, HOST, DISK, TYPE, OFFSET, SIZE, RESPONSE = COLUMNS = (
    "Timestamp",
    "Hostname",
    "DiskNumber",
    "Type",
    "Offset",
    "Size",
    "ResponseTime",
)
_TICKS_A_SECOND = 10**7
_UNIX_START_TICKS = 116_444_736_000_000_000  # 1970 on a clock that starts in 1601
_LAST_TICKS = _UNIX_START_TICKS + 2**63 // 100


def read_msr(source: Source, options: ReadOptions) -> AccessTrace:
    """Read it; time 0 is the first request, an access is to one block, the key disk x 2^40 + block.

    Disks are numbered by host and number, in that order. Requests of 0 bytes are dropped and counted in the notes.

    Raises:
        TraceError: With line and field of whatever is out of range.
    """
    table = HeaderlessFile(source, "MSR Cambridge", COLUMNS, ",")
    read = table.read((STAMP, DISK, OFFSET, SIZE), (HOST, TYPE))
    ticks = table.ints(STAMP, read[STAMP], low=0, high=_LAST_TICKS)
    disk = table.ints(DISK, read[DISK], low=0, high=MAX_DEVICES - 1)
    offset = table.ints(OFFSET, read[OFFSET], low=0, high=MAX_OFFSET_BYTES)
    size = table.ints(SIZE, read[SIZE], low=0, high=MAX_REQUEST_BYTES)
    host, hosts = labels(read[HOST])
    kind, kinds = labels(read[TYPE])
    for code, name in enumerate(kinds):
        if name.strip().lower() not in ("read", "write"):
            row = int(np.argmax(kind == code))
            problem = f"{name[:40]!r} is neither Read nor Write; mend or drop the row"
            raise source.bad_value(table.place(row), TYPE, problem)
    by_name = np.argsort(np.argsort(np.array(hosts)))
    disks, device = np.unique(by_name[host] * MAX_DEVICES + disk, return_inverse=True)
    kept = np.flatnonzero(size > 0)
    source.check_rows(len(kept))
    notes = {"format": "msr", "disks": len(disks), "origin": _date(int(ticks[kept].min())), "origin_s": 0.0}
    if len(kept) < len(size):
        notes["dropped_empty"] = len(size) - len(kept)
    return device_trace(
        source,
        lambda row: table.place(int(kept[row])),
        options,
        stamps=(STAMP, ticks[kept], _TICKS_A_SECOND),
        lengths=(SIZE, size[kept]),
        start_bytes=offset[kept],
        device=device.ravel()[kept],
        writes=np.array([name.strip().lower() == "write" for name in kinds])[kind[kept]],
        notes=notes,
    )


def _date(ticks: int) -> str:
    return str(np.datetime64((ticks - _UNIX_START_TICKS) // 10, "us"))
